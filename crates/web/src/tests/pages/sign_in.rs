//! Signing in, staying so, and signing out; what guessing and forging come to.

use model::id::UserId;
use model::limits::{LINK_MS, SESSION_MS};
use model::tenant::TokenHash;
use model::users::UserChange;

use super::browser::{Browser, PASSWORD};
use crate::tests::harness::{Arrived, TestApp, asking};

pub(super) async fn sign_in(browser: &mut Browser<'_>, name: &str, password: &str) -> Arrived {
    browser.get("/sign-in").await;
    let fields = [("name", name), ("password", password), ("next", "/account")];
    browser.post("/sign-in", &fields).await
}

#[tokio::test]
async fn a_name_and_its_password_let_in() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    let mut browser = app.browser();
    let answer = sign_in(&mut browser, " Anna ", PASSWORD).await;
    assert_eq!(answer.leads_to(), (303, "/account"));
    assert!(browser.get("/account").await.says("signed in as anna"));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_the_same() {
    let app = TestApp::new().await;
    let anna = app.user_with_password("anna").await;
    let off = app.user_with_password("gone").await;
    let change = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    app.store
        .change_user(off.id, change, app.now())
        .await
        .unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("anna", "wrong horse battery"),
        ("nobody", "wrong horse battery"),
        ("gone", PASSWORD),
        ("anna", ""),
        ("", ""),
    ] {
        let mut browser = app.browser();
        let answer = sign_in(&mut browser, name, password).await;
        assert_eq!(answer.status, 403, "{name}");
        assert!(!browser.cookies.contains_key("willcall_session"));
        // What was typed survives, and nothing else differs.
        answers.push(answer.words());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let failures = |name: &str| app.store.failures(model::users::name_hash(name, ""));
    for name in [anna.name.as_str(), "nobody"] {
        assert!(failures(name).await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_whether_or_not_there_is_such_a_user() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    for name in ["anna", "nobody"] {
        let mut browser = app.browser();
        for _ in 0..3 {
            assert_eq!(sign_in(&mut browser, name, "x").await.status, 403);
        }
        // Not even the right password is listened to.
        let answer = sign_in(&mut browser, name, PASSWORD).await;
        assert_eq!(answer.status, 429, "{name}");
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert!(answer.says("Try again in 2 seconds."), "{}", answer.words());
    }
    app.pass_ms(2_000);
    let mut browser = app.browser();
    assert_eq!(sign_in(&mut browser, "nobody", PASSWORD).await.status, 403);
    assert_eq!(sign_in(&mut browser, "ANNA", PASSWORD).await.status, 303);
    // It worked, so what failed before is forgotten.
    let mut browser = app.browser();
    assert_eq!(sign_in(&mut browser, "anna", "x").await.status, 403);
    assert_eq!(sign_in(&mut browser, "anna", "x").await.status, 403);
}

#[tokio::test]
async fn whoever_guesses_elsewhere_locks_nobody_out() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    let mut guesser = app.browser();
    guesser.address = Some([192, 0, 2, 66].into());
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(sign_in(&mut guesser, "anna", "x").await.status.as_u16());
        app.pass_ms(250);
    }
    assert!(statuses[3..].contains(&429), "{statuses:?}");
    let mut owner = app.browser();
    owner.address = Some([192, 0, 2, 1].into());
    assert_eq!(sign_in(&mut owner, "anna", PASSWORD).await.status, 303);
    // That has opened nothing for the other.
    let refused = sign_in(&mut guesser, "anna", PASSWORD).await;
    assert_eq!(refused.status, 429);
}

