//! Webhooks on pages: created and edited by a form, switched, deleted. What a form takes is what
//! the resource takes, and nothing that was typed is lost.

use std::sync::Arc;

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, HttpResponse, Outcome};
use model::contract::{Settlement, StoreError};
use model::delivery::{DeliveryState, NextState};
use model::lease::Epoch;
use model::users::Role;
use model::webhook::{DisableCause, Disablement, Headers, Webhook};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::browser::Browser;
use crate::dialects::{ActionType, DialectOptions};
use crate::tests::faulty_store::{FaultyStore, InjectedFault};
use crate::tests::harness::{Arrived, COMPANY, INTAKE, TestApp, WEBHOOKS, asking, bearing};
use crate::tests::never_500::hostile_text;

/// The fields of a form that is right.
const RIGHT: [(&str, &str); 6] = [
    ("target_url", "https://anna:s3cr3t@example.org/in"),
    ("enabled", "on"),
    ("action_types", "pretix.event.order.paid"),
    ("action_types", "pretix.event.order.changed.*"),
    ("all_events", "all"),
    ("comment", "Mine <b>"),
];

/// Where the pages of the organizer's webhooks are.
async fn below(app: &TestApp) -> String {
    format!("/t/{}/webhooks", app.tenant("bigevents").await)
}

async fn below_company(app: &TestApp) -> String {
    format!("/t/{}/webhooks", app.company().await)
}

/// Those of a form with some fields in place of their own.
fn with<'a>(
    fields: &[(&'a str, &'a str)],
    other: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let kept = fields
        .iter()
        .filter(|(name, _)| other.iter().all(|(own, _)| own != name));
    kept.chain(other).copied().collect()
}

