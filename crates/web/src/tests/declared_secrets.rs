//! Secrets in an operator's file: where they may stand, and that every error has its line and shows
//! no secret.

use std::sync::Arc;

use model::declared_secrets::Sealer;
use model::query::DeclaredWebhook;
use model::rng::SeededRng;
use model::signing::{Keyring, Profile};

use super::harness::MASTER_KEY;
use super::webhook_tls::made_until;
use crate::dialects::{DialectOptions, FileSecrets, KnownEvents, SecretPlace, all};

fn secret_in(place: SecretPlace<'_>) -> Result<String, String> {
    match place {
        SecretPlace::File("/run/secret") => Ok("a-secret-of-a-file".to_owned()),
        SecretPlace::Variable("SECRET") => Ok("a-secret-of-a-variable".to_owned()),
        SecretPlace::File(_) | SecretPlace::Variable(_) => Err("names nothing".to_owned()),
    }
}

fn read(webhook: &str, has_master_key: bool) -> Result<DeclaredWebhook, Vec<String>> {
    let keyring = Arc::new(Keyring::parse(MASTER_KEY).unwrap());
    let rng = || SeededRng::from_seed([3; 32]);
    let secrets = FileSecrets {
        read: &secret_in,
        sealer: has_master_key.then(|| Sealer::new(keyring, rng())),
    };
    let text = format!(
        "[[company]]\nguid = \"d0a3f370-cd43-11ed-9c9c-bbcffde24a48\"\n[[company.webhook]]\n\
         name = \"a\"\nurl = \"https://a.example/\"\nresource = \"order\"\n\
         trigger = \"paid\"\n{webhook}"
    );
    let dialects = all(&DialectOptions::default());
    let read = dialects.declare_with(&text, &KnownEvents::new(), &mut rng(), &secrets);
    match read {
        Ok(mut file) => Ok(file.declarations.remove(0).webhooks.remove(0)),
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn a_secret_comes_from_a_file_a_variable_or_the_line_itself() {
    let webhook = read(
        "[[company.webhook.signature]]\nprofile = \"github\"\nheader = \"X-Shop\"\n\
         secret_file = \"/run/secret\"\n\
         [[company.webhook.signature]]\nprofile = \"stripe\"\nsecret_variable = \"SECRET\"\n\
         [[company.webhook.signature]]\nprofile = \"standard_ed25519\"\nsvix = true\n\
         [[company.webhook.header]]\nname = \"authorization\"\nvalue = \"Bearer a\"\n\
         [[company.webhook.header]]\nname = \"X-Key\"\nvalue_file = \"/run/secret\"\n",
        true,
    );
    let secrets = webhook.unwrap().secrets;
    let of = |at: usize| secrets.signatures[at].secret.as_ref().map(|own| own.text());
    assert_eq!(secrets.signatures[0].profile, Profile::Github);
    assert_eq!(secrets.signatures[0].header.as_deref(), Some("X-Shop"));
    assert_eq!(of(0), Some("a-secret-of-a-file"));
    assert_eq!(of(1), Some("a-secret-of-a-variable"));
    assert_eq!((of(2), secrets.signatures[2].svix), (None, true));
    assert_eq!(secrets.headers[0].name.as_str(), "Authorization");
    assert_eq!(secrets.headers[0].value.text(), "Bearer a");
    assert_eq!(secrets.headers[1].value.text(), "a-secret-of-a-file");
}

#[test]
fn certificates_stand_in_tables_of_their_own_and_may_have_expired() {
    let (chain, key) = made_until("old", 2001);
    let webhook = read(
        &format!(
            "[company.webhook.client_certificate]\ncertificates = \"\"\"\n{chain}\"\"\"\n\
             private_key = \"\"\"\n{key}\"\"\"\n\
             [company.webhook.ca_certificates]\ncertificates = \"\"\"\n{chain}\"\"\"\n"
        ),
        true,
    );
    let secrets = webhook.unwrap().secrets;
    let client = secrets.client_certificate.unwrap();
    assert_eq!(client.chain, secrets.ca_certificates.unwrap());
    assert!(client.key.text().contains("PRIVATE KEY"));
}

const CLIENT: &str = "[company.webhook.client_certificate]\n";
const CA: &str = "[company.webhook.ca_certificates]\n";

const SIGNATURE: &str = "[[company.webhook.signature]]\n";
const HEADER: &str = "[[company.webhook.header]]\n";

/// Where they stand, lines, and what is told of them.
const WRONG: &[(&str, &str, &str)] = &[
    (
        SIGNATURE,
        "",
        "line 8, company.webhook.signature.profile: is missing",
    ),
    (
        SIGNATURE,
        "profile = \"x\"",
        "signature.profile: has to be one of standard",
    ),
    (
        SIGNATURE,
        "profile = \"github\"",
        "signature.secret: is missing, as are",
    ),
    (
        SIGNATURE,
        "profile = \"github\"\nsecret = \"s3cr3t\"",
        "line 10, company.webhook.signature.secret: it has to be 16",
    ),
    (
        SIGNATURE,
        "profile = \"standard_ed25519\"\nsecret = \"s3cr3t\"",
        "signature.secret: the key pair",
    ),
    (
        SIGNATURE,
        "profile = \"github\"\nsecret_file = \"/nowhere\"",
        "signature.secret_file: names nothing",
    ),
    (
        SIGNATURE,
        "profile = \"github\"\nsecret_file = \"/run/secret\"\nsecret_variable = \"SECRET\"",
        "signature.secret_variable: is not taken beside secret_file",
    ),
    (
        SIGNATURE,
        "profile = \"github\"\nheader = \"Host\"\nsecret_file = \"/run/secret\"",
        "signature.header: this header is not for signatures",
    ),
    (
        SIGNATURE,
        "profile = \"github\"\nsvix = true\nsecret_file = \"/run/secret\"",
        "signature.svix: only Standard",
    ),
    (
        SIGNATURE,
        "profil = \"github\"",
        "signature.profil: is not known here",
    ),
    (
        CLIENT,
        "certificates_file = \"/run/secret\"\nprivate_key = \"s3cr3t\"",
        "client_certificate.certificates_file: there is no certificate in it",
    ),
    (
        CLIENT,
        "certificates_file = \"/run/secret\"\nprivate_key = \"s3cr3t\"",
        "client_certificate.private_key: there is no private key in it",
    ),
    (
        CLIENT,
        "certificates = \"s3cr3t\"",
        "client_certificate.private_key: is missing, as are private_key_file",
    ),
    (
        CA,
        "certificates = \"s3cr3t\"\nprivate_key = \"s3cr3t\"",
        "ca_certificates.private_key: is not known here",
    ),
    (
        CA,
        "certificates_file = \"/nowhere\"",
        "ca_certificates.certificates_file: names nothing",
    ),
    (HEADER, "name = \"X-A\"", "header.value: is missing"),
    (
        HEADER,
        "name = \"Host\"\nvalue = \"s3cr3t\"",
        "header.name: this header",
    ),
    (
        HEADER,
        "name = \"openticket-trigger\"\nvalue = \"s3cr3t\"",
        "header.name: Willcall sets this",
    ),
    (
        HEADER,
        "name = \"X-A\"\nvalue = \" s3cr3t\"",
        "header.value: a value may not",
    ),
    (
        HEADER,
        "name = \"X-A\"\nvalue = \"a\"\n[[company.webhook.header]]\nname = \"x-a\"\nvalue = \"b\"",
        "header.name: \"X-A\" is declared twice",
    ),
];

#[test]
fn every_error_has_its_line_and_field_and_shows_no_secret() {
    for (begin, lines, told) in WRONG {
        let errors = read(&format!("{begin}{lines}\n"), true).unwrap_err();
        let all = errors.join("\n");
        assert!(all.contains(told), "{lines}: {all}");
        assert!(!all.contains("s3cr3t"), "{all}");
    }
    let twice = "[[company.webhook.signature]]\nprofile = \"standard_ed25519\"\n".repeat(2);
    let errors = read(&twice, true).unwrap_err();
    assert!(errors[0].contains("\"standard_ed25519\" is declared twice"));
    let errors = read(HEADER_WITH_VALUE, false).unwrap_err();
    assert!(errors[0].contains("no master key is set"), "{errors:?}");
}

const HEADER_WITH_VALUE: &str = "[[company.webhook.header]]\nname = \"X-A\"\nvalue = \"a\"\n";
