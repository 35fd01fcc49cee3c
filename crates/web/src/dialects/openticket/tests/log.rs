//! The log of invocations: what it shows, to whom, and having them sent again.

use bytes::Bytes;
use model::attempt::{Attempt, BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::contract::Settlement;
use model::delivery::{DeliveryState, DueDelivery, NextState};
use model::lease::Epoch;
use model::webhook::Headers;
use serde_json::{Value, json};

use crate::tests::harness::{Hook, TestApp, bearing};

const GUID: &str = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";

/// An app with a webhook and this many invocations of it.
async fn app(count: usize) -> (TestApp, Hook) {
    let app = TestApp::new().await;
    let hook = app.hook("order", "paid").await;
    for number in 0..count {
        let body = json!({
            "id": number.to_string(),
            "resource": "order",
            "trigger": "paid",
            "guid": GUID,
            "data": {"number": number},
        });
        let reported = bearing("POST", "/trigger").json(body.to_string());
        assert_eq!(app.ask(reported).await.status, 201);
    }
    (app, hook)
}

fn answered(status: u16, body: &str) -> Outcome {
    Outcome::Answered(HttpResponse {
        status,
        headers: Headers::from_pairs([("X-Echo", body.as_bytes())]),
        body: Bytes::copy_from_slice(body.as_bytes()),
        body_end: BodyEnd::Whole,
        note: None,
    })
}

async fn settle(app: &TestApp, due: &DueDelivery, outcome: Outcome, state: DeliveryState) {
    let now = app.now();
    let settlement = Settlement {
        stale: None,
        attempts: due.delivery.attempts,
        webhook_version: 1,
        id: due.delivery.id,
        round: due.delivery.round,
        ended_at: now,
        attempt: Attempt {
            began_at: now,
            duration_ms: 40,
            url: "https://***@example.org/hook".into(),
            request_headers: Headers::from_pairs([("Openticket-Identifier", b"***".as_slice())]),
            outcome,
        },
        next: NextState {
            state,
            due_at: (state == DeliveryState::Pending).then(|| now.plus_ms(60_000)),
            began_at: now,
            round_began_at: now,
            disables_webhook: false,
            pauses_until: None,
            early: false,
        },
        handshake: None,
    };
    app.store
        .settle(Epoch::FIRST, [settlement].into())
        .await
        .unwrap();
}

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.ask(bearing("GET", path)).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn numbers(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["guid"].as_str().unwrap()[14..18].to_owned())
        .collect()
}

#[tokio::test]
async fn an_invocation_says_what_became_of_it() {
    let (app, hook) = app(4).await;
    let due = app.due().await;
    app.pass_ms(1_000);
    settle(&app, &due[0], answered(200, "ok"), DeliveryState::Delivered).await;
    settle(&app, &due[1], answered(503, "no"), DeliveryState::Pending).await;
    let failure = Failure::new(FailureKind::Connect, "refused");
    settle(
        &app,
        &due[2],
        Outcome::Failed(failure),
        DeliveryState::Failed,
    )
    .await;
    let path = format!("/webhook/{}/invocations", hook.guid);
    let all = get(&app, &path).await;
    let key = |number: usize| model::dedupe::key(&hook.guid, &number.to_string());
    let row = |number: usize, status: &str, attempts: u32| {
        json!({
            "guid": format!("00000000-0000-8{:03}-8000-000000000001", number + 1),
            "webhook_id": hook.guid,
            "trigger": "order.paid",
            "dedupe_key": key(number),
            "status": status,
            "attempts": attempts,
            "response_status": null,
            "error": null,
            "created_at": "2026-11-20T18:00:00Z",
            "last_attempt_at": "2026-11-20T18:00:01Z",
            "next_attempt_at": null,
        })
    };
    let mut expected = [
        row(0, "delivered", 1),
        row(1, "pending", 1),
        row(2, "failed", 1),
        row(3, "pending", 0),
    ];
    expected[0]["response_status"] = json!(200);
    expected[1]["response_status"] = json!(503);
    expected[1]["next_attempt_at"] = json!("2026-11-20T18:01:01Z");
    expected[2]["error"] = json!("No connection to the receiver came about: refused.");
    expected[3]["last_attempt_at"] = Value::Null;
    expected[3]["next_attempt_at"] = json!("2026-11-20T18:00:00Z");
    expected.reverse();
    assert_eq!(all, json!(expected));
    let shown = get(&app, &format!("/webhook/{}", hook.guid)).await;
    assert_eq!(shown["invocations"], all);
    for (status, wanted) in [
        ("pending", vec!["8004", "8002"]),
        ("delivered", vec!["8001"]),
        ("failed", vec!["8003"]),
        ("", vec!["8004", "8003", "8002", "8001"]),
    ] {
        let rows = get(&app, &format!("{path}?status={status}")).await;
        assert_eq!(numbers(&rows), wanted, "{status}");
    }
    for query in ["status=done", "before=x", "per_page=101"] {
        let answer = app.ask(bearing("GET", &format!("{path}?{query}"))).await;
        assert_eq!(answer.status, 422, "{query}");
    }
}

