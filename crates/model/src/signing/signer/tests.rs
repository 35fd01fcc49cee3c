//! What each profile makes of a call, against published vectors and other programs.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::*;
use crate::rng::SeededRng;
use crate::signing::{FormerKey, SealedKey};

const WEBHOOK: WebhookId = WebhookId(7);
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_999);

/// The secret and the call of the vectors that Standard Webhooks publishes.
const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn keyring() -> Keyring {
    Keyring::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()
}

fn sealed(profile: Profile, secret: &Secret) -> SealedKey {
    let mut rng = SeededRng::from_seed([5; 32]);
    SealedKey {
        sealed: keyring().seal(&mut rng, WEBHOOK, profile, secret).unwrap(),
        public: None,
        made_at: NOW,
    }
}

fn brought(profile: Profile, text: &str) -> Signature {
    Signature {
        profile,
        header: None,
        svix: false,
        key_set: None,
        key: sealed(profile, &Secret::brought(profile, text).unwrap()),
        former: None,
    }
}

/// `signature` with another key before it, until a second after `NOW`.
fn rotated(signature: Signature, former: &str) -> Signature {
    let key = Secret::brought(signature.profile, former).unwrap();
    Signature {
        former: Some(FormerKey {
            key: sealed(signature.profile, &key),
            until: NOW.plus_ms(1_000),
            used_at: None,
        }),
        ..signature
    }
}

fn opened(signatures: &[Signature]) -> Result<Signer, SealError> {
    let target = RequestTarget {
        method: "POST",
        authority: "shop.example",
        path_and_query: "/hook?a=1",
    };
    Signer::open(&keyring(), WEBHOOK, signatures, target)
}

fn lines_at(signatures: &[Signature], now: Timestamp) -> Vec<(String, String)> {
    let signer = opened(signatures).unwrap();
    let lines = signer.lines("msg_p5jXN8AQM9LWM0D4loKWxJek", now, BODY);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines: Vec<_> = lines.iter().map(|(n, v)| (text(n), text(v))).collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, signer.names());
    lines
}

fn value(lines: &[(String, String)], name: &str) -> String {
    let line = lines.iter().find(|(one, _)| one == name);
    line.unwrap().1.clone()
}

