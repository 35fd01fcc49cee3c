//! Signatures over REST: made, shown once, rotated, ended, removed, in the same way by each
//! dialect.

use model::id::WebhookId;
use model::signing::{Keyring, Profile};
use serde_json::{Value, json};

use super::harness::{Arrived, Asking, MASTER_KEY, TestApp, asking, bearing};

const OWN: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/signatures/";

fn post(path: &str, body: &Value) -> Asking {
    asking("POST", path).json(body.to_string())
}

async fn signed(profile: &str) -> (TestApp, Arrived) {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let added = app.ask(post(OWN, &json!({ "profile": profile }))).await;
    assert_eq!(added.status, 201, "{}", added.body);
    (app, added)
}

async fn keys(app: &TestApp, path: &str) -> Vec<Value> {
    let found = app.ask(asking("GET", path).without("Authorization")).await;
    assert_eq!(found.status, 200, "{}", found.body);
    found.json()["keys"].as_array().unwrap().clone()
}

async fn only(app: &TestApp) -> Value {
    let listed = app.ask(asking("GET", OWN)).await.json();
    assert_eq!(listed["signatures"].as_array().unwrap().len(), 1);
    listed["signatures"][0].clone()
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stored_sealed() {
    let (app, added) = signed("standard").await;
    assert_eq!(added.header("cache-control"), Some("no-store"));
    let added = added.json();
    let secret = added["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let listed = only(&app).await;
    assert_eq!(listed["secret"], "***");
    assert_eq!(listed["header"], "Webhook-Signature");
    let stored = app.store.signatures_behind(None, 9).await.unwrap();
    let keyring = Keyring::parse(MASTER_KEY).unwrap();
    let sealed = &stored[0].signature.key.sealed;
    let opened = keyring.open(WebhookId(1), Profile::Standard, sealed);
    assert_eq!(opened.unwrap().text(), secret);
    let audit = app.store.audit(stored[0].tenant, 9).await.unwrap();
    assert_eq!(audit[0].action, "signature.added");
    assert!(!format!("{audit:?}").contains(secret));
}

#[tokio::test]
async fn the_resource_of_webhooks_does_not_change_by_a_signature() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let show = || asking("GET", "/api/v1/organizers/bigevents/webhooks/1/");
    let before = app.ask(show()).await;
    let added = app.ask(post(OWN, &json!({ "profile": "github" }))).await;
    assert_eq!(added.status, 201);
    assert_eq!(app.ask(show()).await.body, before.body);
}

#[tokio::test]
async fn of_a_key_pair_only_the_public_half_is_shown() {
    let (_, added) = signed("standard_ed25519").await;
    let added = added.json();
    assert_eq!(added["secret"], Value::Null);
    assert!(added["public_key"].as_str().unwrap().starts_with("whpk_"));
}

#[tokio::test]
async fn a_rotated_key_has_a_former_one_until_it_is_ended() {
    let (app, added) = signed("stripe").await;
    let rotate = || asking("POST", &format!("{OWN}stripe/rotate/"));
    let rotated = app.ask(rotate()).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let rotated = rotated.json();
    assert_ne!(rotated["secret"], added.json()["secret"]);
    let day = app.now().plus_ms(24 * 3_600_000);
    assert_eq!(rotated["former"]["until"], day.to_string());
    let again = app.ask(rotate()).await;
    assert_eq!(again.status, 409);
    assert!(again.body.contains("End it first"), "{}", again.body);
    let end = || asking("POST", &format!("{OWN}stripe/end_former/"));
    assert_eq!(app.ask(end()).await.json()["former"], Value::Null);
    assert_eq!(app.ask(end()).await.status, 409);
    let until = app.now().plus_ms(60_000).to_string();
    let agreed = json!({ "until": until, "secret": "a-secret-they-have" });
    let agreed = app
        .ask(post(&format!("{OWN}stripe/rotate/"), &agreed))
        .await
        .json();
    assert_eq!(agreed["secret"], "a-secret-they-have");
    assert_eq!(agreed["former"]["until"], until);
}

#[tokio::test]
async fn a_removed_signature_is_gone() {
    let (app, _) = signed("github").await;
    let one = format!("{OWN}github/");
    assert_eq!(app.ask(asking("GET", &one)).await.status, 200);
    let removed = app.ask(asking("DELETE", &one)).await;
    assert_eq!(removed.told(), (204, ""));
    assert_eq!(app.ask(asking("GET", &one)).await.status, 404);
    assert_eq!(app.ask(asking("DELETE", &one)).await.status, 404);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let (app, _) = signed("github").await;
    for (body, field) in [
        (json!({}), "profile"),
        (json!({ "profile": "sha1" }), "profile"),
        (json!({ "profile": 1 }), "profile"),
        (json!({ "profile": "github" }), "profile"),
        (json!({ "profile": "stripe", "header": "Host" }), "header"),
        (
            json!({ "profile": "stripe", "header": "x-hub-signature-256" }),
            "header",
        ),
        (json!({ "profile": "standard", "header": "X-A" }), "header"),
        (json!({ "profile": "stripe", "svix": true }), "svix"),
        (json!({ "profile": "stripe", "svix": "x" }), "svix"),
        (json!({ "profile": "stripe", "secret": "short" }), "secret"),
        (
            json!({ "profile": "standard", "secret": format!("whsec_{}", "_".repeat(44)) }),
            "secret",
        ),
        (
            json!({ "profile": "standard_ed25519", "secret": "whsk_x" }),
            "secret",
        ),
        (json!({ "profile": "standard", "name": "x" }), "name"),
    ] {
        let refused = app.ask(post(OWN, &body)).await;
        assert_eq!(refused.status, 400, "{body}");
        let told = refused.json();
        assert_eq!(told.as_object().unwrap().len(), 1, "{told}");
        assert!(told[field].is_array(), "{told}");
    }
    for until in ["yesterday", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let rotate = format!("{OWN}github/rotate/");
        let refused = app.ask(post(&rotate, &json!({ "until": until }))).await;
        assert!(refused.json()["until"].is_array(), "{until}");
    }
    let not_json = app.ask(asking("POST", OWN).json("{")).await;
    assert_eq!(not_json.status, 400);
    assert_eq!(only(&app).await["profile"], "github");
}

#[tokio::test]
async fn an_idempotency_key_is_refused_because_its_answer_would_be_stored() {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let keyed = post(OWN, &json!({ "profile": "github" })).with("X-Idempotency-Key", "a");
    let refused = app.ask(keyed).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("X-Idempotency-Key"));
}

