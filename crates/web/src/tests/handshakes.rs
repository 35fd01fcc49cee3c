//! Whether receivers are asked before they are called: over REST, on the dashboard and in an
//! operator's file.

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, HttpResponse, Outcome};
use model::call_limits::CallBounds;
use model::cloud_event::{CloudEventChoice, CloudEventMode};
use model::contract::Settlement;
use model::delivery::{DeliveryState, NextState};
use model::handshake::{HandshakeAnswer, HandshakeQuestion, HandshakeVerdict};
use model::lease::Epoch;
use model::query::DeclaredWebhook;
use model::rng::SeededRng;
use model::users::Role;
use model::webhook::Headers;
use serde_json::{Value, json};

use super::harness::{Asking, INTAKE, TestApp, asking, bearing};
use crate::dialects::{DialectOptions, FileError, KnownEvents, all};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/cloudevents/";
const ORIGIN: &str = "tickets.example.org";

fn options(origin: Option<&str>) -> DialectOptions {
    DialectOptions {
        bounds: CallBounds {
            origin: origin.map(str::to_owned),
            ..CallBounds::default()
        },
        ..DialectOptions::default()
    }
}

async fn app(origin: Option<&str>) -> TestApp {
    let app = TestApp::with(options(origin)).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app
}

fn put(body: &Value) -> Asking {
    asking("PUT", OWN).json(body.to_string())
}

async fn shown(app: &TestApp) -> Value {
    app.ask(asking("GET", OWN)).await.json()
}

fn not_asked() -> Value {
    json!({
        "state": "not_asked", "at": null, "origin": null, "calls_per_minute": null, "reason": null,
    })
}

/// Writes down what the receiver answered to the question of now.
async fn answer(app: &TestApp, verdict: HandshakeVerdict) {
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    app.ask(asking("POST", INTAKE).json(body)).await;
    let due = app.due().await.remove(0);
    let tenant = app.tenant("bigevents").await;
    let webhook = due.delivery.id.webhook;
    let events = app.store.cloud_events(tenant, webhook).await.unwrap();
    let since = events.unwrap().handshake.unwrap().since;
    let stored = app.store.webhook(tenant, webhook).await.unwrap().unwrap();
    let now = app.now();
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
            url: stored.target_url.as_str().into(),
            request_headers: Headers::default(),
            outcome: Outcome::Answered(HttpResponse {
                status: 204,
                headers: Headers::default(),
                body: Bytes::new(),
                body_end: BodyEnd::Whole,
                note: None,
            }),
        },
        next: NextState {
            pauses_until: None,
            early: false,
            state: DeliveryState::Delivered,
            due_at: None,
            began_at: now,
            round_began_at: now,
            disables_webhook: false,
        },
        handshake: Some(Box::new(HandshakeAnswer {
            question: HandshakeQuestion::new(since, &stored.target_url, ORIGIN),
            at: now,
            verdict,
        })),
    };
    let settled = app.store.settle(Epoch::FIRST, [settlement].into());
    settled.await.unwrap();
}

#[tokio::test]
async fn a_handshake_goes_with_a_mode_and_its_state_is_shown() {
    let app = app(Some(ORIGIN)).await;
    let chosen = app
        .ask(put(&json!({ "mode": "binary", "handshake": true })))
        .await;
    assert_eq!(chosen.status, 200, "{}", chosen.body);
    let waiting = json!({ "mode": "binary", "handshake": true, "handshake_state": not_asked() });
    assert_eq!(chosen.json(), waiting);
    assert_eq!(shown(&app).await, waiting);
    let at = app.now().to_string();
    let reason = "it answered OPTIONS with 405".to_owned();
    let refused = HandshakeVerdict::Refused { reason };
    answer(&app, refused).await;
    assert_eq!(
        shown(&app).await["handshake_state"],
        json!({
            "state": "refused", "at": at, "origin": ORIGIN, "calls_per_minute": null,
            "reason": "it answered OPTIONS with 405",
        })
    );
    for per_minute in [Some(120), None] {
        app.pass_ms(1_000);
        let at = app.now().to_string();
        answer(&app, HandshakeVerdict::Granted { per_minute }).await;
        assert_eq!(
            shown(&app).await["handshake_state"],
            json!({
                "state": "granted", "at": at, "origin": ORIGIN, "calls_per_minute": per_minute,
                "reason": null,
            })
        );
    }
    // Another mode keeps it; a mode alone has none.
    let other = put(&json!({ "mode": "structured", "handshake": true }));
    let kept = app.ask(other).await.json();
    assert_eq!(kept["handshake_state"]["state"], "granted");
    let alone = app.ask(put(&json!({ "mode": "structured" }))).await.json();
    assert_eq!(alone["handshake"], false);
    assert_eq!(alone["handshake_state"], Value::Null);
}

