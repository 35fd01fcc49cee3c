//! Sending a test: every kind has a sample in the bytes of its dialect, for one webhook only, and
//! what came of it is shown at once; nobody waits for a slow receiver.

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::call_limits::CallRate;
use model::contract::Settlement;
use model::delivery::DispatchState;
use model::delivery::{DeliveryState, DueDelivery, NextState};
use model::id::{NotificationId, TenantId};
use model::lease::Epoch;
use model::query::Declaration;
use model::tenant::DialectName;
use model::users::Role;
use model::webhook::Headers;
use serde_json::Value;

use crate::dialect::dashboard::NotificationFacts;
use crate::dialects::{self, DialectOptions};
use crate::tests::harness::{TestApp, WEBHOOKS, asking, bearing};

async fn organizer(app: &TestApp) -> String {
    format!("/t/{}/webhooks", app.tenant("bigevents").await)
}

/// Writes down that the receiver answered.
async fn answer(app: &TestApp, due: &DueDelivery, status: u16, body: &'static str) {
    let outcome = Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs([("Server", b"test".as_slice())]),
        body: Bytes::from_static(body.as_bytes()),
        body_end: BodyEnd::Whole,
        note: None,
    });
    settle(app, due, outcome, 40).await;
}

/// Writes down an attempt that took so long.
async fn settle(app: &TestApp, due: &DueDelivery, outcome: Outcome, duration_ms: u32) {
    let now = app.now();
    let is_success = outcome.is_success();
    let settlement = Settlement {
        stale: None,
        id: due.delivery.id,
        round: due.delivery.round,
        attempts: due.delivery.attempts,
        webhook_version: 1,
        ended_at: now.plus_ms(i64::from(duration_ms)),
        attempt: Attempt {
            began_at: now,
            duration_ms,
            url: "https://***@example.org/hook".into(),
            request_headers: Headers::from_pairs([("Host", b"example.org".as_slice())]),
            outcome,
        },
        next: NextState {
            pauses_until: None,
            early: false,
            state: if is_success {
                DeliveryState::Delivered
            } else {
                DeliveryState::Pending
            },
            due_at: (!is_success).then(|| now.plus_ms(5_000)),
            began_at: now,
            round_began_at: now,
            disables_webhook: false,
        },
        handshake: None,
    };
    app.store
        .settle(Epoch::FIRST, [settlement].into())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_test_goes_to_its_webhook_only_and_its_answer_is_shown() {
    let app = TestApp::new().await;
    for _ in 0..2 {
        app.webhook(&["pretix.event.order.paid"]).await;
    }
    let mut edit = app.browser_with(Role::Edit).await;
    let below = organizer(&app).await;
    let form = edit.get(&format!("{below}/2/test")).await;
    assert!(form.says("Order marked as paid (pretix.event.order.paid)"));
    let kind = [("kind", "pretix.event.order.paid")];
    let sent = edit.post(&format!("{below}/2/test"), &kind).await;
    assert_eq!(sent.leads_to(), (303, &*format!("{below}/2/test/1")));
    let due = app.due().await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].delivery.id.to_string(), "dlv_1_2");
    let expected = format!(
        "{{\"notification_id\": {}, \"organizer\": \"bigevents\", \"event\": \"secondcon\", \
         \"code\": \"TEST7\", \"action\": \"pretix.event.order.paid\"}}",
        due[0].key
    );
    // One of the organizer's own shows.
    let body = String::from_utf8(due[0].body.to_vec()).unwrap();
    let slugs = ["democon", "secondcon", "seriescon"];
    let own = slugs
        .iter()
        .any(|slug| body == expected.replace("secondcon", slug));
    assert!(own, "{body}");
    answer(&app, &due[0], 500, "<b>no</b>").await;
    let page = edit.get(&format!("{below}/2/test/1")).await;
    for words in [
        "Retrying",
        "Answered 500, failed",
        "HTTP 500",
        "Server: test",
        "&#60;b&#62;no&#60;/b&#62;",
        "POST https://***@example.org/hook",
        "TEST7",
    ] {
        assert!(page.says(words), "{words}: {}", page.words());
    }
    assert!(page.body.contains("/deliveries/dlv_1_2"));
    // It is nobody else's.
    assert_eq!(edit.get(&format!("{below}/1/test/1")).await.status, 404);
}

