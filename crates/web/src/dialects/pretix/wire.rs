//! Notifications on the wire: the exact bytes of a call's body (`docs/receiving.md`).
//!
//! A body that has every key of its class in pretix's order is passed on as it is, so that what
//! pretix sent arrives byte for byte. Any other is put in order: the keys of the class first, then
//! the rest as given.

use std::borrow::Cow;

use model::filter::MatchKey;
use model::limits::NAME_BYTES_MAX;
use model::refusal::Fault;

use super::action_types::ActionTypes;
use super::classes::{ACTION, ID, KeyRule, ORGANIZER};
use super::faults::{self, NO_INTEGER, NO_TEXT, NOT_BLANK, NOT_NULL, REQUIRED, no_dictionary};
use super::json::{JsonDump, JsonObject, JsonText, JsonValue};
use super::scopes::{ORGANIZER_SCOPE, event_scope};

/// A valid notification that lacks at most its id. It borrows from the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft<'a> {
    /// The id it came with.
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) action: Cow<'a, str>,
    /// The show it is about.
    pub(super) event: Option<Cow<'a, str>>,
    /// The topic; `None` if no webhook can subscribe to it.
    topic: Option<&'a str>,
    /// The body without the id, and the position of the id.
    body: String,
    id_at: usize,
}

/// The placeholder of the id: it occurs nowhere else in what is written.
const ID_PLACE: char = '\0';
const ID_PLACE_TEXT: &str = "\0";

impl<'a> Draft<'a> {
    pub(super) fn read(
        value: JsonValue<'a>,
        organizer: &str,
        action_types: &'a ActionTypes,
    ) -> Result<Self, Vec<Fault>> {
        let object = value
            .into_object()
            .map_err(|other| vec![no_dictionary(&other)])?;
        if let Err(fault) = judged("action", KeyRule::Action, object.get("action"), organizer) {
            return Err(vec![fault]);
        }
        let text = |key| match object.get(key) {
            Some(JsonValue::Text(JsonText::Whole(text))) => Some(text.clone()),
            Some(_) | None => None,
        };
        let action = text("action").unwrap_or_default();
        let kind = action_types.of(&action);
        let class = kind.and_then(|kind| kind.class);
        let keys = class.map_or(UNCLASSED, |class| class.keys);
        let id = match object.get("notification_id") {
            Some(JsonValue::Int(digits)) => Some(digits.clone()),
            Some(_) | None => None,
        };
        let has_scope = class.is_none_or(|class| class.has_scope());
        let event = text("event").filter(|_| has_scope);
        let mut faults = Vec::new();
        let known = known(&object, keys, class.is_some(), organizer, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let stays = class.is_none() || are_in_order(&object, keys);
        let mut body = put_in_order(&object, &known, stays);
        let id_at = body.find(ID_PLACE).unwrap_or(body.len());
        body.drain(id_at..body.len().min(id_at + ID_PLACE.len_utf8()));
        Ok(Self {
            id,
            action,
            event,
            topic: kind.map(|kind| kind.key.as_str()),
            body,
            id_at,
        })
    }

    /// Whether no webhook can subscribe to it.
    pub(super) fn is_unknown(&self) -> bool {
        self.topic.is_none()
    }

    /// Its match keys.
    pub(super) fn pairs(&self) -> Vec<MatchKey> {
        let scope = self.event.as_deref().map(event_scope);
        let pair = self.topic.map(|topic| MatchKey {
            topic: topic.to_owned(),
            scope: scope.unwrap_or_else(|| ORGANIZER_SCOPE.to_owned()),
        });
        pair.into_iter().collect()
    }

    /// The exact body to send, with this id.
    pub(super) fn body(&self, id: &str) -> String {
        let (before, after) = self.body.split_at(self.id_at);
        let mut body = String::with_capacity(self.body.len() + id.len());
        body.push_str(before);
        body.push_str(id);
        body.push_str(after);
        body
    }

    /// The most bytes of a body, whatever its id.
    pub(super) fn bytes_max(&self) -> usize {
        let id = self.id.as_ref().map_or(GENERATED_DIGITS, |id| id.len());
        self.body.len() + id
    }
}

/// Ids made here are below 2^53.
const GENERATED_DIGITS: usize = 16;

/// The keys of notifications that nobody can subscribe to, and of an operator's own types.
const UNCLASSED: &[(&str, KeyRule)] = &[ID, ORGANIZER, ("event", KeyRule::NameOrNull), ACTION];

/// A key of the class.
struct ClassKey<'o, 'a> {
    key: &'static str,
    given: Option<&'o JsonValue<'a>>,
    /// The value to send instead of the given one.
    made: Option<JsonValue<'a>>,
}

impl<'a> ClassKey<'_, 'a> {
    fn value(&self) -> Option<&JsonValue<'a>> {
        self.made.as_ref().or(self.given)
    }
}