#[tokio::test]
async fn without_a_master_key_a_secret_is_refused_with_the_name_of_the_setting() {
    let app = TestApp::without_master_key().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let refused = app.ask(post(OWN, &json!({ "profile": "github" }))).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("master_key_file"), "{}", refused.body);
    let listed = app.ask(asking("GET", OWN)).await;
    assert_eq!(listed.told(), (200, r#"{"signatures":[]}"#));
}

#[tokio::test]
async fn a_webhook_of_the_other_dialect_is_signed_in_the_same_way() {
    let app = TestApp::new().await;
    let webhook = app.hook("shop", "create").await;
    let own = format!("/webhook/{}/willcall/signatures", webhook.guid);
    let add = bearing("POST", &own).json(r#"{"profile":"standard","svix":true}"#);
    let added = app.ask(add).await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.json()["svix"], true);
    for path in ["rotate", "end_former"] {
        let changed = app
            .ask(bearing("POST", &format!("{own}/standard/{path}")))
            .await;
        assert_eq!(changed.status, 200, "{}", changed.body);
    }
    let removed = app.ask(bearing("DELETE", &format!("{own}/standard"))).await;
    assert_eq!(removed.status, 204);
    let wrong = bearing("POST", &own).json(r#"{"profile":"none"}"#);
    assert_eq!(app.ask(wrong).await.status, 422);
}

#[tokio::test]
async fn a_message_signature_has_a_key_that_its_key_set_names_in_the_same_way() {
    for profile in [
        "rfc9421_ed25519",
        "rfc9421_ecdsa_p256_sha256",
        "standard_ed25519",
    ] {
        let (app, added) = signed(profile).await;
        let added = added.json();
        assert_eq!(added["secret"], Value::Null);
        let path = added["key_set"].as_str().unwrap();
        let set = keys(&app, path).await;
        assert_eq!(set.len(), 1);
        if profile != "standard_ed25519" {
            assert_eq!(set[0]["kid"], added["key_id"]);
            assert_eq!(set[0]["x"], added["public_key"]["x"]);
        }
        let rotated = app
            .ask(asking("POST", &format!("{OWN}{profile}/rotate/")))
            .await
            .json();
        assert_eq!(rotated["former"]["key_id"], added["key_id"]);
        assert_eq!(rotated["key_set"], added["key_set"]);
        let both = keys(&app, path).await;
        assert_eq!(both.len(), 2);
        assert_eq!(both[1], set[0]);
        assert!(!both.iter().any(|key| key.get("d").is_some()));
        let end = asking("POST", &format!("{OWN}{profile}/end_former/"));
        assert_eq!(app.ask(end).await.status, 200);
        assert_eq!(keys(&app, path).await, [both[0].clone()]);
    }
}

#[tokio::test]
async fn the_key_of_an_hmac_is_named_and_published_nowhere() {
    let (app, added) = signed("rfc9421_hmac_sha256").await;
    let added = added.json();
    assert!(added["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(added["key_set"], Value::Null);
    assert_eq!(added["key_id"].as_str().unwrap().len(), 43);
    assert_eq!(only(&app).await["key_id"], added["key_id"]);
}

#[tokio::test]
async fn a_webhook_has_one_message_signature_whichever_its_algorithm() {
    let (app, _) = signed("rfc9421_ed25519").await;
    let second = json!({ "profile": "rfc9421_hmac_sha256" });
    let refused = app.ask(post(OWN, &second)).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("RFC 9421"), "{}", refused.body);
    assert!(refused.json()["profile"].is_array(), "{}", refused.body);
    let header = json!({ "profile": "rfc9421_ed25519", "header": "X-A" });
    let refused = app.ask(post(OWN, &header)).await;
    assert!(refused.body.contains("fixed names"), "{}", refused.body);
}

#[tokio::test]
async fn a_key_set_is_for_whoever_knows_its_name_at_a_host_that_is_listed() {
    let (app, added) = signed("rfc9421_ed25519").await;
    let path = added.json()["key_set"].as_str().unwrap().to_owned();
    let bare = |path: &str| asking("GET", path).without("Authorization");
    let found = app.ask(bare(&path).with("Host", "hooks.example.org")).await;
    assert_eq!(found.status, 200);
    let header = |name| found.header(name).unwrap();
    assert_eq!(header("content-type"), "application/jwk-set+json");
    assert_eq!(header("cache-control"), "public, max-age=600");
    let elsewhere = app.ask(bare(&path).with("Host", "evil.example")).await;
    assert_eq!(elsewhere.status, 400);
    assert!(elsewhere.body.contains("allowed_hosts"));
    let other = app
        .ask(bare("/.well-known/willcall/another/jwks.json"))
        .await;
    assert_eq!(other.told(), (404, r#"{"detail":"Not found."}"#));
    assert_eq!(other.header("cache-control"), Some("no-store"));
    let head = app.ask(bare(&path).method("HEAD")).await;
    assert_eq!(head.told(), (200, ""));
    let posted = app.ask(bare(&path).method("POST")).await;
    assert_eq!(posted.status, 405);
    assert_eq!(posted.header("allow"), Some("GET,HEAD"));
    let removed = asking("DELETE", &format!("{OWN}rfc9421_ed25519/"));
    assert_eq!(app.ask(removed).await.status, 204);
    assert_eq!(app.ask(bare(&path)).await.status, 404);
}