#[tokio::test]
async fn a_browser_that_was_signed_in_gets_through_beside_a_guesser_at_the_same_address() {
    let app = TestApp::new().await;
    let anna = app.user_with_password("anna").await;
    let mut owner = app.browser();
    assert_eq!(sign_in(&mut owner, "anna", PASSWORD).await.status, 303);
    // A link does as well.
    let mut other = app.browser_of(anna.id).await;
    owner.post("/sign-out", &[]).await;
    other.post("/sign-out", &[]).await;
    let mut guesser = app.browser();
    for _ in 0..20 {
        sign_in(&mut guesser, "anna", "x").await;
    }
    assert_eq!(sign_in(&mut guesser, "anna", PASSWORD).await.status, 429);
    for browser in [&mut owner, &mut other] {
        assert_eq!(sign_in(browser, "Anna", PASSWORD).await.status, 303);
        browser.post("/sign-out", &[]).await;
    }
    // It is no licence to guess, nor good for somebody else.
    for _ in 0..3 {
        assert_eq!(sign_in(&mut owner, "anna", "x").await.status, 403);
    }
    assert_eq!(sign_in(&mut owner, "anna", PASSWORD).await.status, 429);
    app.user_with_password("ben").await;
    for _ in 0..3 {
        assert_eq!(sign_in(&mut guesser, "ben", "x").await.status, 403);
    }
    assert_eq!(sign_in(&mut other, "ben", PASSWORD).await.status, 429);
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_and_not_before() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let mut browser = app.browser_of(user.id).await;
    app.pass_ms(SESSION_MS - 1);
    assert_eq!(browser.get("/account").await.status, 200);
    app.pass_ms(1);
    assert_eq!(
        browser.get("/account").await.leads_to(),
        (303, "/sign-in?next=%2Faccount")
    );
}

#[tokio::test]
async fn signing_out_ends_the_session_in_the_store_as_well() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let mut browser = app.browser_of(user.id).await;
    let kept = browser.cookies.clone();
    let answer = browser.post("/sign-out", &[]).await;
    assert_eq!(answer.leads_to(), (303, "/sign-in?said=signed-out"));
    assert!(!browser.cookies.contains_key("willcall_session"));
    assert!(
        browser
            .get("/sign-in?said=signed-out")
            .await
            .says("You are signed out.")
    );
    // Whoever kept the cookie has nothing from it.
    browser.cookies = kept;
    assert_eq!(browser.get("/account").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_its_users_right_to_sign_in() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let mut browser = app.browser_of(user.id).await;
    let active = |active| UserChange {
        active: Some(active),
        ..UserChange::default()
    };
    let now = app.now();
    app.store
        .change_user(user.id, active(false), now)
        .await
        .unwrap();
    assert_eq!(browser.get("/account").await.status, 303);
    app.store
        .change_user(user.id, active(true), now)
        .await
        .unwrap();
    assert_eq!(browser.get("/account").await.status, 303);
}

#[tokio::test]
async fn a_link_works_once_and_in_its_time() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let link = |secret: &str| {
        let until = app.now().plus_ms(LINK_MS);
        app.store.create_link(TokenHash::of(secret), user.id, until)
    };
    link("once").await.unwrap();
    let mut browser = app.browser();
    assert_eq!(browser.get("/link/once").await.leads_to(), (303, "/"));
    assert_eq!(browser.get("/account").await.status, 200);
    let mut second = app.browser();
    let answer = second.get("/link/once").await;
    assert_eq!(answer.status, 403);
    assert!(answer.says("This link was used already, is too old, or is not whole."));
    assert_eq!(second.get("/account").await.status, 303);
    link("late").await.unwrap();
    app.pass_ms(LINK_MS);
    assert_eq!(second.get("/link/late").await.status, 403);
    assert_eq!(second.get("/link/nonsense").await.status, 403);
}

#[tokio::test]
async fn looking_at_a_link_does_not_use_it_up() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let until = app.now().plus_ms(LINK_MS);
    let link = TokenHash::of("once");
    app.store.create_link(link, user.id, until).await.unwrap();
    let mut preview = app.browser();
    preview.send(asking("HEAD", "/link/once")).await;
    assert_eq!(app.browser().get("/link/once").await.status, 303);
}

