//! Secrets of a webhook: signatures and own headers are added, changed and removed, shown once or
//! never, by whoever may.

use model::users::Role;

use super::browser::Browser;
use crate::tests::harness::{Arrived, TestApp, asking};

pub(super) struct Page<'a> {
    app: &'a TestApp,
    /// The path of the webhook.
    path: String,
    browser: Browser<'a>,
}

impl<'a> Page<'a> {
    pub(super) async fn of(app: &'a TestApp, role: Role) -> Self {
        app.webhook(&["pretix.event.order.paid"]).await;
        Self {
            app,
            path: format!("/t/{}/webhooks/1", app.tenant("bigevents").await),
            browser: app.browser_with(role).await,
        }
    }

    pub(super) async fn get(&mut self, below: &str) -> Arrived {
        self.browser.get(&format!("{}{below}", self.path)).await
    }

    pub(super) async fn post(&mut self, below: &str, fields: &[(&str, &str)]) -> Arrived {
        let path = format!("{}{below}", self.path);
        self.browser.post(&path, fields).await
    }

    /// Sends a form that leads back to the page, which says this.
    pub(super) async fn says(&mut self, below: &str, fields: &[(&str, &str)], said: &str) {
        let sent = self.post(below, fields).await;
        let place = format!("{}/secrets?said={said}", self.path);
        assert_eq!(sent.leads_to(), (303, &*place), "{}", sent.words());
        let shown = self.browser.get(&place).await;
        assert!(shown.body.contains("class=\"said\""), "{said}");
    }

    async fn api(&self, of: &str) -> serde_json::Value {
        let path = format!("/api/v1/organizers/bigevents/webhooks/1/willcall/{of}/");
        self.app.ask(asking("GET", &path)).await.json()
    }
}

/// What stands in the element of this id.
fn text_of(page: &Arrived, id: &str) -> String {
    let (_, rest) = page.body.split_once(&format!("<pre id=\"{id}\"")).unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    rest.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_signature_is_added_with_its_secret_shown_once_rotated_ended_and_removed() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    assert!(page.get("").await.body.contains("/secrets\""));
    assert!(page.get("/secrets").await.says("Calls are not signed."));
    let added = page
        .post("/signatures", &[("profile", "standard"), ("svix", "yes")])
        .await;
    assert_eq!(added.status, 200, "{}", added.words());
    let secret = text_of(&added, "secret");
    assert!(secret.starts_with("whsec_"));
    let listed = page.get("/secrets").await;
    assert!(listed.says("standard Webhook-Signature, Svix-Signature"));
    assert!(!listed.body.contains(&secret));
    assert!(!listed.body.contains("value=\"standard\""));
    let form = page.get("/signatures/standard/rotate").await;
    let until = form
        .body
        .split("name=\"until\" type=\"datetime-local\" value=\"");
    let until = until.last().unwrap().split('"').next().unwrap().to_owned();
    let rotated = page
        .post("/signatures/standard/rotate", &[("until", &until)])
        .await;
    assert_ne!(text_of(&rotated, "secret"), secret);
    let listed = page.get("/secrets").await;
    assert!(listed.says("signs until"), "{}", listed.words());
    assert!(listed.says("last used never"), "{}", listed.words());
    let again = page
        .post("/signatures/standard/rotate", &[("until", &until)])
        .await;
    assert_eq!(again.status, 422);
    assert!(again.says("End it first"), "{}", again.words());
    let end = "/signatures/standard/end-former";
    assert!(page.get(end).await.says("It cannot be brought back."));
    page.says(end, &[], "former-ended").await;
    page.says(end, &[], "unchanged").await;
    let remove = "/signatures/standard/remove";
    assert!(
        page.get(remove)
            .await
            .says("Remove the signature standard?")
    );
    page.says(remove, &[], "signature-removed").await;
    assert_eq!(
        page.api("signatures").await["signatures"],
        serde_json::json!([])
    );
    assert_eq!(page.post(remove, &[]).await.status, 404);
}

#[tokio::test]
async fn every_profile_can_be_added_and_of_a_key_pair_the_public_half_stays_visible() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    for profile in model::signing::Profile::ALL {
        let added = page
            .post("/signatures", &[("profile", profile.as_str())])
            .await;
        assert_eq!(added.status, 200, "{}", added.words());
        let listed = page.get("/secrets").await;
        if added.body.contains("<pre id=\"public\"") {
            let public = text_of(&added, "public");
            assert!(!added.body.contains("<pre id=\"secret\""));
            assert!(listed.body.contains(&public));
        }
        let last = listed.body.contains("Add a signature");
        if profile.is_rfc9421() {
            // Receivers take one of these, so the others are not offered, and there is no more.
            assert!(!last, "{profile:?}");
            let remove = format!("/signatures/{}/remove", profile.as_str());
            page.says(&remove, &[], "signature-removed").await;
        } else {
            assert!(last, "{profile:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_was_brought_is_not_shown_and_a_fault_keeps_all_else_that_was_typed() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    let fields = |secret| {
        [
            ("profile", "github"),
            ("header", "X-Shop-Signature"),
            ("secret", secret),
        ]
    };
    let refused = page.post("/signatures", &fields("too-short")).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("it has to be 16 to 200 visible ASCII characters"));
    assert!(refused.body.contains("value=\"X-Shop-Signature\""));
    assert!(refused.body.contains("value=\"github\" checked"));
    assert!(!refused.body.contains("too-short"));
    page.says("/signatures", &fields("a-secret-of-theirs"), "signed")
        .await;
    let listed = page.get("/secrets").await;
    assert!(listed.says("github X-Shop-Signature"), "{}", listed.words());
    assert!(!listed.body.contains("a-secret-of-theirs"));
    for (fields, words) in [
        (&[][..], "It has to be one of"),
        (
            &[("profile", "stripe"), ("svix", "yes")],
            "Only Standard Webhooks",
        ),
        (
            &[("profile", "stripe"), ("header", "Host")],
            "its meaning is fixed",
        ),
        (&[("profile", "github")], "has this profile already"),
    ] {
        let refused = page.post("/signatures", fields).await;
        assert_eq!(refused.status, 422);
        assert!(refused.says(words), "{}", refused.words());
        assert!(refused.body.contains("role=\"alert\""));
    }
    let until = [("until", "2001-01-01T00:00")];
    let refused = page.post("/signatures/github/rotate", &until).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("value=\"2001-01-01T00:00\""));
    assert!(refused.says("It has to be a time of the next 90 days"));
}

