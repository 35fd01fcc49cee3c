//! Deliveries over REST: lists and their pages, attempts, sending again.

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::{CancelCause, DeliveryState, DueDelivery, NextState};
use model::lease::Epoch;
use model::limits::SCANNED_ROWS_MAX;
use model::webhook::Headers;
use serde_json::{Value, json};

use crate::tests::harness::{Arrived, INTAKE, TestApp, WEBHOOKS, asking};

const ORGANIZER: &str = "/api/v1/organizers/bigevents";

async fn hand_in(app: &TestApp, id: i64, action: &str) {
    let body =
        format!(r#"{{"notification_id":{id},"event":"democon","action":"{action}","code":"A"}}"#);
    assert_eq!(app.ask(asking("POST", INTAKE).json(body)).await.status, 201);
}

fn answered(status: u16, body: &'static [u8]) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs([("Server", b"\xfcber".as_slice())]),
        body: Bytes::from_static(body),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

/// Writes down an attempt for a delivery and what it makes of it.
async fn settle(app: &TestApp, due: &DueDelivery, outcome: Outcome, state: DeliveryState) {
    let now = app.now();
    let settlement = Settlement {
        stale: None,
        id: due.delivery.id,
        round: due.delivery.round,
        attempts: due.delivery.attempts,
        webhook_version: 1,
        ended_at: now.plus_ms(40),
        attempt: Attempt {
            began_at: now,
            duration_ms: 40,
            url: "https://***@example.org/hook".into(),
            request_headers: Headers::from_pairs([("Host", b"example.org".as_slice())]),
            outcome,
        },
        next: NextState {
            pauses_until: None,
            state,
            due_at: (state == DeliveryState::Pending).then(|| now.plus_ms(5_000)),
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
}

async fn get(app: &TestApp, path: &str) -> Arrived {
    app.ask(asking("GET", path)).await
}

fn ids(page: &Value) -> Vec<i64> {
    let rows = page["results"].as_array().unwrap().iter();
    rows.map(|row| row["notification_id"].as_i64().unwrap())
        .collect()
}

/// A webhook with five deliveries: 1 delivered, 2 exhausted, 3 waits for a retry, 4 not begun,
/// 5 cancelled.
async fn app() -> TestApp {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid", "pretix.event.order.changed.*"])
        .await;
    for id in 1..=5 {
        let action = if id == 2 {
            "pretix.event.order.changed.item"
        } else {
            "pretix.event.order.paid"
        };
        hand_in(&app, id, action).await;
        app.pass_ms(1_000);
    }
    let due = app.due().await;
    settle(
        &app,
        &due[0],
        answered(200, b"ok"),
        DeliveryState::Delivered,
    )
    .await;
    settle(
        &app,
        &due[1],
        answered(500, b"\xff\0"),
        DeliveryState::Failed,
    )
    .await;
    let failure = Failure::new(FailureKind::Connect, "connection refused");
    settle(
        &app,
        &due[2],
        Outcome::Failed(failure),
        DeliveryState::Pending,
    )
    .await;
    let gone = DeliveryState::Cancelled(CancelCause::ReceiverGone);
    settle(&app, &due[4], answered(410, b""), gone).await;
    app.pass_ms(1_000);
    app
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_with_where_they_stand() {
    let app = app().await;
    let page = get(&app, &format!("{WEBHOOKS}1/deliveries/")).await.json();
    assert_eq!(
        (&page["next"], &page["previous"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(ids(&page), [5, 4, 3, 2, 1]);
    let waiting = &page["results"][2];
    assert_eq!(
        *waiting,
        json!({
            "id": "dlv_3_1",
            "webhook": 1,
            "notification_id": 3,
            "action_type": "pretix.event.order.paid",
            "event": "democon",
            "status": "retrying",
            "reason": null,
            "attempt_count": 1,
            "accepted_at": "2026-11-20T18:00:02.000Z",
            "next_attempt_at": "2026-11-20T18:00:10.000Z",
            "ended_at": null,
            "response_status": null,
            "outcome": "No connection to the receiver came about: connection refused.",
        })
    );
    let cancelled = &page["results"][0];
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["reason"].as_str().unwrap().contains("410 Gone"));
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let app = app().await;
    for (query, expected) in [
        ("status=pending", vec![4]),
        ("status=retrying", vec![3]),
        ("status=delivered", vec![1]),
        ("status=exhausted", vec![2]),
        ("status=cancelled", vec![5]),
        ("status=", vec![5, 4, 3, 2, 1]),
        ("action_type=pretix.event.order.changed.item", vec![2]),
        ("action_type=nope", vec![]),
        ("since=2026-11-20T18:00:03Z", vec![5, 4]),
        ("until=2026-11-20T19:00:02%2B01:00", vec![2, 1]),
        ("until=2026-11-20T19:00:02+01:00", vec![2, 1]),
        (
            "since=2026-11-20T18:00:01Z&until=2026-11-20T18:00:03Z&status=exhausted",
            vec![2],
        ),
    ] {
        let page = get(&app, &format!("{WEBHOOKS}1/deliveries/?{query}")).await;
        assert_eq!(ids(&page.json()), expected, "{query}");
    }
}

#[tokio::test]
async fn filters_that_say_nothing_sensible_are_refused_by_name() {
    let app = app().await;
    let query = "status=lost&since=yesterday&until=2026-13-01T00:00:00Z&cursor=!";
    let page = get(&app, &format!("{WEBHOOKS}1/deliveries/?{query}")).await;
    let told = concat!(
        r#"{"status":["Must be one of pending, retrying, delivered, exhausted, cancelled."],"#,
        r#""since":["Must be a time such as 2027-01-19T10:00:00Z."],"#,
        r#""until":["Must be a time such as 2027-01-19T10:00:00Z."],"#,
        r#""cursor":["Invalid cursor."]}"#,
    );
    assert_eq!(page.told(), (400, told));
    let none = r#"{"detail":"No WebHook matches the given query."}"#;
    assert_eq!(
        get(&app, &format!("{WEBHOOKS}9/deliveries/")).await.told(),
        (404, none)
    );
}

fn path_of(link: &Value) -> String {
    let link = link.as_str().unwrap();
    let path = link.strip_prefix("http://127.0.0.1:18544");
    path.unwrap().to_owned()
}

#[tokio::test]
async fn a_page_that_looked_at_enough_is_short_and_leads_on() {
    let app = TestApp::new().await;
    let types = ["pretix.event.order.placed", "pretix.event.order.paid"];
    app.webhook(&types).await;
    hand_in(&app, 1, types[0]).await;
    let mut id = 1;
    while id < 2 + i64::try_from(SCANNED_ROWS_MAX).unwrap() {
        let one = |id| json!({"notification_id": id, "event": "democon", "action": types[1], "code": "A"});
        let batch: Vec<Value> = (id + 1..=id + 1_000).map(one).collect();
        let handed_in = asking("POST", INTAKE).json(json!(batch).to_string());
        let answer = app.ask(handed_in).await;
        assert!(!answer.body.contains("\"status\":4"), "{}", answer.body);
        id += 1_000;
    }
    let query = format!("{WEBHOOKS}1/deliveries/?action_type={}", types[0]);
    let first = get(&app, &query).await.json();
    assert_eq!((ids(&first), &first["previous"]), (vec![], &Value::Null));
    let second = get(&app, &path_of(&first["next"])).await.json();
    assert_eq!((ids(&second), &second["next"]), (vec![1], &Value::Null));
    let back = get(&app, &path_of(&second["previous"])).await.json();
    assert_eq!(ids(&back), [0_i64; 0]);
    let back = get(&app, &path_of(&back["next"])).await.json();
    assert_eq!(ids(&back), [1]);
}

#[tokio::test]
async fn pages_lead_back_and_forth_and_stay_put_while_more_arrives() {
    let app = app().await;
    let first = get(&app, &format!("{WEBHOOKS}1/deliveries/?page_size=2"))
        .await
        .json();
    assert_eq!(
        (ids(&first), &first["previous"]),
        (vec![5, 4], &Value::Null)
    );
    hand_in(&app, 6, "pretix.event.order.paid").await;
    let second = get(&app, &path_of(&first["next"])).await.json();
    assert_eq!(ids(&second), [3, 2]);
    let third = get(&app, &path_of(&second["next"])).await.json();
    assert_eq!((ids(&third), &third["next"]), (vec![1], &Value::Null));
    let back = get(&app, &path_of(&third["previous"])).await.json();
    assert_eq!(ids(&back), [3, 2]);
    let back = get(&app, &path_of(&back["previous"])).await.json();
    assert_eq!(ids(&back), [5, 4]);
    let back = get(&app, &path_of(&back["previous"])).await.json();
    assert_eq!((ids(&back), &back["previous"]), (vec![6], &Value::Null));
}

#[tokio::test]
async fn a_delivery_tells_of_its_attempts() {
    let app = app().await;
    let told = get(&app, &format!("{ORGANIZER}/deliveries/dlv_2_1/")).await;
    assert_eq!(
        told,
        get(&app, &format!("{WEBHOOKS}1/deliveries/dlv_2_1/")).await
    );
    let told = told.json();
    let body = concat!(
        r#"{"notification_id": 2, "organizer": "bigevents", "event": "democon", "#,
        r#""code": "A", "action": "pretix.event.order.changed.item"}"#,
    );
    assert_eq!(
        (&told["request_body"], &told["request_body_encoding"]),
        (&json!(body), &json!("utf-8"))
    );
    assert_eq!(
        told["attempts"],
        json!([{
            "number": 1,
            "is_retry": false,
            "datetime": "2026-11-20T18:00:05.000Z",
            "duration_ms": 40,
            "method": "POST",
            "url": "https://***@example.org/hook",
            "request_headers": [["Host", "example.org"]],
            "success": false,
            "outcome": "Answered 500, failed: only 200 to 299 count as received.",
            "error": null,
            "response_status": 500,
            "response_headers": [["Server", "\u{fc}ber"]],
            "response_body": "/wA=",
            "response_body_encoding": "base64",
            "response_body_end": "whole",
            "next_attempt_at": null,
        }])
    );
    let failed = get(&app, &format!("{ORGANIZER}/deliveries/dlv_3_1/"))
        .await
        .json();
    let attempt = &failed["attempts"][0];
    assert_eq!(attempt["error"]["code"], "connect");
    assert_eq!(attempt["response_body"], Value::Null);
    assert_eq!(attempt["next_attempt_at"], "2026-11-20T18:00:10.000Z");
}

#[tokio::test]
async fn deliveries_are_found_by_their_whole_name_only() {
    let app = app().await;
    app.webhook(&[]).await;
    let none = r#"{"detail":"No Delivery matches the given query."}"#;
    let not_found = r#"{"detail":"Not found."}"#;
    for (path, body) in [
        ("deliveries/dlv_9_1/", none),
        ("webhooks/2/deliveries/dlv_1_1/", none),
        ("webhooks/x/deliveries/dlv_1_1/", none),
        ("deliveries/1/", not_found),
        ("deliveries/dlv_01_1/", not_found),
    ] {
        assert_eq!(
            get(&app, &format!("{ORGANIZER}/{path}")).await.told(),
            (404, body),
            "{path}"
        );
    }
    let other = asking("GET", "/api/v1/organizers/othercorp/deliveries/dlv_1_1/").by("tokenother");
    assert_eq!(app.ask(other).await.told(), (404, none));
}

#[tokio::test]
async fn a_delivery_can_be_replayed_whatever_became_of_it() {
    let app = app().await;
    for (path, id) in [
        (format!("{ORGANIZER}/deliveries/dlv_1_1/retry/"), "dlv_1_1"),
        (format!("{WEBHOOKS}1/deliveries/dlv_5_1/retry/"), "dlv_5_1"),
    ] {
        let again = app.ask(asking("POST", &path)).await;
        assert_eq!(again.status, 202);
        let told = again.json();
        assert_eq!(
            (&told["id"], &told["status"]),
            (&json!(id), &json!("retrying"))
        );
        assert_eq!(told["next_attempt_at"], "2026-11-20T18:00:06.000Z");
        assert_eq!(told["attempts"].as_array().unwrap().len(), 1);
    }
    let due = app.due().await;
    let mut due: Vec<String> = due.iter().map(|due| due.delivery.id.to_string()).collect();
    due.sort();
    assert_eq!(due, ["dlv_1_1", "dlv_4_1", "dlv_5_1"]);
    let unknown = asking("POST", &format!("{ORGANIZER}/deliveries/dlv_9_1/retry/"));
    assert_eq!(app.ask(unknown).await.status, 404);
}

#[tokio::test]
async fn all_that_failed_can_be_replayed_at_once() {
    let app = app().await;
    let path = format!("{WEBHOOKS}1/retry_failed/");
    // Exhausted, cancelled, and waiting for a retry; not what was delivered or has not begun.
    assert_eq!(
        app.ask(asking("POST", &path)).await.told(),
        (202, r#"{"retried":3}"#)
    );
    assert_eq!(app.due().await.len(), 4);
    let audit = get(&app, &format!("{ORGANIZER}/audit/")).await.json();
    assert_eq!(audit["results"][0]["action"], "deliveries.retried");
    assert_eq!(audit["results"][0]["actor"], "all");
}

#[tokio::test]
async fn only_what_is_asked_for_is_replayed() {
    let app = app().await;
    let path = format!("{WEBHOOKS}1/retry_failed/");
    for (query, count) in [
        ("since=2030-01-01T00:00:00Z", 0),
        ("until=2026-11-20T18:00:00Z", 0),
        ("action_type=pretix.event.order", 0),
        (
            "status=retrying&action_type=pretix.event.order.changed.item",
            0,
        ),
        ("action_type=pretix.event.order.changed.item&format=json", 1),
        ("status=cancelled", 1),
        ("status=cancelled", 0),
        (
            "since=2026-11-20T19:00:00%2B01:00&until=2030-01-01T00:00:00+00:00",
            1,
        ),
        ("format=json", 0),
    ] {
        let answer = app.ask(asking("POST", &format!("{path}?{query}"))).await;
        let told = format!("{{\"retried\":{count}}}");
        assert_eq!(answer.told(), (202, told.as_str()), "{query}");
    }
    let audit = get(&app, &format!("{ORGANIZER}/audit/")).await.json();
    let detail = json!({"count": 1, "status": "cancelled", "since": null, "until": null,
        "action_type": null});
    assert_eq!(audit["results"][1]["detail"], detail);
}

#[tokio::test]
async fn nothing_is_replayed_by_a_request_that_is_not_understood() {
    let app = app().await;
    let path = format!("{WEBHOOKS}1/retry_failed/");
    let before = app.due().await.len();
    for (query, field) in [
        ("since=tomorrow", "since"),
        ("since=", "since"),
        ("since=9999-12-31T23:59:59-00:01", "since"),
        ("until=2030", "until"),
        ("action_type=", "action_type"),
        ("status=", "status"),
        ("status=delivered", "status"),
        ("status=pending", "status"),
        (
            "since=2030-01-01T00:00:00Z&since=2026-01-01T00:00:00Z",
            "since",
        ),
        ("Since=2030-01-01T00:00:00Z", "Since"),
        ("webhook=1", "webhook"),
    ] {
        let answer = app.ask(asking("POST", &format!("{path}?{query}"))).await;
        assert_eq!(answer.status, 400, "{query}");
        let told = answer.json();
        assert_eq!(told.as_object().unwrap().keys().next().unwrap(), field);
    }
    let body = r#"{"since":"2030-01-01T00:00:00Z"}"#;
    let answer = app.ask(asking("POST", &path).json(body)).await;
    let words = "{\"detail\":\"The body is not read here. Say in the query what is meant, by since, \
                 until, action_type, status.\"}";
    assert_eq!(answer.told(), (400, words));
    assert_eq!(app.due().await.len(), before);
    // One that says nothing is what many clients send along.
    let answer = app.ask(asking("POST", &path).json(" { }\n")).await;
    assert_eq!(answer.told(), (202, r#"{"retried":3}"#));
    let answer = app.ask(asking("POST", &path).json("null")).await;
    assert_eq!(answer.told(), (202, r#"{"retried":0}"#));
}

#[tokio::test]
async fn more_than_one_sweep_is_counted_exactly() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let count = model::limits::BULK_STEP_MAX + 50;
    let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    for batch in 0..count.div_ceil(1_000) {
        let size = (count - batch * 1_000).min(1_000);
        let batch = format!("[{}]", vec![body; size].join(","));
        assert_eq!(
            app.ask(asking("POST", INTAKE).json(batch)).await.status,
            201
        );
    }
    let switch = |enabled: bool| {
        let body = format!("{{\"enabled\":{enabled}}}");
        asking("PATCH", &format!("{WEBHOOKS}1/")).json(body)
    };
    assert_eq!(app.ask(switch(false)).await.status, 200);
    while app
        .store
        .cancel_pending(Epoch::FIRST, model::id::WebhookId(1), app.now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(app.ask(switch(true)).await.status, 200);
    let told = format!("{{\"retried\":{count}}}");
    let again = app
        .ask(asking("POST", &format!("{WEBHOOKS}1/retry_failed/")))
        .await;
    assert_eq!(again.told(), (202, told.as_str()));
}

#[tokio::test]
async fn nothing_is_replayed_while_the_webhook_is_disabled() {
    let app = app().await;
    app.ask(asking("DELETE", &format!("{WEBHOOKS}1/"))).await;
    let words = r#"{"detail":"The webhook is disabled, so nothing can be sent. Enable it first."}"#;
    for path in [
        format!("{ORGANIZER}/deliveries/dlv_1_1/retry/"),
        format!("{WEBHOOKS}1/retry_failed/"),
    ] {
        assert_eq!(app.ask(asking("POST", &path)).await.told(), (409, words));
    }
    let page = get(&app, &format!("{WEBHOOKS}1/deliveries/?status=cancelled"))
        .await
        .json();
    assert_eq!(ids(&page), [5, 4, 3]);
    let unknown = asking("POST", &format!("{WEBHOOKS}9/retry_failed/"));
    assert_eq!(app.ask(unknown).await.status, 404);
}
