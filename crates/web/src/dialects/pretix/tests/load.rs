//! What the benchmark is made with: it has to be what the intake and the file of an operator take.

use model::rng::SeededRng;
use model::tenant::{DialectName, Tenant};
use model::time::Timestamp;
use serde_json::json;

use super::super::action_types::ActionTypes;
use super::super::wire::Draft;
use super::super::{input, load};
use crate::dialects::{DemoCall, DialectOptions, KnownEvents, Load, LoadPage, LoadTenant, all};

fn pretix() -> Load {
    load::load(DialectName::new("pretix"))
}

fn action_types() -> ActionTypes {
    ActionTypes::with(&[])
}

fn draft<'a>(body: &'a [u8], action_types: &'a ActionTypes) -> Draft<'a> {
    let text = std::str::from_utf8(body).unwrap();
    let value = input::read_json(text).unwrap();
    Draft::read(value, "bench", action_types).unwrap()
}

#[test]
fn sections_of_several_tenants_make_a_file_that_is_taken() {
    let load = pretix();
    let section = |key: &str| {
        (load.section)(&LoadTenant {
            key: key.to_owned(),
            token: "a-long-token".to_owned(),
            shows: 3,
            webhooks: vec![
                ("http://127.0.0.1:9/0".to_owned(), true),
                ("http://127.0.0.1:9/1".to_owned(), false),
            ],
        })
    };
    let file = section("bench") + &section("bench-1");
    let known = KnownEvents::default();
    let dialects = all(&DialectOptions::default());
    let declared = dialects.declare(&file, &known, &mut SeededRng::from_seed([1; 32]));
    let declared = declared.unwrap().declarations;
    assert_eq!(declared.len(), 2);
    assert_eq!(
        (declared[1].key.as_str(), declared[1].events.len()),
        ("bench-1", 3)
    );
    let call = (load.hand_in)("bench", 0..1, 0, 0);
    let pairs = draft(call.body.as_bytes(), &action_types()).pairs();
    let wants = declared[0]
        .webhooks
        .iter()
        .map(|webhook| webhook.filter.matches(&pairs));
    assert_eq!(wants.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_notification_has_its_size_its_number_and_the_same_meaning_either_way() {
    let load = pretix();
    let call = (load.hand_in)("bench", 41..42, 0, 512);
    assert!(call.body.len() < 512);
    let action_types = action_types();
    let draft = draft(call.body.as_bytes(), &action_types);
    let id = "1234567890123456";
    assert_eq!(draft.body(id).len(), 512);
    assert_eq!((load.number)(draft.body(id).as_bytes()), Some(41));
    let tenant = Tenant {
        id: model::id::TenantId(1),
        dialect: load.dialect.clone(),
        key: "bench".to_owned(),
        name: String::new(),
    };
    let stored = (load.notification)(&tenant, 41, 512, Timestamp::EPOCH);
    assert_eq!(stored.match_keys, draft.pairs());
    assert_eq!(
        (stored.event, stored.action_type),
        (draft.event.map(Into::into), draft.action.into_owned())
    );
    assert_eq!(
        (stored.body.len(), (load.number)(&stored.body)),
        (512, Some(41))
    );

    let own = (load.hand_in_as)("bench", 41, 1_234_567_890_123_456, 0, 512);
    assert_eq!(own.path, call.path);
    let own: serde_json::Value = serde_json::from_str(&own.body).unwrap();
    let mut same: serde_json::Value = serde_json::from_str(&call.body).unwrap();
    same["notification_id"] = json!(1_234_567_890_123_456_u64);
    assert_eq!(own, same);

    let batch = (load.hand_in)("bench", 5..8, 0, 512);
    let batch: Vec<serde_json::Value> = serde_json::from_str(&batch.body).unwrap();
    assert_eq!(batch.len(), 3);
    for body in [
        "",
        "{}",
        r#"{"code": }"#,
        r#"{"code": "N99999999999999999999999"}"#,
    ] {
        assert_eq!((load.number)(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn pages_of_the_log_are_followed_by_their_links() {
    let load = pretix();
    let like = (load.webhook)("bench", Some(2), "http://127.0.0.1:9/2");
    assert!(
        like.body.contains(r#""limit_events":["show-2"]"#),
        "{}",
        like.body
    );
    let answer = json!({"next": "http://127.0.0.1:8080/api/v1/x/?cursor=abc", "results": [1, 2]});
    let page = (load.page)(&answer).unwrap();
    let next: Option<DemoCall> = page.after(&like);
    let next = next.unwrap();
    assert_eq!(
        (page.rows, next.path.as_str()),
        (2, "/api/v1/x/?cursor=abc")
    );
    assert_eq!((next.scheme, next.method.as_str()), ("Token", "GET"));
    let last = LoadPage {
        rows: 1,
        next: None,
    };
    assert_eq!(
        (load.page)(&json!({"next": null, "results": [1]})),
        Some(last.clone())
    );
    assert!(last.after(&like).is_none());
    assert_eq!((load.page)(&json!({"detail": "no"})), None);
}