/// The keys of the class with the given values and those that can be filled in. `classed`: all of
/// them belong there; else only the id and the organizer do.
fn known<'o, 'a>(
    object: &'o JsonObject<'a>,
    keys: &'static [(&'static str, KeyRule)],
    classed: bool,
    organizer: &'a str,
    faults: &mut Vec<Fault>,
) -> Vec<ClassKey<'o, 'a>> {
    for (key, value) in object.iter() {
        if value.has_no_number() {
            faults.push(Fault::new(
                &faults::whole(key),
                "NaN and Infinity cannot be sent.",
            ));
        }
    }
    // Classes without this key name the organizer by another one.
    let spare = object.get(SPARE).filter(|_| !is_key(keys, SPARE));
    if let Some(Err(fault)) =
        spare.map(|value| judged(SPARE, KeyRule::Organizer, Some(value), organizer))
    {
        faults.push(fault);
    }
    let known = keys.iter().map(|(key, rule)| {
        let given = object.get(key);
        let made = judged(key, *rule, given, organizer).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let belongs =
            classed || given.is_some() || matches!(rule, KeyRule::Id | KeyRule::Organizer);
        let made = made.filter(|_| belongs);
        ClassKey { key, given, made }
    });
    known.collect()
}

/// Not sent on where the class has another key for it.
const SPARE: &str = "organizer";

fn is_key(keys: &[(&str, KeyRule)], name: &str) -> bool {
    keys.iter().any(|(key, _)| *key == name)
}

/// Whether every key of the class is there, in order.
fn are_in_order(object: &JsonObject<'_>, keys: &[(&str, KeyRule)]) -> bool {
    let given = object.iter().filter_map(|(key, _)| key.as_str());
    given
        .filter(|name| is_key(keys, name))
        .eq(keys.iter().map(|(key, _)| *key))
}

/// The body: the keys of the class first, unless they may stay where they are, then the rest as
/// given.
fn put_in_order(object: &JsonObject<'_>, known: &[ClassKey<'_, '_>], stays: bool) -> String {
    let made = known.iter().filter(|known| known.made.is_some());
    let mut body = JsonDump::with_room(object.room() + made.count() * MADE_ROOM);
    let first = known.iter().filter(|known| !stays || known.given.is_none());
    for known in first {
        if let Some(value) = known.value() {
            body.own_pair(known.key, value);
        }
    }
    for (key, value) in object.iter() {
        match known.iter().find(|known| key.as_str() == Some(known.key)) {
            Some(known) if stays => body.pair(key, known.value().unwrap_or(value)),
            Some(_) => {}
            None if key.as_str() == Some(SPARE) => {}
            None => body.pair(key, value),
        }
    }
    body.end()
}

/// The usual size of a pair that is filled in.
const MADE_ROOM: usize = 48;

/// The value to send under `key` if it is not the given one, or its fault.
fn judged<'a>(
    key: &str,
    rule: KeyRule,
    value: Option<&JsonValue<'_>>,
    organizer: &'a str,
) -> Result<Option<JsonValue<'a>>, Fault> {
    let fault = |reason: &str| Err(Fault::new(key, reason));
    match (rule, value) {
        (KeyRule::Id, None) => Ok(Some(JsonValue::Int(ID_PLACE_TEXT.into()))),
        // pretix's own numbers are of this size, and receivers were promised that they are.
        (KeyRule::Id, Some(JsonValue::Int(digits))) if digits.parse::<i64>().is_err() => {
            fault("Ensure this value fits into 64 bits.")
        }
        (KeyRule::Id, Some(JsonValue::Int(_))) => Ok(Some(JsonValue::Int(ID_PLACE_TEXT.into()))),
        (KeyRule::Organizer, None) => Ok(Some(JsonValue::text(organizer))),
        (KeyRule::Organizer, Some(value)) if value.as_str() == Some(organizer) => Ok(None),
        (KeyRule::Organizer, Some(_)) => {
            let reason = format!("Must be \"{organizer}\", the organizer in the path.");
            Err(Fault::new(key, reason))
        }
        (KeyRule::NameOrNull | KeyRule::Anything, None) => Ok(Some(JsonValue::Null)),
        (KeyRule::NameOrNull, Some(JsonValue::Null)) | (KeyRule::Anything, Some(_)) => Ok(None),
        (KeyRule::Action | KeyRule::Name | KeyRule::Integer, None) => fault(REQUIRED),
        (
            KeyRule::Id | KeyRule::Action | KeyRule::Name | KeyRule::Integer,
            Some(JsonValue::Null),
        ) => fault(NOT_NULL),
        (KeyRule::Integer, Some(JsonValue::Int(_))) => Ok(None),
        (KeyRule::Id | KeyRule::Integer, Some(_)) => fault(NO_INTEGER),
        (KeyRule::Action | KeyRule::Name | KeyRule::NameOrNull, Some(JsonValue::Text(text))) => {
            judge_name(key, text).map(|()| None)
        }
        (KeyRule::Action | KeyRule::Name | KeyRule::NameOrNull, Some(_)) => fault(NO_TEXT),
    }
}

fn judge_name(key: &str, text: &JsonText<'_>) -> Result<(), Fault> {
    let mut reasons = Vec::new();
    faults::judge_text(text, NAME_BYTES_MAX, &mut reasons);
    let bytes = text.as_str().map_or(0, str::len);
    if reasons.is_empty() && bytes > NAME_BYTES_MAX {
        reasons.push(format!(
            "Ensure this field has no more than {NAME_BYTES_MAX} bytes."
        ));
    }
    if text.as_str() == Some("") {
        reasons.push(NOT_BLANK.to_owned());
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let field = key.to_owned();
    Err(Fault { field, reasons })
}