/// The values of hidden fields of this name.
fn hidden(page: &Arrived, name: &str) -> Vec<String> {
    let mark = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let parts = page.body.split(&mark).skip(1);
    parts
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// Sends the form of a page with these fields, and what it hides.
async fn send(
    browser: &mut Browser<'_>,
    page: &Arrived,
    path: &str,
    fields: &[(&str, &str)],
) -> Arrived {
    let version = hidden(page, "version");
    let marks = hidden(page, "was");
    let mut fields = fields.to_vec();
    fields.extend(version.iter().map(|version| ("version", version.as_str())));
    fields.extend(marks.iter().map(|mark| ("was", mark.as_str())));
    browser.post(path, &fields).await
}

async fn webhook(app: &TestApp, id: i64) -> Value {
    let found = asking("GET", &format!("{WEBHOOKS}{id}/"));
    app.ask(found).await.json()
}

async fn stored(app: &TestApp, id: i64) -> Webhook {
    let tenant = app.tenant("bigevents").await;
    let found = app.store.webhook(tenant, model::id::WebhookId(id)).await;
    found.unwrap().unwrap()
}

#[tokio::test]
async fn a_webhook_is_created_by_its_form_with_every_field() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    let form = edit.get(&format!("{below}/new")).await;
    assert_eq!(form.status, 200);
    for words in [
        "Order marked as paid",
        "pretix.event.order.changed.*",
        "Demo Con",
    ] {
        assert!(form.says(words), "{words}");
    }
    let made = edit.post(&format!("{below}/new"), &RIGHT).await;
    assert_eq!(made.leads_to(), (303, &*format!("{below}/1?said=created")));
    assert_eq!(
        webhook(&app, 1).await,
        json!({
            "id": 1,
            "enabled": true,
            "target_url": "https://anna:s3cr3t@example.org/in",
            "all_events": true,
            "limit_events": [],
            "action_types": ["pretix.event.order.changed.*", "pretix.event.order.paid"],
            "comment": "Mine <b>",
        })
    );
    let page = edit.get(&format!("{below}/1?said=created")).await;
    for words in [
        "The webhook is created.",
        "https://***@example.org/in",
        "Mine &#60;b&#62;",
        "Nothing sent yet",
        "Order marked as paid (pretix.event.order.paid)",
        "Send test",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert!(!page.body.contains("s3cr3t"));
    let tenant = app.tenant("bigevents").await;
    let audit = app.store.audit(tenant, 10).await.unwrap();
    let entry = audit.iter().find(|entry| entry.action == "webhook.created");
    assert_eq!(entry.unwrap().actor, "edit");
}

#[tokio::test]
async fn what_is_wrong_stands_at_its_field_and_above_and_what_was_typed_survives() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = format!("{}/new", below(&app).await);
    let long = "x".repeat(256);
    let typed = [
        ("target_url", "ftp://example.org/\"><b>"),
        ("action_types", "pretix.event.order.paid"),
        ("action_types", "no.such.type"),
        ("all_events", "some"),
        ("limit_events", "democon"),
        ("limit_events", "nosuchcon"),
        ("comment", &long),
    ];
    let page = edit.post(&path, &typed).await;
    assert_eq!(page.status, 422);
    for field in ["target_url", "action_types", "limit_events", "comment"] {
        assert!(
            page.body.contains(&format!("<a href=\"#{field}\">")),
            "{field}"
        );
        assert!(
            page.body.contains(&format!("id=\"{field}-about\"")),
            "{field}"
        );
    }
    assert_eq!(page.body.matches("aria-invalid=\"true\"").count(), 4);
    for words in [
        "Nothing is saved yet",
        "Target URL: Enter a URL that begins with https://",
        "There is no show with the code nosuchcon.",
        "Invalid action type &#34;no.such.type&#34;.",
        "no more than 255 characters",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert!(
        page.body
            .contains("ftp://example.org/&#34;&#62;&#60;b&#62;")
    );
    assert!(page.body.contains(&long));
    let checked = |value: &str| page.body.contains(&format!("value=\"{value}\" checked"));
    for value in [
        "pretix.event.order.paid",
        "no.such.type",
        "democon",
        "nosuchcon",
        "some",
    ] {
        assert!(checked(value), "{value}");
    }
    assert!(!checked("pretix.event.order.placed") && !checked("all"));
    assert_eq!(app.ask(asking("GET", WEBHOOKS)).await.json()["count"], 0);
}

#[tokio::test]
async fn a_form_takes_what_the_resource_takes_and_refuses_what_it_refuses() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let path = format!("{}/new", below(&app).await);
    let long = format!("https://example.org/{}", "a".repeat(1_010));
    let urls = [
        "",
        " ",
        "x",
        "http://localhost",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://a@b@c.org/",
        "https://münchen.example/ä",
        "http://[::1]:8080/x",
        "//example.org",
        "https://example.org/a b",
        "HTTPS://EXAMPLE.ORG",
        "https://user:pw@example.org/#x",
        &long,
    ];
    let comments = [
        "",
        " x ",
        "a\0b",
        "two\nlines",
        &"ü".repeat(255),
        &"ü".repeat(256),
    ];
    let types = [
        "pretix.event.order.paid",
        "pretix.event.order.*",
        "",
        "pretix.event.item.*",
    ];
    let shows: [&[&str]; 4] = [&[], &["democon"], &["democon", "democon"], &["DEMOCON"]];
    let mut cases = Vec::new();
    cases.extend(urls.map(|url| (url, comments[1], types[0], shows[0])));
    cases.extend(
        comments
            .iter()
            .map(|own| ("https://example.org/", *own, types[0], shows[0])),
    );
    cases.extend(types.map(|own| ("https://example.org/", "", own, shows[1])));
    cases.extend(shows.map(|own| ("https://example.org/", "", types[0], own)));
    for case in cases {
        agree(&app, &mut edit, &path, case).await;
    }
}

/// Target URL, comment, action type, shows.
type Case<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

