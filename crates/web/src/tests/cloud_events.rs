//! CloudEvents over REST: chosen, shown and left, in the same way by each dialect.

use serde_json::{Value, json};

use super::harness::{Asking, TestApp, asking, bearing};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/cloudevents/";

/// What is shown of a mode without a handshake.
fn shown_as(mode: Option<&str>) -> Value {
    json!({ "mode": mode, "handshake": false, "handshake_state": null })
}

fn put(body: &Value) -> Asking {
    asking("PUT", OWN).json(body.to_string())
}

#[tokio::test]
async fn a_mode_is_chosen_shown_and_left() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let shown = async || app.ask(asking("GET", OWN)).await.json();
    assert_eq!(shown().await, shown_as(None));
    for mode in ["binary", "structured"] {
        let chosen = app.ask(put(&json!({ "mode": mode }))).await;
        assert_eq!(chosen.status, 200, "{}", chosen.body);
        assert_eq!(chosen.json(), shown_as(Some(mode)));
        assert_eq!(shown().await, shown_as(Some(mode)));
    }
    for _ in 0..2 {
        let left = app.ask(asking("DELETE", OWN)).await;
        assert_eq!(left.told(), (204, ""));
    }
    assert_eq!(shown().await, shown_as(None));
}

#[tokio::test]
async fn the_resource_of_webhooks_does_not_change_by_a_mode() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let show = || asking("GET", "/api/v1/organizers/bigevents/webhooks/1/");
    let before = app.ask(show()).await;
    let chosen = app.ask(put(&json!({ "mode": "binary" }))).await;
    assert_eq!(chosen.status, 200);
    assert_eq!(app.ask(show()).await.body, before.body);
}

#[tokio::test]
async fn what_is_no_mode_is_refused_by_its_field() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    for (body, field) in [
        (json!({}), "mode"),
        (json!({ "mode": null }), "mode"),
        (json!({ "mode": "batched" }), "mode"),
        (json!({ "mode": 1 }), "mode"),
        (json!({ "mode": "binary", "source": "/a" }), "source"),
    ] {
        let refused = app.ask(put(&body)).await;
        assert_eq!(refused.status, 400, "{body}");
        let told = refused.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(told[field].is_array(), "{told}");
    }
}

#[tokio::test]
async fn calls_of_the_other_dialect_can_be_events_too() {
    let app = TestApp::new().await;
    let webhook = app.hook("shop", "create").await;
    let own = format!("/webhook/{}/willcall/cloudevents", webhook.guid);
    let chosen = bearing("PUT", &own).json(r#"{"mode":"structured"}"#);
    assert_eq!(app.ask(chosen).await.status, 200);
    let shown = app.ask(bearing("GET", &own)).await;
    assert_eq!(shown.json(), shown_as(Some("structured")));
    let refused = bearing("PUT", &own).json(r#"{"mode":"none"}"#);
    assert_eq!(app.ask(refused).await.status, 422);
    assert_eq!(app.ask(bearing("DELETE", &own)).await.status, 204);
}