#[tokio::test]
async fn an_own_header_is_added_changed_and_removed_and_its_value_shown_nowhere() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    let first = [("name", "authorization"), ("value", "Bearer s3cr3t")];
    page.says("/headers", &first, "header-added").await;
    let listed = page.get("/secrets").await;
    assert!(listed.says("Authorization ***"), "{}", listed.words());
    let one = "/headers/Authorization";
    assert!(page.get(one).await.says("The header Authorization"));
    let refused = page.post(one, &[("value", " s3cr3t")]).await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("may not begin or end with a blank"));
    page.says(one, &[("value", "Bearer s3cr3t-2")], "header-changed")
        .await;
    for (name, words) in [
        ("Host", "only Willcall does"),
        ("X Key", "letters, digits and any of"),
        ("AUTHORIZATION", "has this header already"),
    ] {
        let refused = page
            .post("/headers", &[("name", name), ("value", "s3cr3t-3")])
            .await;
        assert_eq!(refused.status, 422);
        assert!(refused.says(words), "{}", refused.words());
        let kept = format!("value=\"{name}\"");
        assert!(refused.body.contains(&kept));
        assert!(!refused.body.contains("s3cr3t"));
    }
    page.says(&format!("{one}/remove"), &[], "header-removed")
        .await;
    assert_eq!(page.get(one).await.status, 404);
    let odd = [("name", "a|b%"), ("value", "s3cr3t")];
    page.says("/headers", &odd, "header-added").await;
    let listed = page.get("/secrets").await;
    assert!(listed.body.contains("/headers/A%7Cb%25\""));
    let shown = page.get("/headers/A%7Cb%25").await;
    assert!(
        shown.body.contains("/headers/A%7Cb%25/remove\""),
        "{}",
        shown.body
    );
    let audit = page
        .app
        .store
        .audit(app.tenant("bigevents").await, 99)
        .await;
    assert!(!format!("{:?}", audit.unwrap()).contains("s3cr3t"));
}

#[tokio::test]
async fn an_own_authorization_says_that_it_takes_the_place_of_the_urls_password() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    let fields = [("name", "Authorization"), ("value", "Bearer s3cr3t")];
    page.says("/headers", &fields, "header-added").await;
    let words = "User and password in the URL are not sent";
    assert!(!page.get("/secrets").await.says(words));
    let url = r#"{"target_url":"https://u:p@example.org/?key=def#secret:key"}"#;
    let one = "/api/v1/organizers/bigevents/webhooks/1/";
    assert_eq!(app.ask(asking("PATCH", one).json(url)).await.status, 200);
    let shown = page.get("/secrets").await;
    assert!(shown.says(words), "{}", shown.words());
    assert!(shown.says("https://***@example.org/?key=***#secret:key"));
    assert!(shown.says("a part is marked as secret"));
}

#[tokio::test]
async fn whoever_may_only_look_sees_what_there_is_and_no_way_to_change_it() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    page.post("/signatures", &[("profile", "stripe")]).await;
    page.post("/headers", &[("name", "X-Key"), ("value", "s3cr3t")])
        .await;
    page.browser = app.browser_with(Role::Look).await;
    let shown = page.get("/secrets").await;
    assert!(shown.says("stripe Stripe-Signature"), "{}", shown.words());
    assert!(shown.says("X-Key ***"));
    for way in ["/rotate", "/remove", "Add a", "Change or remove", "/edit"] {
        assert!(!shown.body.contains(way), "{way}");
    }
}

#[tokio::test]
async fn without_a_master_key_the_page_says_what_to_do_and_what_cannot_be_opened() {
    let app = TestApp::new().await;
    let mut page = Page::of(&app, Role::Edit).await;
    page.post("/signatures", &[("profile", "stripe")]).await;
    page.post("/headers", &[("name", "X-Key"), ("value", "s3cr3t")])
        .await;
    let plain = TestApp::without_master_key_over(app.store.clone()).await;
    let mut page = Page {
        browser: plain.browser_with(Role::Administer).await,
        path: page.path,
        app: &plain,
    };
    let shown = page.get("/secrets").await;
    assert!(shown.says("This server has no master key"));
    assert!(shown.says("this webhook sends nothing"));
    assert!(shown.body.contains("master_key_file"));
    assert_eq!(shown.body.matches("Cannot be opened").count(), 2);
    assert!(!shown.body.contains("Add a"));
    let refused = page
        .post("/headers", &[("name", "X-B"), ("value", "s3cr3t")])
        .await;
    assert_eq!(refused.status, 422);
    assert!(refused.says("A secret cannot be kept by this server"));
    let refused = page.post("/signatures/stripe/rotate", &[]).await;
    assert_eq!(refused.status, 422);
}
