//! Limits of a webhook's own, over REST, on the dashboard and in an operator's file.

use model::call_limits::CallBounds;
use model::query::DeclaredWebhook;
use model::rng::SeededRng;
use model::schedule::Schedule;
use model::users::Role;
use serde_json::{Value, json};

use super::harness::{Asking, TestApp, asking, bearing};
use crate::dialects::{DialectOptions, FileError, KnownEvents, all};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/limits/";

fn options() -> DialectOptions {
    let patient = Schedule {
        delays_ms: vec![1_000, 60_000],
        jitter_from_ms: 0,
        jitter_percent: 0,
        final_attempt_after_ms: None,
    };
    DialectOptions {
        bounds: CallBounds {
            calls_at_a_time_max: 8,
            time_limit_ms_max: 20_000,
            origin: None,
            schedules: [("patient".to_owned(), patient)].into(),
        },
        ..DialectOptions::default()
    }
}

async fn app() -> TestApp {
    let app = TestApp::with(options()).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app
}

fn put(body: &Value) -> Asking {
    asking("PUT", OWN).json(body.to_string())
}

fn none() -> Value {
    json!({
        "calls_at_a_time": null, "calls_per_second": null, "time_limit": null, "schedule": null,
    })
}

#[tokio::test]
async fn limits_are_set_shown_and_taken_away() {
    let app = app().await;
    let shown = async || app.ask(asking("GET", OWN)).await.json();
    assert_eq!(shown().await, none());
    let all = json!({
        "calls_at_a_time": 3, "calls_per_second": 0.2, "time_limit": 5, "schedule": "patient",
    });
    let some = json!({ "calls_per_second": 5 });
    for body in [all.clone(), some] {
        let set = app.ask(put(&body)).await;
        assert_eq!(set.status, 200, "{}", set.body);
        // What is left out is none.
        let mut wanted = none();
        for (field, value) in body.as_object().unwrap() {
            wanted[field] = value.clone();
        }
        assert_eq!(set.json(), wanted);
        assert_eq!(shown().await, wanted);
    }
    for _ in 0..2 {
        assert_eq!(app.ask(asking("DELETE", OWN)).await.told(), (204, ""));
    }
    assert_eq!(shown().await, none());
}

#[tokio::test]
async fn every_wrong_limit_is_refused_at_its_field_and_changes_nothing() {
    let app = app().await;
    for (field, value) in [
        ("calls_at_a_time", json!(9)),
        ("calls_at_a_time", json!("3")),
        ("calls_at_a_time", json!(1.5)),
        ("calls_per_second", json!(0)),
        ("calls_per_second", json!(-1)),
        ("calls_per_second", json!(1e300)),
        ("time_limit", json!(21)),
        ("time_limit", json!([5])),
        ("schedule", json!("eager")),
        ("schedule", json!(1)),
        ("speed", json!(1)),
    ] {
        let refused = app.ask(put(&json!({ field: value }))).await;
        assert_eq!(refused.status, 400, "{field} {value}");
        let told = refused.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(told[field].is_array(), "{told}");
    }
    assert_eq!(app.ask(asking("GET", OWN)).await.json(), none());
}

#[tokio::test]
async fn the_resource_of_webhooks_does_not_change_by_limits() {
    let app = app().await;
    let show = || asking("GET", "/api/v1/organizers/bigevents/webhooks/1/");
    let before = app.ask(show()).await;
    assert_eq!(app.ask(put(&json!({ "time_limit": 3 }))).await.status, 200);
    assert_eq!(app.ask(show()).await.body, before.body);
}

