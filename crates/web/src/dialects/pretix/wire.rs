//! Notifications on the wire: which keys each class has, in which order, and the exact bytes of a
//! call's body (`docs/receiving.md`).
//!
//! A body that has every key of its class in pretix's order is passed on as it stands, so that
//! what pretix sent arrives byte for byte. Any other is put in order: the keys of the class first,
//! then the rest as it was given.

use std::borrow::Cow;

use model::filter::MatchKey;
use model::limits::NAME_BYTES_MAX;
use model::refusal::Fault;

use super::fields::{self, NO_INTEGER, NO_TEXT, NOT_BLANK, NOT_NULL, REQUIRED};
use super::json::{Dump, Object, Text, Value};
use super::kinds::Kinds;
use super::python;

/// The scope of notifications that are about no event in particular.
pub(super) const ORGANIZER_SCOPE: &str = "organizer";

pub(super) fn event_scope(slug: &str) -> String {
    ["event:", slug].concat()
}

/// What notifications of some action types have in common.
#[derive(Debug)]
pub(super) struct Class {
    keys: &'static [(&'static str, Rule)],
    /// Whether the log of pretix files them under an event, so that event filters hold.
    has_scope: bool,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// The notification's id; made if it is not given.
    Id,
    /// The organizer of the path; filled in.
    Organizer,
    Action,
    /// A text that must be there.
    Name,
    /// A text, or null.
    NameOrNull,
    Integer,
    /// Whatever it is; null if it is not given.
    Anything,
}

const ID: (&str, Rule) = ("notification_id", Rule::Id);
const ORGANIZER: (&str, Rule) = ("organizer", Rule::Organizer);
const EVENT_KEY: (&str, Rule) = ("event", Rule::Name);
const ACTION: (&str, Rule) = ("action", Rule::Action);

/// A class whose notifications are about one thing of an event.
macro_rules! about {
    ($key:literal, $rule:expr) => {
        Class {
            keys: &[ID, ORGANIZER, EVENT_KEY, ($key, $rule), ACTION],
            has_scope: true,
        }
    };
}

pub(super) static ORDER: Class = about!("code", Rule::Name);
pub(super) static ORDER_DELETED: Class = about!("code", Rule::NameOrNull);
pub(super) static SUBEVENT: Class = about!("subevent", Rule::Integer);
pub(super) static ITEM: Class = about!("item", Rule::Integer);
pub(super) static VOUCHER: Class = about!("voucher", Rule::Integer);
pub(super) static WAITING: Class = about!("waitinglistentry", Rule::Integer);

pub(super) static CHECKIN: Class = Class {
    keys: &[
        ID,
        ORGANIZER,
        EVENT_KEY,
        ("code", Rule::Name),
        ACTION,
        ("orderposition_id", Rule::Anything),
        ("orderposition_positionid", Rule::Anything),
        ("checkin_list", Rule::Anything),
        ("type", Rule::Anything),
        ("first_checkin", Rule::Anything),
    ],
    has_scope: true,
};

pub(super) static EVENT: Class = Class {
    keys: &[ID, ORGANIZER, EVENT_KEY, ACTION],
    has_scope: true,
};

pub(super) static EVENT_DELETED: Class = Class {
    keys: &[ID, ORGANIZER, ("event", Rule::NameOrNull), ACTION],
    has_scope: false,
};

pub(super) static CUSTOMER: Class = Class {
    keys: &[ID, ORGANIZER, ("customer", Rule::Name), ACTION],
    has_scope: false,
};

pub(super) static GIFTCARD: Class = Class {
    keys: &[
        ID,
        ("issuer_id", Rule::Integer),
        ("issuer_slug", Rule::Organizer),
        ("giftcard", Rule::Integer),
        ACTION,
    ],
    has_scope: false,
};

pub(super) static GIFTCARD_USED: Class = Class {
    keys: &[
        ID,
        ("issuer_id", Rule::Integer),
        ("issuer_slug", Rule::Organizer),
        ("acceptor_id", Rule::Anything),
        ("acceptor_slug", Rule::NameOrNull),
        ("giftcard", Rule::Integer),
        ACTION,
    ],
    has_scope: false,
};

