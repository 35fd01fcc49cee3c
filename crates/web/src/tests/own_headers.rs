//! Own headers over REST: added, replaced, removed, never shown, in the same way by each dialect.

use model::id::WebhookId;
use model::limits::OWN_HEADERS_MAX;
use model::signing::Keyring;
use serde_json::{Value, json};

use super::harness::{Asking, MASTER_KEY, TestApp, asking, bearing};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/headers/";

fn post(path: &str, body: &Value) -> Asking {
    asking("POST", path).json(body.to_string())
}

async fn app() -> TestApp {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app
}

/// Adds a header; answers the status.
async fn add(app: &TestApp, name: &str, value: &str) -> http::StatusCode {
    let body = json!({ "name": name, "value": value });
    app.ask(post(OWN, &body)).await.status
}

#[tokio::test]
async fn a_value_is_stored_sealed_and_shown_by_no_answer_and_no_audit_entry() {
    let app = app().await;
    let body = json!({ "name": "authorization", "value": "Bearer first-secret" });
    let added = app.ask(post(OWN, &body)).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.header("cache-control"), Some("no-store"));
    let expected = json!({
        "name": "Authorization",
        "value": "***",
        "set_at": app.now().to_string(),
    });
    assert_eq!(added.json(), expected);
    let listed = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(listed, json!({ "headers": [expected] }));
    let one = format!("{OWN}AUTHORIZATION/");
    let replaced = asking("PUT", &one).json(json!({ "value": "Bearer second-secret" }).to_string());
    let replaced = app.ask(replaced).await;
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    let shown = app.ask(asking("GET", &one)).await;
    assert_eq!(shown.json(), replaced.json());
    let stored = app.store.own_headers_behind(None, 9).await.unwrap();
    let keyring = Keyring::parse(MASTER_KEY).unwrap();
    let header = &stored[0].header;
    let opened = keyring.open(WebhookId(1), &header.name, &header.sealed);
    assert_eq!(opened.unwrap().text(), "Bearer second-secret");
    let audit = app.store.audit(stored[0].tenant, 9).await.unwrap();
    assert_eq!(audit[0].action, "header.changed");
    assert_eq!(audit[1].action, "header.added");
    let told = format!("{audit:?}{}{}{}", added.body, replaced.body, shown.body);
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn the_resource_of_webhooks_does_not_change_by_an_own_header() {
    let app = app().await;
    let show = || asking("GET", "/api/v1/organizers/bigevents/webhooks/1/");
    let before = app.ask(show()).await;
    assert_eq!(add(&app, "X-Key", "secret").await, 201);
    assert_eq!(app.ask(show()).await.body, before.body);
}

