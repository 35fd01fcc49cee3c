//! Whatever is asked of a page by somebody who may do everything: never a 5xx, never a panic.

use http::Method;
use model::tenant::TokenHash;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::dashboard::{PageRoute, Pages, csrf_token};
use crate::tests::harness::{Asking, INTAKE, TestApp, asking};
use crate::tests::never_500::{encoded, header, hostile_text};

const CASES: u32 = 48;

/// Names that mean something to a page, or to another.
const NAMES: [&str; 30] = [
    "q",
    "after",
    "before",
    "tokens",
    "people",
    "webhook",
    "status",
    "since",
    "until",
    "text",
    "event",
    "action_type",
    "from",
    "said",
    "role",
    "person",
    "name",
    "password",
    "repeated",
    "present",
    "days",
    "permission",
    "administrator",
    "active",
    "sure",
    "next",
    "target_url",
    "action_types",
    "enabled",
    "",
];

const VALUES: [&str; 12] = [
    "1",
    "yes",
    "none",
    "administer",
    "look",
    "webhooks:read",
    "failed",
    "bigevents",
    "root",
    "correct horse battery",
    "https://example.org/",
    "-9223372036854775808",
];

fn pairs() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => hostile_text(),
    ];
    let value = prop_oneof![
        2 => prop::sample::select(&VALUES[..]).prop_map(str::to_owned),
        3 => hostile_text(),
        1 => Just("x".repeat(5_000)),
    ];
    prop::collection::vec((name, value), 0..6).prop_map(|pairs| {
        let pair =
            |(name, value): (String, String)| format!("{}={}", encoded(&name), encoded(&value));
        pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
    })
}

fn path(page: &PageRoute, tenant: i64) -> BoxedStrategy<String> {
    let fixed = |segment: &'static str| match segment {
        "{tenant}" => prop_oneof![9 => Just(tenant.to_string()), 1 => hostile_text()].boxed(),
        "{delivery}" => prop_oneof![3 => Just("dlv_1_1".to_owned()), 1 => hostile_text()].boxed(),
        other if other.starts_with('{') => {
            prop_oneof![3 => Just("1".to_owned()), 1 => hostile_text()].boxed()
        }
        other => Just(other.to_owned()).boxed(),
    };
    let segments: Vec<_> = page.path.split('/').map(fixed).collect();
    segments
        .prop_map(|segments| {
            let segments: Vec<String> = segments.iter().map(|segment| encoded(segment)).collect();
            segments.join("/")
        })
        .boxed()
}

fn asked(page: &PageRoute, tenant: i64, secret: &str) -> impl Strategy<Value = Asking> + use<> {
    let own = format!("willcall_session={secret}");
    let cookie = prop_oneof![
        9 => Just(own.into_bytes()),
        1 => header(),
    ];
    let (method, csrf_token) = (page.method.clone(), csrf_token(secret));
    let parts = (
        path(page, tenant),
        pairs(),
        pairs(),
        cookie,
        prop::option::weighted(0.1, header()),
    );
    parts.prop_map(move |(path, query, form, cookie, kind)| {
        let asking = asking(method.as_str(), &format!("{path}?{query}"))
            .without("Authorization")
            .with_bytes("Cookie", &cookie);
        if method != Method::POST {
            return asking;
        }
        let kind = kind.unwrap_or_else(|| b"application/x-www-form-urlencoded".to_vec());
        asking
            .with_bytes("Content-Type", &kind)
            .body(format!("{form}&csrf_token={csrf_token}"))
    })
}

#[test]
fn no_visit_brings_about_a_server_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let secret = "c3".repeat(31);
    let app = runtime.block_on(async {
        let app = TestApp::new().await;
        app.user("root", true).await;
        app.webhook(&["pretix.event.order.paid"]).await;
        let body = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
        app.ask(asking("POST", INTAKE).json(body)).await;
        app
    });
    let tenant = runtime.block_on(app.tenant("bigevents")).0;
    for page in Pages::all().iter() {
        let mut runner = TestRunner::new(Config::with_cases(CASES));
        let judged = runner.run(&asked(page, tenant, &secret), |asking| {
            let Some(request) = asking.request() else {
                return Ok(());
            };
            let answer = runtime.block_on(async {
                // Some pages end the session.
                let (hash, now) = (TokenHash::of(&secret), app.now());
                let until = now.plus_ms(60_000);
                let root = app.store.users(None).await.unwrap();
                let root = root.iter().find(|user| user.name == "root").unwrap().id;
                let begun = app.store.begin_session(hash, root, None, None, until, now);
                begun.await.ok();
                app.send(request).await
            });
            prop_assert!(answer.status.as_u16() < 500, "{answer:?}");
            prop_assert!(answer.body.len() < 100 * 1024, "{}", answer.body.len());
            Ok(())
        });
        if let Err(error) = judged {
            panic!("{}: {error}", page.path);
        }
    }
}