impl Class {
    /// The keys of its notifications, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(name, _)| *name)
    }

    pub(super) fn has_scope(&self) -> bool {
        self.has_scope
    }
}

/// A notification that is sound and lacks at most its id. What it says is part of what was handed
/// in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft<'a> {
    /// The id it came with.
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) action: Cow<'a, str>,
    /// The show it is about.
    pub(super) event: Option<Cow<'a, str>>,
    /// What webhooks can ask for to get it; nothing if none can.
    topic: Option<&'a str>,
    /// All but the id, and where that belongs.
    body: String,
    id_at: usize,
}

/// Stands for the id until there is one: never part of what is written otherwise.
const ID_PLACE: char = '\0';
const ID_PLACE_TEXT: &str = "\0";

impl<'a> Draft<'a> {
    pub(super) fn read(
        value: Value<'a>,
        organizer: &str,
        kinds: &'a Kinds,
    ) -> Result<Self, Vec<Fault>> {
        let object = value
            .into_object()
            .map_err(|other| vec![no_dictionary(&other)])?;
        if let Err(fault) = judged("action", Rule::Action, object.get("action"), organizer) {
            return Err(vec![fault]);
        }
        let text = |key| match object.get(key) {
            Some(Value::Text(Text::Whole(text))) => Some(text.clone()),
            Some(_) | None => None,
        };
        let action = text("action").unwrap_or_default();
        let kind = kinds.of(&action);
        let class = kind.and_then(|kind| kind.class);
        let keys = class.map_or(UNCLASSED, |class| class.keys);
        let id = match object.get("notification_id") {
            Some(Value::Int(digits)) => Some(digits.clone()),
            Some(_) | None => None,
        };
        let has_scope = class.is_none_or(|class| class.has_scope);
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

    /// Whether no webhook can ask for it.
    pub(super) fn is_unknown(&self) -> bool {
        self.topic.is_none()
    }

    /// What it stands for when webhooks are looked up.
    pub(super) fn pairs(&self) -> Vec<MatchKey> {
        let scope = self.event.as_deref().map(event_scope);
        let pair = self.topic.map(|topic| MatchKey {
            topic: topic.to_owned(),
            scope: scope.unwrap_or_else(|| ORGANIZER_SCOPE.to_owned()),
        });
        pair.into_iter().collect()
    }

    /// The exact bytes to be sent, under this id.
    pub(super) fn body(&self, id: &str) -> String {
        let (before, after) = self.body.split_at(self.id_at);
        let mut body = String::with_capacity(self.body.len() + id.len());
        body.push_str(before);
        body.push_str(id);
        body.push_str(after);
        body
    }

    /// How long a body may become, whatever its id.
    pub(super) fn bytes_max(&self) -> usize {
        let id = self.id.as_ref().map_or(GENERATED_DIGITS, |id| id.len());
        self.body.len() + id
    }
}

/// Ids made here are below 2^53.
const GENERATED_DIGITS: usize = 16;

/// What is known of notifications that nobody can subscribe to, and of an operator's own types.
const UNCLASSED: &[(&str, Rule)] = &[ID, ORGANIZER, ("event", Rule::NameOrNull), ACTION];

pub(super) fn no_dictionary(value: &Value<'_>) -> Fault {
    let name = python::type_name(value);
    let reason = if *value == Value::Null {
        "No data provided".to_owned()
    } else {
        format!("Invalid data. Expected a dictionary, but got {name}.")
    };
    Fault::new(fields::WHOLE, reason)
}

/// A key of the class.
struct Known<'o, 'a> {
    key: &'static str,
    given: Option<&'o Value<'a>>,
    /// What goes out in place of what was given.
    made: Option<Value<'a>>,
}

impl<'a> Known<'_, 'a> {
    fn value(&self) -> Option<&Value<'a>> {
        self.made.as_ref().or(self.given)
    }
}

