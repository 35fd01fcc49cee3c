//! Certificates of a webhook on the dashboard: set, shown, removed, by whoever may.

use model::users::Role;

use super::secrets::Page;
use crate::tests::harness::TestApp;
use crate::tests::webhook_tls::{made, made_until};

#[tokio::test]
async fn a_client_certificate_is_set_changed_and_removed_and_its_key_shown_nowhere() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    assert!(page.get("/secrets").await.says("Add a client certificate"));
    let one = "/tls/client_certificate";
    let (chain, key) = made("box office");
    let fields = [("certificates", &*chain), ("private_key", &*key)];
    page.says(one, &fields, "certificates-set").await;
    let listed = page.get("/secrets").await;
    assert!(listed.says("CN=box office"), "{}", listed.words());
    assert!(listed.says("Change or remove the client certificate"));
    assert!(
        page.get(one)
            .await
            .says("They take the place of those above")
    );
    let (_, another) = made("another");
    let (old, old_key) = made_until("old", 2001);
    for (chain, key, words) in [
        ("", "", "there is no certificate in it"),
        (&*chain, "", "there is no private key in it"),
        (&*chain, &*another, "not the key of the first certificate"),
        (&*old, &*old_key, "has expired on 2001-01-01"),
    ] {
        let fields = [("certificates", chain), ("private_key", key)];
        let refused = page.post(one, &fields).await;
        assert_eq!(refused.status, 422);
        assert!(refused.says(words), "{words}: {}", refused.words());
        // What was typed is still there, but for the key.
        assert!(
            refused
                .body
                .contains(chain.lines().nth(1).unwrap_or_default())
        );
        let typed = key.lines().nth(1).unwrap_or("nothing of a key");
        assert!(!refused.body.contains(typed));
    }
    page.says(&format!("{one}/remove"), &[], "certificates-removed")
        .await;
    assert!(page.get("/secrets").await.says("Calls show none"));
    assert_eq!(page.post(&format!("{one}/remove"), &[]).await.status, 404);
    assert_eq!(page.get("/tls/anything").await.status, 404);
}

#[tokio::test]
async fn ca_certificates_are_set_and_say_that_nobody_else_is_trusted() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    let one = "/tls/ca_certificates";
    let (authority, _) = made("private authority");
    page.says(one, &[("certificates", &authority)], "certificates-set")
        .await;
    let listed = page.get("/secrets").await;
    assert!(listed.says("verified by these alone"), "{}", listed.words());
    assert!(listed.says("CN=private authority"));
    page.says(&format!("{one}/remove"), &[], "certificates-removed")
        .await;
    let words = "verified by what the whole server trusts";
    assert!(page.get("/secrets").await.says(words));
}

#[tokio::test]
async fn whoever_may_look_sees_certificates_and_cannot_change_them() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Look).await;
    assert!(page.get("/secrets").await.says("Calls show none"));
    for path in ["/tls/client_certificate", "/tls/ca_certificates"] {
        assert_eq!(page.get(path).await.status, 403);
        assert_eq!(page.post(path, &[]).await.status, 403);
    }
}

#[tokio::test]
async fn without_a_master_key_the_form_of_a_client_certificate_says_so() {
    let app = TestApp::without_master_key().await;
    let mut page = Page::of(&app, Role::Edit).await;
    let shown = page.get("/tls/client_certificate").await;
    assert!(shown.says("This server has no master key"));
    assert!(!shown.body.contains("<textarea"));
    assert!(
        page.get("/tls/ca_certificates")
            .await
            .body
            .contains("<textarea")
    );
}