/// A program and a person give the same, and hear the same.
async fn agree(app: &TestApp, edit: &mut Browser<'_>, path: &str, case: Case<'_>) {
    let (url, comment, kind, shows) = case;
    let body = json!({
        "target_url": url, "comment": comment, "action_types": [kind],
        "all_events": false, "limit_events": shows,
    });
    let by_program = asking("POST", WEBHOOKS).json(body.to_string());
    let by_program = app.ask(by_program).await;
    let mut typed = vec![
        ("target_url", url),
        ("comment", comment),
        ("enabled", "on"),
        ("action_types", kind),
        ("all_events", "some"),
    ];
    typed.extend(shows.iter().map(|show| ("limit_events", *show)));
    let by_form = edit.post(path, &typed).await;
    let both = (by_program.status.as_u16(), by_form.status.as_u16());
    assert!(matches!(both, (201, 303) | (400, 422)), "{body}: {both:?}");
    if both == (201, 303) {
        let id = by_program.json()["id"].as_i64().unwrap();
        let (mut one, mut two) = (webhook(app, id).await, webhook(app, id + 1).await);
        one["id"] = Value::Null;
        two["id"] = Value::Null;
        // To people no comment and an empty one are the same.
        if one["comment"] == "" {
            one["comment"] = Value::Null;
        }
        assert_eq!(one, two);
    }
}

#[tokio::test]
async fn credentials_are_not_shown_after_saving_and_stay_if_they_are_not_touched() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    edit.post(&format!("{below}/new"), &RIGHT).await;
    let path = format!("{below}/1/edit");
    let form = edit.get(&path).await;
    assert!(form.body.contains("value=\"https://***@example.org/in\""));
    assert!(!form.body.contains("s3cr3t"));
    let url = |url| with(&RIGHT, &[("target_url", url)]);
    // Nothing changed: nothing is written.
    let same = url("https://***@example.org/in");
    let saved = send(&mut edit, &form, &path, &same).await;
    assert_eq!(
        saved.leads_to(),
        (303, &*format!("{below}/1?said=unchanged"))
    );
    assert_eq!(stored(&app, 1).await.version, 1);
    // Another path of the same host keeps them.
    let moved = url("https://***@example.org/other");
    let saved = send(&mut edit, &form, &path, &moved).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    assert_eq!(
        stored(&app, 1).await.target_url,
        "https://anna:s3cr3t@example.org/other"
    );
    // Another host does not get them.
    let form = edit.get(&path).await;
    let stolen = url("https://***@evil.example/in");
    let refused = send(&mut edit, &form, &path, &stolen).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("The host is another one: type its user and password"));
    assert!(!refused.body.contains("s3cr3t"));
}

#[tokio::test]
async fn what_somebody_else_changed_meanwhile_is_shown_beside_what_was_typed() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    edit.post(&format!("{below}/new"), &RIGHT).await;
    let path = format!("{below}/1/edit");
    let form = edit.get(&path).await;
    let theirs = json!({"comment": "Theirs", "enabled": false});
    let changed = asking("PATCH", &format!("{WEBHOOKS}1/")).json(theirs.to_string());
    assert_eq!(app.ask(changed).await.status, 200);
    let mine = with(
        &RIGHT,
        &[
            ("comment", "Typed"),
            ("target_url", "https://***@example.org/typed"),
        ],
    );
    let page = send(&mut edit, &form, &path, &mine).await;
    assert_eq!(page.status, 409);
    for words in [
        "Somebody else changed this webhook meanwhile",
        "all,",
        "Somebody else changed this to: Theirs. Saving replaces that by what is here.",
        "Somebody else changed this to: off.",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    // What was typed is there, and what only they changed is theirs.
    assert!(page.body.contains("Typed</textarea>"));
    assert!(page.body.contains("https://***@example.org/typed"));
    assert!(!page.body.contains("name=\"enabled\" value=\"on\" checked"));
    assert_eq!(webhook(&app, 1).await["comment"], "Theirs");
    // Saving what the page shows now is what was meant.
    let resolved: Vec<_> = mine
        .into_iter()
        .filter(|(name, _)| *name != "enabled")
        .collect();
    let saved = send(&mut edit, &page, &path, &resolved).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    let now = webhook(&app, 1).await;
    assert_eq!(
        (&now["comment"], &now["enabled"]),
        (&json!("Typed"), &json!(false))
    );
    assert_eq!(now["target_url"], "https://anna:s3cr3t@example.org/typed");
}

