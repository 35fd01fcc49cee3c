//! The audit log in words: each entry a sentence, with the facts before and after. Unknown actions
//! and fields are shown as they are, so that nothing is left out.

use model::dashboard::AuditRow;
use model::users::Role;
use serde_json::{Map, Value};

use crate::dashboard::view::{self, DisplayDuration, DisplayTime};

/// The most characters of one value, and facts of one entry: a page of the log stays below 100 KiB.
const VALUE_CHARS_MAX: usize = 200;
const FACTS_MAX: usize = 12;

/// An entry as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditSentence {
    pub(super) at: DisplayTime,
    pub(super) actor: String,
    /// The sentence after the actor's name.
    pub(super) deed: String,
    pub(super) webhook: Option<i64>,
    /// The webhook's name, if it has one.
    pub(super) name: Option<String>,
    pub(super) facts: Vec<AuditFact>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditFact {
    pub(super) label: String,
    /// `None` where nothing was before: then `after` is all there is to say.
    pub(super) before: Option<String>,
    pub(super) after: String,
}

pub(super) fn sentence(row: &AuditRow, name: Option<&str>) -> AuditSentence {
    let entry = &row.entry;
    let detail: Value = serde_json::from_str(&entry.detail).unwrap_or(Value::Null);
    let mut facts = facts(&detail);
    facts.truncate(FACTS_MAX);
    let actor = match entry.actor.as_str() {
        "willcall" => "Willcall itself".to_owned(),
        "" => "Somebody".to_owned(),
        name => view::short(name, VALUE_CHARS_MAX),
    };
    AuditSentence {
        at: DisplayTime(entry.at),
        actor,
        deed: deed(&entry.action, &detail),
        webhook: entry.webhook.map(|id| id.0),
        name: name.map(|name| view::short(name, VALUE_CHARS_MAX)),
        facts,
    }
}

fn deed(action: &str, detail: &Value) -> String {
    let text = |key: &str| detail.get(key).and_then(Value::as_str).unwrap_or_default();
    let short = |key: &str| view::short(text(key), VALUE_CHARS_MAX);
    let count = |key: &str| detail.get(key).and_then(Value::as_u64).unwrap_or_default();
    let role = |key: &str| {
        let role = text(key).parse::<Role>();
        role.map_or_else(|()| short(key), |role| role.as_str().to_owned())
    };
    match action {
        "webhook.created" => "created the webhook".to_owned(),
        "webhook.changed" => "changed the webhook".to_owned(),
        "webhook.limits" => "changed how often and for how long the webhook is called".to_owned(),
        "webhook.cloud_events" => {
            // Entries of before said only what was chosen.
            cloud_events(detail.get("after").unwrap_or(detail))
        }
        "signature.added" => format!("added the signature {}", short("profile")),
        "signature.rotated" => format!("rotated the key of the signature {}", short("profile")),
        "signature.former_ended" => {
            format!("ended the former key of the signature {}", short("profile"))
        }
        "header.added" => format!("added the own header {}", short("name")),
        "header.changed" => format!("gave the own header {} another value", short("name")),
        "header.removed" => format!("removed the own header {}", short("name")),
        "client_certificate.added" => "added a client certificate".to_owned(),
        "client_certificate.changed" => "gave another client certificate".to_owned(),
        "client_certificate.removed" => "removed the client certificate".to_owned(),
        "ca_certificates.added" => "added CA certificates".to_owned(),
        "ca_certificates.changed" => "gave other CA certificates".to_owned(),
        "ca_certificates.removed" => "removed the CA certificates".to_owned(),
        "signature.removed" => format!("removed the signature {}", short("profile")),
        "webhook.deleted" => "deleted the webhook".to_owned(),
        "webhook.disabled" if text("cause") == "gone" => {
            "disabled the webhook, because its receiver answered 410 Gone".to_owned()
        }
        "webhook.disabled" => "disabled the webhook".to_owned(),
        "webhook.paused" => "paused the webhook".to_owned(),
        "webhook.resumed" => "resumed the webhook".to_owned(),
        "token.created" => format!("created the token \u{201c}{}\u{201d}", short("name")),
        "token.changed" => format!("changed the token \u{201c}{}\u{201d}", short("name")),
        "token.revoked" => format!("revoked the token \u{201c}{}\u{201d}", short("name")),
        "role.given" => format!("gave {} the role {}", short("user"), role("after")),
        "role.changed" => format!("changed the role of {} to {}", short("user"), role("after")),
        "role.taken" => format!("took {}\u{2019}s access away", short("user")),
        "retention.changed" => "changed how long the log is kept".to_owned(),
        "deliveries.retried" if !text("delivery").is_empty() => {
            format!("replayed the delivery {}", short("delivery"))
        }
        "deliveries.retried" => format!("replayed {}", deliveries(count("count"))),
        "deliveries.stopped" => format!("stopped {}", deliveries(count("count"))),
        "errand.begun" => begun(text("what"), count("expected")),
        "errand.stopped" => format!("stopped a bulk job after {}", deliveries(count("count"))),
        "portal_link.created" => format!("made a portal link for {}", short("name")),
        "portal.signed_in" => format!("came in with the role {}", role("role")),
        other => of_tenant(other, &short("event")),
    }
}

