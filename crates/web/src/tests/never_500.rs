//! Whatever is asked, however it is asked, with whatever body: never a 5xx, never a panic, always
//! an answer that says why.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::harness::{Asking, COMPANY, TestApp, asking, bearing, every_route, token_for};
use crate::gateway::api::Route;
use crate::gateway::auth::AuthScheme;

const CASES: u32 = 64;

/// The second notification, owed to the second webhook.
const INVOCATION: &str = "00000000-0000-8002-8000-000000000002";

/// Characters that mean something to somebody.
pub(super) fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>().prop_map(|text| text.chars().take(8).collect()),
        prop::sample::select(vec![
            "",
            "0",
            "1",
            "-1",
            "+1",
            " 1",
            "1e9",
            "9223372036854775808",
            "dlv_1_1",
            "dlv_0_0",
            "dlv_9223372036854775807_9223372036854775807",
            "null",
            "true",
            "%00",
            "\0",
            "../",
            "//",
            "'",
            "\"",
            "\\",
            "{}",
            "[]",
            ";",
            "\u{202e}",
            "\u{ffff}",
            "😀",
            "json",
            ".json",
            "last",
            "2027-01-19T10:00:00Z",
            "0000-00-00T00:00:00Z",
            "9999-12-31T23:59:59.999999999-23:59",
            "bzE",
            "bi0x",
            "bzk5OTk5OTk5OTk5OTk5OTk5OTk5",
            "application/json",
            "boundary=",
            "d0a3f370-cd43-11ed-9c9c-bbcffde24a48",
            "00000000-0000-8001-8000-000000000001",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn query() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "page",
        "page_size",
        "enabled",
        "format",
        "cursor",
        "status",
        "since",
        "until",
        "action_type",
        "per_page",
        "before",
        "hints",
        "after",
        "limit",
        "q",
        "x",
        "",
    ]);
    prop::collection::vec((name, hostile_text()), 0..4).prop_map(|pairs| {
        let pair = |(name, value): (&str, String)| format!("{name}={}", encoded(&value));
        pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
    })
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("NaN".to_owned()),
        Just("-1e999".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"\\u0000\"".to_owned()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        any::<bool>().prop_map(|flag| flag.to_string()),
        hostile_text().prop_map(|text| serde_json::Value::String(text).to_string()),
        prop::sample::select(vec![
            "\"https://example.org/\"",
            "\"democon\"",
            "\"pretix.event.order.paid\"",
            "\"pretix.event.checkin\"",
            "\"pretix.giftcards.transaction.x\"",
            "\"bigevents\"",
            "\"order\"",
            "\"event\"",
            "\"paid\"",
            "\"d0a3f370-cd43-11ed-9c9c-bbcffde24a48\"",
        ])
        .prop_map(str::to_owned),
    ];
    let key = prop::sample::select(vec![
        "enabled",
        "target_url",
        "all_events",
        "limit_events",
        "action_types",
        "comment",
        "id",
        "action",
        "event",
        "organizer",
        "notification_id",
        "code",
        "issuer_slug",
        "giftcard",
        "\\ud800",
        "x",
        "name",
        "url",
        "resource",
        "trigger",
        "guid",
        "related",
        "data",
        "retries",
        "identifier",
        "company_id",
        "triggered_by_child_resources",
        "slug",
        "token",
        "webhook",
        "permissions",
        "date_from",
        "active",
        "role",
        "lifetime_seconds",
        "signature",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        let pair =
            (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(pair, 0..8).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => json().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => Just("[".repeat(4_000).into_bytes()),
        1 => query().prop_map(String::into_bytes),
        1 => hostile_text().prop_map(|text| format!("--b\r\n{text}\r\n--b--").into_bytes()),
    ]
}

fn form() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => Just(b"application/json".to_vec()),
        2 => prop::sample::select(vec![
            "application/x-ndjson", "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b", "multipart/form-data; boundary=",
            "application/json; charset=utf-16", "application/json; charset=ascii",
            "application/json; charset=replacement", "; charset=", "text/plain",
        ])
        .prop_map(|form| form.as_bytes().to_vec()),
        1 => header(),
    ]
}

/// Any bytes that may stand in a header.
pub(super) fn header() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("visible", |byte| *byte >= 32 && *byte != 127);
    prop::collection::vec(byte, 0..24)
}

