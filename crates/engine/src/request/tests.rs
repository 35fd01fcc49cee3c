//! Which lines a request has, and which of them are written down.

use model::delivery::Delivery;
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::schedule::Schedule;
use model::tenant::DialectName;

use model::attempt::BodyEnd;

use super::*;

fn prepared(url: &str, lines: &[(&str, &str)]) -> Prepared {
    let policy = Policy {
        schedule: Schedule {
            delays_ms: vec![],
            spread_from_ms: 0,
            spread_percent: 0,
            last_try_after_ms: None,
        },
        exchange_limit_ms: 1,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: "Willcall/0".to_owned(),
        content_type: "application/json".to_owned(),
        kept_ms: 1,
    };
    let target = LaneTarget {
        webhook: WebhookId(1),
        tenant: model::id::TenantId(1),
        dialect: DialectName::new("any"),
        key: None,
        target_url: url.to_owned(),
        headers: own(lines),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        enabled: true,
    };
    Prepared::new(&target, Arc::new(policy))
}

fn own(lines: &[(&str, &str)]) -> Headers {
    Headers::from_pairs(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn due(headers: Headers, body: &'static [u8]) -> Due {
    Due {
        delivery: Delivery {
            id: DeliveryId {
                notification: NotificationId(1),
                webhook: WebhookId(1),
            },
            round: 1,
            attempts: 0,
            round_attempts: 0,
            round_began_at: None,
            due_at: Timestamp::EPOCH,
        },
        key: "n".into(),
        headers,
        body: Bytes::from_static(body),
    }
}

fn sent(prepared: &Prepared, lines: &[(&str, &str)]) -> Vec<String> {
    let request = prepared.request(&due(own(lines), b"12345"));
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    request.headers().iter().map(line).collect()
}

#[test]
fn lines_of_webhook_and_notification_come_before_the_credentials() {
    let prepared = prepared("https://u:p@a.test:8443/x?y", &[("X-Hook", "1")]);
    assert_eq!(
        sent(&prepared, &[("X-Own", "2"), ("X-Own", "3")]),
        [
            "host: a.test:8443",
            "user-agent: Willcall/0",
            "accept: */*",
            "content-length: 5",
            "content-type: application/json",
            "x-hook: 1",
            "x-own: 2",
            "x-own: 3",
            "authorization: Basic dTpw"
        ]
    );
    let place = prepared.place().unwrap();
    assert_eq!(
        (place.tls, &*place.host, place.port),
        (true, "a.test", 8443)
    );
    let request = prepared.request(&due(Headers::default(), b""));
    assert_eq!(request.uri().to_string(), "/x?y");
}

#[test]
fn own_lines_can_replace_those_of_the_policy_but_not_the_framing() {
    let hook = [
        ("Content-Type", "text/plain"),
        ("Content-Length", "99"),
        ("Transfer-Encoding", "chunked"),
        ("Host", "elsewhere.test"),
        ("Connection", "close"),
        ("Expect", "100-continue"),
        ("Bad Name", "x"),
    ];
    let prepared = prepared("http://a.test/", &hook);
    assert_eq!(
        sent(
            &prepared,
            &[("user-agent", "Mine"), ("Authorization", "Bearer t")]
        ),
        [
            "host: a.test",
            "user-agent: Mine",
            "accept: */*",
            "content-length: 5",
            "content-type: text/plain",
            "authorization: Bearer t"
        ]
    );
}

#[test]
fn what_is_written_down_has_no_credentials_and_does_not_differ_by_length() {
    let prepared = prepared("http://u:secret@a.test/", &[]);
    let plain = prepared.recorded(&Headers::default());
    assert_eq!(
        plain.0,
        "Host: a.test\r\nUser-Agent: Willcall/0\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nAuthorization: Basic ***\r\n"
    );
    let own = prepared.recorded(&own(&[("X-Own", "1"), ("Authorization", "Bearer other")]));
    let own = String::from_utf8(own.0.to_vec()).unwrap();
    assert!(
        own.contains("X-Own: 1\r\nAuthorization: Basic ***\r\n"),
        "{own}"
    );
    assert!(!own.contains("other"), "{own}");
}

#[test]
fn credentials_of_an_own_line_are_masked_as_well() {
    for (value, shown) in [("Bearer abc", "Bearer ***"), ("abc", "***")] {
        let prepared = prepared("http://a.test/", &[("Authorization", value)]);
        let recorded = prepared.recorded(&Headers::default());
        let lines: Vec<_> = recorded.iter().collect();
        assert_eq!(lines.last().unwrap().1, shown.as_bytes());
    }
}

#[test]
fn what_a_webhooks_own_lines_say_is_not_written_down_even_if_it_is_echoed() {
    let prepared = prepared("http://a.test/", &[("X-Nonce", "nonce-of-20-letters")]);
    let recorded = prepared.recorded(&Headers::default());
    assert_eq!(recorded.get("x-nonce"), Some(b"***".as_slice()));
    let echo = Outcome::Answered(Answer {
        status: 200,
        headers: own(&[("X-Echo", "a nonce-of-20-letters b")]),
        body: Bytes::from_static(b"nonce-of-20-letters"),
        body_end: BodyEnd::Whole,
    });
    let Outcome::Answered(kept) = prepared.without_secrets(echo) else {
        unreachable!()
    };
    assert_eq!(kept.headers.get("x-echo"), Some(b"a *** b".as_slice()));
    assert_eq!(&kept.body[..], b"***");
}

#[test]
fn odd_paths_are_sent_as_their_targets_say() {
    for (url, path) in [
        ("http://a.test//b//c", "//b//c"),
        (
            "http://a.test/?q={\"a\":[1|2]}",
            "/?q=%7B%22a%22:%5B1%7C2%5D%7D",
        ),
        ("http://a.test", "/"),
    ] {
        let request = prepared(url, &[]).request(&due(Headers::default(), b""));
        assert_eq!(request.uri().to_string(), path);
    }
}

#[test]
fn credentials_that_a_receiver_echoes_are_blanked() {
    let answer = |headers: &str, body: &str| {
        Outcome::Answered(Answer {
            status: 200,
            headers: Headers(Bytes::copy_from_slice(headers.as_bytes())),
            body: Bytes::copy_from_slice(body.as_bytes()),
            body_end: BodyEnd::Whole,
        })
    };
    let webhook = prepared("http://user:p%40ss@a.test/x", &[]);
    let echoed = answer(
        "location: http://user:p%40ss@a.test/x\r\nx: Basic dXNlcjpwQHNz\r\n",
        "got user:p@ss, dXNlcjpwQHNz and dXNlcjpwQHNz again",
    );
    let shown = answer(
        "location: http://***@a.test/x\r\nx: Basic ***\r\n",
        "got ***, *** and *** again",
    );
    assert_eq!(webhook.without_secrets(echoed), shown);
    let plain = answer("x: y\r\n", "nothing to hide");
    assert_eq!(webhook.without_secrets(plain.clone()), plain);
}