#[tokio::test]
async fn a_removed_own_header_is_gone() {
    let app = app().await;
    assert_eq!(add(&app, "X-Key", "secret").await, 201);
    let one = format!("{OWN}x-key/");
    let removed = app.ask(asking("DELETE", &one)).await;
    assert_eq!(removed.told(), (204, ""));
    for method in ["GET", "DELETE"] {
        assert_eq!(app.ask(asking(method, &one)).await.status, 404);
    }
    let replaced = asking("PUT", &one).json(r#"{"value":"a"}"#);
    assert_eq!(app.ask(replaced).await.status, 404);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let app = app().await;
    assert_eq!(add(&app, "X-Key", "secret").await, 201);
    let signatures = "/api/v1/organizers/bigevents/webhooks/1/willcall/signatures/";
    let signed = app.ask(post(signatures, &json!({ "profile": "github" })));
    assert_eq!(signed.await.status, 201);
    for (body, fields) in [
        (json!({}), &["name", "value"][..]),
        (json!({ "name": 1, "value": 2 }), &["name", "value"]),
        (json!({ "name": "a b", "value": "c" }), &["name"]),
        (json!({ "name": "Host", "value": "c" }), &["name"]),
        (json!({ "name": "x-KEY", "value": "c" }), &["name"]),
        (
            json!({ "name": "x-hub-signature-256", "value": "c" }),
            &["name"],
        ),
        (json!({ "name": "X-A", "value": " c" }), &["value"]),
        (
            json!({ "name": "X-A", "value": "c\r\nHost: b" }),
            &["value"],
        ),
        (
            json!({ "name": "X-A", "value": "c", "secret": "x" }),
            &["secret"],
        ),
    ] {
        let refused = app.ask(post(OWN, &body)).await;
        assert_eq!(refused.status, 400, "{body}");
        let told = refused.json();
        let named: Vec<_> = told.as_object().unwrap().keys().collect();
        assert_eq!(named, fields, "{told}");
    }
    let taken = json!({ "profile": "stripe", "header": "X-Key" });
    let refused = app.ask(post(signatures, &taken)).await;
    assert!(refused.json()["header"].is_array(), "{}", refused.body);
    let wrong = asking("PUT", &format!("{OWN}x-key/")).json(r#"{"value":"\u0000"}"#);
    assert!(app.ask(wrong).await.json()["value"].is_array());
    let keyed = post(OWN, &json!({ "name": "X-B", "value": "c" }));
    let keyed = app.ask(keyed.with("X-Idempotency-Key", "a")).await;
    assert_eq!(keyed.status, 400);
    assert!(keyed.body.contains("X-Idempotency-Key"));
}

#[tokio::test]
async fn more_own_headers_than_a_webhook_may_have_are_refused_with_the_limit() {
    let app = app().await;
    for number in 0..OWN_HEADERS_MAX {
        assert_eq!(add(&app, &format!("X-{number}"), "secret").await, 201);
    }
    let more = json!({ "name": "X-More", "value": "secret" });
    let refused = app.ask(post(OWN, &more)).await.json();
    let words = refused["name"][0].as_str().unwrap();
    assert!(words.contains("may have 20 own headers"), "{words}");
    app.webhook(&["pretix.event.order.paid"]).await;
    let other = OWN.replace("webhooks/1", "webhooks/2");
    let long = |name: &str| json!({ "name": name, "value": "a".repeat(4_096) });
    assert_eq!(app.ask(post(&other, &long("X-A"))).await.status, 201);
    let refused = app.ask(post(&other, &long("X-B"))).await.json();
    let words = refused["value"][0].as_str().unwrap();
    assert!(words.contains("8192 bytes together"), "{words}");
}

#[tokio::test]
async fn without_a_master_key_a_value_is_refused_with_the_name_of_the_setting() {
    let app = TestApp::without_master_key().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let body = json!({ "name": "X-Key", "value": "secret" });
    let refused = app.ask(post(OWN, &body)).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("master_key_file"), "{}", refused.body);
    let listed = app.ask(asking("GET", OWN)).await;
    assert_eq!(listed.told(), (200, r#"{"headers":[]}"#));
}

#[tokio::test]
async fn a_webhook_of_the_other_dialect_has_own_headers_in_the_same_way() {
    let app = TestApp::new().await;
    let webhook = app.hook("shop", "create").await;
    let own = format!("/webhook/{}/willcall/headers", webhook.guid);
    let ask = |method, path: &str, body: &str| {
        let asking = bearing(method, path).json(body);
        app.ask(asking)
    };
    let added = ask("POST", &own, r#"{"name":"x-key","value":"secret"}"#).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let one = format!("{own}/X-Key");
    let replaced = ask("PUT", &one, r#"{"value":"another"}"#).await;
    assert_eq!(replaced.json()["name"], "X-Key");
    // What the dialect sets itself is nobody else's.
    for name in [
        "openticket-trigger",
        "OpenTicket-Identifier",
        "OpenTicket-Dedupe-Key",
    ] {
        let body = json!({ "name": name, "value": "forged" }).to_string();
        let refused = ask("POST", &own, &body).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains("itself"), "{}", refused.body);
    }
    let removed = app.ask(bearing("DELETE", &one)).await;
    assert_eq!(removed.status, 204);
}