fn path(route: &Route, guid: &str) -> BoxedStrategy<String> {
    let fixed = |segment: &'static str| match segment {
        "{organizer}" => {
            prop_oneof![5 => Just("bigevents".to_owned()), 1 => hostile_text()].boxed()
        }
        "{event}" => prop_oneof![3 => Just("democon".to_owned()), 1 => hostile_text()].boxed(),
        "{id}" => prop_oneof![3 => Just("1".to_owned()), 1 => hostile_text()].boxed(),
        "{delivery}" => prop_oneof![3 => Just("dlv_1_1".to_owned()), 1 => hostile_text()].boxed(),
        "{guid}" => prop_oneof![3 => Just(guid.to_owned()), 1 => hostile_text()].boxed(),
        "{dialect}" => prop_oneof![
            3 => Just("pretix".to_owned()),
            2 => Just("openticket".to_owned()),
            1 => hostile_text(),
        ]
        .boxed(),
        "{tenant}" => prop_oneof![
            3 => Just("bigevents".to_owned()),
            2 => Just(COMPANY.to_owned()),
            1 => hostile_text(),
        ]
        .boxed(),
        "{slug}" => prop_oneof![3 => Just("democon".to_owned()), 1 => hostile_text()].boxed(),
        "{token}" | "{user}" => {
            prop_oneof![3 => Just("rw".to_owned()), 1 => hostile_text()].boxed()
        }
        "{invocation}" => prop_oneof![
            3 => Just(INVOCATION.to_owned()),
            1 => Just("00000000-0000-8001-8000-000000000009".to_owned()),
            1 => hostile_text(),
        ]
        .boxed(),
        other => Just(other.to_owned()).boxed(),
    };
    let segments: Vec<_> = route.path.split('/').map(fixed).collect();
    let tail = prop_oneof![8 => Just(String::new()), 1 => hostile_text()];
    (segments, tail)
        .prop_map(|(segments, tail)| {
            let segments: Vec<String> = segments.iter().map(|segment| encoded(segment)).collect();
            format!("{}{}", segments.join("/"), encoded(&tail))
        })
        .boxed()
}

fn asked(route: &Route, guid: &str) -> impl Strategy<Value = Asking> + use<> {
    let mut methods: Vec<String> = route.verbs.iter().map(|(m, _)| m.to_string()).collect();
    methods.extend(["HEAD", "OPTIONS", "PUT", "FOO"].map(str::to_owned));
    let others = (
        prop::option::weighted(0.2, header()),
        prop::option::weighted(0.2, header()),
        prop::option::weighted(0.2, header()),
    );
    let parts = (
        prop::sample::select(methods),
        path(route, guid),
        query(),
        form(),
        body(),
        others,
    );
    let bearer = !route.schemes.contains(&AuthScheme::Device);
    let token = format!("Bearer {}", token_for(route));
    parts.prop_map(
        move |(method, path, query, form, body, (accept, key, shown))| {
            let mut asking = asking(&method, &format!("{path}?{query}"))
                .with_bytes("Content-Type", &form)
                .body(body);
            if bearer {
                asking = asking.with("Authorization", &token);
            }
            for (name, value) in [
                ("Accept", accept),
                ("X-Idempotency-Key", key),
                ("Authorization", shown),
            ] {
                if let Some(value) = value {
                    asking = asking.with_bytes(name, &value);
                }
            }
            asking
        },
    )
}

#[test]
fn no_request_brings_about_a_server_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (app, guid) = runtime.block_on(async {
        let app = TestApp::new().await;
        let id = app.webhook(&["pretix.event.order.paid"]).await;
        assert_eq!(id.0, 1);
        let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
        app.ask(asking("POST", super::harness::INTAKE).json(body))
            .await;
        let guid = app.hook("order", "paid").await.guid;
        let body = format!(
            "{{\"resource\":\"order\",\"trigger\":\"paid\",\"guid\":\"{COMPANY}\",\"data\":{{}}}}"
        );
        let reported = app.ask(bearing("POST", "/trigger").json(body)).await;
        assert_eq!(reported.json()["invocations"], 1);
        let listed = bearing("GET", &format!("/webhook/{guid}/invocations/{INVOCATION}"));
        assert_eq!(app.ask(listed).await.status, 200);
        (app, guid)
    });
    for route in every_route() {
        let mut runner = TestRunner::new(Config::with_cases(CASES));
        let bearer = !route.schemes.contains(&AuthScheme::Device);
        let judged = runner.run(&asked(&route, &guid), |asking| {
            // What the HTTP library refuses never gets here.
            let Some(request) = asking.request() else {
                return Ok(());
            };
            let answer = runtime.block_on(app.send(request));
            prop_assert!(answer.status.as_u16() < 500, "{answer:?}");
            // What pretix's clients get is ASCII; others take JSON as it is.
            prop_assert!(bearer || answer.body.is_ascii(), "{answer:?}");
            Ok(())
        });
        if let Err(error) = judged {
            panic!("{}: {error}", route.path);
        }
    }
}