#[tokio::test]
async fn an_attempt_says_what_was_wrong_with_its_answer() {
    let (app, hook) = app(2).await;
    let due = app.due().await;
    let Outcome::Answered(answer) = answered(204, "") else {
        unreachable!()
    };
    let noted = Outcome::Answered(HttpResponse {
        body_end: BodyEnd::Broken,
        note: Some("line 3 of its head has no colon".into()),
        ..answer.clone()
    });
    settle(&app, &due[0], noted, DeliveryState::Delivered).await;
    settle(
        &app,
        &due[1],
        Outcome::Answered(answer),
        DeliveryState::Delivered,
    )
    .await;
    for (number, note) in [
        (1, json!("line 3 of its head has no colon")),
        (2, Value::Null),
    ] {
        let path = format!(
            "/webhook/{}/invocations/00000000-0000-8{number:03}-8000-000000000001",
            hook.guid
        );
        let told = get(&app, &path).await;
        assert_eq!(told["attempt_log"][0]["response_note"], note);
        assert_eq!(told["attempt_log"][0]["response_status"], 204);
    }
}

#[tokio::test]
async fn the_log_comes_in_pages_that_name_the_next() {
    let (app, hook) = app(130).await;
    let path = format!("/webhook/{}/invocations", hook.guid);
    let shown = get(&app, &format!("/webhook/{}", hook.guid)).await;
    assert_eq!(shown["invocations"].as_array().unwrap().len(), 100);
    for status in ["", "pending"] {
        let mut seen = Vec::new();
        let mut next = format!("{path}?per_page=60&status={status}");
        loop {
            let page = app.ask(bearing("GET", &next)).await;
            seen.extend(numbers(&page.json()));
            let Some(link) = page.header("link") else {
                break;
            };
            let link = link.strip_prefix("<http://127.0.0.1:18544").unwrap();
            next = link.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        }
        let expected: Vec<String> = (1..=130).rev().map(|n| format!("8{n:03x}")).collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn retry_all_is_for_what_failed_and_can_be_repeated() {
    let (app, hook) = app(3).await;
    let due = app.due().await;
    settle(&app, &due[0], answered(200, ""), DeliveryState::Delivered).await;
    settle(&app, &due[1], answered(500, ""), DeliveryState::Failed).await;
    settle(&app, &due[2], answered(500, ""), DeliveryState::Pending).await;
    let path = format!("/webhook/{}/invocations/retry", hook.guid);
    let answer = app.ask(bearing("POST", &path)).await;
    assert_eq!(answer.told(), (202, "{\"retried\":1}"));
    assert_eq!(
        app.ask(bearing("POST", &path)).await.told(),
        (202, "{\"retried\":0}")
    );
    let again = app.due().await;
    assert_eq!(again.len(), 1);
    let delivery = &again[0].delivery;
    assert_eq!(delivery.id, due[1].delivery.id);
    assert_eq!(
        (delivery.round, delivery.round_attempts, delivery.attempts),
        (2, 0, 1)
    );
    let reader = bearing("POST", &path).with("Authorization", "Bearer tokenread");
    assert_eq!(app.ask(reader).await.status, 403);
}

#[tokio::test]
async fn retry_all_takes_what_narrows_it_and_refuses_what_it_does_not_know() {
    let (app, hook) = app(2).await;
    for due in app.due().await {
        settle(&app, &due, answered(500, ""), DeliveryState::Failed).await;
    }
    let path = format!("/webhook/{}/invocations/retry", hook.guid);
    let names = |answer: &Value| -> Vec<String> {
        answer["errors"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    for (query, status, name) in [
        ("code=500", 400, "code"),
        ("status=failed&status=failed", 400, "status"),
        ("status=pending", 422, "status"),
        ("since=", 422, "since"),
        ("until=tomorrow", 422, "until"),
    ] {
        let answer = app.ask(bearing("POST", &format!("{path}?{query}"))).await;
        assert_eq!(answer.status, status, "{query}");
        assert_eq!(names(&answer.json()), [name]);
    }
    let answer = app.ask(bearing("POST", &path).json("{\"since\":\"2030-01-01T00:00:00Z\"}"));
    assert_eq!(answer.await.status, 400);
    for (query, count) in [
        ("since=2030-01-01T00:00:00Z", 0),
        ("action_type=order.update", 0),
        ("status=failed&action_type=order.paid", 2),
        ("status=failed", 0),
    ] {
        let answer = app.ask(bearing("POST", &format!("{path}?{query}"))).await;
        let told = format!("{{\"retried\":{count}}}");
        assert_eq!(answer.told(), (202, told.as_str()), "{query}");
    }
}

#[tokio::test]
async fn one_invocation_can_be_looked_at_and_replayed() {
    let (app, hook) = app(1).await;
    let due = app.due().await;
    settle(&app, &due[0], answered(200, "ok"), DeliveryState::Delivered).await;
    let path = format!(
        "/webhook/{}/invocations/00000000-0000-8001-8000-000000000001",
        hook.guid
    );
    let told = get(&app, &path).await;
    assert_eq!(told["request_body"], "{\"number\":0}");
    let attempt = &told["attempt_log"][0];
    assert_eq!(attempt["response_body"], "ok");
    assert_eq!(attempt["response_headers"], json!({"X-Echo": "ok"}));
    let headers = &attempt["request_headers"];
    assert_eq!(headers["Openticket-Identifier"], "***");
    assert_eq!(headers["OpenTicket-Dedupe-Key"], told["dedupe_key"]);
    let again = app.ask(bearing("POST", &format!("{path}/retry"))).await;
    assert_eq!(again.status, 202);
    assert_eq!(again.json()["status"], "pending");
    assert_eq!(app.due().await.len(), 1);
    let other = app.hook("order", "paid").await;
    for wrong in [
        path.replace(&hook.guid, &other.guid),
        path.replace("8001", "8009"),
        format!("/webhook/{}/invocations/x", hook.guid),
    ] {
        assert_eq!(app.ask(bearing("GET", &wrong)).await.status, 404, "{wrong}");
        let retry = bearing("POST", &format!("{wrong}/retry"));
        assert_eq!(app.ask(retry).await.status, 404, "{wrong}");
    }
}

#[tokio::test]
async fn of_a_long_answer_the_beginning_is_shown() {
    let (app, hook) = app(1).await;
    let due = app.due().await;
    let long = answered(200, &format!("x{}", "ä".repeat(20_000)));
    settle(&app, &due[0], long, DeliveryState::Delivered).await;
    let path = format!(
        "/webhook/{}/invocations/00000000-0000-8001-8000-000000000001",
        hook.guid
    );
    let told = get(&app, &path).await;
    let shown = told["attempt_log"][0]["response_body"].as_str().unwrap();
    assert_eq!(shown.len(), 16 * 1024 - 1);
}
