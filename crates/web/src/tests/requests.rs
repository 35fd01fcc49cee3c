//! What holds for every request: idempotency keys, callers who hang up, hosts, slashes, forms of
//! answers, tenants kept apart, health.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use crate::transport::body::Body;
use http::Request;
use model::contract::{DiskFault, StoreError};
use model::lease::Epoch;
use model::limits::{BODIES_SHARE_BYTES_MAX, BODY_STEP_BYTES, PARAMETERS_MAX};
use model::time::TimeBounds;

use super::faulty_store::{FaultyStore, Gate, InjectedFault};
use super::harness::{INTAKE, TestApp, WEBHOOKS, asking, bearing};
use crate::dialects::DialectOptions;

const HOOK: &str = r#"{"target_url":"https://example.org/","limit_events":[],"action_types":[]}"#;

const REUSED: &str = r#"{"detail":"This idempotency key was used for a different request."}"#;

async fn count(app: &TestApp) -> u64 {
    app.ask(asking("GET", WEBHOOKS)).await.json()["count"]
        .as_u64()
        .unwrap()
}

fn create(key: &str) -> super::harness::Asking {
    asking("POST", WEBHOOKS)
        .with("X-Idempotency-Key", key)
        .json(HOOK)
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_does_nothing_again() {
    let app = TestApp::new().await;
    let first = app.ask(create("a")).await;
    assert_eq!(first.status, 201);
    assert_eq!(app.ask(create("a")).await, first);
    assert_eq!(count(&app).await, 1);
    assert_eq!(app.ask(create("b")).await.status, 201);
    assert_eq!(app.ask(create("a").by("tokenrw")).await.status, 201);
    assert_eq!(count(&app).await, 3);
}

#[tokio::test]
async fn a_key_stands_for_its_method_path_query_and_body() {
    let app = TestApp::new().await;
    app.ask(create("a")).await;
    let hook = format!("{WEBHOOKS}1/");
    for other in [
        create("a").body("{}"),
        asking("PATCH", &hook)
            .with("X-Idempotency-Key", "a")
            .json(HOOK),
        asking("PUT", &hook)
            .with("X-Idempotency-Key", "a")
            .json(HOOK),
        asking("POST", &format!("{WEBHOOKS}?x=1"))
            .with("X-Idempotency-Key", "a")
            .json(HOOK),
    ] {
        assert_eq!(app.ask(other).await.told(), (422, REUSED));
    }
    // The slash at the end makes no other request of it.
    let slashless = asking("POST", WEBHOOKS.trim_end_matches('/'));
    let slashless = slashless.with("X-Idempotency-Key", "a").json(HOOK);
    assert_eq!(app.ask(slashless).await.status, 201);
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn refusals_are_kept_but_not_those_of_the_moment() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    store.next(InjectedFault::Refuse(StoreError::Busy));
    assert_eq!(app.ask(create("busy")).await.status, 503);
    assert_eq!(app.ask(create("busy")).await.status, 201);
    let bad = || create("bad").body("{}");
    assert_eq!(app.ask(bad()).await.status, 400);
    assert_eq!(app.ask(bad()).await.status, 400);
    let unknown = || create("bad").by("unknown");
    assert_eq!(app.ask(unknown()).await.status, 401);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let app = TestApp::new().await;
    app.ask(create("a")).await;
    app.pass_ms(25 * 3_600_000);
    app.store
        .prune(
            Epoch::FIRST,
            BTreeMap::new(),
            TimeBounds::exactly(app.now()),
        )
        .await
        .unwrap();
    assert_eq!(app.ask(create("a")).await.status, 201);
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn keys_have_a_length_and_a_blank_one_is_none() {
    let app = TestApp::new().await;
    for _ in 0..2 {
        assert_eq!(app.ask(create("")).await.status, 201);
    }
    assert_eq!(count(&app).await, 2);
    assert_eq!(app.ask(create(&"k".repeat(190))).await.status, 201);
    assert_eq!(app.ask(create(&"k".repeat(191))).await.status, 400);
    let latin = create("").with_bytes("X-Idempotency-Key", &[0xff; 190]);
    assert_eq!(app.ask(latin).await.status, 201);
}

#[tokio::test]
async fn while_its_request_runs_a_key_cannot_be_used() {
    let (store, gate) = gated();
    let app = TestApp::over(store, &DialectOptions::default()).await;
    gate.close();
    let first = tokio::task::unconstrained(app.ask(create("a")));
    let mut first = Box::pin(first);
    assert!(poll_once(first.as_mut()).await.is_none());
    gate.reached.notified().await;
    let second = app.ask(create("a")).await;
    let words = r#"{"detail":"Concurrent request with idempotency key."}"#;
    assert_eq!(second.told(), (409, words));
    assert_eq!(second.header("retry-after"), Some("5"));
    gate.open();
    assert_eq!(first.await.status, 201);
    assert_eq!(app.ask(create("a")).await.status, 201);
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_finds_the_answer_under_the_key() {
    let (store, gate) = gated();
    let app = TestApp::over(store, &DialectOptions::default()).await;
    gate.close();
    {
        let mut first = Box::pin(app.ask(create("a")));
        assert!(poll_once(first.as_mut()).await.is_none());
        gate.reached.notified().await;
    }
    gate.open();
    // The request goes on by itself until its key is free.
    let answer = loop {
        let answer = app.ask(create("a")).await;
        if answer.status != 409 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(answer.status, 201);
    assert_eq!(count(&app).await, 1);
}

/// A body of which nearly a tenant's whole share has come, and the rest does not.
fn endless() -> Body {
    use http_body_util::{BodyExt, Full};
    let never = std::future::pending::<Option<Result<http::HeaderMap, std::io::Error>>>();
    let most = vec![b' '; BODIES_SHARE_BYTES_MAX - BODY_STEP_BYTES];
    let body = Full::<bytes::Bytes>::from(most);
    Body::new(body.map_err(std::io::Error::other).with_trailers(never))
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_does_nothing_once_its_caller_hangs_up() {
    let app = TestApp::new().await;
    assert_eq!(count(&app).await, 0);
    let (head, _) = asking("POST", INTAKE).request().unwrap().into_parts();
    let mut slow = Box::pin(app.send(Request::from_parts(head, endless())));
    assert!(poll_once(slow.as_mut()).await.is_none());
    let long = || create("a").json(format!("{HOOK}{}", " ".repeat(2 * BODY_STEP_BYTES)));
    {
        let mut waiting = Box::pin(app.ask(long()));
        assert!(poll_once(waiting.as_mut()).await.is_none());
    }
    // The slow one goes on, and gives way to whoever waits still.
    drop(slow);
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&app).await, 0);
    assert_eq!(app.ask(long()).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn what_a_token_sends_to_others_takes_the_room_of_its_own_tenant() {
    let app = TestApp::new().await;
    let own = "/api/v1/organizers/othercorp/notifications/";
    let asking = |path| asking("POST", path).by("tokenother");
    let (head, _) = asking(own).request().unwrap().into_parts();
    let mut slow = Box::pin(app.send(Request::from_parts(head, endless())));
    assert!(poll_once(slow.as_mut()).await.is_none());
    let long = asking(INTAKE).with("X-Idempotency-Key", "a");
    let long = long.json(" ".repeat(2 * BODY_STEP_BYTES));
    let mut long = Box::pin(app.ask(long));
    assert!(poll_once(long.as_mut()).await.is_none());
    drop(slow);
    assert_eq!(long.await.status, 403);
}

/// A store whose creations wait until the gate is opened.
fn gated() -> (Arc<FaultyStore>, Arc<Gate>) {
    let store = Arc::new(FaultyStore::new());
    let gate = store.gate();
    (store, gate)
}

async fn poll_once<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match work.as_mut().poll(context) {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_lost_answer_of_a_creation_is_not_repeated_and_says_so() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    store.next(InjectedFault::LoseAnswer);
    let answer = app.ask(create("")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(count(&app).await, 1);
    store.next(InjectedFault::LoseAnswer);
    let change = asking("PATCH", &format!("{WEBHOOKS}1/")).json(r#"{"comment":"x"}"#);
    assert_eq!(app.ask(change).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_said_to_programs_and_people() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    let tenant = app.tenant("bigevents").await;
    let mut root = app.administrator().await;
    let form = format!("/t/{tenant}/settings/tokens");
    let paid = r#"{"event":"democon","action":"pretix.event.order.paid","code":"A"}"#;
    let placed = r#"{"resource":"order","trigger":"placed","data":{}}"#;
    for (fault, words, heading, after) in [
        (
            DiskFault::NoDatabase,
            "The database of the server does not answer",
            "The database does not answer",
            "5",
        ),
        (
            DiskFault::NoConnection,
            "The database of the server has no connection left for it",
            "The database has no connection left",
            "5",
        ),
        (
            DiskFault::ReadOnlyDatabase,
            "The database of the server takes no changes",
            "The database is read-only",
            "5",
        ),
        (
            DiskFault::FullDatabase,
            "The disk of the database is full",
            "The disk of the database is full",
            "30",
        ),
    ] {
        let refuse = || store.next(InjectedFault::Refuse(StoreError::Disk(fault)));
        for asking in [
            asking("POST", INTAKE).json(paid),
            bearing("POST", "/trigger").json(placed),
        ] {
            refuse();
            let answer = app.ask(asking).await;
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(answer.header("retry-after"), Some(after));
            assert!(answer.body.contains(words), "{}", answer.body);
        }
        root.get(&form).await;
        refuse();
        let page = root
            .post(&form, &[("name", "x"), ("permission", "webhooks:read")])
            .await;
        assert_eq!(page.status, 503, "{}", page.words());
        assert_eq!(page.header("retry-after"), Some(after));
        assert!(page.says(heading) && page.says(words), "{}", page.words());
    }
}

#[tokio::test]
async fn whoever_has_as_many_webhooks_as_there_may_be_is_told_what_to_do() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    store.next(InjectedFault::Refuse(StoreError::TooManyWebhooks));
    let answer = app.ask(create("")).await;
    assert_eq!(answer.status, 409);
    let words = "There are 10000 webhooks already, which is as many as there may be. Change one \
                 that nobody needs any more.";
    assert_eq!(answer.json()["detail"], words);
}

#[tokio::test]
async fn a_change_made_meanwhile_is_not_undone() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    app.ask(create("")).await;
    store.next(InjectedFault::Refuse(StoreError::Stale));
    let change = asking("PATCH", &format!("{WEBHOOKS}1/")).json(r#"{"comment":"x"}"#);
    assert_eq!(app.ask(change).await.json()["comment"], "x");
    for _ in 0..20 {
        store.next(InjectedFault::Refuse(StoreError::Stale));
    }
    let change = asking("PATCH", &format!("{WEBHOOKS}1/")).json(r#"{"comment":"y"}"#);
    assert_eq!(app.ask(change).await.status, 503);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let app = TestApp::new().await;
    let large = asking("POST", WEBHOOKS).with("Content-Length", "1048577");
    let words = r#"{"detail":"The body may have at most 1048576 bytes."}"#;
    assert_eq!(app.ask(large.json("{}")).await.told(), (413, words));
}

#[tokio::test]
async fn a_body_is_read_before_what_it_is_for_is_looked_for_and_understood_after_it() {
    let app = TestApp::new().await;
    let pretix = format!("{WEBHOOKS}999/");
    let openticket = "/webhook/00000000-0000-0000-0000-000000000000";
    for (path, scheme) in [(pretix.as_str(), "Token"), (openticket, "Bearer")] {
        for method in ["PATCH", "PUT", "DELETE"] {
            let shown = format!("{scheme} tokenall");
            let change = || asking(method, path).with("Authorization", &shown).json("{");
            let large = change().with("Content-Length", "1048577");
            assert_eq!(app.ask(large).await.status, 413, "{method} {path}");
            assert_eq!(app.ask(change()).await.status, 404, "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused_and_its_key_is_free() {
    use http_body_util::{BodyExt, Empty};
    let app = TestApp::new().await;
    let never = std::future::pending::<Option<Result<http::HeaderMap, std::io::Error>>>();
    let body = Empty::<bytes::Bytes>::new()
        .map_err(std::io::Error::other)
        .with_trailers(never);
    let (head, _) = create("a").request().unwrap().into_parts();
    let answer = app.send(Request::from_parts(head, Body::new(body))).await;
    let words = r#"{"detail":"The body did not arrive in time."}"#;
    assert_eq!(answer.told(), (408, words));
    assert_eq!(app.ask(create("a")).await.status, 201);
}

#[tokio::test]
async fn a_query_of_very_many_parameters_is_refused_everywhere() {
    let app = TestApp::new().await;
    for path in [WEBHOOKS, "/webhook", "/sign-in"] {
        for (count, is_refused) in [(PARAMETERS_MAX, false), (PARAMETERS_MAX + 1, true)] {
            let path = format!("{path}?{}", "a&".repeat(count));
            let answer = app.ask(asking("GET", &path)).await;
            assert_eq!(
                answer.status == 400,
                is_refused,
                "{} of {count}",
                &path[..9]
            );
        }
    }
}

#[tokio::test]
async fn hosts_are_addresses_single_names_or_listed() {
    let app = TestApp::new().await;
    for (host, status) in [
        ("hooks.example.org", 200),
        ("willcall:8080", 200),
        ("evil.example", 400),
    ] {
        let answer = app.ask(asking("GET", WEBHOOKS).with("Host", host)).await;
        assert_eq!(answer.status, status, "{host}");
        assert!(answer.header("allow").is_some());
    }
    let answer = app.ask(asking("GET", WEBHOOKS).without("Host")).await;
    assert_eq!(
        answer.told(),
        (400, r#"{"detail":"The Host header is missing."}"#)
    );
    // Whoever watches over this process may call it what they like.
    let probe = asking("GET", "/livez").with("Host", "evil.example");
    assert_eq!(app.ask(probe).await.told(), (200, "ok\n"));
}

#[tokio::test]
async fn a_missing_slash_is_added_for_whoever_looks_and_overlooked_for_whoever_changes() {
    let app = TestApp::new().await;
    let bare = WEBHOOKS.trim_end_matches('/');
    let moved = app
        .ask(asking("GET", &format!("{bare}?a=%20b")).without("Authorization"))
        .await;
    assert_eq!(moved.status, 301);
    assert_eq!(
        moved.header("location"),
        Some(format!("{WEBHOOKS}?a=%20b").as_str())
    );
    assert_eq!(app.ask(asking("POST", bare).json(HOOK)).await.status, 201);
    let patched = asking("PATCH", &format!("{bare}/1")).json("{}");
    assert_eq!(app.ask(patched).await.status, 200);
    for path in [
        "/api/v1/version/",
        "/api/v1//me",
        "//api/v1/me",
        "/api",
        "/x",
    ] {
        assert_eq!(app.ask(asking("GET", path)).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn accept_and_format_choose_the_form_of_the_answer() {
    let app = TestApp::new().await;
    let with = |accept: &str| asking("GET", "/api/v1/version").with("Accept", accept);
    for (accept, status, indented) in [
        ("*/*", 200, false),
        ("application/*", 200, false),
        ("application/json, text/javascript", 200, false),
        ("text/html, application/json; indent=2", 200, true),
        ("*/*; indent=2", 200, true),
        ("application/json; indent=0", 200, false),
        ("application/json; indent=x", 200, false),
        ("application/json, */*; indent=2", 200, false),
        ("text/html", 406, false),
        ("", 406, false),
    ] {
        let answer = app.ask(with(accept)).await;
        assert_eq!(answer.status, status, "{accept}");
        assert_eq!(answer.body.starts_with("{\n  \""), indented, "{accept}");
    }
    let deep = app.ask(with("application/json; indent=99")).await;
    assert!(deep.body.starts_with("{\n        \""), "{}", deep.body);
    for (path, status) in [
        ("?format=json", 200),
        ("?format=", 200),
        ("?format=xml", 404),
        ("?format=api", 404),
    ] {
        let answer = app.ask(asking("GET", &format!("{WEBHOOKS}{path}"))).await;
        assert_eq!(answer.status, status, "{path}");
    }
    for (path, status) in [
        (".json", 200),
        (".json/", 200),
        (".xml", 404),
        (".JSON", 404),
    ] {
        let path = format!("{}{path}", WEBHOOKS.trim_end_matches('/'));
        assert_eq!(app.ask(asking("GET", &path)).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn who_asks_is_judged_before_what_is_asked() {
    let app = TestApp::new().await;
    let all_wrong = |method: &str| {
        asking(method, &format!("{WEBHOOKS}x/?format=xml&a=%00"))
            .with("Accept", "text/html")
            .with("Content-Type", "text/plain")
            .body("{")
    };
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "FOO"] {
        let nobody = app.ask(all_wrong(method).without("Authorization")).await;
        assert_eq!(nobody.status, 401, "{method}");
        assert_eq!(nobody.header("www-authenticate"), Some("Token"));
    }
    let without_right = asking("FOO", &format!("{WEBHOOKS}x/"))
        .by("tokenread")
        .body("{");
    assert_eq!(app.ask(without_right).await.status, 403);
    let wrong_method = asking("POST", &format!("{WEBHOOKS}x/")).body("{");
    assert_eq!(app.ask(wrong_method).await.status, 405);
    let no_object = asking("PATCH", &format!("{WEBHOOKS}7/"))
        .with("Content-Type", "x")
        .body("{");
    assert_eq!(app.ask(no_object).await.status, 404);
}

#[tokio::test]
async fn schemes_and_their_words() {
    let app = TestApp::new().await;
    let missing = "Authentication credentials were not provided.";
    for (header, status, words) in [
        ("Token tokenall", 200, ""),
        ("bearer tokenall", 200, ""),
        (
            "Token",
            401,
            "Invalid token header. No credentials provided.",
        ),
        (
            "Token a b",
            401,
            "Invalid token header. Token string should not contain spaces.",
        ),
        ("Token nope", 401, "Invalid token."),
        ("Token tokenoff", 401, "Token inactive or deleted."),
        ("Token tokendevice", 401, "Invalid token."),
        ("Bearer nope", 401, missing),
        ("Basic OnRva2VuYWxs", 401, missing),
        ("Digest x", 401, missing),
        ("Device nope", 401, "Invalid token."),
        ("Device tokenall", 401, "Invalid token."),
        ("Device tokenlost", 401, "Device access has been revoked."),
        (
            "Device tokendevice",
            403,
            "You do not have permission to perform this action.",
        ),
    ] {
        let answer = app
            .ask(asking("GET", WEBHOOKS).with("Authorization", header))
            .await;
        assert_eq!(answer.status, status, "{header}");
        if status != 200 {
            assert_eq!(answer.body, format!("{{\"detail\":\"{words}\"}}"));
        }
    }
}

#[tokio::test]
async fn a_token_that_is_switched_off_is_off_at_once() {
    let app = TestApp::new().await;
    let declare = |active: bool| {
        let text = format!(
            r#"
            [[organizer]]
            slug = "bigevents"
            [[organizer.token]]
            name = "brief"
            token = "tokenbrief"
            permissions = ["webhooks:read"]
            active = {active}
            "#
        );
        let dialects = crate::dialects::all(&DialectOptions::default());
        let mut rng = model::rng::SeededRng::from_seed([8; 32]);
        let declared = dialects.declare(&text, &Default::default(), &mut rng);
        let declarations = declared.unwrap().declarations;
        app.store.apply(declarations, "test".to_owned(), app.now())
    };
    declare(true).await.unwrap();
    assert_eq!(
        app.ask(asking("GET", WEBHOOKS).by("tokenbrief"))
            .await
            .status,
        200
    );
    declare(false).await.unwrap();
    assert_eq!(
        app.ask(asking("GET", WEBHOOKS).by("tokenbrief"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn health_is_told_in_plain_text() {
    let app = TestApp::new().await;
    let bare = |path: &str| asking("GET", path).without("Authorization");
    for path in ["/livez", "/readyz"] {
        assert_eq!(app.ask(bare(path)).await.told(), (200, "ok\n"));
    }
    assert_eq!(app.ask(bare("/metrics")).await.told(), (200, "# EOF\n"));
    assert_eq!(app.ask(bare("/")).await.status, 303);
    let head = app.ask(bare("/livez").method("HEAD")).await;
    assert_eq!(head.told(), (200, ""));
    assert_eq!(head.header("content-length"), Some("3"));
    assert_eq!(
        head.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    for method in ["POST", "OPTIONS", "DELETE"] {
        let answer = app.ask(bare("/metrics").method(method)).await;
        assert_eq!(answer.told(), (405, ""));
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    let notes = ["This is so.".to_owned(), "That is so.".to_owned()];
    *app.health.lock().unwrap() = Ok(notes.into());
    let ready = app.ask(bare("/readyz")).await;
    assert_eq!(ready.told(), (200, "ok\nThis is so.\nThat is so.\n"));
    *app.health.lock().unwrap() = Err("Nothing works.".to_owned());
    let ready = app.ask(bare("/readyz")).await;
    assert_eq!(ready.told(), (503, "Nothing works.\n"));
    *app.health.lock().unwrap() = Ok(vec![]);
    app.store.close().await.unwrap();
    let answer = app.ask(bare("/readyz")).await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.starts_with("The store cannot write: "),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn what_the_store_knows_of_a_trouble_is_told_beside_what_it_keeps_from_being_done() {
    let store = Arc::new(FaultyStore::new());
    let app = TestApp::over(store.clone(), &DialectOptions::default()).await;
    let ready = || app.ask(asking("GET", "/readyz").without("Authorization"));
    *app.health.lock().unwrap() = Err("the store refuses outcomes".to_owned());
    assert_eq!(ready().await.told(), (503, "the store refuses outcomes\n"));
    *store.trouble.lock().unwrap() = Some("It is read-only, for 3 s.".to_owned());
    let words = "the store refuses outcomes. Below the store: It is read-only, for 3 s.\n";
    assert_eq!(ready().await.told(), (503, words));
    // One that does not matter yet.
    *app.health.lock().unwrap() = Ok(vec![]);
    assert_eq!(ready().await.told(), (200, "ok\n"));
}

#[tokio::test]
async fn an_answer_to_head_says_how_long_that_to_get_would_be() {
    let app = TestApp::new().await;
    let bare = |path: &str| asking("GET", path).without("Authorization");
    for page in ["/sign-in", "/no-such-place", "/t/nobody/webhooks"] {
        let whole = app.ask(bare(page)).await;
        let head = app.ask(bare(page).method("HEAD")).await;
        assert_eq!(head.told(), (whole.status.as_u16(), ""));
        let length = whole.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{page}");
    }
}

#[tokio::test]
async fn what_is_answered_is_counted_by_place() {
    let mut registry = prometheus_client::registry::Registry::default();
    let app = TestApp::counting(&mut registry).await;
    app.ask(create("")).await;
    app.ask(asking("GET", &format!("{WEBHOOKS}99/"))).await;
    app.ask(asking("GET", "/api/v1/nope/")).await;
    let body = r#"[{"action":"x","notification_id":1},{"action":"x","notification_id":1},5]"#;
    app.ask(asking("POST", super::harness::INTAKE).json(body))
        .await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"willcall_http_requests_total{route="webhooks",status="2xx"} 1"#,
        r#"willcall_http_requests_total{route="webhook",status="4xx"} 1"#,
        r#"willcall_http_requests_total{route="none",status="4xx"} 1"#,
        r#"willcall_http_request_duration_seconds_count{route="webhooks"} 1"#,
        r#"willcall_intake_notifications_total{result="accepted"} 1"#,
        r#"willcall_intake_notifications_total{result="duplicate"} 1"#,
        r#"willcall_intake_notifications_total{result="refused"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_the_length_of_its_body_and_no_body() {
    let app = TestApp::new().await;
    let get = app.ask(asking("GET", WEBHOOKS)).await;
    let head = app.ask(asking("HEAD", WEBHOOKS)).await;
    assert_eq!((head.status, head.body.as_str()), (get.status, ""));
    assert_eq!(head.headers, get.headers);
    assert_eq!(
        head.header("content-length"),
        Some(get.body.len().to_string().as_str())
    );
}