#[tokio::test]
async fn what_came_to_no_answer_does_not_speak_of_one() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = organizer(&app).await;
    let kind = [("kind", "pretix.event.order.paid")];
    for (number, kind_of, took, heading) in [
        (1, FailureKind::Forbidden, 0, "What would have been sent"),
        (2, FailureKind::LookUp, 0, "What would have been sent"),
        (3, FailureKind::TimeLimit, 30_000, "What was sent"),
    ] {
        edit.post(&format!("{below}/1/test"), &kind).await;
        let due = app.due().await;
        let failed = Outcome::Failed(Failure::new(kind_of, "why"));
        settle(&app, &due[0], failed, took).await;
        let page = edit.get(&format!("{below}/1/test/{number}")).await;
        for words in ["What happened", heading, "It is tried again"] {
            assert!(page.says(words), "{words}: {}", page.words());
        }
        assert!(!page.says("The answer"));
        assert_eq!(page.says("It took"), took > 0, "{}", page.words());
        let detail = below.replace("/webhooks", &format!("/deliveries/dlv_{number}_1"));
        let detail = edit.get(&detail).await;
        assert!(detail.says(&format!("{heading}, attempt 1")));
        assert!(!detail.says("took 0 ms"), "{}", detail.words());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_slow_receiver() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = organizer(&app).await;
    let kind = [("kind", "pretix.event.order.paid")];
    edit.post(&format!("{below}/1/test"), &kind).await;
    let began = tokio::time::Instant::now();
    let page = edit.get(&format!("{below}/1/test/1")).await;
    assert!(began.elapsed().as_millis() <= 2_000);
    assert!(page.says("Still waiting"));
    // Whether it was sent is said as far as it is known, and why not.
    for (at, words) in [
        (DispatchState::InFlight, "Sent There is no answer yet."),
        (
            DispatchState::CircuitOpen,
            "Not sent yet It waits, because its receiver has failed for long",
        ),
        (DispatchState::ShareLimited, "they have their share."),
        (
            DispatchState::RateLimited {
                rate: CallRate::parse("0.2").unwrap(),
            },
            "its webhook has at most 0.2 calls a second",
        ),
    ] {
        *app.dispatch_state.lock().unwrap() = Some(at);
        let page = edit.get(&format!("{below}/1/test/1")).await;
        assert!(page.says(words), "{words}: {}", page.words());
    }
    *app.dispatch_state.lock().unwrap() = None;
    assert!(
        page.body
            .contains(&format!("href=\"{below}/1/test/1?again=1\" data-again="))
    );
    // Each look leads to another, until there is little hope.
    let second = edit.get(&format!("{below}/1/test/1?again=1")).await;
    assert!(
        second
            .body
            .contains(&format!("href=\"{below}/1/test/1?again=2\" data-again="))
    );
    assert!(second.body.contains("<p role=\"status\">"));
    let later = edit.get(&format!("{below}/1/test/1?again=30")).await;
    assert!(later.says("Look again") && !later.body.contains("data-again"));
    let due = app.due().await;
    answer(&app, &due[0], 200, "").await;
    let began = tokio::time::Instant::now();
    let page = edit.get(&format!("{below}/1/test/1?again=1")).await;
    assert!(page.says("Delivered") && page.says("It is empty."));
    let told = "<p role=\"status\" id=\"told\" tabindex=\"-1\" autofocus>";
    assert!(page.body.contains(told) && !page.body.contains("data-again"));
    assert_eq!(began.elapsed().as_millis(), 0);
}

/// Apart from being a test, it is what its webhook wants.
async fn is_wanted(app: &TestApp, tenant: TenantId, id: NotificationId) {
    let detail = app.store.notification(tenant, id).await.unwrap();
    let detail = detail.unwrap();
    let all = app
        .store
        .match_explanations(tenant, id, None, 500)
        .await
        .unwrap();
    let mut all = all.into_iter();
    let own = all
        .find(|own| Some(own.webhook.id) == detail.only_webhook)
        .unwrap();
    assert!(own.delivery.is_some());
    let happened = NotificationFacts {
        action_type: &detail.action_type,
        event: detail.event.as_deref(),
        about: detail.match_context.as_deref(),
    };
    let dialects = dialects::all(&DialectOptions::default());
    let mut verdicts = dialects.iter().map(|dialect| {
        dialect
            .dashboard
            .forms
            .explain(&happened, own.then.as_ref().unwrap())
    });
    assert!(
        verdicts.any(|verdict| verdict.wanted),
        "{}",
        detail.action_type
    );
    assert!(
        serde_json::from_slice::<Value>(&detail.body)
            .unwrap()
            .is_object()
    );
}

#[tokio::test]
async fn every_kind_there_is_has_a_sample_that_is_of_this_kind() {
    let app = TestApp::new().await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = organizer(&app).await;
    let form = edit.get(&format!("{below}/new")).await;
    let boxes = form.body.split("name=\"action_types\" value=\"").skip(1);
    let types: Vec<String> = boxes
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(types.len(), 47);
    let all: Vec<&str> = types.iter().map(String::as_str).collect();
    app.webhook(&all).await;
    for kind in &types {
        let sent = edit
            .post(&format!("{below}/1/test"), &[("kind", kind)])
            .await;
        assert_eq!(sent.status, 303, "{kind}: {}", sent.words());
    }
    let due = app.due().await;
    assert_eq!(due.len(), 47);
    for (due, kind) in due.iter().zip(&types) {
        let id = due.delivery.id.notification;
        is_wanted(&app, app.tenant("bigevents").await, id).await;
        let body: Value = serde_json::from_slice(&due.body).unwrap();
        let action = body["action"].as_str().unwrap();
        let start = kind.strip_suffix('*').unwrap_or(kind);
        assert!(
            action.starts_with(start) && !action.ends_with('*'),
            "{kind}: {action}"
        );
    }
}

