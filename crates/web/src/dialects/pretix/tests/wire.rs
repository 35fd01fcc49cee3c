//! Notifications from what is handed in to the bytes that are sent.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use model::refusal::Fault;
use serde::Deserialize;

use super::super::action_types::ActionTypes;
use super::super::classes::NotificationClass;
use super::super::json::{JsonObject, JsonValue, read};
use super::super::wire::Draft;
use crate::tests::harness::{INTAKE, TestApp, asking};

#[derive(Deserialize)]
struct Recorded {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    body: String,
}

fn recorded() -> Vec<String> {
    let lines = include_str!("../golden/pretix-wire.jsonl").lines();
    let read = |line| serde_json::from_str::<Recorded>(line).unwrap().request.body;
    lines.map(read).collect()
}

/// An app with a webhook for everything.
async fn app() -> TestApp {
    let app = TestApp::new().await;
    let action_types = ActionTypes::with(&[]);
    let keys: Vec<&str> = action_types.iter().map(|kind| kind.key.as_str()).collect();
    app.webhook(&keys).await;
    app
}

#[tokio::test]
async fn every_recorded_body_comes_out_byte_for_byte() {
    let app = app().await;
    let mut seen = BTreeSet::new();
    for body in recorded() {
        // As a webhook of pretix itself would hand it in: with a password, in chunks or not.
        let handed = asking("POST", INTAKE)
            .with("Authorization", "Basic d2lsbGNhbGw6dG9rZW5pbnRha2U=")
            .json(body.as_str());
        let answer = app.ask(handed).await;
        let id = read(&body).unwrap().into_object().unwrap();
        let id = id.get("notification_id").unwrap().dumped();
        let status = if seen.insert(body) { 201 } else { 200 };
        let told = format!("{{\"notification_id\":{id},\"deliveries\":1}}");
        assert_eq!(answer.told(), (status, told.as_str()));
    }
    let sent = app.due().await;
    assert_eq!(sent.len(), seen.len());
    let sent = sent
        .into_iter()
        .map(|due| String::from_utf8(due.body.to_vec()).unwrap());
    assert_eq!(sent.collect::<BTreeSet<_>>(), seen);
}

#[tokio::test]
async fn keys_in_another_order_and_without_what_can_be_filled_in_are_the_same_notification() {
    let app = app().await;
    for body in recorded() {
        let object = read(&body).unwrap().into_object().unwrap();
        let first = app.ask(asking("POST", INTAKE).json(body.as_str())).await;
        assert!(first.status.is_success());
        let filled = |(key, value): &(_, JsonValue<'_>)| {
            let key: &super::super::json::JsonText<'_> = key;
            let key = key.as_str().unwrap();
            ["organizer", "issuer_slug"].contains(&key) || *value == JsonValue::Null
        };
        let mut pairs = object.into_pairs();
        pairs.retain(|pair| !filled(pair));
        pairs.reverse();
        let thin = JsonValue::Object(JsonObject::from_pairs(pairs)).dumped();
        let second = app.ask(asking("POST", INTAKE).json(thin.as_str())).await;
        assert_eq!(
            (second.status.as_u16(), &second.body),
            (200, &first.body),
            "{thin}"
        );
    }
}

fn draft(json: &str) -> Result<Draft<'_>, Vec<Fault>> {
    static KINDS: LazyLock<ActionTypes> = LazyLock::new(|| ActionTypes::with(&[]));
    Draft::read(read(json).unwrap(), "bigevents", &KINDS)
}

fn body(json: &str) -> String {
    draft(json).unwrap().body("7")
}

