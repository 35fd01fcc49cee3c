//! The dialects, as those who speak them know them: paths, bodies, how an answer names what it
//! made, and what their documents promise. Nothing else here names one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::history::{Handed, Version};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The delays of pretix's dialect before its final attempt, and when that is.
const PRETIX: [i64; 11] = [
    5 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    20 * MINUTE,
    HOUR,
    4 * HOUR,
    6 * HOUR,
    12 * HOUR,
    12 * HOUR,
    24 * HOUR,
];
const PRETIX_FINAL: i64 = 72 * HOUR;

/// How many retries a webhook of OpenTicket's dialect has that says nothing of it.
const OPENTICKET_RETRIES: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Dialect {
    #[default]
    Pretix,
    OpenTicket,
}

pub(crate) struct Tenant {
    pub(crate) dialect: Dialect,
    pub(crate) key: String,
    pub(crate) token: String,
    /// Another token, for notifications only, which may be revoked.
    pub(crate) spare: String,
}

/// What the REST resource of webhooks is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebhookRequest {
    /// To create it, or to change it if it is there.
    Save,
    RetryFailed,
}

impl Tenant {
    /// The tenant of this number. Every third one is a company.
    pub(crate) fn numbered(number: usize) -> Self {
        let (dialect, key) = match number % 3 {
            1 => {
                let digit = number % 10;
                let guid = format!("d0a3f370-cd43-11ed-9c9c-bbcffde24a4{digit}");
                (Dialect::OpenTicket, guid)
            }
            _ => (Dialect::Pretix, format!("org{number}")),
        };
        Self {
            dialect,
            key,
            token: format!("token-of-{number}"),
            spare: format!("spare-token-of-{number}"),
        }
    }

    /// As `willcall apply` declares it.
    pub(crate) fn declaration(&self) -> String {
        let Self {
            key, token, spare, ..
        } = self;
        let (section, head, intake) = match self.dialect {
            Dialect::Pretix => (
                "organizer",
                format!(
                    "slug = \"{key}\"\nevent = [{{ slug = \"show0\" }}, {{ slug = \"show1\" }}, \
                     {{ slug = \"show2\" }}]"
                ),
                "notifications:write",
            ),
            Dialect::OpenTicket => (
                "company",
                format!("guid = \"{key}\"\nname = \"Hall\""),
                "triggers:write",
            ),
        };
        format!(
            "[[{section}]]\n{head}\n\
             [[{section}.token]]\nname = \"all\"\ntoken = \"{token}\"\n\
             permissions = [\"webhooks:read\", \"webhooks:write\", \"{intake}\"]\n\
             [[{section}.token]]\nname = \"spare\"\ntoken = \"{spare}\"\n\
             permissions = [\"{intake}\"]\n"
        )
    }

    /// Where notifications are handed in.
    pub(crate) fn intake_path(&self) -> String {
        match self.dialect {
            Dialect::Pretix => format!("/api/v1/organizers/{}/notifications/", self.key),
            Dialect::OpenTicket => "/trigger".to_owned(),
        }
    }

