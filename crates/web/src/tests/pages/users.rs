//! Users of the server, as administrators see and change them.

use super::browser::PASSWORD;
use crate::tests::harness::TestApp;

#[tokio::test]
async fn a_user_is_made_and_signs_in() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let fields = [
        ("name", " Änne "),
        ("password", PASSWORD),
        ("repeated", PASSWORD),
    ];
    let made = root.post("/users/new", &fields).await;
    assert_eq!(made.leads_to(), (303, "/users/2?said=user-created"));
    assert!(
        root.get("/users/2")
            .await
            .says("Nothing yet. Give them a role")
    );
    let mut anne = app.browser();
    anne.get("/sign-in").await;
    let fields = [("name", "Änne"), ("password", PASSWORD)];
    assert_eq!(anne.post("/sign-in", &fields).await.leads_to(), (303, "/"));
    assert_eq!(anne.get("/users").await.status, 404);
    let list = root.get("/users").await;
    assert!(
        list.says("root everything, as an administrator"),
        "{}",
        list.words()
    );
    assert!(list.says("Änne nothing yet"));
    assert!(!root.get("/users?q=root").await.says("Änne"));
    assert!(root.get("/users?q=ÄNN").await.says("Änne"));
}

#[tokio::test]
async fn what_is_wrong_with_a_new_user_stands_at_its_field() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    for (name, password, repeated, words) in [
        ("", PASSWORD, PASSWORD, "Say what they sign in with."),
        (
            "a\u{200b}b",
            PASSWORD,
            PASSWORD,
            "characters that cannot be seen",
        ),
        (
            "ROOT",
            PASSWORD,
            PASSWORD,
            "There is a user of this name already.",
        ),
        ("ben", "short", "short", "at least 12 characters"),
        (
            "ben",
            PASSWORD,
            "another horse battery",
            "The two passwords differ.",
        ),
        (
            "benbenbenben",
            "benbenbenben",
            "benbenbenben",
            "mostly your name",
        ),
    ] {
        let fields = [
            ("name", name),
            ("password", password),
            ("repeated", repeated),
            ("administrator", "yes"),
        ];
        let answer = root.post("/users/new", &fields).await;
        assert_eq!(answer.status, 422, "{name:?}");
        assert!(answer.says(words), "{}", answer.words());
        assert!(answer.body.contains("value=\"yes\" checked"), "{name:?}");
        let leaks = answer.body.contains(&format!("value=\"{repeated}\""));
        assert!(!leaks || name == repeated, "{name:?}");
    }
    assert_eq!(app.store.users(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_is_changed_and_their_sessions_end_where_they_must() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    let ben = app.user("ben", false).await;
    let mut browser = app.browser_of(ben.id).await;
    let path = format!("/users/{}", ben.id);
    let both = [("administrator", "yes"), ("active", "yes")];
    let changed = root.post(&path, &both).await;
    assert_eq!(
        changed.leads_to(),
        (303, format!("{path}?said=user-saved").as_str())
    );
    assert_eq!(browser.get("/users").await.status, 200);
    let same = root.post(&path, &both).await;
    assert_eq!(
        same.leads_to(),
        (303, format!("{path}?said=unchanged").as_str())
    );
    let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(
        root.post(&format!("{path}/password"), &fields).await.status,
        303
    );
    assert_eq!(browser.get("/account").await.status, 303);
    assert_eq!(root.post(&path, &[]).await.status, 303);
    assert!(root.get("/users").await.says("Cannot sign in"));
}

#[tokio::test]
async fn nobody_takes_administration_or_their_user_from_themselves() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    for fields in [&[("administrator", "yes")][..], &[("active", "yes")], &[]] {
        let answer = root.post("/users/1", fields).await;
        assert_eq!(answer.status, 422);
        assert!(answer.says("You would lock yourself out."));
    }
    let own = [("password", PASSWORD), ("repeated", PASSWORD)];
    assert_eq!(
        root.post("/users/1/password", &own).await.leads_to(),
        (303, "/account")
    );
    let kept = app.store.user("root".to_owned()).await.unwrap().unwrap();
    assert!(kept.0.administrator && kept.0.active);
    assert_eq!(kept.1.0, "$none");
}

#[tokio::test]
async fn an_unknown_user_has_no_page() {
    let app = TestApp::new().await;
    let mut root = app.administrator().await;
    for id in ["2", "0", "x", "-1", "99999999999999999999"] {
        assert_eq!(root.get(&format!("/users/{id}")).await.status, 404, "{id}");
        assert_eq!(
            root.post(&format!("/users/{id}"), &[]).await.status,
            404,
            "{id}"
        );
    }
}
