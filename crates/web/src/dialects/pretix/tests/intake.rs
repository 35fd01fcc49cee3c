//! Handing in: one, many, again, and what is refused.

use std::sync::Arc;

use model::contract::{DiskFault, StoreError};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::dialects::{ActionType, DialectOptions};
use crate::tests::faulty_store::{FaultyStore, InjectedFault};
use crate::tests::harness::{Arrived, INTAKE, TestApp, asking};

const PAID: &str = r#"{"event":"democon","action":"pretix.event.order.paid","code":"ABC23"}"#;

async fn hand_in(app: &TestApp, body: &str) -> Arrived {
    app.ask(asking("POST", INTAKE).json(body)).await
}

fn numbered(id: i64, code: &str) -> String {
    format!(
        "{{\"notification_id\":{id},\"event\":\"democon\",\
          \"action\":\"pretix.event.order.paid\",\"code\":\"{code}\"}}"
    )
}

#[tokio::test]
async fn an_id_is_made_where_none_is_given_and_each_is_larger_than_the_last() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        let answer = hand_in(&app, PAID).await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.json()["deliveries"], 1);
        ids.push(answer.json()["notification_id"].as_i64().unwrap());
    }
    assert!(ids.is_sorted_by(|one, other| one < other));
    // Microseconds since 2020, which a double holds exactly.
    assert!(
        ids.iter()
            .all(|id| (217_000_000_000_000..1 << 53).contains(id))
    );
    let body = app.due().await.remove(0).body;
    let whole = format!(
        "{{\"notification_id\": {}, \"organizer\": \"bigevents\", \"event\": \"democon\", \
          \"code\": \"ABC23\", \"action\": \"pretix.event.order.paid\"}}",
        ids[0]
    );
    assert_eq!(body, whole);
}

#[tokio::test]
async fn the_same_id_again_is_the_same_notification_and_with_another_body_a_contradiction() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let told = r#"{"notification_id":7,"deliveries":1}"#;
    assert_eq!(hand_in(&app, &numbered(7, "A")).await.told(), (201, told));
    app.webhook(&["pretix.event.order.paid"]).await;
    assert_eq!(hand_in(&app, &numbered(7, "A")).await.told(), (200, told));
    let contradicted = hand_in(&app, &numbered(7, "B")).await;
    let words = "{\"detail\":\"Notification 7 was handed in before with another body: it first \
                 came at 2026-11-20T18:00:00.000Z.\"}";
    assert_eq!(contradicted.told(), (409, words));
    assert_eq!(app.due().await.len(), 1);
}

#[tokio::test]
async fn ids_fit_64_bits() {
    let app = TestApp::new().await;
    let body = |id: &str| PAID.replacen('{', &format!("{{\"notification_id\":{id},"), 1);
    let largest = "9223372036854775807";
    let told = format!("{{\"notification_id\":{largest},\"deliveries\":0}}");
    assert_eq!(
        hand_in(&app, &body(largest)).await.told(),
        (201, told.as_str())
    );
    let told = r#"{"notification_id":["Ensure this value fits into 64 bits."]}"#;
    let refused = hand_in(&app, &body("9223372036854775808")).await;
    assert_eq!(refused.told(), (400, told));
}

const MEANT: &str = "No webhook can ask for the action \"order.paid\". Did you mean \
                     \"pretix.event.order.paid\"?";

#[tokio::test]
async fn what_nobody_can_subscribe_to_is_accepted_without_deliveries_and_with_a_warning() {
    let mut registry = Registry::default();
    let app = TestApp::counting(&mut registry).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let body = r#"{"event":"democon","action":"pretix.event.order.comment","notification_id":1}"#;
    let answer = hand_in(&app, body).await;
    assert_eq!(answer.status, 201);
    let words = "No webhook can ask for the action \"pretix.event.order.comment\". If webhooks \
                 should get it, its operator adds it to the setting \"action_types\".";
    let told = json!({"notification_id": 1, "deliveries": 0, "warning": words});
    assert_eq!(answer.json(), told);
    let paid = r#"{"action":"order.paid","notification_id":2}"#;
    for status in [201, 200] {
        let answer = hand_in(&app, paid).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json()["warning"], MEANT);
    }
    let batch = hand_in(&app, &format!("[{paid},{PAID}]")).await.json();
    assert_eq!(batch[0]["warning"], MEANT);
    assert!(batch[1].get("warning").is_none());
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("willcall_intake_unknown_action_types_total 4"),
        "{text}"
    );
}