fn cloud_events(chosen: &Value) -> String {
    let asks = chosen.get("handshake").and_then(Value::as_bool) == Some(true);
    let first = match asks {
        true => ", once its receiver agrees",
        false => "",
    };
    match chosen.get("mode").and_then(Value::as_str) {
        Some(mode) => {
            let mode = view::short(mode, VALUE_CHARS_MAX);
            format!("has calls sent as CloudEvents: {mode}{first}")
        }
        None => "has calls sent as the platform sends them, not as CloudEvents".to_owned(),
    }
}

/// The same of entries that say nothing else.
fn of_tenant(action: &str, event: &str) -> String {
    match action {
        "tenant.created" => "created this tenant".to_owned(),
        "tenant.changed" => "changed this tenant".to_owned(),
        "event.created" => format!("added the show {event}"),
        "event.changed" => format!("changed the show {event}"),
        "portal.ended" => "ended all portal links, and the sessions that they began".to_owned(),
        other => format!(
            "did \u{201c}{}\u{201d}",
            view::short(other, VALUE_CHARS_MAX)
        ),
    }
}

/// A bulk job that somebody asked for.
fn begun(what: &str, expected: u64) -> String {
    let about = deliveries(expected);
    match what {
        "retry_failed" => format!("asked for a replay of all undelivered ({about})"),
        "stop_retrying" => format!("asked to stop all that is pending ({about})"),
        "replay" => format!("asked for a replay of what a filter shows ({about})"),
        _ => format!("began a bulk job ({about})"),
    }
}

fn deliveries(count: u64) -> String {
    match count {
        1 => "1 delivery".to_owned(),
        count => format!("{count} deliveries"),
    }
}

fn facts(detail: &Value) -> Vec<AuditFact> {
    let Some(detail) = detail.as_object() else {
        return Vec::new();
    };
    match (detail.get("before"), detail.get("after")) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            between(&scoped(before), &scoped(after), detail.get("changed"))
        }
        _ => single(&scoped(detail)),
    }
}

/// A scope of a webhook as one list.
fn scoped(detail: &Map<String, Value>) -> Map<String, Value> {
    let mut detail = detail.clone();
    if detail.get("any_scope").is_some_and(Value::is_boolean) {
        let is_any = detail.remove("any_scope") == Some(Value::Bool(true));
        if let (true, Some(Value::Array(scopes))) = (is_any, detail.get_mut("scopes")) {
            scopes.push(Value::from("everything"));
        }
    }
    detail
}