#[tokio::test]
async fn after_signing_in_nobody_is_led_elsewhere() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    for (next, place) in [
        ("/account", "/account"),
        ("/t/1/log?status=failed", "/t/1/log?status=failed"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=y", "/"),
        ("/\t/evil.example", "/"),
        ("/sign-out", "/"),
        ("/link/abc", "/"),
        ("", "/"),
    ] {
        let mut browser = app.browser();
        browser.get("/sign-in").await;
        let fields = [("name", "anna"), ("password", PASSWORD), ("next", next)];
        let answer = browser.post("/sign-in", &fields).await;
        assert_eq!(answer.leads_to(), (303, place), "{next:?}");
        // The same for somebody who is signed in already.
        let encoded =
            percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
        let answer = browser.get(&format!("/sign-in?next={encoded}")).await;
        assert_eq!(answer.leads_to(), (303, place), "{next:?}");
    }
}

#[tokio::test]
async fn cookies_are_for_this_server_alone_and_for_encrypted_connections_where_there_are_such() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    for (scheme, secure) in [("http", false), ("https", true)] {
        let until = app.now().plus_ms(LINK_MS);
        let link = TokenHash::of(scheme);
        app.store.create_link(link, user.id, until).await.unwrap();
        for (path, name) in [
            (format!("/link/{scheme}"), "willcall_session="),
            ("/sign-in".to_owned(), "willcall_visitor="),
        ] {
            let asking = asking("GET", &path).with("X-Forwarded-Proto", scheme);
            let answer = app.browser().send(asking).await;
            let cookie = answer.header("set-cookie").unwrap_or_default();
            assert!(cookie.starts_with(name), "{path}: {cookie}");
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        }
    }
}

#[tokio::test]
async fn signing_in_takes_a_fresh_session_whatever_the_browser_brought() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    let mut browser = app.browser();
    let planted = "b2".repeat(31);
    browser
        .cookies
        .insert("willcall_session".to_owned(), planted.clone());
    assert_eq!(sign_in(&mut browser, "anna", PASSWORD).await.status, 303);
    let session = browser.cookies.get("willcall_session");
    assert!(session.is_some_and(|session| *session != planted));
}

#[tokio::test]
async fn the_first_visit_says_how_somebody_gets_in() {
    let app = TestApp::new().await;
    let mut browser = app.browser();
    let words = "willcall user add you --administrator";
    assert!(browser.get("/sign-in").await.says(words));
    assert_eq!(app.user("anna", true).await.id, UserId(1));
    assert!(!browser.get("/sign-in").await.says(words));
}

#[tokio::test]
async fn a_password_is_never_sent_back() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    let mut browser = app.browser();
    let answer = sign_in(&mut browser, "anna", "wrong horse battery").await;
    assert!(!answer.body.contains("wrong horse"));
    assert!(answer.body.contains("value=\"anna\""));
    assert!(answer.body.contains("value=\"/account\""));
}

#[tokio::test]
async fn a_proxy_that_changes_the_host_is_named_with_what_to_set() {
    let app = TestApp::new().await;
    app.user_with_password("anna").await;
    let mut browser = app.browser();
    browser.get("/sign-in").await;
    let csrf_token = browser.csrf_token();
    let body = format!(
        "name=anna&password={}&csrf_token={csrf_token}",
        PASSWORD.replace(' ', "+")
    );
    let form = || {
        asking("POST", "/sign-in")
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", "https://tickets.example")
            .body(body.as_str())
    };
    let refused = browser.send(form()).await;
    assert_eq!(refused.status, 403);
    for words in [
        "https://tickets.example",
        "127.0.0.1:18544",
        "proxy_set_header Host $http_host",
    ] {
        assert!(refused.says(words), "{words}: {}", refused.words());
    }
    // A browser that knows better is believed, whatever the proxy did to the host.
    let let_in = browser
        .send(form().with("Sec-Fetch-Site", "same-origin"))
        .await;
    assert_eq!(let_in.status, 303, "{}", let_in.words());
}