#[tokio::test]
async fn what_nobody_can_subscribe_to_is_refused_where_the_operator_is_strict() {
    let app = TestApp::with(DialectOptions {
        strict_action_types: true,
        ..DialectOptions::default()
    })
    .await;
    let told = json!({"action": [MEANT]});
    let answer = hand_in(&app, r#"{"action":"order.paid"}"#).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (400, told.clone()));
    let answer = hand_in(&app, &format!("[{{\"action\":\"order.paid\"}},{PAID}]")).await;
    assert_eq!(answer.status, 201);
    let batch = answer.json();
    assert_eq!(
        (&batch[0]["status"], &batch[0]["errors"]),
        (&400.into(), &told)
    );
    assert_eq!(batch[1]["status"], 201);
}

#[tokio::test]
async fn an_operators_own_types_can_be_subscribed_to() {
    let own = ActionType {
        key: "plugin.badge.*".to_owned(),
        label: "Badge".to_owned(),
        help: String::new(),
    };
    let app = TestApp::with(DialectOptions {
        extra_action_types: vec![own],
        ..DialectOptions::default()
    })
    .await;
    app.webhook(&["plugin.badge.*"]).await;
    let body = r#"{"badge":5,"action":"plugin.badge.printed","notification_id":1}"#;
    assert_eq!(hand_in(&app, body).await.json()["deliveries"], 1);
    let whole = concat!(
        r#"{"organizer": "bigevents", "badge": 5, "action": "plugin.badge.printed", "#,
        r#""notification_id": 1}"#,
    );
    assert_eq!(app.due().await.remove(0).body, whole);
}

#[tokio::test]
async fn webhooks_limited_to_events_get_theirs_and_what_is_about_no_event() {
    let app = TestApp::new().await;
    for (limit, all) in [("[]", true), ("[\"democon\"]", false), ("[]", false)] {
        let body = format!(
            r#"{{"target_url":"https://example.org/","all_events":{all},"limit_events":{limit},
            "action_types":["pretix.event.order.paid","pretix.customer.created",
                "pretix.event.deleted"]}}"#
        );
        let created = asking("POST", crate::tests::harness::WEBHOOKS).json(body);
        assert_eq!(app.ask(created).await.status, 201);
    }
    for (body, deliveries) in [
        (PAID.to_owned(), 2),
        (PAID.replace("democon", "secondcon"), 1),
        (PAID.replace("democon", "newcon"), 1),
        (
            r#"{"customer":"C","action":"pretix.customer.created"}"#.to_owned(),
            3,
        ),
        (
            r#"{"event":"secondcon","action":"pretix.event.deleted"}"#.to_owned(),
            3,
        ),
    ] {
        assert_eq!(
            hand_in(&app, &body).await.json()["deliveries"],
            deliveries,
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_show_that_is_named_is_known_from_then_on() {
    let app = TestApp::new().await;
    let body =
        r#"{"target_url":"https://example.org/","limit_events":["newcon"],"action_types":[]}"#;
    let create = || asking("POST", crate::tests::harness::WEBHOOKS).json(body);
    assert_eq!(app.ask(create()).await.status, 400);
    hand_in(&app, &PAID.replace("democon", "newcon")).await;
    assert_eq!(app.ask(create()).await.status, 201);
}

const BATCH: &str = r#"[
{"notification_id":1,"event":"democon","action":"pretix.event.order.paid","code":"A"},
5,
{"notification_id":2,"action":"pretix.event.order.paid"},
{"notification_id":1,"event":"democon","action":"pretix.event.order.paid","code":"A"},
{"notification_id":1,"event":"democon","action":"pretix.event.order.paid","code":"B"},
{"notification_id":3,"event":"democon","action":"pretix.event.order.paid","code":"C"}]"#;

const BATCH_TOLD: &str = concat!(
    r#"[{"status":201,"notification_id":1,"deliveries":1},"#,
    concat!(
        r#"{"status":400,"errors":{"non_field_errors":["Invalid data. Expected a "#,
        r#"dictionary, but got int."]}},"#,
    ),
    concat!(
        r#"{"status":400,"errors":{"event":["This field is required."],"code":["This "#,
        r#"field is required."]}},"#,
    ),
    r#"{"status":200,"notification_id":1,"deliveries":1},"#,
    r#"{"status":409,"detail":"Notification 1 was handed in before with another body: "#,
    r#"it first came at 2026-11-20T18:00:00.000Z."},"#,
    r#"{"status":201,"notification_id":3,"deliveries":1}]"#,
);

#[tokio::test]
async fn a_batch_is_answered_element_by_element_and_a_bad_one_harms_no_other() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    assert_eq!(hand_in(&app, BATCH).await.told(), (201, BATCH_TOLD));
    assert_eq!(app.due().await.len(), 2);
    // Nothing new in it.
    let again = BATCH_TOLD.replace("201", "200");
    assert_eq!(hand_in(&app, BATCH).await.told(), (200, again.as_str()));
    assert_eq!(hand_in(&app, "[]").await.told(), (200, "[]"));
}

