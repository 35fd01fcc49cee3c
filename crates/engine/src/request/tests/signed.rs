//! Requests of webhooks that have signatures.

use model::id::WebhookId;
use model::rng::SeededRng;
use model::signing::{Profile, SealedKey, Secret, Signature};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn keyring() -> Keyring {
    Keyring::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()
}

fn signed(signatures: Vec<Signature>, keyring: &Keyring) -> PreparedTarget {
    let target = WebhookTarget {
        signatures,
        ..target("https://u:p@a.test/", &[])
    };
    let plain = prepared("https://u:p@a.test/", &[]);
    PreparedTarget::new(&target, plain.policy, keyring)
}

fn signature(profile: Profile, header: Option<&str>) -> Signature {
    let mut rng = SeededRng::from_seed([1; 32]);
    let secret = Secret::brought(profile, SECRET).unwrap();
    let sealed = keyring().seal(&mut rng, WebhookId(1), profile, &secret);
    Signature {
        profile,
        header: header.map(str::to_owned),
        svix: false,
        key_set: None,
        key: SealedKey {
            sealed: sealed.unwrap(),
            public: None,
            made_at: Timestamp::EPOCH,
        },
        former: None,
    }
}

fn lines_at(prepared: &PreparedTarget, own: Headers, ms: i64) -> Vec<String> {
    let request = prepared.request(&due(own, b"{}"), Timestamp::from_millis(ms));
    let (head, body) = request.from(0);
    assert_eq!(body, b"");
    let text = String::from_utf8(head.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{}");
    head.split("\r\n").skip(1).map(str::to_owned).collect()
}

#[test]
fn a_signed_request_has_the_lines_of_an_unsigned_one_and_its_signature_behind_them() {
    let plain = prepared("https://u:p@a.test/", &[]);
    let prepared = signed(vec![signature(Profile::Standard, None)], &keyring());
    let lines = lines_at(&prepared, Headers::default(), 1_700_000_000_999);
    let before = lines_at(&plain, Headers::default(), 0);
    assert_eq!(lines[..before.len()], before);
    // By Python's hmac over dlv_1_1.1700000000.{}
    assert_eq!(
        lines[before.len()..],
        [
            "Webhook-Id: dlv_1_1",
            "Webhook-Timestamp: 1700000000",
            "Webhook-Signature: v1,93ZW7D/awThm2SFL3/SziX/GtW4hznLd4aUwjmPyiHE=",
        ]
    );
}

#[test]
fn the_time_is_new_on_each_attempt_and_the_id_is_not() {
    let prepared = signed(vec![signature(Profile::Standard, None)], &keyring());
    let at = |ms| lines_at(&prepared, Headers::default(), ms);
    let (first, second) = (at(1_000), at(9_000));
    let differ: Vec<&str> = first
        .iter()
        .filter(|line| !second.contains(line))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(differ, ["Webhook-Timestamp", "Webhook-Signature"]);
}

#[test]
fn a_signature_takes_the_place_of_a_line_of_its_name() {
    let github = signature(Profile::Github, Some("x-shop-signature"));
    let prepared = signed(vec![github], &keyring());
    let lines = lines_at(&prepared, own(&[("X-Shop-Signature", "forged")]), 0);
    let of_name = lines
        .iter()
        .filter(|line| line.starts_with("X-Shop-Signature: "));
    let values: Vec<_> = of_name.collect();
    assert_eq!(values.len(), 1);
    assert!(values[0].contains("sha256="));
}

#[test]
fn the_log_has_the_names_of_signature_lines_and_no_value() {
    let prepared = signed(vec![signature(Profile::Stripe, None)], &keyring());
    for own in [Headers::default(), own(&[("X-Own", "1")])] {
        let recorded = prepared.recorded(&own);
        assert_eq!(recorded.get("Stripe-Signature"), Some(&b"***"[..]));
    }
}

#[test]
fn a_secret_that_does_not_open_leaves_nothing_to_send() {
    let all = vec![
        signature(Profile::Standard, None),
        signature(Profile::Github, None),
    ];
    for keyring in [
        Keyring::default(),
        Keyring::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap(),
    ] {
        let prepared = signed(all.clone(), &keyring);
        let failure = prepared.endpoint().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unsigned);
        assert!(failure.detail.contains("master key"), "{}", failure.detail);
        let request = prepared.request(&due(Headers::default(), b"{}"), Timestamp::EPOCH);
        assert_eq!(request.from(0), (&b""[..], &b""[..]));
    }
    let damaged = Signature {
        key: SealedKey {
            sealed: Bytes::from_static(b"nothing"),
            ..all[0].key.clone()
        },
        ..all[0].clone()
    };
    let prepared = signed(vec![damaged], &keyring());
    let failure = prepared.endpoint().unwrap_err();
    assert!(failure.words().contains("so nothing was sent: its secret"));
}

#[test]
fn what_a_message_signature_covers_is_what_goes_over_the_wire() {
    let hmac = vec![signature(Profile::Rfc9421HmacSha256, None)];
    let url = "HTTPS://u:p@Shop.test:443/a b/./c?x=%c3%a4&y='";
    let target = WebhookTarget {
        signatures: hmac,
        ..target(url, &[])
    };
    let plain = prepared(url, &[]);
    let prepared = PreparedTarget::new(&target, plain.policy, &keyring());
    let lines = lines_at(&prepared, Headers::default(), 1_700_000_000_999);
    let request = prepared.request(&due(Headers::default(), b"{}"), Timestamp::EPOCH);
    let (head, _) = request.from(0);
    assert!(head.starts_with(b"POST /a%20b/c?x=%C3%A4&y=' HTTP/1.1\r\nHost: shop.test\r\n"));
    // By Python's hmac over the base of RFC 9421, 2.5.
    let wanted = [
        "Content-Digest: sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:",
        "Signature-Input: sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \
         \"content-digest\");created=1699999995;\
         keyid=\"LzOz4ihK63zzaCTfl-j0hWG0FuiOPodoGPHiB0TpCnY\"",
        "Signature: sig1=:B4rR07dK8WXK7pajwuLOrIQfJtjpfCw0UaS8ScStQ6g=:",
    ];
    let at = lines
        .iter()
        .position(|line| line.starts_with("Content-Digest"));
    assert_eq!(lines[at.unwrap()..], wanted);
}

#[test]
fn a_signed_request_is_the_same_byte_for_byte_however_its_lines_are_put_together() {
    for (profile, header) in [
        (Profile::Standard, None),
        (Profile::Github, Some("X-shop-signature")),
        (Profile::Rfc9421HmacSha256, None),
    ] {
        let prepared = signed(vec![signature(profile, header)], &keyring());
        let at = 1_700_000_000_999;
        // A line that is left out has the others put together one by one.
        let slowly = lines_at(&prepared, own(&[("Host", "b.test")]), at);
        assert_eq!(lines_at(&prepared, Headers::default(), at), slowly);
    }
}