/// One notification of each class: what is handed in, and what is sent.
const CLASSES: &[(&str, &str)] = &[
    (
        r#"{"event":"e","action":"pretix.event.order.paid","code":"C"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""code": "C", "action": "pretix.event.order.paid"}"#,
        ),
    ),
    (
        r#"{"event":"e","action":"pretix.event.order.deleted"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""code": null, "action": "pretix.event.order.deleted"}"#,
        ),
    ),
    (
        concat!(
            r#"{"event":"e","code":"C","list":1,"first_checkin":true,"#,
            r#""checkin_list":2,"action":"pretix.event.checkin"}"#,
        ),
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""code": "C", "action": "pretix.event.checkin", "orderposition_id": "#,
            r#"null, "orderposition_positionid": null, "checkin_list": 2, "type": "#,
            r#"null, "first_checkin": true, "list": 1}"#,
        ),
    ),
    (
        r#"{"event":"e","action":"pretix.event.live.activated"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""action": "pretix.event.live.activated"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.event.deleted","event":"e"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""action": "pretix.event.deleted"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.event.deleted"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": null, "#,
            r#""action": "pretix.event.deleted"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.subevent.added","event":"e","subevent":1}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""subevent": 1, "action": "pretix.subevent.added"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.event.quota.opened","event":"e","item":1}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""item": 1, "action": "pretix.event.quota.opened"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.voucher.added","event":"e","voucher":1}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""voucher": 1, "action": "pretix.voucher.added"}"#,
        ),
    ),
    (
        concat!(
            r#"{"action":"pretix.event.orders.waitinglist.added","event":"e","#,
            r#""waitinglistentry":1}"#,
        ),
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "#,
            r#""waitinglistentry": 1, "action": "#,
            r#""pretix.event.orders.waitinglist.added"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.customer.created","customer":"ABC"}"#,
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "customer": "ABC", "#,
            r#""action": "pretix.customer.created"}"#,
        ),
    ),
    (
        concat!(
            r#"{"action":"pretix.giftcards.created","organizer":"bigevents","#,
            r#""giftcard":1,"issuer_id":2}"#,
        ),
        concat!(
            r#"{"notification_id": 7, "issuer_id": 2, "issuer_slug": "bigevents", "#,
            r#""giftcard": 1, "action": "pretix.giftcards.created"}"#,
        ),
    ),
    (
        r#"{"action":"pretix.giftcards.transaction.refund","giftcard":1,"issuer_id":2}"#,
        concat!(
            r#"{"notification_id": 7, "issuer_id": 2, "issuer_slug": "bigevents", "#,
            r#""acceptor_id": null, "acceptor_slug": null, "giftcard": 1, "#,
            r#""action": "pretix.giftcards.transaction.refund"}"#,
        ),
    ),
];

#[test]
fn each_class_has_its_keys_in_its_order() {
    for (thin, whole) in CLASSES {
        assert_eq!(&body(thin), whole);
    }
}

#[test]
fn keys_that_are_not_of_the_class_are_kept() {
    let thin = concat!(
        r#"{"x":[1.50,"ä"],"event":"e","y":{"b":1,"a":2},"code":"C","#,
        r#""action":"pretix.event.order.paid"}"#,
    );
    assert_eq!(
        body(thin),
        concat!(
            r#"{"notification_id": 7, "organizer": "bigevents", "event": "e", "code": "#,
            r#""C", "action": "pretix.event.order.paid", "x": [1.5, "\u00e4"], "y": "#,
            r#"{"b": 1, "a": 2}}"#,
        )
    );
    // What has every key in its order may have others between them, and is not touched.
    let whole = concat!(
        r#"{"a": 0, "notification_id": 7, "organizer": "bigevents", "event": "e", "b": "#,
        r#""\ud800", "code": "C", "action": "pretix.event.order.paid", "c": null}"#,
    );
    assert_eq!(body(whole), whole);
}

#[test]
fn what_has_no_class_stays_as_it_is_but_for_id_and_organizer() {
    let action = "pretix.event.order.comment";
    for (thin, whole) in [
        (
            r#"{"b":1,"action":"ACTION","a":2}"#,
            concat!(
                r#"{"notification_id": 7, "organizer": "bigevents", "b": 1, "action": "#,
                r#""ACTION", "a": 2}"#,
            ),
        ),
        (
            r#"{"b":1,"action":"ACTION","organizer":"bigevents","notification_id":7}"#,
            r#"{"b": 1, "action": "ACTION", "organizer": "bigevents", "notification_id": 7}"#,
        ),
    ] {
        assert_eq!(
            body(&thin.replace("ACTION", action)),
            whole.replace("ACTION", action)
        );
    }
}

