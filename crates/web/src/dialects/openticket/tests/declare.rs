//! What an operator's file may say about companies.

use model::query::ChangeKind;
use model::rng::SeededRng;
use model::tenant::DialectName;

use crate::dialects::{DeclarationFile, DialectOptions, FileError, KnownEvents, all};
use crate::tests::harness::{COMPANY, SMALL, TestApp, bearing};

const GUID: &str = "96007e9b-b570-454c-aa3b-66a33a88280a";

fn declared(text: &str) -> Result<DeclarationFile, Vec<String>> {
    let mut rng = SeededRng::from_seed([9; 32]);
    let read = all(&DialectOptions::default()).declare(text, &KnownEvents::new(), &mut rng);
    read.map_err(|mistakes| mistakes.iter().map(FileError::to_string).collect())
}

fn file(webhook: &str) -> String {
    format!(
        "[[company]]\nguid = \"{}\"\nname = \"Grand Hall\"\n\n[[company.webhook]]\n{webhook}\n",
        COMPANY.to_uppercase()
    )
}

const WEBHOOK: &str = "name = \"Paid\"\nurl = \"https://u:p@example.org/\"\nresource = \"order\"
trigger = \"paid\"\nretries = 5";

async fn apply(app: &TestApp, text: &str) -> Vec<ChangeKind> {
    let declarations = declared(text).unwrap().declarations;
    let applied = app.store.apply(declarations, "test".to_owned(), app.now());
    applied
        .await
        .unwrap()
        .iter()
        .map(|item| item.change)
        .collect()
}

#[tokio::test]
async fn what_is_declared_is_what_rest_shows_and_applying_it_again_changes_nothing() {
    let app = TestApp::new().await;
    let text = file(WEBHOOK);
    assert_eq!(
        apply(&app, &text).await,
        [ChangeKind::Unchanged, ChangeKind::Created]
    );
    let first = app.ask(bearing("GET", "/webhook")).await.json()[0].clone();
    assert_eq!(first["name"], "Paid");
    assert_eq!(first["retries"], 5);
    assert_eq!(first["nonce"].as_str().unwrap().len(), 20);
    assert_eq!(first["company_id"], COMPANY);
    assert_eq!(apply(&app, &text).await, [ChangeKind::Unchanged; 2]);
    let changed = text.replace("retries = 5", "triggered_by_child_resources = true");
    assert_eq!(apply(&app, &changed).await[1], ChangeKind::Changed);
    let second = app.ask(bearing("GET", "/webhook")).await.json()[0].clone();
    assert_eq!(second["guid"], first["guid"]);
    assert_eq!(second["nonce"], first["nonce"]);
    assert_eq!(second["retries"], 3);
    assert_eq!(second["triggered_by_child_resources"], true);
}

#[tokio::test]
async fn guid_and_nonce_of_a_webhook_may_be_given() {
    let app = TestApp::new().await;
    let own = format!("{WEBHOOK}\nguid = \"{GUID}\"\nnonce = \"5aK2HMgcUlDCWLuC3KWa\"");
    assert_eq!(apply(&app, &file(&own)).await[1], ChangeKind::Created);
    let path = format!("/webhook/{GUID}");
    let shown = app.ask(bearing("GET", &path)).await.json();
    assert_eq!(shown["nonce"], "5aK2HMgcUlDCWLuC3KWa");
    assert_eq!(shown["guid"], GUID);
    // With its GUID it is found wherever it goes, and comes back only if that is asked for.
    let moved = own.replace("example.org", "example.com");
    assert_eq!(apply(&app, &file(&moved)).await[1], ChangeKind::Changed);
    assert_eq!(app.ask(bearing("DELETE", &path)).await.status, 204);
    assert_eq!(apply(&app, &file(&moved)).await[1], ChangeKind::Unchanged);
    assert_eq!(app.ask(bearing("GET", &path)).await.status, 404);
    let asked_for = format!("{moved}\nenabled = true");
    assert_eq!(apply(&app, &file(&asked_for)).await[1], ChangeKind::Changed);
    assert_eq!(app.ask(bearing("GET", &path)).await.status, 200);
}

#[test]
fn mistakes_name_their_line_and_field() {
    let token =
        "[[company.token]]\nname = \"t\"\ntoken = \"abc\"\npermissions = [\"webhooks:read\"]";
    let two = format!(
        "[[company]]\nguid = \"{COMPANY}\"\n{token}\ndefault = true\n\
         [[company]]\nguid = \"{SMALL}\"\n{token}\ndefault = true\n"
    );
    for (text, mistake) in [
        (
            "[[company]]\nname = \"x\"",
            "line 1, company.guid: is missing",
        ),
        (
            "[[company]]\nguid = \"x\"",
            "line 2, company.guid: must be a GUID such as d0a3f370-cd43-11ed-9c9c-bbcffde24a48",
        ),
        (
            &format!("[[company]]\nguid = \"{COMPANY}\"\n[[company]]\nguid = \"{COMPANY}\""),
            "line 4, company.guid: \"d0a3f370-cd43-11ed-9c9c-bbcffde24a48\" is declared twice",
        ),
        (
            &format!("[[company]]\nguid = \"{COMPANY}\"\nslug = \"x\""),
            "line 3, company.slug: is not known here; there are guid, name, token, webhook",
        ),
        (
            &format!(
                "[[company]]\nguid = \"{COMPANY}\"\n{}",
                token.replace("webhooks:read", "x")
            ),
            "line 6, company.token.permissions: unknown permission \"x\"; there are \
             webhooks:read, webhooks:write, triggers:write",
        ),
        (
            &two,
            "line 14, company.token.default: another company is this token's default already",
        ),
        (
            &file(&WEBHOOK.replace("https://", "https =>//")),
            "line 7, company.webhook.url: The url must be absolute and begin with \"https://\" or \
             \"http://\", such as https://example.com/webhook/receive.",
        ),
        (
            &file(&WEBHOOK.replace("\"paid\"", "\"payed\"")),
            "line 9, company.webhook.trigger: The selected trigger is invalid: it must be one of \
             create, update, delete, paid, scan, relation, reorder.",
        ),
        (
            &file(&WEBHOOK.replace("= 5", "= 2.5")),
            "line 10, company.webhook.retries: The retries must be an integer between 0 and 25.",
        ),
        (
            &file(&format!("{WEBHOOK}\nnonce = \"abc def ghi\"")),
            "line 11, company.webhook.nonce: must have 8 to 255 characters of ASCII, and no spaces",
        ),
        (
            &file(&format!("{WEBHOOK}\nguid = \"x\"")),
            "line 11, company.webhook.guid: must be a GUID such as \
             d0a3f370-cd43-11ed-9c9c-bbcffde24a48",
        ),
    ] {
        assert_eq!(declared(text).unwrap_err(), [mistake], "{text}");
    }
    let missing = declared(&file("name = \"x\"")).unwrap_err();
    assert_eq!(missing.len(), 3, "{missing:?}");
}

#[test]
fn the_log_is_kept_for_a_week_unless_the_operator_says_otherwise() {
    const DAY: i64 = 24 * 3_600_000;
    let retention = |options: &DialectOptions| {
        all(options).policies()[&DialectName::new("openticket")].retention_ms
    };
    let mut options = DialectOptions::default();
    assert_eq!(retention(&options), 7 * DAY);
    options.retention.all_ms = Some(3 * DAY);
    assert_eq!(retention(&options), 3 * DAY);
    options
        .retention
        .own_ms
        .insert("openticket".to_owned(), DAY);
    assert_eq!(retention(&options), DAY);
}
