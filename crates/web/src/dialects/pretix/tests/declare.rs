//! An operator's file: what it declares, and what is said of one that is wrong.

use std::collections::BTreeSet;

use model::query::{AppliedItem, ChangeKind};
use model::rng::SeededRng;
use model::tenant::{DialectName, Permission, TokenHash, TokenKind};

use crate::dialects::{DeclarationFile, DialectOptions, KnownEvents, all};
use crate::tests::harness::{TestApp, WEBHOOKS, asking};

fn declare(text: &str) -> Result<DeclarationFile, Vec<String>> {
    let key = (DialectName::new("pretix"), "bigevents".to_owned());
    let known = KnownEvents::from([(key, BTreeSet::from(["stored".to_owned()]))]);
    let declared =
        all(&DialectOptions::default()).declare(text, &known, &mut SeededRng::from_seed([3; 32]));
    declared.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

const WHOLE: &str = r#"
[[organizer]]
slug = "bigevents"
name = "Big Events"

[[organizer.event]]
slug = "democon"
name = "Demo Con"
date_from = 2027-01-19T00:00:00Z

[[organizer.event]]
slug = "undated"

[[organizer.token]]
name = "integration"
token = "secret"
permissions = ["webhooks:read", "notifications:write"]

[[organizer.token]]
name = "gate"
permissions = []
active = false
kind = "device"

[[organizer.webhook]]
target_url = "https://example.org/hook"
all_events = true
action_types = ["pretix.event.order.paid"]

[[organizer.webhook]]
target_url = "https://example.org/limited"
limit_events = ["stored", "democon"]
action_types = []
enabled = false
comment = "x"
"#;

#[test]
fn a_whole_file_is_understood() {
    let declared = declare(WHOLE).unwrap();
    let organizer = &declared.declarations[0];
    assert_eq!(
        (organizer.key.as_str(), organizer.name.as_deref()),
        ("bigevents", Some("Big Events"))
    );
    let events = organizer.events.iter().map(|event| {
        (
            event.slug.as_str(),
            event.name.as_str(),
            event.date_from.map(|at| at.to_string()),
        )
    });
    let date = Some("2027-01-19T00:00:00.000Z".to_owned());
    assert_eq!(
        events.collect::<Vec<_>>(),
        [("democon", "Demo Con", date), ("undated", "undated", None)]
    );
    let [integration, scanner] = organizer.tokens.as_slice() else {
        panic!("two tokens");
    };
    assert_eq!(integration.hash, Some(TokenHash::of("secret")));
    assert_eq!(integration.active, None);
    assert!(
        integration
            .permissions
            .allow(Permission::NotificationsWrite)
    );
    assert!(!integration.permissions.allow(Permission::WebhooksWrite));
    assert_eq!(
        (scanner.kind, scanner.active, scanner.hash),
        (TokenKind::Device, Some(false), None)
    );
    let [fresh] = declared.fresh.as_slice() else {
        panic!("one fresh token");
    };
    assert_eq!(
        (fresh.name.as_str(), TokenHash::of(&fresh.token)),
        ("gate", scanner.fresh)
    );
    assert_eq!(fresh.token.len(), 64);
    assert!(!format!("{declared:?}").contains(&fresh.token));
    let enabled: Vec<_> = organizer
        .webhooks
        .iter()
        .map(|webhook| webhook.enabled)
        .collect();
    assert_eq!(enabled, [None, Some(false)]);
}

#[tokio::test]
async fn what_is_declared_is_what_rest_shows_and_applying_it_again_changes_nothing() {
    let app = TestApp::new().await;
    let known = {
        let key = (DialectName::new("pretix"), "bigevents".to_owned());
        KnownEvents::from([(key, BTreeSet::from(["secondcon".to_owned()]))])
    };
    let text = WHOLE.replace("stored", "secondcon");
    let dialects = all(&DialectOptions::default());
    let mut rng = SeededRng::from_seed([3; 32]);
    let mut apply = async || {
        let declared = dialects.declare(&text, &known, &mut rng).unwrap();
        let applied = app
            .store
            .apply(declared.declarations, "file".to_owned(), app.now());
        (applied.await.unwrap(), declared.fresh)
    };
    let (applied, fresh) = apply().await;
    let taken = applied
        .iter()
        .filter(|applied| matches!(&applied.item, AppliedItem::Token { fresh: true, .. }));
    assert_eq!(taken.count(), fresh.len());
    let page = app.ask(asking("GET", WEBHOOKS)).await.json();
    assert_eq!(
        page["results"][1],
        serde_json::json!({
            "id": 2,
            "enabled": false,
            "target_url": "https://example.org/limited",
            "all_events": false,
            "limit_events": ["democon", "secondcon"],
            "action_types": [],
            "comment": "x",
        })
    );
    let (again, _) = apply().await;
    assert!(
        again
            .iter()
            .all(|applied| applied.change == ChangeKind::Unchanged),
        "{again:?}"
    );
}

#[test]
fn an_empty_file_declares_nothing() {
    assert!(declare("").unwrap().declarations.is_empty());
}

#[test]
fn mistakes_name_their_line_and_field() {
    judge(&[
        (
            "x = 1",
            vec!["line 1, x: is not known here; there are organizer, company, alerts"],
        ),
        (
            "[organizer]\nslug = 1",
            vec!["line 1, organizer: must be tables, each under [[organizer]]"],
        ),
        (
            "organizer = [1]",
            vec!["line 1, organizer: must be tables, each under [[organizer]]"],
        ),
        (
            "[[organizer]]\nname = \"x\"",
            vec!["line 1, organizer.slug: is missing"],
        ),
        (
            "[[organizer]]\nslug = \"a b\"",
            vec![
                "line 2, organizer.slug: may have letters, digits, \"-\", \"_\" and \
                 \".\", and begins with a letter or digit",
            ],
        ),
        (
            "[[organizer]]\nslug = 5\nnmae = \"x\"",
            vec![
                "line 2, organizer.slug: must be a text in quotes, not integer",
                "line 3, organizer.nmae: is not known here; there are slug, name, \
                 event, token, webhook",
            ],
        ),
        (
            "[[organizer]]\nslug = \"a\"\n[[organizer]]\nslug = \"a\"",
            vec!["line 4, organizer.slug: \"a\" is declared twice"],
        ),
        (
            "[[organizer]]\nslug = \"a\"\n\n[[organizer.event]]\nslug = \
             \"e\"\ndate_from = 2027-01-19T00:00:00\n[[organizer.event]]\nslug = \"e\"",
            vec![
                "line 6, organizer.event.date_from: must be a time with its offset, \
                 such as 2027-01-19T10:00:00Z, not datetime",
                "line 8, organizer.event.slug: \"e\" is declared twice",
            ],
        ),
    ]);
}

#[test]
fn mistakes_in_tokens_and_webhooks_are_found_together() {
    judge(&[
        (
            "[[organizer]]\nslug = \"a\"\n[[organizer.token]]\nname = \
             \"t\"\npermissions = [\"webhooks:all\"]\nkind = \"x\"\nactive = \
             1\n[[organizer.token]]\nname = \"t\"\ntoken = \"a b\"",
            vec![
                "line 5, organizer.token.permissions: unknown permission \
                 \"webhooks:all\"; there are webhooks:read, webhooks:write, \
                 notifications:write",
                "line 6, organizer.token.kind: must be \"token\" or \"device\", not \"x\"",
                "line 7, organizer.token.active: must be true or false, not integer",
                "line 8, organizer.token.permissions: is missing",
                "line 9, organizer.token.name: \"t\" is declared twice",
                "line 10, organizer.token.token: may have no spaces, and only characters of ASCII",
            ],
        ),
        (
            "[[organizer]]\nslug = \"a\"\n[[organizer.token]]\nname = \
             \"t\"\npermissions = []\ntoken = \"x\"\n[[organizer.token]]\nname = \
             \"u\"\npermissions = []\ntoken = \"x\"",
            vec!["line 10, organizer.token.token: is declared twice for the same tenant"],
        ),
        (
            "[[organizer]]\nslug = \"bigevents\"\n[[organizer.webhook]]\ntarget_url = \
             \"ftp://x\"\nlimit_events = [\"stored\", \"nope\"]\nx = 1",
            vec![
                "line 3, organizer.webhook.action_types: This field is required.",
                "line 4, organizer.webhook.target_url: Enter a valid URL.",
                "line 5, organizer.webhook.limit_events: Object with slug=nope does not exist.",
                "line 6, organizer.webhook.x: is not known here; there are enabled, \
                 target_url, all_events, limit_events, action_types, comment, key, \
                 signature, header, client_certificate, ca_certificates, calls_at_a_time, \
                 calls_per_second, time_limit, schedule, cloud_events, handshake",
            ],
        ),
        (
            "[[organizer]]\nslug = \"bigevents\"\n[[organizer.webhook]]\ntarget_url = \
             \"https://example.org\"\nlimit_events = [\"stored\"]\nall_events = \
             true\naction_types = []",
            vec!["line 3, organizer.webhook: You can set either limit_events or all_events."],
        ),
    ]);
}

/// Files, each with everything that is wrong in it.
#[test]
fn keys_are_different_and_masked_urls_are_no_targets() {
    let webhook = |url: &str, key: &str| {
        format!(
            "[[organizer.webhook]]\ntarget_url = \"{url}\"\naction_types = []\nkey = \"{key}\"\n"
        )
    };
    let file = |webhooks: &[String]| format!("[[organizer]]\nslug = \"a\"\n{}", webhooks.concat());
    let two = |key: &str| {
        let url = "https://example.org/";
        declare(&file(&[webhook(url, "crm"), webhook(url, key)]))
    };
    let keys = two("b").unwrap().declarations.remove(0).webhooks;
    let keys: Vec<_> = keys.into_iter().map(|webhook| webhook.key).collect();
    assert_eq!(keys, [Some("crm".to_owned()), Some("b".to_owned())]);
    let twice = ["line 10, organizer.webhook.key: \"crm\" is declared twice"];
    assert_eq!(two("crm").unwrap_err(), twice);
    let empty = ["line 10, organizer.webhook.key: must have 1 to 255 characters"];
    assert_eq!(two("").unwrap_err(), empty);
    let masked = declare(&file(&[webhook("http://***@example.org/", "crm")]));
    let words = [
        "line 4, organizer.webhook.target_url: *** stands for a user and password that are not \
         shown. Write them, or take ***@ out.",
    ];
    assert_eq!(masked.unwrap_err(), words);
}

fn judge(files: &[(&str, Vec<&str>)]) {
    for (text, mistakes) in files {
        assert_eq!(&declare(text).unwrap_err(), mistakes, "{text}");
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let mistakes = declare("a = 1\nb = ").unwrap_err();
    assert!(mistakes[0].starts_with("line 2: "), "{mistakes:?}");
}
