//! Which lines a request has, and which of them are written down.

use model::call_limits::CallLimits;
use model::delivery::Delivery;
use model::id::{DeliveryId, NotificationId, WebhookId};
use model::policy::{EventNaming, NameOf};
use model::schedule::Schedule;
use model::tenant::DialectName;
use model::webhook_tls::WebhookTls;

use model::attempt::BodyEnd;

mod events;
mod own_headers;
mod signed;

use super::*;

fn prepared(url: &str, lines: &[(&str, &str)]) -> PreparedTarget {
    let policy = Policy {
        schedule: Schedule {
            delays_ms: vec![],
            jitter_from_ms: 0,
            jitter_percent: 0,
            final_attempt_after_ms: None,
        },
        exchange_limit_ms: 1,
        gone_disables: true,
        retry_after_max_ms: None,
        dedupe_header: None,
        user_agent: "Willcall/0".to_owned(),
        content_type: "application/json".to_owned(),
        event_naming: EventNaming::default(),
        retention_ms: 1,
        bounds: Arc::default(),
        name_of: NameOf::default(),
    };
    PreparedTarget::new(&target(url, lines), Arc::new(policy), &Keyring::default())
}

fn target(url: &str, lines: &[(&str, &str)]) -> WebhookTarget {
    WebhookTarget {
        webhook: WebhookId(1),
        tenant: TenantId(1),
        dialect: DialectName::new("any"),
        tenant_key: "bigevents".to_owned(),
        settings: "{}".to_owned(),
        cloud_events: None,
        tls: WebhookTls::default(),
        limits: CallLimits::default(),
        holds: model::hold::Holds::default(),
        key: None,
        target_url: url.to_owned(),
        headers: own(lines),
        retries_max: None,
        paused_until: None,
        failing_since: None,
        succeeded_at: None,
        version: 1,
        enabled: true,
        signatures: Vec::new(),
        own_headers: Vec::new(),
        handshake: None,
    }
}