#[tokio::test]
async fn what_the_form_does_not_know_any_more_stays_and_is_seen() {
    let app = TestApp::with(DialectOptions {
        extra_action_types: vec![ActionType {
            key: "plugin.badge.*".to_owned(),
            label: "Badge printed".to_owned(),
            help: String::new(),
        }],
        ..DialectOptions::default()
    })
    .await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    let form = edit.get(&format!("{below}/new")).await;
    assert!(form.says("More of this server") && form.says("Badge printed plugin.badge.*"));
    edit.post(&format!("{below}/new"), &RIGHT).await;
    let old = stored(&app, 1).await;
    let settings = r#"{"all_events":false,"limit_events":["gonecon","democon"],
        "action_types":["gone.type","pretix.event.order.paid"],"comment":null}"#;
    let odd = Webhook {
        settings: settings.to_owned(),
        ..old
    };
    let saved = app.store.save_webhook(odd, "test".to_owned(), app.now());
    saved.await.unwrap();
    let path = format!("{below}/1/edit");
    let form = edit.get(&path).await;
    assert!(form.says("Not registered any more") && form.says("Not known here (any more)."));
    let same = [
        ("target_url", "https://***@example.org/in"),
        ("enabled", "on"),
        ("action_types", "pretix.event.order.paid"),
        ("action_types", "gone.type"),
        ("all_events", "some"),
        ("limit_events", "democon"),
        ("limit_events", "gonecon"),
        ("comment", "New"),
    ];
    let saved = send(&mut edit, &form, &path, &same).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    let settings: Value = serde_json::from_str(&stored(&app, 1).await.settings).unwrap();
    assert_eq!(settings["limit_events"], json!(["gonecon", "democon"]));
    assert_eq!(
        settings["action_types"],
        json!(["gone.type", "pretix.event.order.paid"])
    );
}

#[tokio::test]
async fn disabling_says_what_it_cancels_and_enabling_undoes_it() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    edit.post(&format!("{below}/new"), &RIGHT).await;
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    let asked = edit.get(&format!("{below}/1/disable")).await;
    assert!(asked.says("1 delivery that is waiting to be sent will be cancelled."));
    let done = edit.post(&format!("{below}/1/disable"), &[]).await;
    assert_eq!(done.leads_to(), (303, &*format!("{below}/1?said=disabled")));
    assert!(app.due().await.is_empty());
    let page = edit.get(&format!("{below}/1")).await;
    assert!(page.says("Disabled since") && page.says("Somebody switched it off"));
    assert!(!page.body.contains("id=\"send-test\""));
    let again = edit.post(&format!("{below}/1/disable"), &[]).await;
    assert_eq!(
        again.leads_to(),
        (303, &*format!("{below}/1?said=unchanged"))
    );
    let enabled = edit.post(&format!("{below}/1/enable"), &[]).await;
    assert_eq!(
        enabled.leads_to(),
        (303, &*format!("{below}/1?said=enabled"))
    );
    assert!(stored(&app, 1).await.enabled());
    // This dialect's resource cannot delete, and so its pages cannot.
    for path in [format!("{below}/1/delete"), format!("{below}/2")] {
        assert_eq!(edit.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(
        edit.post(&format!("{below}/1/delete"), &[]).await.status,
        404
    );
}

#[tokio::test]
async fn a_webhook_that_its_receiver_switched_off_says_so() {
    let app = TestApp::new().await;
    let mut look = app.browser_with(Role::Look).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let old = stored(&app, 1).await;
    let gone = Disablement {
        at: app.now(),
        cause: DisableCause::Gone,
    };
    let off = Webhook {
        disabled: Some(gone),
        ..old
    };
    let saved = app.store.save_webhook(off, "test".to_owned(), app.now());
    saved.await.unwrap();
    let page = look.get(&format!("{}/1", below(&app).await)).await;
    assert!(page.says("410 Gone") && page.says("Enable it once the receiver is back."));
    assert!(!page.body.contains("id=\"enable\""), "look may not enable");
}

#[tokio::test]
async fn a_company_creates_and_deletes_with_the_pair_as_one_field() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let below = below_company(&app).await;
    let form = root.get(&format!("{below}/new")).await;
    for words in [
        "order: paid",
        "Fires when an event is created. With",
        "it also fires when an order, a product, a scanner or a ticket is created.",
        "when an order is paid",
    ] {
        assert!(form.says(words), "{words}: {}", form.words());
    }
    assert!(!form.says("shop: create"), "nothing creates shops");
    let fields = [
        ("name", "Mine"),
        ("url", "https://anna:s3cr3t@example.org/in"),
        ("trigger", "ticket.paid"),
        ("triggered_by_child_resources", "on"),
        ("identifier", COMPANY),
        ("retries", "0"),
    ];
    let made = root.post(&format!("{below}/new"), &fields).await;
    assert_eq!(made.leads_to(), (303, &*format!("{below}/1?said=created")));
    let list = app.ask(bearing("GET", "/webhook")).await.json();
    let one = &list[0];
    assert_eq!(
        (
            &one["name"],
            &one["resource"],
            &one["trigger"],
            &one["retries"]
        ),
        (&json!("Mine"), &json!("ticket"), &json!("paid"), &json!(0))
    );
    assert_eq!(one["triggered_by_child_resources"], true);
    assert_eq!(one["identifier"], COMPANY);
    let nonce = one["nonce"].as_str().unwrap();
    let guid = one["guid"].as_str().unwrap();
    let page = root.get(&format!("{below}/1")).await;
    assert!(
        page.says(nonce) && page.says(guid) && page.says("Fires when an order or a shop is paid.")
    );
    assert!(!page.body.contains("anna"));
    let looker = app.user("looker", false).await;
    app.role(looker.id, app.company().await, Some(Role::Look))
        .await;
    let mut look = app.browser_of(looker.id).await;
    let seen = look.get(&format!("{below}/1")).await;
    assert!(!seen.body.contains(nonce) && seen.says("Shown to those who may edit webhooks"));
    let asked = root.get(&format!("{below}/1/delete")).await;
    assert!(asked.says("Delete “Mine”?") && asked.says("It cannot be brought back"));
    let done = root.post(&format!("{below}/1/delete"), &[]).await;
    assert_eq!(done.status, 303);
    assert_eq!(root.get(&format!("{below}/1")).await.status, 404);
    assert_eq!(app.ask(bearing("GET", "/webhook")).await.json(), json!([]));
}