#[test]
fn standard_v1_is_what_the_published_vector_says() {
    let lines = lines_at(&[brought(Profile::Standard, PUBLISHED)], NOW);
    let wanted = [
        ("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("Webhook-Timestamp", "1614265330"),
        (
            "Webhook-Signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];
    assert_eq!(lines, wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn v1_and_v1a_share_one_line_and_are_joined_by_one_blank() {
    let secret = Secret::make(Profile::StandardEd25519, &mut SeededRng::from_seed([1; 32]));
    let pair = Signature {
        key: sealed(Profile::StandardEd25519, &secret),
        ..brought(Profile::Standard, PUBLISHED)
    };
    let pair = Signature {
        profile: Profile::StandardEd25519,
        ..pair
    };
    let lines = lines_at(&[brought(Profile::Standard, PUBLISHED), pair], NOW);
    assert_eq!(lines.len(), 3);
    let line = value(&lines, "Webhook-Signature");
    let (v1, v1a) = line.split_once(" v1a,").unwrap();
    assert!(v1.starts_with("v1,") && !v1.contains(' ') && !v1a.contains(' '));
    let public = secret.public(Profile::StandardEd25519).unwrap();
    let public = BASE64_STANDARD.decode(public.strip_prefix("whpk_").unwrap());
    let signed = [b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.".as_slice(), BODY];
    let signature = BASE64_STANDARD.decode(v1a).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, public.unwrap());
    assert!(key.verify(&signed.concat(), &signature).is_ok());
}

#[test]
fn the_svix_set_is_complete_and_equal_or_not_there() {
    let svix = Signature {
        svix: true,
        ..brought(Profile::Standard, PUBLISHED)
    };
    let lines = lines_at(&[svix], NOW);
    assert_eq!(lines.len(), 6);
    for part in ["Id", "Timestamp", "Signature"] {
        let standard = value(&lines, &format!("Webhook-{part}"));
        assert_eq!(value(&lines, &format!("Svix-{part}")), standard);
    }
}

#[test]
fn github_signs_the_body_alone_with_the_text_of_its_secret() {
    let github = brought(Profile::Github, "It's-a-Secret-to-Everybody");
    let signer = opened(&[github]).unwrap();
    let lines = signer.lines("any", NOW, b"Hello, World!");
    let line = lines.get("X-Hub-Signature-256").unwrap();
    // By `openssl dgst -sha256 -hmac`: the documented secret has blanks.
    let wanted = "sha256=fff9d530176ddefaf50a3004e52ad278a4ef09eee3f00efc14fc4c207384f931";
    assert_eq!(str::from_utf8(line), Ok(wanted));
}

#[test]
fn stripe_has_time_and_signature_without_blanks_and_its_secret_keeps_its_prefix() {
    let stripe = brought(Profile::Stripe, "whsec_test_secret_of_ours");
    let line = value(&lines_at(&[stripe], NOW), "Stripe-Signature");
    // By `openssl dgst -sha256 -hmac whsec_test_secret_of_ours`.
    let signature = "82ce43b002d3827cb55a04ce9d374b4a34018c1dfab0b64c49a44357c8518a9a";
    assert_eq!(line, format!("t=1614265330,v1={signature}"));
}

#[test]
fn two_keys_sign_until_the_former_one_ends_where_there_is_room_for_two() {
    let standard = rotated(brought(Profile::Standard, PUBLISHED), &{
        let bytes = BASE64_STANDARD.encode([1; 24]);
        format!("whsec_{bytes}")
    });
    let stripe = rotated(
        brought(Profile::Stripe, "the-newest-secret"),
        "the-former-secret",
    );
    let both = [standard, stripe];
    let before = lines_at(&both, NOW);
    let line = value(&before, "Webhook-Signature");
    assert!(line.starts_with("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,"));
    assert_eq!(value(&before, "Stripe-Signature").matches("v1=").count(), 2);
    let after = lines_at(&both, NOW.plus_ms(1_000));
    assert!(!value(&after, "Webhook-Signature").contains(' '));
    assert_eq!(value(&after, "Stripe-Signature").matches("v1=").count(), 1);
}

#[test]
fn github_signs_with_the_former_key_until_the_date_and_with_the_new_one_from_then_on() {
    let old = brought(Profile::Github, "the-former-secret");
    let new = brought(Profile::Github, "the-newest-secret");
    let both = [rotated(new.clone(), "the-former-secret")];
    let (before, after) = (lines_at(&both, NOW), lines_at(&both, NOW.plus_ms(1_000)));
    assert_eq!(before, lines_at(&[old], NOW));
    assert_eq!(after, lines_at(&[new], NOW));
}

#[test]
fn a_signature_goes_into_the_header_that_was_asked_for() {
    let github = Signature {
        header: Some("X-Shop-Signature".to_owned()),
        ..brought(Profile::Github, "0123456789abcdef")
    };
    let lines = lines_at(&[github], NOW);
    assert_eq!(lines[0].0, "X-Shop-Signature");
}

#[test]
fn one_key_that_does_not_open_leaves_no_signer() {
    let good = brought(Profile::Standard, PUBLISHED);
    let mut bad = brought(Profile::Github, "0123456789abcdef");
    bad.key.sealed = Bytes::from_static(b"damaged");
    assert_eq!(opened(&[good, bad]).unwrap_err(), SealError::Damaged);
}

fn made(profile: Profile) -> (Secret, Signature) {
    let secret = Secret::make(profile, &mut SeededRng::from_seed([1; 32]));
    let signature = Signature {
        profile,
        key: sealed(profile, &secret),
        ..brought(Profile::Github, "0123456789abcdef")
    };
    (secret, signature)
}

/// The parts of a JWK.
fn member(jwk: &str, name: &str) -> Vec<u8> {
    let (_, rest) = jwk.split_once(&format!("\"{name}\":\"")).unwrap();
    let (text, _) = rest.split_once('"').unwrap();
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// What the lines of RFC 9421 say was signed, and the signature.
fn message(lines: &[(String, String)]) -> (String, Vec<u8>) {
    let input = value(lines, "Signature-Input");
    let digest = value(lines, "Content-Digest");
    let base = format!(
        "\"@method\": POST\n\"@authority\": shop.example\n\"@path\": /hook\n\"@query\": ?a=1\n\
         \"content-digest\": {digest}\n\"@signature-params\": {}",
        input.strip_prefix("sig1=").unwrap()
    );
    let signature = value(lines, "Signature");
    let signature = signature.strip_prefix("sig1=:").unwrap();
    let signature = BASE64_STANDARD.decode(signature.strip_suffix(':').unwrap());
    (base, signature.unwrap())
}

#[test]
fn a_message_signature_verifies_with_the_public_key_that_it_names() {
    for (profile, way) in [
        (
            Profile::Rfc9421Ed25519,
            &ED25519 as &dyn aws_lc_rs::signature::VerificationAlgorithm,
        ),
        (Profile::Rfc9421EcdsaP256Sha256, &ECDSA_P256_SHA256_FIXED),
    ] {
        let (secret, signature) = made(profile);
        let lines = lines_at(&[signature], NOW);
        assert_eq!(lines.len(), 3);
        let (base, signature) = message(&lines);
        let jwk = secret.public(profile).unwrap();
        let key = match jwk.contains("\"y\"") {
            false => member(&jwk, "x"),
            true => [&[4][..], &member(&jwk, "x"), &member(&jwk, "y")].concat(),
        };
        let key = UnparsedPublicKey::new(way, key);
        assert!(key.verify(base.as_bytes(), &signature).is_ok());
        let id = secret.key_id(profile).unwrap();
        assert!(value(&lines, "Signature-Input").ends_with(&format!("keyid=\"{id}\"")));
    }
}

#[test]
fn a_message_signature_by_hmac_is_what_other_programs_make() {
    let hmac = brought(Profile::Rfc9421HmacSha256, PUBLISHED);
    let (base, signature) = message(&lines_at(&[hmac], NOW));
    let key = BASE64_STANDARD.decode(&PUBLISHED[6..]).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    assert!(hmac::verify(&key, base.as_bytes(), &signature).is_ok());
    // By Python's hmac.
    assert_eq!(
        hex(&signature),
        "0131d34deaa75bf636ebc0e3072b284e93d99796f551a7c494f4f4e5c2d3ffbc"
    );
}

#[test]
fn a_message_has_one_signature_and_its_key_changes_on_the_date() {
    let former = format!("whsec_{}", BASE64_STANDARD.encode([1; 24]));
    let both = [rotated(
        brought(Profile::Rfc9421HmacSha256, PUBLISHED),
        &former,
    )];
    let id_at = |now| {
        let lines = lines_at(&both, now);
        assert_eq!(lines.len(), 3);
        let input = value(&lines, "Signature-Input");
        input.rsplit_once("keyid=").unwrap().1.to_owned()
    };
    let id = |text: &str| {
        let secret = Secret::brought(Profile::Rfc9421HmacSha256, text).unwrap();
        format!("\"{}\"", secret.key_id(Profile::Rfc9421HmacSha256).unwrap())
    };
    assert_eq!(id_at(NOW), id(&former));
    assert_eq!(id_at(NOW.plus_ms(1_000)), id(PUBLISHED));
}
