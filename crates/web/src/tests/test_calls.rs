//! Tests that programs send over REST: the same as those of the dashboard.

use serde_json::json;

use super::harness::{Asking, TestApp, asking, bearing};
use super::pages::past::PAID;

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/test/";

fn post(body: &str) -> Asking {
    asking("POST", OWN).json(body)
}

#[tokio::test]
async fn a_test_is_a_delivery_to_this_webhook_alone() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.webhook(&[PAID]).await;
    let kinds = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(kinds["kinds"][0]["kind"], PAID);
    let sent = app.ask(post(&json!({ "kind": PAID }).to_string())).await;
    assert_eq!(sent.status, 202, "{}", sent.body);
    let told = sent.json();
    assert_eq!(
        (&told["id"], &told["status"]),
        (&json!("dlv_1_1"), &json!("pending"))
    );
    assert_eq!(told["action_type"], PAID);
    let due = app.due().await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].delivery.id.to_string(), "dlv_1_1");
}

#[tokio::test]
async fn a_kind_that_the_webhook_does_not_want_is_refused_with_those_it_wants() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    for (body, words) in [
        ("{}", "It is needed."),
        ("{\"kind\":7}", "It has to be a text."),
        (
            "{\"kind\":\"odd\"}",
            "It has to be one that the webhook wants: pretix.event.order.paid.",
        ),
    ] {
        let refused = app.ask(post(body)).await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.json(), json!({ "kind": [words] }), "{body}");
    }
    assert!(app.due().await.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_to_a_webhook_that_is_disabled_or_by_whoever_may_only_read() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    let body = json!({ "kind": PAID }).to_string();
    assert_eq!(app.ask(post(&body).by("tokenread")).await.status, 403);
    let one = "/api/v1/organizers/bigevents/webhooks/1/";
    assert_eq!(app.ask(asking("DELETE", one)).await.status, 204);
    assert_eq!(app.ask(post(&body)).await.status, 409);
    assert!(app.due().await.is_empty());
}

#[tokio::test]
async fn a_company_tests_its_webhook_by_its_guid() {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    let own = format!("/webhook/{}/willcall/test", hook.guid);
    let kinds = app.ask(bearing("GET", &own)).await.json();
    assert_eq!(kinds["webhook"], hook.guid);
    let kind = kinds["kinds"][0]["kind"].to_string();
    let body = format!("{{\"kind\":{kind}}}");
    let sent = app.ask(bearing("POST", &own).json(body)).await;
    assert_eq!(sent.status, 202, "{}", sent.body);
    assert_eq!(sent.json()["webhook_id"], hook.guid);
    assert_eq!(sent.json()["status"], "pending");
    let odd = app
        .ask(bearing("POST", &own).json("{\"kind\":\"odd\"}"))
        .await;
    assert_eq!(odd.status, 422);
}