#[tokio::test]
async fn a_pair_that_nothing_fires_is_kept_with_its_doubt_and_refused_if_strict() {
    let app = TestApp::new().await;
    app.hook("shop", "create").await;
    let mut root = app.administrator().await;
    let below = below_company(&app).await;
    let page = root.get(&format!("{below}/1")).await;
    assert!(page.says("It may never be called") && page.says("Nothing is known to trigger"));
    let form = root.get(&format!("{below}/1/edit")).await;
    assert!(form.body.contains("value=\"shop.create\""));
    assert!(form.says("Nothing is known to trigger"));
    let fields = [
        ("name", "Renamed"),
        ("url", "https://***@example.org/hook"),
        ("trigger", "shop.create"),
        ("retries", ""),
    ];
    let saved = send(&mut root, &form, &format!("{below}/1/edit"), &fields).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    let one = &app.ask(bearing("GET", "/webhook")).await.json()[0];
    assert_eq!(
        (&one["name"], &one["retries"]),
        (&json!("Renamed"), &json!(3))
    );
    assert_eq!(one["url"], "https://user:pass@example.org/hook");

    let strict = TestApp::with(DialectOptions {
        strict_triggers: true,
        ..DialectOptions::default()
    })
    .await;
    let mut root = strict.administrator().await;
    let path = format!("{}/new", below_company(&strict).await);
    let typed = with(&fields, &[("url", "https://example.org/")]);
    let refused = root.post(&path, &typed).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("Resource and trigger: Nothing is known to trigger"));
    let bad = [
        ("trigger", ""),
        ("identifier", "x"),
        ("retries", "26"),
        ("url", "x"),
    ];
    let refused = root.post(&path, &bad).await;
    for words in [
        "Name: The name field is required.",
        "Destination URL: The url must be absolute",
        "Resource and trigger: Choose a resource and a trigger.",
        "Identifier: The identifier must be the GUID",
        "Retries: The retries must be an integer between 0 and 25.",
    ] {
        assert!(refused.says(words), "{words}: {}", refused.words());
    }
}

