//! What is stored of a webhook opens for it, or nothing does.

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::rng::SeededRng;

const KEYS: [&str; 2] = [
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
];

const WEBHOOK: WebhookId = WebhookId(7);

fn stored(keyring: &Keyring) -> WebhookTls {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap();
    let now = "2026-12-01T00:00:00Z".parse().unwrap();
    let read = certificate::client_certificate(&own.pem(), &key.serialize_pem(), now);
    let (chain, key) = read.unwrap();
    let mut rng = SeededRng::from_seed([3; 32]);
    let sealed = keyring.seal(&mut rng, WEBHOOK, SecretOf::ClientKey, &key);
    let certificates = certificate::stored(&chain);
    WebhookTls {
        client: Some(ClientCertificate {
            chain: certificates.clone(),
            sealed: sealed.unwrap(),
            set_at: now,
        }),
        ca: Some(CaCertificates {
            certificates,
            set_at: now,
        }),
    }
}

#[test]
fn what_is_stored_opens_for_its_webhook_only() {
    let keyring = Keyring::parse(KEYS[0]).unwrap();
    let tls = stored(&keyring);
    let opened = tls.open(&keyring, WEBHOOK).unwrap();
    assert_eq!(opened.client.unwrap().cert.len(), 1);
    assert_eq!(opened.ca.unwrap().len(), 1);
    let refused = tls.open(&keyring, WebhookId(8)).unwrap_err();
    assert_eq!(refused, UnusableTls::Sealed(SealError::Damaged));
}

#[test]
fn without_its_master_key_or_with_damage_nothing_opens() {
    let keyring = Keyring::parse(KEYS[0]).unwrap();
    let tls = stored(&keyring);
    let other = Keyring::parse(KEYS[1]).unwrap();
    let refused = tls.open(&other, WEBHOOK).unwrap_err();
    assert!(matches!(
        refused,
        UnusableTls::Sealed(SealError::UnknownMasterKey(_))
    ));
    let mut damaged = tls.clone();
    damaged.client.as_mut().unwrap().chain = Bytes::from_static(b"no");
    let refused = damaged.open(&keyring, WEBHOOK).unwrap_err();
    assert_eq!(refused, UnusableTls::Chain);
    let mut damaged = tls;
    damaged.ca.as_mut().unwrap().certificates = Bytes::new();
    let refused = damaged.open(&keyring, WEBHOOK).unwrap_err();
    assert_eq!(refused, UnusableTls::Ca);
}
