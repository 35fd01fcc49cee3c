//! Client certificates and CA certificates of a webhook over REST: set, shown without the key,
//! removed, in the same way by each dialect.

use model::certificate;
use model::id::WebhookId;
use model::signing::{Keyring, SecretOf};
use model::time::Timestamp;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::harness::{Asking, MASTER_KEY, TestApp, asking, bearing};

const CLIENT: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/client_certificate/";
const CA: &str = "/api/v1/organizers/bigevents/webhooks/1/willcall/ca_certificates/";

/// A certificate and its key, in PEM.
pub(super) fn made(name: &str) -> (String, String) {
    made_until(name, 4096)
}

pub(super) fn made_until(name: &str, year: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = date_time_ymd(year, 1, 1);
    let own = params.self_signed(&key).unwrap();
    (own.pem(), key.serialize_pem())
}

fn put(path: &str, body: &Value) -> Asking {
    asking("PUT", path).json(body.to_string())
}

async fn app() -> TestApp {
    let app = TestApp::new().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    app
}

#[tokio::test]
async fn a_client_certificate_is_shown_with_its_names_and_never_with_its_key() {
    let app = app().await;
    let none = json!({ "certificates": [], "private_key": null, "set_at": null });
    assert_eq!(app.ask(asking("GET", CLIENT)).await.json(), none);
    let (chain, key) = made("box office");
    let body = json!({ "certificates": chain, "private_key": key });
    let set = app.ask(put(CLIENT, &body)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let told = set.json();
    assert_eq!(told["private_key"], "***");
    assert_eq!(told["set_at"], app.now().to_string());
    let subject = told["certificates"][0]["subject"].as_str().unwrap();
    assert!(subject.contains("CN=box office"), "{subject}");
    assert_eq!(
        told["certificates"][0]["not_after"],
        "4096-01-01T00:00:00.000Z"
    );
    assert_eq!(app.ask(asking("GET", CLIENT)).await.json(), told);
    let stored = app.store.client_keys_behind(None, 9).await.unwrap();
    let keyring = Keyring::parse(MASTER_KEY).unwrap();
    let opened = keyring.open(WebhookId(1), SecretOf::ClientKey, &stored[0].sealed);
    assert!(opened.unwrap().text().contains("PRIVATE KEY"));
    let audit = app.store.audit(stored[0].id.tenant, 9).await.unwrap();
    assert_eq!(audit[0].action, "client_certificate.added");
    let told = format!("{audit:?}{}", set.body);
    let fingerprint = certificate::certificates(&chain).unwrap()[0].fingerprint();
    assert!(told.contains(&fingerprint) && !told.contains("PRIVATE"));
    let removed = app.ask(asking("DELETE", CLIENT)).await;
    assert_eq!(removed.told(), (204, ""));
    assert_eq!(app.ask(asking("GET", CLIENT)).await.json(), none);
    assert_eq!(app.ask(asking("DELETE", CLIENT)).await.status, 404);
}

#[tokio::test]
async fn ca_certificates_are_set_shown_and_removed_and_need_no_master_key() {
    let app = TestApp::without_master_key().await;
    app.webhook(&["pretix.event.order.paid"]).await;
    let (one, _) = made("one");
    let (two, _) = made("two");
    let body = json!({ "certificates": format!("{one}{two}") });
    let set = app.ask(put(CA, &body)).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.json()["certificates"].as_array().unwrap().len(), 2);
    assert_eq!(app.ask(asking("GET", CA)).await.json(), set.json());
    let removed = app.ask(asking("DELETE", CA)).await;
    assert_eq!(removed.told(), (204, ""));
    let (chain, key) = made("client");
    let body = json!({ "certificates": chain, "private_key": key });
    let refused = app.ask(put(CLIENT, &body)).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("master_key_file"), "{}", refused.body);
}

#[tokio::test]
async fn the_resource_of_webhooks_does_not_change_by_certificates() {
    let app = app().await;
    let show = || asking("GET", "/api/v1/organizers/bigevents/webhooks/1/");
    let before = app.ask(show()).await;
    let (one, _) = made("one");
    let set = app.ask(put(CA, &json!({ "certificates": one }))).await;
    assert_eq!(set.status, 200);
    assert_eq!(app.ask(show()).await.body, before.body);
}

#[tokio::test]
async fn every_wrong_field_is_named_and_no_key_is_repeated() {
    let app = app().await;
    let (chain, key) = made("client");
    let (_, another) = made("another");
    let (old, old_key) = made_until("old", 2001);
    let both = format!("{chain}{key}");
    for (body, fields) in [
        (json!({}), &["certificates", "private_key"][..]),
        (
            json!({ "certificates": 1, "private_key": [] }),
            &["certificates", "private_key"],
        ),
        (
            json!({ "certificates": chain, "private_key": another }),
            &["private_key"],
        ),
        (
            json!({ "certificates": both, "private_key": key }),
            &["certificates"],
        ),
        (
            json!({ "certificates": old, "private_key": old_key }),
            &["certificates"],
        ),
        (
            json!({ "certificates": chain, "private_key": key, "password": "x" }),
            &["password"],
        ),
    ] {
        let refused = app.ask(put(CLIENT, &body)).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        let told = refused.json();
        let named: Vec<_> = told.as_object().unwrap().keys().collect();
        assert_eq!(named, fields, "{told}");
        assert!(!refused.body.contains("PRIVATE KEY-----\n"), "{told}");
    }
    for text in ["", "hello", &old] {
        let refused = app.ask(put(CA, &json!({ "certificates": text }))).await;
        assert!(
            refused.json()["certificates"].is_array(),
            "{}",
            refused.body
        );
    }
    let keyed = put(CA, &json!({ "certificates": chain }));
    let keyed = app.ask(keyed.with("X-Idempotency-Key", "a")).await;
    assert_eq!(keyed.status, 400);
}

#[tokio::test]
async fn a_webhook_of_the_other_dialect_has_certificates_in_the_same_way() {
    let app = TestApp::new().await;
    let webhook = app.hook("shop", "create").await;
    let (chain, key) = made("client");
    for (of, body) in [
        (
            "client_certificate",
            json!({ "certificates": chain, "private_key": key }),
        ),
        ("ca_certificates", json!({ "certificates": chain })),
    ] {
        let path = format!("/webhook/{}/willcall/{of}", webhook.guid);
        let set = app.ask(bearing("PUT", &path).json(body.to_string())).await;
        assert_eq!(set.status, 200, "{}", set.body);
        assert_eq!(app.ask(bearing("GET", &path)).await.json(), set.json());
        let wrong = bearing("PUT", &path).json(r#"{"certificates":"no"}"#);
        let refused = app.ask(wrong).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains("BEGIN CERTIFICATE"));
        assert_eq!(app.ask(bearing("DELETE", &path)).await.status, 204);
    }
}

#[tokio::test]
async fn what_is_stored_is_what_a_call_needs() {
    let app = app().await;
    let (chain, key) = made("client");
    let body = json!({ "certificates": chain, "private_key": key });
    assert_eq!(app.ask(put(CLIENT, &body)).await.status, 200);
    let tenant = app.tenant("bigevents").await;
    let tls = app.store.webhook_tls(tenant, WebhookId(1)).await.unwrap();
    let keyring = Keyring::parse(MASTER_KEY).unwrap();
    let opened = tls.open(&keyring, WebhookId(1)).unwrap();
    assert_eq!(opened.client.unwrap().cert.len(), 1);
    let end: Timestamp = "4096-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(opened.client_until, Some(end));
}