/// The differences between two states, and what is only known to differ.
fn between(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changed: Option<&Value>,
) -> Vec<AuditFact> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let mut facts: Vec<AuditFact> = after
        .keys()
        .chain(gone)
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| AuditFact {
            label: label(key),
            before: Some(value(before.get(key))),
            after: value(after.get(key)),
        })
        .collect();
    let changed = changed.and_then(Value::as_array).into_iter().flatten();
    for field in changed.filter_map(Value::as_str) {
        // The filter is shown as the topics and scopes that it is made of. What changed and looks
        // the same before and after is what is masked.
        let is_masked = before.contains_key(field) && before.get(field) == after.get(field);
        let words = match is_masked {
            true => "user, password or a marked part changed",
            false => "changed",
        };
        if field != "filter" && (is_masked || !before.contains_key(field)) {
            facts.push(AuditFact {
                label: label(field),
                before: None,
                after: words.to_owned(),
            });
        }
    }
    facts
}

/// The facts of an entry with only one state, or with a single value that changed.
fn single(detail: &Map<String, Value>) -> Vec<AuditFact> {
    let mut facts = Vec::new();
    for (key, own) in detail {
        let (label, before, after) = match key.as_str() {
            "after" => ("Changed".to_owned(), detail.get("before"), value(Some(own))),
            "after_ms" => ("Kept".to_owned(), detail.get("before_ms"), kept(Some(own))),
            "before" | "before_ms" => continue,
            // The sentence has them.
            "user" | "cause" | "what" | "count" | "expected" => continue,
            "delivery" if detail.len() == 1 => continue,
            // A new thing's empty values are left out.
            _ if own.is_null() || own.as_array().is_some_and(Vec::is_empty) => continue,
            "default" if *own == Value::Bool(false) => continue,
            "enabled" | "active" if *own == Value::Bool(true) => continue,
            // A tenant's page tells of programs' tokens only.
            "kind" if own.as_str() == Some("program") => continue,
            _ => (label(key), None, value(Some(own))),
        };
        let before = before.map(|before| match key.as_str() {
            "after_ms" => kept(Some(before)),
            _ => value(Some(before)),
        });
        facts.push(AuditFact {
            label,
            before,
            after,
        });
    }
    facts
}

fn kept(ms: Option<&Value>) -> String {
    match ms.and_then(Value::as_i64) {
        Some(ms) => DisplayDuration(ms).to_string(),
        None => "as this server does by default".to_owned(),
    }
}

fn label(key: &str) -> String {
    let words = match key {
        "target_url" => "URL",
        "topics" => "Called for",
        "scopes" => "For",
        "retries_max" => "Retries",
        "headers" => "Header lines",
        other => {
            let words = other.replace('_', " ");
            let mut letters = words.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string());
            let whole = format!("{}{}", first.unwrap_or_default(), letters.as_str());
            return view::short(&whole, VALUE_CHARS_MAX);
        }
    };
    words.to_owned()
}