#[tokio::test]
async fn an_answer_of_another_url_is_not_shown() {
    let app = app(Some(ORIGIN)).await;
    app.ask(put(&json!({ "mode": "binary", "handshake": true })))
        .await;
    answer(&app, HandshakeVerdict::Granted { per_minute: None }).await;
    let moved = json!({ "target_url": "https://other.example.org/" }).to_string();
    let path = "/api/v1/organizers/bigevents/webhooks/1/";
    let moved = app.ask(asking("PATCH", path).json(moved)).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(shown(&app).await["handshake_state"], not_asked());
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_by_its_field() {
    let nameless = app(None).await;
    let named = app(Some(ORIGIN)).await;
    for (app, handshake, words) in [
        (&named, json!("yes"), "true or false"),
        (&named, json!(1), "true or false"),
        (&nameless, json!(true), "allowed_hosts"),
    ] {
        let body = json!({ "mode": "binary", "handshake": handshake });
        let refused = app.ask(put(&body)).await;
        assert_eq!(refused.status, 400, "{body}");
        let told = refused.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        let told = told["handshake"].to_string();
        assert!(told.contains(words), "{told}");
        assert_eq!(shown(app).await["mode"], Value::Null);
    }
    for handshake in [json!(null), json!(false)] {
        let body = json!({ "mode": "binary", "handshake": handshake });
        assert_eq!(nameless.ask(put(&body)).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn receivers_of_the_other_dialect_can_be_asked_too() {
    let app = app(Some(ORIGIN)).await;
    let webhook = app.hook("shop", "create").await;
    let own = format!("/webhook/{}/willcall/cloudevents", webhook.guid);
    let chosen = bearing("PUT", &own).json(r#"{"mode":"structured","handshake":true}"#);
    assert_eq!(app.ask(chosen).await.status, 200);
    let shown = app.ask(bearing("GET", &own)).await.json();
    assert_eq!(shown["handshake_state"], not_asked());
}

#[tokio::test]
async fn a_handshake_is_chosen_on_the_dashboard_and_its_state_is_on_the_webhooks_page() {
    let app = app(Some(ORIGIN)).await;
    let path = format!("/t/{}/webhooks/1", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Edit).await;
    let calls = format!("{path}/calls");
    assert!(browser.get(&calls).await.says(ORIGIN));
    let plain = [("cloud_events", "plain"), ("handshake", "yes")];
    let refused = browser.post(&calls, &plain).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("id=\"handshake-fault\""));
    let both = [("cloud_events", "binary"), ("handshake", "yes")];
    let sent = browser.post(&calls, &both).await;
    assert_eq!(sent.status, 303, "{}", sent.words());
    assert!(browser.get(&path).await.says("not asked yet"));
    let form = browser.get(&calls).await;
    assert!(
        form.body
            .contains("id=\"handshake\" name=\"handshake\" value=\"yes\" checked")
    );
    let reason = "its <answer> is none".to_owned();
    answer(&app, HandshakeVerdict::Refused { reason }).await;
    let page = browser.get(&path).await;
    assert!(page.says("did not agree to calls from tickets.example.org"));
    assert!(
        page.body.contains("its &#60;answer&#62; is none."),
        "{}",
        page.body
    );
    for (per_minute, words) in [
        (
            Some(90),
            "agreed to 90 calls a minute at most from tickets.example.org",
        ),
        (Some(1), "agreed to 1 call a minute at most"),
        (None, "agreed to any number of calls"),
    ] {
        answer(&app, HandshakeVerdict::Granted { per_minute }).await;
        assert!(browser.get(&path).await.says(words), "{words}");
    }
    browser.post(&calls, &[("cloud_events", "binary")]).await;
    assert!(!browser.get(&path).await.body.contains("id=\"handshake\""));
}

#[tokio::test]
async fn a_server_without_a_name_says_so_on_the_form() {
    let app = app(None).await;
    let path = format!("/t/{}/webhooks/1/calls", app.tenant("bigevents").await);
    let mut browser = app.browser_with(Role::Edit).await;
    let both = [("cloud_events", "binary"), ("handshake", "yes")];
    let refused = browser.post(&path, &both).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("allowed_hosts"), "{}", refused.words());
}

fn declared(origin: Option<&str>, lines: &str) -> Result<DeclaredWebhook, Vec<FileError>> {
    let text = format!(
        "[[organizer]]\nslug = \"bigevents\"\n[[organizer.webhook]]\n\
         target_url = \"https://example.org/hook\"\nall_events = true\n\
         action_types = [\"pretix.event.order.paid\"]\n{lines}"
    );
    let mut rng = SeededRng::from_seed([1; 32]);
    let read = all(&options(origin)).declare(&text, &KnownEvents::new(), &mut rng);
    read.map(|mut file| file.declarations.remove(0).webhooks.remove(0))
}

#[test]
fn a_file_asks_a_receiver_first_beside_the_form_of_calls() {
    for (lines, wanted) in [
        ("cloud_events = \"binary\"\nhandshake = true", true),
        ("cloud_events = \"binary\"\nhandshake = false", false),
        ("cloud_events = \"binary\"", false),
    ] {
        let webhook = declared(Some(ORIGIN), lines).unwrap();
        let choice = CloudEventChoice {
            mode: CloudEventMode::Binary,
            handshake: wanted,
        };
        assert_eq!(webhook.cloud_events, Some(Some(choice)), "{lines}");
    }
    for (origin, lines, words) in [
        (Some(ORIGIN), "handshake = true", "goes with cloud_events"),
        (
            Some(ORIGIN),
            "handshake = true\ncloud_events = \"none\"",
            "goes with cloud_events",
        ),
        (Some(ORIGIN), "handshake = 1", "true or false"),
        (
            None,
            "handshake = true\ncloud_events = \"binary\"",
            "allowed_hosts",
        ),
    ] {
        let wrong = declared(origin, lines).unwrap_err();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert_eq!(wrong[0].field, "organizer.webhook.handshake");
        assert_eq!(wrong[0].line, 7);
        assert!(wrong[0].message.contains(words), "{wrong:?}");
    }
}