/// The keys of the class with what was given for them and what can be filled in. `classed`: all
/// of them belong there; else only the id and the organizer do.
fn known<'o, 'a>(
    object: &'o Object<'a>,
    keys: &'static [(&'static str, Rule)],
    classed: bool,
    organizer: &'a str,
    faults: &mut Vec<Fault>,
) -> Vec<Known<'o, 'a>> {
    for (key, value) in object.iter() {
        if value.has_no_number() {
            faults.push(Fault::new(
                &fields::whole(key),
                "NaN and Infinity cannot be sent.",
            ));
        }
    }
    // Classes without this key name the organizer with another one.
    let spare = object.get(SPARE).filter(|_| !is_key(keys, SPARE));
    if let Some(Err(fault)) =
        spare.map(|value| judged(SPARE, Rule::Organizer, Some(value), organizer))
    {
        faults.push(fault);
    }
    let known = keys.iter().map(|(key, rule)| {
        let given = object.get(key);
        let made = judged(key, *rule, given, organizer).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        let belongs = classed || given.is_some() || matches!(rule, Rule::Id | Rule::Organizer);
        let made = made.filter(|_| belongs);
        Known { key, given, made }
    });
    known.collect()
}

/// Not sent on where the class has another key for it.
const SPARE: &str = "organizer";

fn is_key(keys: &[(&str, Rule)], name: &str) -> bool {
    keys.iter().any(|(key, _)| *key == name)
}

/// Whether every key of the class is there, in its order.
fn are_in_order(object: &Object<'_>, keys: &[(&str, Rule)]) -> bool {
    let given = object.iter().filter_map(|(key, _)| key.as_str());
    given
        .filter(|name| is_key(keys, name))
        .eq(keys.iter().map(|(key, _)| *key))
}

/// The body: keys of the class come first, unless they may stay where they stand; then the rest
/// as it was given.
fn put_in_order(object: &Object<'_>, known: &[Known<'_, '_>], stays: bool) -> String {
    let made = known.iter().filter(|known| known.made.is_some());
    let mut body = Dump::with_room(object.room() + made.count() * MADE_ROOM);
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

/// What a pair that is filled in takes, most of the time.
const MADE_ROOM: usize = 48;

/// What goes out under `key` if it is not what came in, or what is wrong with that.
fn judged<'a>(
    key: &str,
    rule: Rule,
    value: Option<&Value<'_>>,
    organizer: &'a str,
) -> Result<Option<Value<'a>>, Fault> {
    let fault = |reason: &str| Err(Fault::new(key, reason));
    match (rule, value) {
        (Rule::Id, None) => Ok(Some(Value::Int(ID_PLACE_TEXT.into()))),
        // pretix's own numbers are of this size, and receivers were promised that they are.
        (Rule::Id, Some(Value::Int(digits))) if digits.parse::<i64>().is_err() => {
            fault("Ensure this value fits into 64 bits.")
        }
        (Rule::Id, Some(Value::Int(_))) => Ok(Some(Value::Int(ID_PLACE_TEXT.into()))),
        (Rule::Organizer, None) => Ok(Some(Value::text(organizer))),
        (Rule::Organizer, Some(value)) if value.as_str() == Some(organizer) => Ok(None),
        (Rule::Organizer, Some(_)) => {
            let reason = format!("Must be \"{organizer}\", the organizer in the path.");
            Err(Fault::new(key, reason))
        }
        (Rule::NameOrNull | Rule::Anything, None) => Ok(Some(Value::Null)),
        (Rule::NameOrNull, Some(Value::Null)) | (Rule::Anything, Some(_)) => Ok(None),
        (Rule::Action | Rule::Name | Rule::Integer, None) => fault(REQUIRED),
        (Rule::Id | Rule::Action | Rule::Name | Rule::Integer, Some(Value::Null)) => {
            fault(NOT_NULL)
        }
        (Rule::Integer, Some(Value::Int(_))) => Ok(None),
        (Rule::Id | Rule::Integer, Some(_)) => fault(NO_INTEGER),
        (Rule::Action | Rule::Name | Rule::NameOrNull, Some(Value::Text(text))) => {
            judge_name(key, text).map(|()| None)
        }
        (Rule::Action | Rule::Name | Rule::NameOrNull, Some(_)) => fault(NO_TEXT),
    }
}

fn judge_name(key: &str, text: &Text<'_>) -> Result<(), Fault> {
    let mut reasons = Vec::new();
    fields::judge_text(text, NAME_BYTES_MAX, &mut reasons);
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