#[test]
fn a_notification_stands_for_its_type_in_its_scope() {
    for (json, event, topic, scope) in [
        (
            r#"{"event":"e","code":"C","action":"pretix.event.order.changed.item"}"#,
            Some("e"),
            "pretix.event.order.changed.*",
            "event:e",
        ),
        (
            r#"{"event":"e","action":"pretix.event.deleted"}"#,
            None,
            "pretix.event.deleted",
            "organizer",
        ),
        (
            r#"{"customer":"C","event":"e","action":"pretix.customer.created"}"#,
            None,
            "pretix.customer.created",
            "organizer",
        ),
    ] {
        let draft = draft(json).unwrap();
        let pairs = draft.pairs();
        let pair = pairs.first().unwrap();
        assert_eq!(draft.event.as_deref(), event);
        assert_eq!((pair.topic.as_str(), pair.scope.as_str()), (topic, scope));
    }
    let unwanted = draft(r#"{"event":"e","action":"pretix.voucher.redeemed"}"#).unwrap();
    assert_eq!(
        (unwanted.pairs(), unwanted.event),
        (Vec::new(), Some("e".into()))
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let long = "x".repeat(256);
    judge(&[
        (
            r#"[]"#,
            "non_field_errors: Invalid data. Expected a dictionary, but got list.",
        ),
        (r#"null"#, "non_field_errors: No data provided"),
        (r#"{}"#, "action: This field is required."),
        (r#"{"action":5}"#, "action: Not a valid string."),
        (r#"{"action":""}"#, "action: This field may not be blank."),
        (r#"{"action":null}"#, "action: This field may not be null."),
        (
            r#"{"action":"pretix.event.order.paid"}"#,
            "event: This field is required.; code: This field is required.",
        ),
        (
            r#"{"action":"pretix.event.order.paid","event":null,"code":5}"#,
            "event: This field may not be null.; code: Not a valid string.",
        ),
        (
            r#"{"action":"pretix.event.order.paid","event":"a\u0000b","code":"\ud800"}"#,
            "event: Null characters are not allowed.; code: Surrogate characters are \
             not allowed: U+D800.",
        ),
        (
            &format!(r#"{{"action":"pretix.event.added","event":"{long}"}}"#),
            "event: Ensure this field has no more than 255 characters.",
        ),
        (
            &format!(
                r#"{{"action":"pretix.event.added","event":"{}"}}"#,
                "ä".repeat(128)
            ),
            "event: Ensure this field has no more than 255 bytes.",
        ),
    ]);
}

#[test]
fn numbers_that_are_none_and_other_organizers_are_named() {
    judge(&[
        (
            r#"{"action":"pretix.event.item.added","event":"e","item":"1"}"#,
            "item: A valid integer is required.",
        ),
        (
            r#"{"action":"pretix.event.item.added","event":"e","item":1.0}"#,
            "item: A valid integer is required.",
        ),
        (
            r#"{"action":"pretix.giftcards.created","giftcard":1}"#,
            "issuer_id: This field is required.",
        ),
        (
            r#"{"action":"pretix.giftcards.created","giftcard":1,"issuer_id":1,"organizer":"x"}"#,
            "organizer: Must be \"bigevents\", the organizer in the path.",
        ),
        (
            r#"{"action":"x","organizer":"BigEvents","notification_id":true,"event":1}"#,
            "notification_id: A valid integer is required.; organizer: Must be \"bigevents\", the \
             organizer in the path.; event: Not a valid string.",
        ),
        (
            r#"{"action":"x","notification_id":1.0}"#,
            "notification_id: A valid integer is required.",
        ),
        (
            r#"{"action":"x","notification_id":"1"}"#,
            "notification_id: A valid integer is required.",
        ),
        (
            r#"{"action":"x","notification_id":null}"#,
            "notification_id: This field may not be null.",
        ),
        (
            &format!(r#"{{"action":"x","notification_id":{}}}"#, "1".repeat(191)),
            "notification_id: Ensure this value fits into 64 bits.",
        ),
        (
            r#"{"action":"x","a":[NaN]}"#,
            "a: NaN and Infinity cannot be sent.",
        ),
        (
            r#"{"action":"x","a":{"b":-1e999}}"#,
            "a: NaN and Infinity cannot be sent.",
        ),
    ]);
}

/// Notifications, each with everything that is wrong with it.
fn judge(rows: &[(&str, &str)]) {
    for (json, faults) in rows {
        let found = draft(json).unwrap_err();
        let found = found
            .iter()
            .map(|fault| format!("{}: {}", fault.field, fault.reasons.join(" ")));
        assert_eq!(&found.collect::<Vec<_>>().join("; "), faults, "{json}");
    }
}

#[test]
fn keys_of_classes_stand_in_json_as_they_are() {
    for kind in ActionTypes::with(&[]).iter() {
        for name in kind.class.into_iter().flat_map(NotificationClass::names) {
            assert_eq!(JsonValue::text(name).dumped(), format!("\"{name}\""));
        }
    }
}