#[tokio::test]
async fn anothers_webhook_is_as_good_as_none() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut root = app.administrator().await;
    let (organizer, company) = (below(&app).await, below_company(&app).await);
    for path in ["", "/edit", "/test", "/disable", "/test/1"] {
        for other in [format!("{organizer}/1{path}"), format!("{company}/2{path}")] {
            assert_eq!(root.get(&other).await.status, 404, "{other}");
        }
    }
    for path in ["/edit", "/enable", "/disable", "/delete", "/test"] {
        let other = format!("{organizer}/1{path}");
        assert_eq!(root.post(&other, &RIGHT).await.status, 404, "{other}");
    }
    assert!(stored(&app, 2).await.enabled());
}

#[tokio::test]
async fn a_form_of_very_many_shows_stays_small_and_takes_the_others_by_name() {
    let app = TestApp::new().await;
    for first in 0..3 {
        let one = |n: usize| {
            let show = first * 1_000 + n;
            format!(r#"{{"event":"a-rather-long-show-{show}","action":"pretix.event.added"}}"#)
        };
        let batch: Vec<String> = (0..1_000).map(one).collect();
        let body = format!("[{}]", batch.join(","));
        assert_eq!(app.ask(asking("POST", INTAKE).json(body)).await.status, 201);
    }
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    let form = edit.get(&format!("{below}/new")).await;
    assert!(form.body.len() < 100 * 1_024, "{} bytes", form.body.len());
    let typed = with(
        &RIGHT,
        &[
            ("all_events", "some"),
            ("limit_events", "democon"),
            (
                "more_events",
                "a-rather-long-show-7\r\n a-rather-long-show-2999 \r\n",
            ),
        ],
    );
    let made = edit.post(&format!("{below}/new"), &typed).await;
    assert_eq!(made.leads_to().0, 303, "{}", made.words());
    let settings: Value = serde_json::from_str(&stored(&app, 1).await.settings).unwrap();
    assert_eq!(settings["limit_events"].as_array().unwrap().len(), 3);
    let form = edit.get(&format!("{below}/1/edit")).await;
    assert!(form.body.contains("value=\"a-rather-long-show-7\" checked"));
    let wrong = with(&typed, &[("more_events", "no-such-show")]);
    let refused = edit.post(&format!("{below}/new"), &wrong).await;
    assert!(refused.says("There is no show with the code no-such-show."));
    assert!(refused.body.contains("no-such-show</textarea>"));
}

#[tokio::test]
async fn the_form_says_so_if_there_are_as_many_webhooks_as_there_may_be() {
    let troubled = Arc::new(FaultyStore::new());
    let app = TestApp::over(troubled.clone(), &DialectOptions::default()).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    troubled.next(InjectedFault::Refuse(StoreError::TooManyWebhooks));
    let refused = edit.post(&format!("{below}/new"), &RIGHT).await;
    assert_eq!(refused.status, 400);
    assert!(refused.says("There are 10000 webhooks already"));
    assert_eq!(edit.post(&format!("{below}/new"), &RIGHT).await.status, 303);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_no_change_by_somebody_else() {
    let troubled = Arc::new(FaultyStore::new());
    let app = TestApp::over(troubled.clone(), &DialectOptions::default()).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = below(&app).await;
    edit.post(&format!("{below}/new"), &RIGHT).await;
    let path = format!("{below}/1/edit");
    let form = edit.get(&path).await;
    troubled.next(InjectedFault::LoseAnswer);
    let fields = with(&RIGHT, &[("comment", "New")]);
    let saved = send(&mut edit, &form, &path, &fields).await;
    assert_eq!(saved.leads_to(), (303, &*format!("{below}/1?said=saved")));
    assert_eq!(stored(&app, 1).await.version, 2);
}

const FIELDS: [&str; 16] = [
    "target_url",
    "enabled",
    "action_types",
    "all_events",
    "limit_events",
    "more_events",
    "comment",
    "name",
    "url",
    "trigger",
    "triggered_by_child_resources",
    "identifier",
    "retries",
    "version",
    "was",
    "kind",
];

const VALUES: [&str; 16] = [
    "https://example.org/in",
    "https://***@example.org/hook",
    "https://***@/",
    "***@",
    "://***@",
    "some",
    "on",
    "democon",
    "pretix.event.order.paid",
    "order.paid",
    "shop.create",
    ".",
    "order.",
    "25",
    "1",
    COMPANY,
];

#[test]
fn whatever_is_typed_is_saved_or_refused_with_its_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (app, paths) = runtime.block_on(async {
        let app = TestApp::new().await;
        app.hook("order", "paid").await;
        app.webhook(&["pretix.event.order.paid"]).await;
        app.user("root", true).await;
        let (own, company) = (below(&app).await, below_company(&app).await);
        let paths = [
            format!("{own}/new"),
            format!("{own}/2/edit"),
            format!("{own}/2/test"),
            format!("{company}/new"),
            format!("{company}/1/edit"),
            format!("{company}/1/test"),
        ];
        (app, paths)
    });
    let root = runtime.block_on(async {
        let users = app.store.users(None).await.unwrap();
        std::cell::RefCell::new(app.browser_of(users[0].id).await)
    });
    let value = prop_oneof![
        3 => prop::sample::select(&VALUES[..]).prop_map(str::to_owned),
        2 => hostile_text(),
        1 => Just("\u{fffd}<".repeat(3_000)),
    ];
    let fields = prop::collection::vec((prop::sample::select(&FIELDS[..]), value), 0..10);
    let typed = (prop::sample::select(paths.to_vec()), fields);
    let mut runner = TestRunner::new(Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    });
    let judged = runner.run(&typed, |(path, fields)| {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
        let fields: Vec<(&str, &str)> = fields.collect();
        let answer = runtime.block_on(root.borrow_mut().post(&path, &fields));
        let status = answer.status.as_u16();
        prop_assert!(
            matches!(status, 303 | 409 | 413 | 422),
            "{}: {}",
            path,
            status
        );
        prop_assert!(status != 422 || answer.body.contains("role=\"alert\""));
        prop_assert!(status != 409 || answer.body.contains("id=\"meanwhile\""));
        Ok(())
    });
    judged.unwrap();
}