#[tokio::test]
async fn every_pair_of_a_company_that_can_fire_has_its_samples() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let below = format!("/t/{}/webhooks", app.company().await);
    let form = root.get(&format!("{below}/new")).await;
    let options = form.body.split("<option value=\"").skip(2);
    let pairs: Vec<String> = options
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(pairs.len(), 18, "{pairs:?}");
    for (index, pair) in pairs.iter().enumerate() {
        let id = index + 1;
        let fields = [
            ("name", "x"),
            ("url", "https://example.org/"),
            ("trigger", pair),
            ("triggered_by_child_resources", "on"),
            ("identifier", "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10"),
        ];
        root.post(&format!("{below}/new"), &fields).await;
        let asked = root.get(&format!("{below}/{id}/test")).await;
        let kinds = asked.body.split("<option value=\"").skip(1);
        let kinds: Vec<&str> = kinds.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(!kinds.is_empty(), "{pair}");
        for kind in kinds {
            let sent = root
                .post(&format!("{below}/{id}/test"), &[("kind", kind)])
                .await;
            assert_eq!(sent.status, 303, "{pair} {kind}: {}", sent.words());
            let place = sent.header("location").unwrap();
            let notification = place.rsplit('/').next().unwrap();
            let id = NotificationId(notification.parse().unwrap());
            is_wanted(&app, app.company().await, id).await;
        }
    }
    assert!(
        app.ask(bearing("GET", "/webhook"))
            .await
            .status
            .is_success()
    );
}

#[tokio::test]
async fn a_disabled_webhook_has_to_be_enabled_first_and_only_known_kinds_are_sent() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut edit = app.browser_with(Role::Edit).await;
    let below = organizer(&app).await;
    for kind in ["", "pretix.event.order.placed", "\0"] {
        let refused = edit
            .post(&format!("{below}/1/test"), &[("kind", kind)])
            .await;
        assert_eq!(refused.status, 422, "{kind}");
        assert!(refused.says("Choose one of these kinds."));
    }
    edit.post(&format!("{below}/1/disable"), &[]).await;
    let kind = [("kind", "pretix.event.order.paid")];
    let refused = edit.post(&format!("{below}/1/test"), &kind).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("Enable it first, then send the test."));
    assert!(app.due().await.is_empty());
    let list = edit
        .get(&format!(
            "{}/notifications",
            below.trim_end_matches("/webhooks")
        ))
        .await;
    assert!(list.says("Nothing was handed in yet"));
}

#[tokio::test]
async fn a_sample_registers_no_show() {
    let app = TestApp::new().await;
    let empty = Declaration {
        dialect: DialectName::new("pretix"),
        key: "emptycorp".to_owned(),
        name: Some("Empty".to_owned()),
        events: Vec::new(),
        tokens: Vec::new(),
        webhooks: Vec::new(),
    };
    let applied = app.store.apply(vec![empty], "test".to_owned(), app.now());
    applied.await.unwrap();
    let tenant = app.tenant("emptycorp").await;
    let mut root = app.administrator().await;
    let below = format!("/t/{tenant}/webhooks");
    let fields = [
        ("target_url", "https://example.org/"),
        ("enabled", "on"),
        ("action_types", "pretix.event.order.paid"),
        ("all_events", "all"),
    ];
    root.post(&format!("{below}/new"), &fields).await;
    let kind = [("kind", "pretix.event.order.paid")];
    let sent = root.post(&format!("{below}/1/test"), &kind).await;
    assert_eq!(sent.status, 303);
    let due = app.due().await;
    assert!(String::from_utf8_lossy(&due[0].body).contains("\"event\": \"sample\""));
    assert_eq!(app.store.events(tenant).await.unwrap(), []);
}

#[tokio::test]
async fn a_webhook_that_is_limited_to_no_show_says_so_and_is_not_tested_with_one() {
    let app = TestApp::new().await;
    let new = r#"{"target_url":"https://example.org/","all_events":false,"limit_events":[],
        "action_types":["pretix.event.order.paid"]}"#;
    let made = app.ask(asking("POST", WEBHOOKS).json(new)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mut edit = app.browser_with(Role::Edit).await;
    let path = format!("/t/{}/webhooks/1", app.tenant("bigevents").await);
    let page = edit.get(&path).await;
    assert!(page.says("It may never be called"), "{}", page.words());
    assert!(page.says("none is chosen"), "{}", page.words());
    let page = edit.get(&format!("{path}/test")).await;
    assert!(page.says("There is nothing to send"), "{}", page.words());
}
