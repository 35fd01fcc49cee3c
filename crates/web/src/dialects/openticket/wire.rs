//! From the report of an application to the call of a webhook: which webhooks get it, its headers,
//! and its body, byte for byte as it was handed in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::filter::MatchKey;
use model::limits::{NAME_BYTES_MAX, NOTIFICATION_BODY_BYTES_MAX, NOTIFICATION_KEY_BYTES_MAX};
use model::refusal::{Fault, Refusal};
use model::tenant::TokenHash;
use model::time::Timestamp;
use model::webhook::Headers;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guid;
use super::members::{Items, Members, bounded, shallow};
use super::triggers::TriggerTable;

/// Names what happened, whichever webhook it is told to.
const TRIGGER_HEADER: &str = "OpenTicket-Trigger";
/// Carries the webhook's nonce, by which its receiver knows us.
const NONCE_HEADER: &str = "OpenTicket-Identifier";
pub(super) const DEDUPE_HEADER: &str = "OpenTicket-Dedupe-Key";

/// All of them.
pub(super) const HEADERS: [&str; 3] = [TRIGGER_HEADER, NONCE_HEADER, DEDUPE_HEADER];

/// Related resources of one trigger: an order has some tickets, a shop some events.
const RELATED_MAX: usize = 500;

/// With so many faults no further related resource is judged: they show what is wrong, and each
/// takes a hundred times as much as what it may be about.
const FAULTS_MAX: usize = 20;

/// What a webhook for this subscribes to.
pub(super) fn topic(resource: &str, trigger: &str) -> String {
    format!("{resource}.{trigger}")
}

/// What it subscribes to besides if related resources may trigger it.
pub(super) fn related_topic(resource: &str, trigger: &str) -> String {
    format!("{resource}.{trigger}<")
}

/// The lines that every call of a webhook with this nonce carries.
pub(super) fn webhook_headers(nonce: &str) -> Headers {
    Headers::from_pairs([(NONCE_HEADER, nonce.as_bytes())])
}

/// The nonce of a webhook with these lines.
pub(super) fn nonce(headers: &Headers) -> String {
    let nonce = headers.get(NONCE_HEADER).unwrap_or_default();
    String::from_utf8_lossy(nonce).into_owned()
}

/// A trigger as it was handed in, sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// The application's own name for it, if it gave one.
    pub(super) id: Option<String>,
    pub(super) resource: String,
    pub(super) trigger: String,
    /// The company that it names.
    pub(super) company: Option<Value>,
    /// What receivers are told has happened.
    pub(super) name: String,
    pub(super) pairs: Vec<MatchKey>,
    /// `TriggerContext`, written down.
    pub(super) about: String,
    pub(super) body: Bytes,
    /// Of everything that is not in name and body.
    pub(super) digest: i64,
}

/// What a trigger was about, and whom it reached: kept to say later why a webhook heard of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TriggerContext {
    pub(super) resource: String,
    pub(super) trigger: String,
    pub(super) guid: String,
    /// GUIDs of related things whose webhooks hear of it, by their resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) reached: BTreeMap<String, Vec<String>>,
    /// Resources of related things whose webhooks do not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) beyond: BTreeSet<String>,
}

/// A resource that a trigger is about, or that is related to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    resource: String,
    guid: String,
}

impl Draft {
    /// Reads `text`, the JSON of one trigger.
    pub(super) fn read(text: &str, triggers: &TriggerTable) -> Result<Self, Refusal> {
        let no_object = || Refusal::invalid("", "A trigger must be a JSON object.");
        let members = Members::read(text)?.ok_or_else(no_object)?;
        bounded("A trigger", members.count()).map_err(Refusal::BadRequest)?;
        let mut faults = members.twice();
        let id = members.id(&mut faults);
        let own = Subject {
            resource: members.word("resource", &mut faults, |word| triggers.resource(word)),
            guid: members.word("guid", &mut faults, |text| guid_of("guid", text)),
        };
        let trigger = members.word("trigger", &mut faults, |word| triggers.trigger(word));
        let related = members.related(triggers, &mut faults);
        let name = members.name(&mut faults);
        let body = members.data(&mut faults);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        if body.len() > NOTIFICATION_BODY_BYTES_MAX {
            return Err(Refusal::TooLarge(NOTIFICATION_BODY_BYTES_MAX));
        }
        let about = TriggerContext::of(&own, &trigger, &related, triggers);
        Ok(Self {
            id,
            company: members.value("company_id"),
            name: name.unwrap_or_else(|| triggers.name(&own.resource, &trigger)),
            pairs: about.pairs(),
            about: about.written(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            digest: digest(&own, &trigger, &related),
            resource: own.resource,
            trigger,
        })
    }

    /// Whether it is known to fire; else what is said of it.
    pub(super) fn judge(&self, triggers: &TriggerTable) -> Result<(), String> {
        match triggers.is_known(&self.resource, &self.trigger) {
            true => Ok(()),
            false => Err(triggers.unknown(&self.resource, &self.trigger)),
        }
    }

    /// The lines that every call for it carries.
    pub(super) fn headers(&self) -> Headers {
        Headers::from_pairs([(TRIGGER_HEADER, self.name.as_bytes())])
    }
}

fn digest(own: &Subject, trigger: &str, related: &BTreeSet<Subject>) -> i64 {
    let mut parts = vec![
        own.resource.as_bytes(),
        trigger.as_bytes(),
        own.guid.as_bytes(),
    ];
    for subject in related {
        parts.extend([subject.resource.as_bytes(), subject.guid.as_bytes()]);
    }
    let TokenHash(hash) = TokenHash::of_parts(&parts);
    let bytes = hash.first_chunk().copied().unwrap_or_default();
    i64::from_le_bytes(bytes)
}

impl TriggerContext {
    fn of(
        own: &Subject,
        trigger: &str,
        related: &BTreeSet<Subject>,
        triggers: &TriggerTable,
    ) -> Self {
        let targets = triggers.reached(&own.resource, trigger);
        let mut about = Self {
            resource: own.resource.clone(),
            trigger: trigger.to_owned(),
            guid: own.guid.clone(),
            reached: BTreeMap::new(),
            beyond: BTreeSet::new(),
        };
        for subject in related {
            let resource = subject.resource.clone();
            if targets.contains(&resource) {
                let guids = about.reached.entry(resource).or_default();
                guids.push(subject.guid.clone());
            } else {
                about.beyond.insert(resource);
            }
        }
        about
    }