#[tokio::test]
async fn a_pause_is_told_on_the_page_of_its_webhook() {
    let app = TestApp::new().await;
    app.hook("order", "paid").await;
    let body = json!({"resource": "order", "trigger": "paid", "guid": COMPANY, "data": {}});
    app.ask(bearing("POST", "/trigger").json(body.to_string()))
        .await;
    let now = app.now();
    let due = &app.due().await[0];
    let answer = HttpResponse {
        status: 503,
        headers: Headers::default(),
        body: Bytes::new(),
        body_end: BodyEnd::Whole,
        note: None,
    };
    let settlement = Settlement {
        stale: None,
        id: due.delivery.id,
        round: due.delivery.round,
        attempts: due.delivery.attempts,
        webhook_version: 1,
        ended_at: now,
        attempt: Attempt {
            began_at: now,
            duration_ms: 1,
            url: "".into(),
            request_headers: Headers::default(),
            outcome: Outcome::Answered(answer),
        },
        next: NextState {
            pauses_until: Some(now.plus_ms(600_000)),
            state: DeliveryState::Pending,
            due_at: Some(now.plus_ms(600_000)),
            began_at: now,
            round_began_at: now,
            disables_webhook: false,
            early: false,
        },
        handshake: None,
    };
    app.store
        .settle(Epoch::FIRST, [settlement].into())
        .await
        .unwrap();
    let mut root = app.administrator().await;
    let path = format!("{}/1", below_company(&app).await);
    let page = root.get(&path).await;
    for words in [
        "Paused because its receiver asked for a pause, until 2026-11-20 18:10:00 UTC",
        "The latest call failed. What failed is tried again by itself.",
        "Answered 503, failed",
        "0 delivered, 1 failed attempt tried again",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    app.pass_ms(600_001);
    let page = root.get(&path).await;
    assert!(page.says("Failing since"));
    assert!(
        page.says("Next attempt one call every 10 s finds out whether it is back, then"),
        "{}",
        page.words()
    );
}
