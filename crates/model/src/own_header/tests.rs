//! Which names and values an own header may have, and that nothing prints or opens elsewhere.

use super::*;
use crate::rng::SeededRng;
use crate::signing::Profile;

const MASTER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn name(text: &str) -> OwnHeaderName {
    OwnHeaderName::parse(text).unwrap()
}

#[test]
fn a_name_is_kept_as_it_is_sent_whatever_its_case() {
    for text in ["authorization", "AUTHORIZATION", "AuthOrizatioN"] {
        assert_eq!(name(text).as_str(), "Authorization");
    }
    assert_eq!(name("x-api_key").as_str(), "X-Api_key");
    assert_eq!(name("cookie").as_str(), "Cookie");
    assert_eq!(OwnHeaderName::stored("X-Api_key"), name("X-API_KEY"));
}

#[test]
fn a_name_that_means_something_else_is_refused_and_the_refusal_says_what() {
    for (names, error) in [
        (
            &["Host", "content-LENGTH", "Content-Type", "TE", "Expect"][..],
            OwnHeaderError::Framing,
        ),
        (
            &["Transfer-Encoding", "Connection", "Upgrade", "Proxy-X"],
            OwnHeaderError::Framing,
        ),
        (
            &["webhook-id", "Svix-Any", "Signature", "Content-Digest"],
            OwnHeaderError::OfSignatures,
        ),
        (&["User-Agent", "date"], OwnHeaderError::OfWillcall),
        (
            &[
                "X-Forwarded-For",
                "Metadata-Flavor",
                "X-aws-ec2-metadata-token",
            ],
            OwnHeaderError::OfTrust,
        ),
        (
            &["", "a b", "a:", "ä", "a\r\nb", "a\"", "(a)"],
            OwnHeaderError::NoName,
        ),
    ] {
        for name in names {
            assert_eq!(OwnHeaderName::parse(name), Err(error), "{name:?}");
        }
    }
    let long = "a".repeat(OWN_HEADER_NAME_BYTES_MAX);
    assert!(OwnHeaderName::parse(&long).is_ok());
    let longer = OwnHeaderName::parse(&format!("{long}a"));
    assert_eq!(longer, Err(OwnHeaderError::NoName));
}

#[test]
fn a_value_that_receivers_would_read_differently_is_refused() {
    assert_eq!(value("Bearer a b").unwrap().text(), "Bearer a b");
    for (text, error) in [
        ("", OwnHeaderError::Length),
        (" a", OwnHeaderError::Blanks),
        ("a ", OwnHeaderError::Blanks),
        ("a\tb", OwnHeaderError::Letters),
        ("a\r\nHost: b", OwnHeaderError::Letters),
        ("a\0", OwnHeaderError::Letters),
        ("a\u{7f}", OwnHeaderError::Letters),
        ("ä", OwnHeaderError::Letters),
    ] {
        assert_eq!(value(text), Err(error), "{text:?}");
    }
    let long = "a".repeat(OWN_HEADER_VALUE_BYTES_MAX);
    assert!(value(&long).is_ok());
    assert_eq!(value(&format!("{long}a")), Err(OwnHeaderError::Length));
}

#[test]
fn the_limits_that_an_error_names_are_those_that_hold() {
    let words = OwnHeaderError::NoName.to_string();
    assert!(words.contains(&format!("1 to {OWN_HEADER_NAME_BYTES_MAX} ")));
    let words = OwnHeaderError::Length.to_string();
    assert!(words.contains(&format!("1 to {OWN_HEADER_VALUE_BYTES_MAX} ")));
}

#[test]
fn a_sealed_value_opens_for_its_webhook_and_name_only() {
    let keyring = Keyring::parse(MASTER).unwrap();
    let mut rng = SeededRng::from_seed([5; 32]);
    let (webhook, own) = (WebhookId(7), name("Authorization"));
    let secret = value("Bearer secret").unwrap();
    let sealed = keyring.seal(&mut rng, webhook, &own, &secret).unwrap();
    assert_eq!(keyring.open(webhook, &own, &sealed), Ok(secret));
    let damaged = Err(SealError::Damaged);
    assert_eq!(keyring.open(WebhookId(8), &own, &sealed), damaged);
    assert_eq!(keyring.open(webhook, &name("Cookie"), &sealed), damaged);
    // Even where a header has a profile's name.
    let github = name("github");
    let sealed = keyring.seal(
        &mut rng,
        webhook,
        &github,
        &value("0123456789abcdef").unwrap(),
    );
    let opened = keyring.open(webhook, Profile::Github, &sealed.unwrap());
    assert_eq!(opened, damaged);
}

#[test]
fn one_line_that_does_not_open_keeps_all_back_and_is_named() {
    let keyring = Keyring::parse(MASTER).unwrap();
    let mut rng = SeededRng::from_seed([5; 32]);
    let webhook = WebhookId(7);
    let header = |text: &str, sealed: Bytes| OwnHeader {
        name: name(text),
        sealed,
        set_at: Timestamp::EPOCH,
    };
    let good = keyring.seal(&mut rng, webhook, &name("X-A"), &value("secret").unwrap());
    let good = header("X-A", good.unwrap());
    let bad = header("X-B", Bytes::from_static(b"nothing"));
    let opened = open(&keyring, webhook, std::slice::from_ref(&good)).unwrap();
    assert_eq!(opened[0].1.text(), "secret");
    assert_eq!(format!("{opened:?}"), "[(OwnHeaderName(\"X-A\"), ***)]");
    let refused = open(&keyring, webhook, &[good, bad]).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("X-B: its secret cannot be opened")
    );
}