    /// What it stands for: itself, and each related resource that it reaches.
    pub(super) fn pairs(&self) -> Vec<MatchKey> {
        let itself = MatchKey {
            topic: topic(&self.resource, &self.trigger),
            scope: self.guid.clone(),
        };
        let related = self.reached.iter().flat_map(|(resource, guids)| {
            let topic = related_topic(resource, &self.trigger);
            guids.iter().map(move |guid| MatchKey {
                topic: topic.clone(),
                scope: guid.clone(),
            })
        });
        std::iter::once(itself).chain(related).collect()
    }

    fn written(&self) -> String {
        // Texts in lists and maps: always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Members<'_> {
    /// The text of a member that says something.
    fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| *text != "null")
    }

    fn value(&self, name: &str) -> Option<Value> {
        // What cannot be read is as wrong as anything else.
        self.given(name)
            .map(|text| shallow(text).unwrap_or_default())
    }

    /// The text of a required member as `judge` reads it; what is wrong goes to `faults`.
    fn word(
        &self,
        name: &str,
        faults: &mut Vec<Fault>,
        judge: impl Fn(&str) -> Result<String, String>,
    ) -> String {
        word(name, self.value(name), faults, judge)
    }

    fn id(&self, faults: &mut Vec<Fault>) -> Option<String> {
        let id = match self.value("id")? {
            Value::String(text) => text,
            Value::Number(number) if !number.is_f64() => number.to_string(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => String::new(),
        };
        if (1..=NOTIFICATION_KEY_BYTES_MAX).contains(&id.len()) {
            return Some(id);
        }
        let words = format!("The id must be a string of 1 to {NOTIFICATION_KEY_BYTES_MAX} bytes.");
        faults.push(Fault::new("id", words));
        None
    }

    fn name(&self, faults: &mut Vec<Fault>) -> Option<String> {
        let value = self.value("name")?;
        let name = value.as_str().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
        if plain && (1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Some(name.to_owned());
        }
        let words = format!(
            "The name goes into a header: it must be 1 to {NAME_BYTES_MAX} characters of ASCII \
             without spaces, such as order.paid."
        );
        faults.push(Fault::new("name", words));
        None
    }

    fn data(&self, faults: &mut Vec<Fault>) -> &str {
        match self.given("data") {
            Some(text) if text.starts_with('{') => return text,
            Some(_) => faults.push(Fault::new("data", "The data must be a JSON object.")),
            None => faults.push(Fault::new("data", "The data field is required.")),
        }
        ""
    }

    fn related(&self, triggers: &TriggerTable, faults: &mut Vec<Fault>) -> BTreeSet<Subject> {
        let items = self.given("related").map(Items::<RELATED_MAX>::read);
        let items = match items {
            None => return BTreeSet::new(),
            Some(Ok(items)) => items,
            Some(Err(_)) => {
                faults.push(Fault::new("related", "The related must be an array."));
                return BTreeSet::new();
            }
        };
        if items.count > RELATED_MAX {
            let words = format!("The related may not have more than {RELATED_MAX} items.");
            faults.push(Fault::new("related", words));
            return BTreeSet::new();
        }
        let mut related = BTreeSet::new();
        for (index, item) in items.kept.iter().enumerate() {
            if faults.len() >= FAULTS_MAX {
                break;
            }
            let own = format!("related.{index}");
            // What is no object has none of the members.
            let item = Members::read(item.get()).unwrap_or_default();
            let item = item.unwrap_or_default();
            if let Err(words) = bounded(&format!("The {own}"), item.count()) {
                faults.push(Fault::new(&own, words));
                continue;
            }
            let mut member = |name: &str, judge: &dyn Fn(&str) -> Result<String, String>| {
                let value = item.get(name).map(|text| shallow(text).unwrap_or_default());
                word(&format!("{own}.{name}"), value, faults, judge)
            };
            related.insert(Subject {
                resource: member("resource", &|word| triggers.resource(word)),
                guid: member("guid", &|text| guid_of("guid", text)),
            });
        }
        related
    }
}

fn word(
    field: &str,
    value: Option<Value>,
    faults: &mut Vec<Fault>,
    judge: impl Fn(&str) -> Result<String, String>,
) -> String {
    let judged = match value {
        None => Err(format!("The {field} field is required.")),
        Some(Value::String(text)) => judge(&text),
        Some(_) => Err(format!("The {field} must be a string.")),
    };
    judged.unwrap_or_else(|words| {
        faults.push(Fault::new(field, words));
        String::new()
    })
}

fn guid_of(field: &str, text: &str) -> Result<String, String> {
    guid::read(text).ok_or_else(|| format!("The {field} must be a GUID."))
}

/// A time in whole seconds, as all of the vendor's are.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}
