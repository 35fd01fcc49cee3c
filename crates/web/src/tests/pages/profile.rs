//! Changing one's own password.

use super::browser::{Browser, PASSWORD};
use crate::tests::harness::{Arrived, TestApp};

const NEXT: &str = "another horse battery";

async fn change(browser: &mut Browser<'_>, present: &str, new: &str, again: &str) -> Arrived {
    let fields = [("present", present), ("password", new), ("repeated", again)];
    browser.post("/account/password", &fields).await
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_goes_on_in_a_fresh_one() {
    let app = TestApp::new().await;
    let anna = app.user_with_password("anna").await;
    let mut here = app.browser_of(anna.id).await;
    // A link of the same secret is another link once the first is used up.
    let mut there = app.browser();
    there.get("/sign-in").await;
    let fields = [("name", "anna"), ("password", PASSWORD)];
    assert_eq!(there.post("/sign-in", &fields).await.status, 303);
    let before = here.cookies.clone();
    let answer = change(&mut here, PASSWORD, NEXT, NEXT).await;
    assert_eq!(answer.leads_to(), (303, "/account?said=password"));
    assert!(
        here.get("/account?said=password")
            .await
            .says("Your password is changed.")
    );
    assert_ne!(here.cookies, before);
    assert_eq!(there.get("/account").await.status, 303);
    let mut stolen = app.browser();
    stolen.cookies = before;
    assert_eq!(stolen.get("/account").await.status, 303);
    there.get("/sign-in").await;
    assert_eq!(there.post("/sign-in", &fields).await.status, 403);
    let fields = [("name", "anna"), ("password", NEXT)];
    assert_eq!(there.post("/sign-in", &fields).await.status, 303);
}

#[tokio::test]
async fn it_takes_the_present_password_and_a_good_new_one() {
    let app = TestApp::new().await;
    let anna = app.user_with_password("anna").await;
    let mut browser = app.browser_of(anna.id).await;
    for (present, new, again, words) in [
        ("", NEXT, NEXT, "Enter your current password."),
        (PASSWORD, "short", "short", "at least 12 characters"),
        (PASSWORD, NEXT, "x", "The two passwords differ."),
        (
            "wrong horse battery",
            NEXT,
            NEXT,
            "This is not your current password.",
        ),
    ] {
        let answer = change(&mut browser, present, new, again).await;
        assert_eq!(answer.status, 422, "{words}");
        assert!(answer.says(words), "{}", answer.words());
        assert!(!answer.body.contains(NEXT) && !answer.body.contains(PASSWORD));
    }
    assert_eq!(browser.get("/account").await.status, 200);
}

#[tokio::test]
async fn guessing_the_present_password_is_slowed_down() {
    let app = TestApp::new().await;
    let anna = app.user_with_password("anna").await;
    let mut browser = app.browser_of(anna.id).await;
    for _ in 0..3 {
        assert_eq!(change(&mut browser, "wrong", NEXT, NEXT).await.status, 422);
    }
    let answer = change(&mut browser, PASSWORD, NEXT, NEXT).await;
    assert_eq!(answer.status, 429);
    assert!(answer.says("That failed too often."));
}