fn value(value: Option<&Value>) -> String {
    let words = match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "nothing".to_owned(),
        Some(Value::Array(items)) => {
            let words: Vec<String> = items.iter().map(|item| self::value(Some(item))).collect();
            words.join(", ")
        }
        Some(other @ (Value::Number(_) | Value::Object(_))) => other.to_string(),
    };
    view::short(&words, VALUE_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use model::id::WebhookId;
    use model::query::AuditEntry;
    use model::time::Timestamp;
    use serde_json::json;

    use super::*;

    fn tell(action: &str, detail: &Value) -> AuditSentence {
        let row = AuditRow {
            number: 1,
            entry: AuditEntry {
                at: Timestamp::from_millis(0),
                actor: "anna".to_owned(),
                action: action.to_owned(),
                webhook: Some(WebhookId(3)),
                detail: detail.to_string(),
            },
        };
        sentence(&row, None)
    }

    fn lines(sentence: &AuditSentence) -> Vec<String> {
        let line = |fact: &AuditFact| match &fact.before {
            Some(before) => format!("{}: {before} > {}", fact.label, fact.after),
            None => format!("{}: {}", fact.label, fact.after),
        };
        sentence.facts.iter().map(line).collect()
    }

    #[test]
    fn what_a_choice_of_cloud_events_was_is_said_and_what_it_is() {
        let binary = json!({ "mode": "binary", "handshake": true });
        let none = json!({ "mode": null, "handshake": false });
        let chosen = tell(
            "webhook.cloud_events",
            &json!({ "before": none, "after": binary }),
        );
        let words = "has calls sent as CloudEvents: binary, once its receiver agrees";
        assert_eq!(chosen.deed, words);
        assert_eq!(
            lines(&chosen),
            ["Mode: nothing > binary", "Handshake: no > yes"]
        );
        let left = tell(
            "webhook.cloud_events",
            &json!({ "before": binary, "after": none }),
        );
        assert!(left.deed.ends_with("not as CloudEvents"), "{}", left.deed);
        // As entries were written before.
        assert_eq!(tell("webhook.cloud_events", &binary).deed, words);
    }

    #[test]
    fn a_token_whose_text_changed_says_so_and_nothing_of_it() {
        let same = json!({ "active": true, "permissions": "webhooks:read" });
        let detail = json!({ "name": "x", "changed": ["token"], "before": same, "after": same });
        assert_eq!(lines(&tell("token.changed", &detail)), ["Token: changed"]);
    }

    #[test]
    fn a_change_shows_what_was_and_what_is_and_nothing_that_stayed() {
        let sentence = tell(
            "webhook.changed",
            &json!({
                "changed": ["target_url", "filter", "settings"],
                "before": {"target_url": "https://a/", "enabled": true, "topics": ["x"]},
                "after": {"target_url": "https://b/", "enabled": true, "topics": []},
            }),
        );
        assert_eq!(sentence.deed, "changed the webhook");
        assert_eq!(
            lines(&sentence),
            [
                "URL: https://a/ > https://b/",
                "Called for: x > nothing",
                "Settings: changed"
            ]
        );
    }

    #[test]
    fn a_change_of_what_is_masked_is_told_without_it() {
        let side = json!({"target_url": "https://***@a/", "enabled": true});
        let detail = json!({"changed": ["target_url"], "before": side, "after": side});
        assert_eq!(
            lines(&tell("webhook.changed", &detail)),
            ["URL: user, password or a marked part changed"]
        );
    }

    #[test]
    fn a_replay_by_filter_is_told_with_what_it_was_about() {
        let begun = json!({"what": "replay", "expected": 1, "response": ["5xx", "none"]});
        let sentence = tell("errand.begun", &begun);
        let deed = "asked for a replay of what a filter shows (1 delivery)";
        assert_eq!(sentence.deed, deed);
        assert_eq!(lines(&sentence), ["Response: 5xx, none"]);
        let stopped = tell("errand.stopped", &json!({"what": "replay", "count": 2}));
        assert_eq!(stopped.deed, "stopped a bulk job after 2 deliveries");
    }

    #[test]
    fn every_sort_of_entry_is_a_sentence() {
        for (action, detail, deed, facts) in [
            (
                "role.given",
                json!({"user": "ben", "before": null, "after": "edit"}),
                "gave ben the role edit",
                vec!["Changed: nothing > edit"],
            ),
            (
                "token.revoked",
                json!({"name": "till", "before": "active", "after": "revoked"}),
                "revoked the token \u{201c}till\u{201d}",
                vec!["Name: till", "Changed: active > revoked"],
            ),
            (
                "retention.changed",
                json!({"before_ms": null, "after_ms": 604_800_000}),
                "changed how long the log is kept",
                vec!["Kept: as this server does by default > 7 days"],
            ),
            (
                "deliveries.retried",
                json!({"count": 3}),
                "replayed 3 deliveries",
                vec![],
            ),
            (
                "deliveries.retried",
                json!({"delivery": "dlv_1_2"}),
                "replayed the delivery dlv_1_2",
                vec![],
            ),
            (
                "deliveries.stopped",
                json!({"count": 1, "deliveries": ["dlv_1_2"]}),
                "stopped 1 delivery",
                vec!["Deliveries: dlv_1_2"],
            ),
            (
                "errand.begun",
                json!({"what": "retry_failed", "expected": 5}),
                "asked for a replay of all undelivered (5 deliveries)",
                vec![],
            ),
            (
                "webhook.disabled",
                json!({"cause": "gone", "target_url": "https://a/", "delivery": "dlv_1_2"}),
                "disabled the webhook, because its receiver answered 410 Gone",
                vec!["URL: https://a/", "Delivery: dlv_1_2"],
            ),
            (
                "something.new",
                json!({"odd_field": {"a": 1}}),
                "did \u{201c}something.new\u{201d}",
                vec!["Odd field: {\"a\":1}"],
            ),
        ] {
            let sentence = tell(action, &detail);
            assert_eq!(sentence.deed, deed, "{action}");
            assert_eq!(lines(&sentence), facts, "{action}");
        }
    }

    #[test]
    fn entries_about_the_tenant_and_its_portal_are_sentences() {
        for (action, detail, deed, facts) in [
            (
                "tenant.changed",
                json!({"before": {"name": "a"}, "after": {"name": "b"}}),
                "changed this tenant",
                vec!["Name: a > b"],
            ),
            (
                "event.created",
                json!({"event": "democon", "name": "Demo"}),
                "added the show democon",
                vec!["Event: democon", "Name: Demo"],
            ),
            (
                "portal_link.created",
                json!({"name": "Ben", "role": "edit"}),
                "made a portal link for Ben",
                vec!["Name: Ben", "Role: edit"],
            ),
            (
                "portal.ended",
                json!({"count": 2}),
                "ended all portal links, and the sessions that they began",
                vec![],
            ),
        ] {
            let sentence = tell(action, &detail);
            assert_eq!(sentence.deed, deed, "{action}");
            assert_eq!(lines(&sentence), facts, "{action}");
        }
    }

    #[test]
    fn what_goes_without_saying_is_left_out_and_everything_has_a_word() {
        for (action, detail, deed, facts) in [
            (
                "webhook.created",
                json!({"target_url": "https://a/", "enabled": true, "topics": ["x"],
                       "scopes": [], "any_scope": true}),
                "created the webhook",
                vec!["URL: https://a/", "Called for: x", "For: everything"],
            ),
            (
                "webhook.created",
                json!({"enabled": false, "scopes": ["democon"], "any_scope": false}),
                "created the webhook",
                vec!["Enabled: no", "For: democon"],
            ),
            (
                "webhook.changed",
                json!({"before": {"scopes": ["democon"], "any_scope": false},
                       "after": {"scopes": [], "any_scope": true}}),
                "changed the webhook",
                vec!["For: democon > everything"],
            ),
            (
                "token.created",
                json!({"name": "till", "permissions": "webhooks:read", "active": true,
                       "default": false, "kind": "program"}),
                "created the token \u{201c}till\u{201d}",
                vec!["Name: till", "Permissions: webhooks:read"],
            ),
        ] {
            let sentence = tell(action, &detail);
            assert_eq!(sentence.deed, deed, "{action}");
            assert_eq!(lines(&sentence), facts, "{action}");
        }
    }

    #[test]
    fn what_cannot_be_read_and_what_is_too_long_does_no_harm() {
        assert_eq!(tell("x", &json!([1])).facts, []);
        assert_eq!(tell("x", &json!("text")).facts, []);
        let long: Map<String, Value> = (0..100)
            .map(|n| (format!("field_{n}"), json!("ä".repeat(5_000))))
            .collect();
        let sentence = tell("x", &Value::Object(long));
        assert_eq!(sentence.facts.len(), FACTS_MAX);
        let longest = sentence.facts.iter().map(|fact| fact.after.chars().count());
        assert_eq!(longest.max(), Some(VALUE_CHARS_MAX + 1));
    }
}
