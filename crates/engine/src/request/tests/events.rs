//! Requests of webhooks whose calls are CloudEvents.

use model::cloud_event::CloudEventMode;
use model::id::WebhookId;
use model::rng::SeededRng;
use model::signing::{Profile, SealedKey, Secret, Signature};

use super::*;

const BODY: &[u8] = br#"{"code":"K3LMN"}"#;

const STRUCTURED: &str = concat!(
    r#"{"specversion":"1.0","id":"n","source":"/organizers/bigevents","#,
    r#""type":"order.paid","time":"1970-01-01T00:00:00.000Z","#,
    r#""datacontenttype":"application/json","data":{"code":"K3LMN"}}"#
);

fn keyring() -> Keyring {
    Keyring::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()
}

fn target_with(mode: CloudEventMode, lines: &[(&str, &str)]) -> WebhookTarget {
    WebhookTarget {
        cloud_events: Some(mode),
        ..target("https://u:p@a.test/", lines)
    }
}

fn prepared_as(target: &WebhookTarget) -> PreparedTarget {
    let plain = prepared("https://u:p@a.test/", &[]);
    let policy = Policy {
        event_naming: EventNaming {
            source_prefix: "/organizers/".to_owned(),
            type_prefix: String::new(),
        },
        ..(*plain.policy).clone()
    };
    PreparedTarget::new(target, Arc::new(policy), &keyring())
}

fn sent(prepared: &PreparedTarget, own: Headers) -> (Vec<String>, String) {
    let request = prepared.request(&due(own, BODY), Timestamp::EPOCH);
    let (head, body) = request.from(0);
    let text = String::from_utf8([head, body].concat()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let lines = head.split("\r\n").map(str::to_owned).collect();
    (lines, body.to_owned())
}

fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|one| one == line)
}

#[test]
fn in_binary_mode_a_call_has_its_own_body_and_content_type_and_five_lines_more() {
    let target = target_with(CloudEventMode::Binary, &[]);
    let (lines, body) = sent(&prepared_as(&target), Headers::default());
    assert_eq!(body.as_bytes(), BODY);
    for line in [
        "Content-Type: application/json",
        "Ce-Specversion: 1.0",
        "Ce-Source: /organizers/bigevents",
        "Ce-Id: n",
        "Ce-Type: order.paid",
        "Ce-Time: 1970-01-01T00:00:00.000Z",
    ] {
        assert!(has(&lines, line), "{line} in {lines:?}");
    }
    let (plain, _) = sent(&prepared("https://u:p@a.test/", &[]), Headers::default());
    assert_eq!(lines.len(), plain.len() + 5);
}

#[test]
fn in_structured_mode_a_call_has_no_line_of_an_event_whoever_asked_for_one() {
    let target = target_with(CloudEventMode::Structured, &[("Ce-Type", "own")]);
    let (lines, body) = sent(
        &prepared_as(&target),
        own(&[("ce-id", "forged"), ("X-A", "1")]),
    );
    assert_eq!(body, STRUCTURED);
    let length = format!("Content-Length: {}", STRUCTURED.len());
    assert!(has(&lines, &length), "{lines:?}");
    let form = "Content-Type: application/cloudevents+json; charset=utf-8";
    assert!(has(&lines, form), "{lines:?}");
    assert!(has(&lines, "X-A: 1"), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.starts_with("Ce-")),
        "{lines:?}"
    );
}

#[test]
fn a_signature_is_of_the_bytes_that_are_sent() {
    let mut rng = SeededRng::from_seed([1; 32]);
    let secret = Secret::brought(Profile::Github, "0123456789abcdef").unwrap();
    let sealed = keyring().seal(&mut rng, WebhookId(1), Profile::Github, &secret);
    let github = Signature {
        profile: Profile::Github,
        header: None,
        svix: false,
        key_set: None,
        key: SealedKey {
            sealed: sealed.unwrap(),
            public: None,
            made_at: Timestamp::EPOCH,
        },
        former: None,
    };
    let target = WebhookTarget {
        signatures: vec![github],
        ..target_with(CloudEventMode::Structured, &[])
    };
    let (lines, body) = sent(&prepared_as(&target), Headers::default());
    assert_eq!(body, STRUCTURED);
    // By Python's hmac over the structured body.
    let wanted = "X-Hub-Signature-256: sha256=43c74fd343ebc630806a3dc19f7cec084c1ccbb882b5bc76d3cf2db7e6f12895";
    assert!(has(&lines, wanted), "{lines:?}");
}

#[test]
fn the_log_has_what_all_calls_of_the_webhook_say_and_nothing_of_one_notification() {
    let target = target_with(CloudEventMode::Binary, &[]);
    let prepared = prepared_as(&target);
    for own in [Headers::default(), own(&[("X-A", "1")])] {
        let recorded = prepared.recorded(&own);
        let source = &b"/organizers/bigevents"[..];
        assert_eq!(recorded.get("Ce-Source"), Some(source));
        for name in ["Ce-Id", "Ce-Type", "Ce-Time"] {
            assert_eq!(recorded.get(name), None);
        }
    }
}
