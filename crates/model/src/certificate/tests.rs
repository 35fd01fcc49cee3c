//! Certificates and keys as people hand them in: good ones, wrong ones, and any bytes.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};

use super::*;
use crate::signing::Secret;

fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// A CA, and a client's certificate of it with its key, in PEM.
struct Made {
    ca: String,
    client: String,
    key: String,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.test")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn made_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Made {
    let mut authority = params("authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(authority, ca_key);
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut client = params("client");
    client
        .distinguished_name
        .push(DnType::OrganizationName, "Example\u{7} Tickets");
    let client = client.signed_by(&key, &issuer).unwrap();
    Made {
        ca: ca.pem(),
        client: client.pem(),
        key: key.serialize_pem(),
    }
}

fn made() -> Made {
    made_with(&PKCS_ECDSA_P256_SHA256)
}

fn key_error(chain: &str, key: &str) -> Option<ClientKeyError> {
    client_certificate(chain, key, now()).unwrap_err().1
}

#[test]
fn a_client_certificate_of_each_kind_is_read_with_its_chain_and_its_key() {
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ] {
        let made = made_with(algorithm);
        let chain = format!("Bag Attributes\n{}{}", made.client, made.ca);
        let (chain, key) = client_certificate(&chain, &made.key, now()).unwrap();
        assert_eq!(chain.len(), 2);
        let again = of_stored(&stored(&chain)).unwrap();
        assert_eq!(again, chain);
        assert_eq!(matching_key(&again, &key).unwrap().cert.len(), 2);
    }
}

#[test]
fn of_a_key_file_only_the_key_is_kept() {
    let made = made();
    let file = format!("# from the vault\n{}{}", made.client, made.key);
    let (_, key) = client_certificate(&made.client, &file, now()).unwrap();
    let pem: Vec<&str> = made.key.trim().lines().collect();
    let kept: Vec<&str> = key.text().trim().lines().collect();
    assert_eq!(kept, pem);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, two) = (made(), made());
    assert_eq!(
        key_error(&one.client, &two.key),
        Some(ClientKeyError::OfAnother)
    );
    // The chain begins with its issuer.
    let turned = format!("{}{}", one.ca, one.client);
    assert_eq!(
        key_error(&turned, &one.key),
        Some(ClientKeyError::OfAnother)
    );
}

#[test]
fn what_is_no_key_is_refused_with_what_to_do() {
    let made = made();
    let error = |key: &str| key_error(&made.client, key);
    assert_eq!(error(""), Some(ClientKeyError::Empty));
    assert_eq!(error(&made.client), Some(ClientKeyError::Empty));
    let encrypted = made.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(error(&encrypted), Some(ClientKeyError::Encrypted));
    let legacy = made
        .key
        .replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n", 1);
    assert_eq!(error(&legacy), Some(ClientKeyError::Encrypted));
    let cut = made.key.replace("-----END PRIVATE KEY-----", "");
    assert!(matches!(error(&cut), Some(ClientKeyError::NotPem(_))));
    let other = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(error(other), Some(ClientKeyError::Unsupported));
    let long = made.key.repeat(100);
    assert_eq!(error(&long), Some(ClientKeyError::TooLong));
}

#[test]
fn what_are_no_certificates_is_refused_with_its_number() {
    let made = made();
    let error = |text: &str| certificates(text).unwrap_err();
    assert_eq!(error(""), CertificateError::Empty);
    assert_eq!(error("hello"), CertificateError::Empty);
    let both = format!("{}{}", made.client, made.key);
    assert_eq!(error(&both), CertificateError::PrivateKey);
    let cut = made.client.replace("-----END CERTIFICATE-----", "");
    assert!(matches!(error(&cut), CertificateError::NotPem(_)));
    let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let second = format!("{}{other}", made.client);
    assert_eq!(error(&second), CertificateError::Unreadable(2));
    let many = made.client.repeat(CERTIFICATES_MAX + 1);
    assert_eq!(error(&many), CertificateError::TooMany);
    let mut long = params("long");
    let names = (0..4_000).map(|number| format!("{number:04}.long.test"));
    long.subject_alt_names
        .extend(names.map(|name| rcgen::SanType::DnsName(name.try_into().unwrap())));
    let long = long.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(error(&long.pem()), CertificateError::TooLong);
}

#[test]
fn what_has_expired_is_refused_when_it_is_handed_in() {
    let later: Timestamp = "2027-01-01T00:00:01Z".parse().unwrap();
    let end: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let made = made();
    let (chain, key) = client_certificate(&made.client, &made.key, later).unwrap_err();
    assert_eq!((chain, key), (Some(CertificateError::Expired(end)), None));
    let expired = ca_certificates(&made.ca, later).unwrap_err();
    let wanted = CertificateError::ExpiredAmong { number: 1, at: end };
    assert_eq!(expired, wanted);
    assert_eq!(ca_certificates(&made.ca, end).unwrap().len(), 1);
}

#[test]
fn a_certificate_shows_whose_it_is_and_its_fingerprint() {
    let made = made();
    let all = certificates(&made.client).unwrap();
    let subject = all[0].subject();
    assert!(subject.contains("CN=client"), "{subject}");
    assert!(subject.contains("O=Example  Tickets"), "{subject}");
    assert!(all[0].issuer().contains("CN=authority"));
    assert_eq!(all[0].fingerprint().len(), 32 * 3 - 1);
    let same = certificates(&all[0].to_string()).unwrap();
    assert_eq!(same, all);
}

#[test]
fn what_is_stored_and_cut_anywhere_is_not_read() {
    let made = made();
    let all = certificates(&format!("{}{}", made.client, made.ca)).unwrap();
    let bytes = stored(&all);
    let first = all[0].der().len();
    for end in (0..bytes.len()).filter(|end| *end != first) {
        assert_eq!(of_stored(&bytes[..end]), None, "{end}");
    }
}

#[test]
fn certificates_that_the_library_takes_are_read_here_too() {
    ::fuzz::run("certificate", 6_000, |bytes| {
        if let Some((_, content, rest)) = value(bytes) {
            assert!(content.len() + rest.len() + 2 <= bytes.len());
            assert!(bytes.ends_with(rest));
        }
        let fields = der::DerFields::of(bytes);
        if let Some(fields) = fields {
            assert!(fields.issuer.len() + fields.rest.len() < bytes.len());
        } else {
            assert_eq!((may_issue(bytes), Validity::of(bytes)), (None, None));
            assert_eq!((name::subject(bytes), name::issuer(bytes)), (None, None));
        }
        let shown = name::subject(bytes).unwrap_or_default();
        assert!(!shown.contains(char::is_control));
        let certificate = CertificateDer::from_slice(bytes).into_owned();
        if RootCertStore::empty().add(certificate).is_ok() {
            assert!(fields.is_some());
        }
    });
}

#[test]
fn a_private_key_is_never_printed() {
    let made = made();
    let (_, key): (_, Secret) = client_certificate(&made.client, &made.key, now()).unwrap();
    assert!(!format!("{key:?}").contains("PRIVATE"));
}