#[tokio::test]
async fn lines_are_a_batch_and_a_broken_line_is_one_bad_element() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let lines = format!("{}\r\n\n{{\n{}", numbered(1, "A"), numbered(2, "B"));
    let told = concat!(
        r#"[{"status":201,"notification_id":1,"deliveries":1},"#,
        r#"{"status":400,"detail":"JSON parse error - Expected object or value"},"#,
        r#"{"status":201,"notification_id":2,"deliveries":1}]"#,
    );
    for form in ["application/x-ndjson", "application/jsonl; charset=utf-8"] {
        let asking = asking("POST", INTAKE).with("Content-Type", form);
        let answer = app.ask(asking.body(lines.as_str())).await;
        let told = told.replace("201", &answer.status.as_u16().to_string());
        assert_eq!(answer.body, told);
    }
}

#[tokio::test]
async fn batches_and_notifications_have_bounds() {
    let app = TestApp::new().await;
    let many = |count: usize| format!("[{}]", vec![PAID; count].join(","));
    let answer = hand_in(&app, &many(1_000)).await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.json().as_array().unwrap().len()
        ),
        (201, 1_000)
    );
    let words = r#"{"detail":"A batch may have at most 1000 notifications, not 1001."}"#;
    assert_eq!(hand_in(&app, &many(1_001)).await.told(), (400, words));
    let large = PAID.replace("ABC23\"", &format!("A\",\"x\":\"{}\"", "x".repeat(262_144)));
    let words = r#"{"detail":"The body may have at most 262144 bytes."}"#;
    assert_eq!(hand_in(&app, &large).await.told(), (413, words));
    let huge = "[".to_owned() + &" ".repeat(16 * 1024 * 1024);
    let words = r#"{"detail":"The body may have at most 16777216 bytes."}"#;
    assert_eq!(hand_in(&app, &huge).await.told(), (413, words));
}

#[tokio::test]
async fn a_batch_that_becomes_too_long_as_it_is_written_is_taken_as_far_as_it_may() {
    let app = TestApp::new().await;
    // Two bytes become six.
    let long = numbered(1, "A").replace("}", &format!(",\"x\":\"{}\"}}", "ä".repeat(40_000)));
    let ids = 1..=75;
    let all = ids.map(|id| long.replacen(":1,", &format!(":{id},"), 1));
    let batch = format!("[{}]", all.collect::<Vec<_>>().join(","));
    let answer = hand_in(&app, &batch).await;
    assert_eq!(answer.status, 201);
    let entries = answer.json();
    let taken = entries.as_array().unwrap();
    let statuses: Vec<_> = taken
        .iter()
        .map(|entry| entry["status"].as_u64().unwrap())
        .collect();
    // 16 MiB by 240,105 bytes.
    assert_eq!(statuses, [[201; 69].as_slice(), &[413; 6]].concat());
}

