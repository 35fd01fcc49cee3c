//! Pausing a webhook and resuming it, over REST and on the dashboard.

use model::users::Role;
use serde_json::{Value, json};

use super::harness::{Asking, TestApp, asking, bearing};
use super::pages::past::{PAID, answered};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/pause/";
const RESOURCE: &str = "/api/v1/organizers/bigevents/webhooks/1/";

fn put(body: &Value) -> Asking {
    asking("PUT", OWN).json(body.to_string())
}

#[tokio::test]
async fn a_webhook_is_paused_and_resumed_and_its_resource_stays_byte_for_byte() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    let before = app.ask(asking("GET", RESOURCE)).await.body;
    let none = json!({
        "paused": false, "by": null, "since": null, "waiting": { "count": 0, "more": false },
    });
    assert_eq!(app.ask(asking("GET", OWN)).await.json(), none);
    let paused = app.ask(put(&json!({ "paused": true }))).await;
    assert_eq!(paused.status, 200, "{}", paused.body);
    let paused = paused.json();
    assert_eq!(paused["paused"], true);
    assert_eq!(paused["since"], json!(app.now().to_string()));
    app.order("A", "democon").await;
    let shown = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(shown["waiting"]["count"], 1);
    assert_eq!(app.ask(asking("GET", RESOURCE)).await.body, before);
    let resumed = app
        .ask(put(&json!({ "paused": false, "calls_per_second": 0.5 })))
        .await;
    assert_eq!(resumed.json()["paused"], false, "{}", resumed.body);
    assert_eq!(app.ask(asking("GET", RESOURCE)).await.body, before);
}

#[tokio::test]
async fn every_wrong_field_of_a_pause_is_refused_by_name() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    for (body, field) in [
        (json!({}), "paused"),
        (json!({ "paused": "yes" }), "paused"),
        (
            json!({ "paused": true, "calls_per_second": 5 }),
            "calls_per_second",
        ),
        (
            json!({ "paused": false, "calls_per_second": 0 }),
            "calls_per_second",
        ),
        (
            json!({ "paused": false, "calls_per_second": "5" }),
            "calls_per_second",
        ),
        (json!({ "paused": true, "until": "never" }), "until"),
    ] {
        let refused = app.ask(put(&body)).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.body);
        assert!(refused.json().get(field).is_some(), "{}", refused.body);
    }
    assert_eq!(app.ask(asking("GET", OWN)).await.json()["paused"], false);
    app.ask(asking("DELETE", RESOURCE)).await;
    let refused = app.ask(put(&json!({ "paused": true }))).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
}

#[tokio::test]
async fn the_other_dialect_pauses_under_its_own_path() {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    let own = format!("/webhook/{}/willcall/pause", hook.guid);
    let paused = app
        .ask(bearing("PUT", &own).json(r#"{"paused":true}"#))
        .await;
    assert_eq!(paused.json()["paused"], true, "{}", paused.body);
    assert_eq!(app.ask(bearing("GET", &own)).await.json(), paused.json());
}

#[tokio::test]
async fn a_pause_is_made_on_the_dashboard_which_says_by_whom_and_how_many_wait() {
    let app = TestApp::new().await;
    app.webhook(&[PAID]).await;
    app.order("A", "democon").await;
    app.attempt(&answered(500, "")).await;
    let path = format!("/t/{}", app.tenant("bigevents").await);
    let own = format!("{path}/webhooks/1");
    let mut browser = app.browser_with(Role::Edit).await;
    assert!(browser.get(&own).await.says("Failing since"));
    let page = browser.get(&format!("{own}/pause")).await;
    assert!(page.says("Now 1 delivery waits"), "{}", page.words());
    let done = browser.post(&format!("{own}/pause"), &[]).await;
    assert_eq!(
        done.header("location"),
        Some(format!("{own}?said=paused").as_str())
    );
    for path in [own.as_str(), path.as_str()] {
        let page = browser.get(path).await;
        assert!(page.says("Paused by "), "{path}: {}", page.words());
        assert!(page.says("1 delivery waits"), "{path}: {}", page.words());
        assert!(!page.says("Failing since"), "{path}: {}", page.words());
    }
    let page = browser.get(&format!("{own}/pause")).await;
    assert!(page.says("1 delivery waits, the oldest since"));
    let wrong = [("calls_per_second", "many")];
    let wrong = browser.post(&format!("{own}/resume"), &wrong).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("value=\"many\""));
    let rate = [("calls_per_second", "2")];
    let done = browser.post(&format!("{own}/resume"), &rate).await;
    assert_eq!(
        done.header("location"),
        Some(format!("{own}?said=resumed").as_str())
    );
    assert!(browser.get(&own).await.says("Failing since"));
    let audit = browser.get(&format!("{path}/settings/audit")).await;
    assert!(audit.says("paused the webhook") && audit.says("resumed the webhook"));
}