#[tokio::test]
async fn webhooks_of_the_other_dialect_have_limits_too() {
    let app = app().await;
    let webhook = app.hook("shop", "create").await;
    let own = format!("/webhook/{}/willcall/limits", webhook.guid);
    let set = bearing("PUT", &own).json(r#"{"calls_per_second":0.5}"#);
    assert_eq!(app.ask(set).await.status, 200);
    let shown = app.ask(bearing("GET", &own)).await.json();
    assert_eq!(shown["calls_per_second"], json!(0.5));
    let refused = bearing("PUT", &own).json(r#"{"time_limit":0}"#);
    assert_eq!(app.ask(refused).await.status, 422);
    assert_eq!(app.ask(bearing("DELETE", &own)).await.status, 204);
}

#[tokio::test]
async fn limits_and_the_form_of_calls_are_chosen_on_the_dashboard() {
    let app = app().await;
    let path = format!("/t/{}/webhooks/1", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Edit).await;
    let calls = format!("{path}/calls");
    assert!(
        browser
            .get(&path)
            .await
            .says("as many as its receiver bears, 8 at most")
    );
    assert!(browser.get(&calls).await.body.contains("value=\"patient\""));
    let good = [
        ("calls_at_a_time", "2"),
        ("calls_per_second", "0.2"),
        ("time_limit", "7"),
        ("schedule", "patient"),
        ("cloud_events", "binary"),
    ];
    let sent = browser.post(&calls, &good).await;
    let place = format!("{path}?said=calls-saved");
    assert_eq!(sent.leads_to(), (303, &*place), "{}", sent.words());
    let shown = browser.get(&place).await;
    for words in [
        "2 at most",
        "0.2 calls a second at most",
        "7 s",
        "patient",
        "a CloudEvent in binary mode",
    ] {
        assert!(shown.says(words), "{words}");
    }
    for (field, wrong) in [
        ("calls_at_a_time", "many"),
        ("calls_per_second", "0"),
        ("time_limit", "21"),
        ("schedule", "eager"),
        ("cloud_events", "xml"),
    ] {
        let fields = good.map(|(name, value)| (name, if name == field { wrong } else { value }));
        let refused = browser.post(&calls, &fields).await;
        assert_eq!(refused.status, 422, "{field}");
        assert!(
            refused.body.contains(&format!("id=\"{field}-fault\"")),
            "{field}"
        );
    }
    // Empty fields are no limits.
    browser.post(&calls, &[("cloud_events", "plain")]).await;
    assert_eq!(app.ask(asking("GET", OWN)).await.json(), none());
}

#[tokio::test]
async fn who_may_only_look_sees_how_a_webhook_is_called_and_changes_nothing() {
    let app = app().await;
    let path = format!("/t/{}/webhooks/1", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Look).await;
    let shown = browser.get(&path).await;
    assert!(shown.says("Calls a second"));
    assert!(!shown.body.contains("/calls\""));
    assert_eq!(browser.get(&format!("{path}/calls")).await.status, 403);
}

fn declared(lines: &str) -> Result<DeclaredWebhook, Vec<FileError>> {
    let text = format!(
        "[[organizer]]\nslug = \"bigevents\"\n[[organizer.webhook]]\n\
         target_url = \"https://example.org/hook\"\nall_events = true\n\
         action_types = [\"pretix.event.order.paid\"]\n{lines}"
    );
    let mut rng = SeededRng::from_seed([1; 32]);
    let read = all(&options()).declare(&text, &KnownEvents::new(), &mut rng);
    read.map(|mut file| file.declarations.remove(0).webhooks.remove(0))
}

#[test]
fn a_file_says_how_a_webhook_is_called_or_leaves_it_as_it_is() {
    let silent = declared("").unwrap();
    assert_eq!((silent.limits, silent.cloud_events), (None, None));
    let said = "calls_per_second = 0.2\ntime_limit = 5\nschedule = \"patient\"\n\
                cloud_events = \"structured\"";
    let said = declared(said).unwrap();
    let limits = said.limits.unwrap();
    assert_eq!(limits.calls_at_a_time, None);
    assert_eq!(limits.time_limit_ms, Some(5_000));
    assert_eq!(limits.typed().calls_per_second.unwrap(), "0.2");
    assert!(matches!(said.cloud_events, Some(Some(_))));
    let none = declared("calls_per_second = \"none\"\ncloud_events = \"none\"").unwrap();
    assert!(none.limits.unwrap().is_empty());
    assert_eq!(none.cloud_events, Some(None));
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    for (line, field) in [
        ("calls_at_a_time = 9", "calls_at_a_time"),
        ("calls_per_second = 0", "calls_per_second"),
        ("calls_per_second = true", "calls_per_second"),
        ("time_limit = 2.5", "time_limit"),
        ("schedule = \"eager\"", "schedule"),
        ("cloud_events = \"xml\"", "cloud_events"),
    ] {
        let wrong = declared(line).unwrap_err();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(wrong[0].field, format!("organizer.webhook.{field}"));
        assert_eq!(wrong[0].line, 7);
    }
}
