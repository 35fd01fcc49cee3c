//! The wall clock is set while people and programs go on: nobody is locked out, nothing is
//! forgotten, and it is said.

use model::limits::{CLOCK_DISTRUST_MS, LINK_MS, SESSION_MS};
use model::tenant::TokenHash;

use super::browser::PASSWORD;
use super::sign_in::sign_in;
use crate::tests::harness::{TestApp, asking};

const DAY_MS: i64 = 24 * 3_600_000;

#[tokio::test]
async fn a_clock_that_is_ahead_for_an_hour_ends_no_session_and_no_link() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let mut browser = app.browser_of(user.id).await;
    let link = TokenHash::of("left");
    let until = app.now().plus_ms(LINK_MS);
    let made = app.store.create_link(link, user.id, until);
    made.await.unwrap();
    app.set_clock_by(40 * DAY_MS);
    app.pass_ms(LINK_MS / 2);
    assert_eq!(browser.get("/account").await.status, 200);
    let mut other = app.browser();
    assert_eq!(other.get("/link/left").await.status, 303);
    app.set_clock_by(-40 * DAY_MS);
    assert_eq!(browser.get("/account").await.status, 200);
    assert_eq!(other.get("/account").await.status, 200);
    // Nor does one that began meanwhile last longer than any.
    app.pass_ms(SESSION_MS);
    assert_eq!(other.get("/account").await.status, 303);
}

#[tokio::test]
async fn a_clock_that_is_believed_ends_sessions_again() {
    let app = TestApp::new().await;
    let user = app.user("anna", false).await;
    let mut browser = app.browser_of(user.id).await;
    app.set_clock_by(DAY_MS);
    assert_eq!(browser.get("/account").await.status, 200);
    app.pass_ms(CLOCK_DISTRUST_MS);
    assert_eq!(browser.get("/account").await.status, 303);
}

#[tokio::test]
async fn a_right_password_is_taken_after_a_clock_is_set_back() {
    for believed in [false, true] {
        let app = TestApp::new().await;
        app.user_with_password("anna").await;
        app.set_clock_by(DAY_MS);
        let mut browser = app.browser();
        if believed {
            assert_eq!(browser.get("/sign-in").await.status, 200);
            app.pass_ms(2 * CLOCK_DISTRUST_MS);
        }
        for _ in 0..3 {
            assert_eq!(sign_in(&mut browser, "anna", "x").await.status, 403);
        }
        app.set_clock_by(-DAY_MS);
        app.pass_ms(2_000);
        let mut browser = app.browser();
        assert_eq!(sign_in(&mut browser, "anna", PASSWORD).await.status, 303);
    }
}

#[tokio::test]
async fn a_clock_that_was_set_is_said_where_people_look() {
    let app = TestApp::new().await;
    let mut browser = app.administrator().await;
    assert_eq!(
        app.ask(asking("GET", "/readyz")).await.told(),
        (200, "ok\n")
    );
    assert!(!browser.get("/account").await.says("The time of the server"));
    app.set_clock_by(4 * DAY_MS);
    let ready = app.ask(asking("GET", "/readyz")).await;
    let words = "ok\nThe time of the server: the clock was set ahead by 4 d 0 h, or the machine \
                 stood still for so long. Waits go on as they were, and for 60 minutes more nothing \
                 is removed or ended by what the clock says. If it is wrong, set it right.\n";
    assert_eq!(ready.told(), (200, words));
    assert!(browser.get("/account").await.says("set ahead by 4 d 0 h"));
    assert!(!app.browser().get("/sign-in").await.says("set ahead"));
    app.pass_ms(CLOCK_DISTRUST_MS);
    assert_eq!(
        app.ask(asking("GET", "/readyz")).await.told(),
        (200, "ok\n")
    );
}
