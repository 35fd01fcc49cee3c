//! Requests of webhooks that have own headers.

use model::own_header::{OwnHeader, OwnHeaderName, value};
use model::rng::SeededRng;

use super::*;

fn keyring() -> Keyring {
    Keyring::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()
}

fn sealed(lines: &[(&str, &str)]) -> Vec<OwnHeader> {
    let mut rng = SeededRng::from_seed([1; 32]);
    let mut header = |(name, text): &(&str, &str)| {
        let name = OwnHeaderName::parse(name).unwrap();
        let sealed = keyring().seal(&mut rng, WebhookId(1), &name, &value(text).unwrap());
        OwnHeader {
            name,
            sealed: sealed.unwrap(),
            set_at: Timestamp::EPOCH,
        }
    };
    lines.iter().map(&mut header).collect()
}

fn given(url: &str, own_headers: Vec<OwnHeader>, keyring: &Keyring) -> PreparedTarget {
    let target = WebhookTarget {
        own_headers,
        ..target(url, &[("X-Hook", "1")])
    };
    let plain = prepared(url, &[]);
    PreparedTarget::new(&target, plain.policy, keyring)
}

#[test]
fn own_headers_come_behind_those_of_the_dialect_and_authorization_last() {
    let own = sealed(&[("authorization", "Bearer secret"), ("x-key", "a b")]);
    let prepared = given("https://a.test/", own, &keyring());
    assert_eq!(
        sent(&prepared, &[("X-Own", "2")]),
        [
            "Host: a.test",
            "User-Agent: Willcall/0",
            "Accept: */*",
            "Connection: keep-alive",
            "Content-Length: 5",
            "Content-Type: application/json",
            "X-Hook: 1",
            "X-Key: a b",
            "X-Own: 2",
            "Authorization: Bearer secret"
        ]
    );
}

#[test]
fn an_own_authorization_takes_the_place_of_user_and_password_in_the_url() {
    let url = "https://user:password@a.test/";
    let own = sealed(&[("Authorization", "Bearer secret")]);
    let prepared = given(url, own, &keyring());
    let lines = sent(&prepared, &[]);
    let of_name: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("Authorization"))
        .collect();
    assert_eq!(of_name, ["Authorization: Bearer secret"]);
}

#[test]
fn the_log_and_debug_have_the_names_of_own_headers_and_no_value() {
    let own = sealed(&[("Authorization", "secret value"), ("X-Key", "secret value")]);
    let prepared = given("https://a.test/", own, &keyring());
    for more in [Headers::default(), own_lines_of_notification()] {
        let recorded = prepared.recorded(&more);
        assert_eq!(recorded.get("Authorization"), Some(&b"***"[..]));
        assert_eq!(recorded.get("X-Key"), Some(&b"***"[..]));
    }
    let request = prepared.request(&due(Headers::default(), b"{}"), Timestamp::EPOCH);
    let printed = format!("{prepared:?} {request:?}");
    assert!(!printed.contains("secret"), "{printed}");
    assert!(!printed.contains("115, 101"), "{printed}");
}

fn own_lines_of_notification() -> Headers {
    own(&[("X-Own", "1")])
}

#[test]
fn what_a_receiver_echoes_of_an_own_header_is_blanked() {
    let own = sealed(&[
        ("Authorization", "Basic dXNlcjpwYXNzd29yZA=="),
        ("X-Key", "Bearer token"),
        ("X-Short", "abcd"),
    ]);
    let prepared = given("https://a.test/", own, &keyring());
    let body = "user:password dXNlcjpwYXNzd29yZA== token abcd";
    let outcome = prepared.without_secrets(Outcome::Answered(HttpResponse {
        status: 200,
        headers: Headers::default(),
        body: body.into(),
        body_end: BodyEnd::Whole,
        note: None,
    }));
    let Outcome::Answered(answer) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(answer.body, "*** *** *** abcd");
}

#[test]
fn what_a_url_marks_is_sent_and_neither_logged_nor_echoed() {
    let url = "https://a.test/in/abcdef?key=g%20hijk#secret:/2,key";
    let prepared = prepared(url, &[]);
    assert_eq!(begins(&prepared), "POST /in/abcdef?key=g%20hijk HTTP/1.1");
    let shown = "https://a.test/in/***?key=***#secret:/2,key";
    assert_eq!(&*prepared.shown_url, shown);
    let outcome = prepared.without_secrets(Outcome::Answered(HttpResponse {
        status: 404,
        headers: Headers::default(),
        body: "no abcdef, no g hijk, no g%20hijk".into(),
        body_end: BodyEnd::Whole,
        note: None,
    }));
    let Outcome::Answered(answer) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(answer.body, "no ***, no ***, no ***");
}

#[test]
fn an_own_header_that_does_not_open_leaves_nothing_to_send() {
    let own = sealed(&[("X-Key", "secret")]);
    for keyring in [
        Keyring::default(),
        Keyring::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap(),
    ] {
        let prepared = given("https://a.test/", own.clone(), &keyring);
        let failure = prepared.endpoint().unwrap_err();
        assert_eq!(failure.kind, FailureKind::SealedHeader);
        let words = failure.words();
        assert!(words.contains("so nothing was sent: X-Key: "), "{words}");
        assert!(words.contains("master key"), "{words}");
        let request = prepared.request(&due(Headers::default(), b"{}"), Timestamp::EPOCH);
        assert_eq!(request.from(0), (&b""[..], &b""[..]));
    }
}