#[tokio::test]
async fn other_forms_are_refused() {
    let app = TestApp::new().await;
    let plain = asking("POST", INTAKE)
        .with("Content-Type", "text/plain")
        .body(PAID);
    let words = r#"{"detail":"Unsupported media type \"text/plain\" in request."}"#;
    assert_eq!(app.ask(plain).await.told(), (415, words));
    let empty = app.ask(asking("POST", INTAKE)).await;
    assert_eq!(
        empty.told(),
        (400, r#"{"action":["This field is required."]}"#)
    );
    let broken = hand_in(&app, "{").await;
    let words = r#"{"detail":"JSON parse error - Expected object or value"}"#;
    assert_eq!(broken.told(), (400, words));
}

#[tokio::test]
async fn notifications_of_another_organizer_are_not_taken() {
    let app = TestApp::new().await;
    let body = PAID.replacen('{', r#"{"organizer":"othercorp","#, 1);
    let words = r#"{"organizer":["Must be \"bigevents\", the organizer in the path."]}"#;
    assert_eq!(hand_in(&app, &body).await.told(), (400, words));
    let other = asking("POST", INTAKE).by("tokenother").json(PAID);
    assert_eq!(app.ask(other).await.status, 403);
}

#[tokio::test]
async fn a_full_house_takes_nothing_and_says_when_to_ask_again() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    for (error, seconds) in [
        (StoreError::Busy, "1"),
        (StoreError::Disk(DiskFault::Full), "30"),
        (StoreError::Disk(DiskFault::ReadOnly), "30"),
        (StoreError::Disk(DiskFault::Unreadable), "30"),
        (StoreError::Disk(DiskFault::NoDatabase), "5"),
        (StoreError::Disk(DiskFault::ReadOnlyDatabase), "5"),
        (StoreError::Disk(DiskFault::FullDatabase), "30"),
        (StoreError::Ended, "5"),
    ] {
        store.next(InjectedFault::Refuse(error));
        let answer = hand_in(&app, &numbered(1, "A")).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some(seconds));
    }
    let broken = std::io::Error::other("the disk is on fire");
    store.next(InjectedFault::Refuse(StoreError::Broken(Arc::new(broken))));
    let answer = hand_in(&app, &numbered(1, "A")).await;
    assert_eq!(
        answer.told(),
        (500, r#"{"detail":"Internal server error."}"#)
    );
    assert_eq!(hand_in(&app, &numbered(1, "A")).await.status, 201);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again_and_nothing_is_taken_twice() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    app.webhook(&["pretix.event.order.paid"]).await;
    store.next(InjectedFault::LoseAnswer);
    assert_eq!(hand_in(&app, PAID).await.status, 201);
    store.next(InjectedFault::LoseAnswer);
    assert_eq!(hand_in(&app, &numbered(1, "A")).await.status, 200);
    assert_eq!(app.due().await.len(), 2);
}

#[tokio::test]
async fn an_id_that_another_process_made_at_the_same_moment_is_not_used() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let first = hand_in(&app, PAID).await.json()["notification_id"]
        .as_i64()
        .unwrap();
    // The next ids are taken already.
    for id in first + 1..first + 4 {
        assert_eq!(hand_in(&app, &numbered(id, "taken")).await.status, 201);
    }
    let batch = format!("[{PAID},{PAID}]");
    let answer = hand_in(&app, &batch).await;
    assert_eq!(answer.status, 201);
    let ids: Vec<i64> = answer
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["notification_id"].as_i64().unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id >= first + 4), "{first} {ids:?}");
    assert_eq!(app.due().await.len(), 6);
}