fn own(lines: &[(&str, &str)]) -> Headers {
    Headers::from_pairs(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn due(headers: Headers, body: &'static [u8]) -> DueDelivery {
    DueDelivery {
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
        action_type: Arc::from("order.paid"),
        accepted_at: Timestamp::EPOCH,
        headers,
        body: Bytes::from_static(body),
    }
}

/// Both pieces of the request for this delivery, as text.
fn wire(prepared: &PreparedTarget, due: &DueDelivery) -> String {
    let request = prepared.request(due, Timestamp::EPOCH);
    let (first, then) = request.from(0);
    String::from_utf8([first, then].concat()).unwrap()
}

/// The request line.
fn begins(prepared: &PreparedTarget) -> String {
    let wire = wire(prepared, &due(Headers::default(), b""));
    wire.split("\r\n").next().unwrap().to_owned()
}

/// The header lines of a request.
fn sent(prepared: &PreparedTarget, lines: &[(&str, &str)]) -> Vec<String> {
    let wire = wire(prepared, &due(own(lines), b"12345"));
    let (head, body) = wire.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "12345");
    head.split("\r\n").skip(1).map(str::to_owned).collect()
}

#[test]
fn lines_of_webhook_and_notification_come_before_the_credentials() {
    let prepared = prepared("https://u:p@a.test:8443/x?y", &[("X-Hook", "1")]);
    assert_eq!(
        sent(&prepared, &[("X-Own", "2"), ("X-Own", "3")]),
        [
            "Host: a.test:8443",
            "User-Agent: Willcall/0",
            "Accept: */*",
            "Connection: keep-alive",
            "Content-Length: 5",
            "Content-Type: application/json",
            "X-Hook: 1",
            "X-Own: 2",
            "X-Own: 3",
            "Authorization: Basic dTpw"
        ]
    );
    let endpoint = prepared.endpoint().unwrap();
    assert_eq!(
        (endpoint.tls, &*endpoint.host, endpoint.port),
        (true, "a.test", 8443)
    );
    assert_eq!(begins(&prepared), "POST /x?y HTTP/1.1");
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
            "Host: a.test",
            "User-Agent: Mine",
            "Accept: */*",
            "Connection: keep-alive",
            "Content-Length: 5",
            "Content-Type: text/plain",
            "Authorization: Bearer t"
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
         Connection: keep-alive\r\n\
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
    let echo = Outcome::Answered(HttpResponse {
        status: 200,
        headers: own(&[("X-Echo", "a nonce-of-20-letters b")]),
        body: Bytes::from_static(b"nonce-of-20-letters"),
        body_end: BodyEnd::Whole,
        note: None,
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
        assert_eq!(begins(&prepared(url, &[])), format!("POST {path} HTTP/1.1"));
    }
}

#[test]
fn credentials_that_a_receiver_echoes_are_blanked() {
    let answer = |headers: &str, body: &str| {
        Outcome::Answered(HttpResponse {
            status: 200,
            headers: Headers(Bytes::copy_from_slice(headers.as_bytes())),
            body: Bytes::copy_from_slice(body.as_bytes()),
            body_end: BodyEnd::Whole,
            note: None,
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

#[test]
fn a_note_shows_no_credentials_not_even_the_beginning_of_one() {
    let webhook = prepared("http://user:p%40ssword@a.test/x", &[]);
    for (note, shown) in [
        ("(“user:p@ssword: 1”)", "(“***: 1”)"),
        ("(“A dXNlcjpwQHNzd29yZA==…”)", "(“A ***…”)"),
        ("(“A dXNlcjpwQHN…”)", "(“A ***…”)"),
        ("(“A d…”)", "(“A ***…”)"),
        ("(“A b…”)", "(“A b…”)"),
    ] {
        let answer = Outcome::Answered(HttpResponse {
            status: 200,
            headers: Headers::default(),
            body: Bytes::new(),
            body_end: BodyEnd::Broken,
            note: Some(note.into()),
        });
        let Outcome::Answered(kept) = webhook.without_secrets(answer) else {
            unreachable!()
        };
        assert_eq!(kept.note.as_deref(), Some(shown));
    }
}

impl Request {
    /// Any bytes, for tests of whoever sends them.
    pub(crate) fn of(bytes: &[u8], body: &'static [u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            body: Bytes::from_static(body),
        }
    }
}

fn prepared_with_dedupe(name: &str, lines: &[(&str, &str)]) -> PreparedTarget {
    let plain = prepared("http://u:p@a.test/", lines);
    let policy = Policy {
        dedupe_header: Some(name.to_owned()),
        ..(*plain.policy).clone()
    };
    let target = WebhookTarget {
        key: Some("w".to_owned()),
        ..target("http://u:p@a.test/", lines)
    };
    PreparedTarget::new(&target, Arc::new(policy), &Keyring::default())
}

#[test]
fn the_dedupe_line_goes_last_unless_there_is_one_of_its_name() {
    let line = "X-Dedupe: a5cd36712b34facbb4171853ef608dc0";
    let hook = [("X-Hook", "1")];
    let last = prepared_with_dedupe("x-dedupe", &hook);
    for own in [&[][..], &[("X-Own", "2")]] {
        let sent = sent(&last, own);
        assert_eq!(sent.last().unwrap(), line);
        assert_eq!(sent[sent.len() - 2], "Authorization: Basic dTpw");
    }
    let hook = [("X-Dedupe", "mine"), ("X-Dedupe", "twice"), ("X-Hook", "1")];
    let among = prepared_with_dedupe("x-dedupe", &hook);
    assert_eq!(
        sent(&among, &[])[6..],
        [line, "X-Hook: 1", "Authorization: Basic dTpw"]
    );
    let sent = sent(&last, &[("X-Dedupe", "theirs"), ("X-Own", "2")]);
    assert_eq!(
        sent[6..],
        ["X-Hook: 1", line, "X-Own: 2", "Authorization: Basic dTpw"]
    );
}

#[test]
fn lines_of_one_name_go_together() {
    let prepared = prepared(
        "http://a.test/",
        &[("X-A", "1"), ("X-B", "2"), ("x-a", "3")],
    );
    let all = sent(&prepared, &[("X-B", "4"), ("X-C", "5"), ("X-A", "6")]);
    assert_eq!(
        all[6..],
        ["X-A: 1", "X-A: 3", "X-A: 6", "X-B: 2", "X-B: 4", "X-C: 5"]
    );
}

#[test]
fn no_value_brings_a_line_of_its_own() {
    for value in ["1\r\nX-Evil: 2", "1\nX-Evil: 2", "1\rX-Evil: 2", "1\0"] {
        // As an application might hand them in, past what makes them safe.
        let block = Headers(Bytes::from(format!("X-Own: {value}\r\n")));
        let hooks = WebhookTarget {
            webhook: WebhookId(1),
            tenant: TenantId(1),
            dialect: DialectName::new("any"),
            tenant_key: "bigevents".to_owned(),
            settings: "{}".to_owned(),
            cloud_events: None,
            tls: WebhookTls::default(),
            limits: CallLimits::default(),
            holds: model::hold::Holds::default(),
            key: Some("w\r\nX-Evil: 2".to_owned()),
            target_url: "http://a.test/".to_owned(),
            headers: block.clone(),
            retries_max: None,
            paused_until: None,
            failing_since: None,
            succeeded_at: None,
            version: 1,
            enabled: true,
            signatures: Vec::new(),
            own_headers: Vec::new(),
            handshake: None,
        };
        let policy = Policy {
            user_agent: format!("Willcall{value}"),
            content_type: value.to_owned(),
            dedupe_header: Some("X-Key\r\nX-Evil".to_owned()),
            ..(*prepared("http://a.test/", &[]).policy).clone()
        };
        let prepared = PreparedTarget::new(&hooks, Arc::new(policy), &Keyring::default());
        for own in [Headers::default(), block] {
            let wire = wire(&prepared, &due(own, b""));
            let (head, _) = wire.split_once("\r\n\r\n").unwrap();
            for line in head.split("\r\n").skip(1) {
                assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
                // A line that was in the block by itself is one of its own.
                let ours = ["Host", "Accept", "Connection", "Content-Length"];
                let known = [&ours[..], &["X-Evil", "X-Own"]].concat();
                let name = line.split(':').next().unwrap();
                assert!(known.contains(&name), "{line:?}");
            }
        }
    }
}

#[test]
fn a_request_is_one_piece_unless_its_body_is_long() {
    let prepared = prepared("http://a.test/", &[]);
    for (size, pieces) in [
        (0, 1),
        (COPIED_BODY_BYTES_MAX, 1),
        (COPIED_BODY_BYTES_MAX + 1, 2),
    ] {
        let mut due = due(Headers::default(), b"");
        due.body = Bytes::from(vec![b'x'; size]);
        let request = prepared.request(&due, Timestamp::EPOCH);
        let (first, then) = request.from(0);
        assert_eq!(1 + usize::from(!then.is_empty()), pieces);
        let all = [first, then].concat();
        let text = String::from_utf8(all.clone()).unwrap();
        assert!(
            text.contains(&format!("\r\nContent-Length: {size}\r\n")),
            "{size}"
        );
        assert!(text.ends_with(&format!("\r\n\r\n{}", "x".repeat(size))));
        for written in 0..=all.len() {
            let (first, then) = request.from(written);
            assert_eq!(first.len() + then.len(), all.len() - written);
            assert!(all.ends_with(if then.is_empty() { first } else { then }));
        }
    }
}

#[test]
fn numbers_are_written_in_digits() {
    for number in [0, 1, 9, 10, 255, 262_144, usize::MAX] {
        let mut bytes = Vec::new();
        write_number(&mut bytes, number);
        assert_eq!(String::from_utf8(bytes).unwrap(), number.to_string());
    }
}