    /// The path of the REST resource of webhooks, or of the one that it names so.
    pub(crate) fn webhook_path(&self, id: Option<&str>, asked: WebhookRequest) -> String {
        let retries = asked == WebhookRequest::RetryFailed;
        match (self.dialect, id) {
            (Dialect::Pretix, id) => {
                let all = format!("/api/v1/organizers/{}/webhooks/", self.key);
                match id {
                    None => all,
                    Some(id) if retries => format!("{all}{id}/retry_failed/"),
                    Some(id) => format!("{all}{id}/"),
                }
            }
            (Dialect::OpenTicket, None) => "/webhook".to_owned(),
            (Dialect::OpenTicket, Some(id)) if retries => {
                format!("/webhook/{id}/invocations/retry")
            }
            (Dialect::OpenTicket, Some(id)) => format!("/webhook/{id}"),
        }
    }
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pretix => "pretix",
            Self::OpenTicket => "openticket",
        }
    }

    /// How an `Authorization` header begins.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Pretix => "Token",
            Self::OpenTicket => "Bearer",
        }
    }

    /// What happens, in this dialect's words: resource and trigger, or nothing and an action.
    fn topic(self, topic: usize) -> (&'static str, &'static str) {
        match (self, topic) {
            (Self::Pretix, 0) => ("", "pretix.event.order.paid"),
            (Self::Pretix, 1) => ("", "pretix.event.order.placed"),
            (Self::Pretix, _) => ("", "pretix.event.order.canceled"),
            (Self::OpenTicket, 0) => ("order", "paid"),
            (Self::OpenTicket, 1) => ("order", "create"),
            (Self::OpenTicket, _) => ("order", "update"),
        }
    }

    /// What a form calls it for which a test is to be sent.
    pub(crate) fn kind(self, topic: usize) -> String {
        match self.topic(topic) {
            ("", action) => action.to_owned(),
            (resource, trigger) => format!("{resource}.{trigger}"),
        }
    }

    /// Whether a webhook can be for several topics, and for some shows only.
    pub(crate) fn filters(self) -> bool {
        self == Self::Pretix
    }

    /// Whether the REST resource can disable a webhook.
    pub(crate) fn disables(self) -> bool {
        self == Self::Pretix
    }

    /// Whether each webhook says how many retries it has.
    pub(crate) fn counts_retries(self) -> bool {
        self == Self::OpenTicket
    }

    /// Whether a notification may come without an id.
    pub(crate) fn makes_ids(self) -> bool {
        self == Self::Pretix
    }

    /// How long a receiver may ask to be left alone by `Retry-After`, if that is heeded.
    pub(crate) fn retry_after_max(self) -> Option<i64> {
        match self {
            Self::Pretix => None,
            Self::OpenTicket => Some(HOUR),
        }
    }

    /// Whether all that ended undelivered is sent again by a request for what failed, or only what
    /// was tried out.
    pub(crate) fn replays_cancelled(self) -> bool {
        self == Self::Pretix
    }

    /// How long logs are kept, if nobody said anything.
    pub(crate) fn retention(self) -> i64 {
        match self {
            Self::Pretix => 30 * DAY,
            Self::OpenTicket => 7 * DAY,
        }
    }

    /// The wait before a retry, by how many tries there were.
    pub(crate) fn delay(self, tries: usize) -> i64 {
        match self {
            Self::Pretix => PRETIX.get(tries - 1).copied().unwrap_or(0),
            Self::OpenTicket => {
                let doubled = MINUTE << (tries - 1).min(20);
                doubled.min(6 * HOUR)
            }
        }
    }

    /// By how much such a wait may be longer, so that not all come at once.
    pub(crate) fn jitter(self, wait: i64) -> i64 {
        match self {
            Self::Pretix if wait < 5 * MINUTE => 0,
            Self::Pretix | Self::OpenTicket => wait / 10,
        }
    }

    /// How often a delivery is tried at most, with so many retries of its webhook.
    pub(crate) fn tries_max(self, retries: Option<u32>) -> usize {
        match self {
            Self::Pretix => PRETIX.len() + 2,
            Self::OpenTicket => 1 + retries.unwrap_or(OPENTICKET_RETRIES) as usize,
        }
    }

    /// After how long the final attempt is made, if not after a number of retries.
    pub(crate) fn final_after(self) -> Option<i64> {
        match self {
            Self::Pretix => Some(PRETIX_FINAL),
            Self::OpenTicket => None,
        }
    }

    /// The shortest time in which a delivery can have failed for good.
    pub(crate) fn fails_after(self, retries: Option<u32>) -> i64 {
        match self.final_after() {
            Some(after) => after,
            None => (1..self.tries_max(retries))
                .map(|tries| self.delay(tries))
                .sum(),
        }
    }

    /// A notification as it is handed in, with an id of its own if `place` is one.
    pub(crate) fn notification(self, handed: &Handed, place: Option<usize>) -> Value {
        let code = &handed.code;
        let (resource, trigger) = self.topic(handed.topic);
        let (mut body, id) = match self {
            Self::Pretix => (
                json!({
                    "event": format!("show{}", handed.show),
                    "code": code,
                    "action": trigger,
                }),
                place.map(|place| ("notification_id", json!(place + 1))),
            ),
            Self::OpenTicket => (
                json!({
                    "resource": resource,
                    "trigger": trigger,
                    "guid": "f1c0a370-cd43-11ed-9c9c-bbcffde24a48",
                    "data": {"code": code},
                }),
                place.map(|place| {
                    let id = format!("{place:08x}-cd43-11ed-9c9c-bbcffde24a48");
                    ("id", json!(id))
                }),
            ),
        };
        if let (Some((name, id)), Some(body)) = (id, body.as_object_mut()) {
            body.insert(name.to_owned(), id);
        }
        body
    }

    /// A webhook as the REST resource takes it.
    pub(crate) fn webhook(self, version: &Version, url: &str, retries: Option<u32>) -> Value {
        let mut topics = version.topics.iter().map(|topic| self.topic(*topic));
        match self {
            Self::Pretix => {
                let types: Vec<&str> = topics.map(|(_, action)| action).collect();
                let shows = version.shows.iter();
                let shows: Vec<String> = shows.map(|show| format!("show{show}")).collect();
                json!({
                    "target_url": url,
                    "enabled": version.enabled,
                    "all_events": shows.is_empty(),
                    "limit_events": shows,
                    "action_types": types,
                })
            }
            Self::OpenTicket => {
                let (resource, trigger) = topics.next().unwrap_or_else(|| self.topic(0));
                json!({
                    "name": "sim",
                    "url": url,
                    "resource": resource,
                    "trigger": trigger,
                    "retries": retries.unwrap_or(OPENTICKET_RETRIES),
                    "triggered_by_child_resources": false,
                })
            }
        }
    }
}

/// By what the REST resource names a webhook, from its answer.
pub(crate) fn id_of(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match (answer.get("guid"), answer.get("id")) {
        (Some(Value::String(guid)), _) => Some(guid.clone()),
        (_, Some(id)) => Some(id.to_string()),
        _ => None,
    }
}

/// The status of each notification of a request, from its answer.
pub(crate) fn statuses(count: usize, status: u16, body: &[u8]) -> Vec<u16> {
    if count == 1 {
        return vec![status];
    }
    let all: Vec<BTreeMap<String, Value>> = serde_json::from_slice(body).unwrap_or_default();
    let status = |one: &BTreeMap<String, Value>| {
        let status = one.get("status").and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok());
        status.unwrap_or(0)
    };
    let mut statuses: Vec<u16> = all.iter().map(status).collect();
    statuses.resize(count, 0);
    statuses
}
