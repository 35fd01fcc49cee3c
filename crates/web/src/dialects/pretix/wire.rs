//! Notifications on the wire: which keys each class has, in which order, and the exact bytes of a
//! call's body (`docs/receiving.md`).
//!
//! A body that has every key of its class in pretix's order is passed on as it stands, so that
//! what pretix sent arrives byte for byte. Any other is put in order: the keys of the class first,
//! then the rest as it was given.

use model::filter::Pair;
use model::limits::NAME_BYTES_MAX;
use model::refusal::Fault;

use super::fields::{self, NO_INTEGER, NO_TEXT, NOT_BLANK, NOT_NULL, REQUIRED};
use super::json::{Object, Text, Value};
use super::kinds::Kinds;
use super::python;

/// The scope of notifications that are about no event in particular.
pub(super) const ORGANIZER_SCOPE: &str = "organizer";

pub(super) fn event_scope(slug: &str) -> String {
    format!("event:{slug}")
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

/// A notification that is sound and lacks at most its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// The id it came with.
    pub(super) id: Option<String>,
    pub(super) action: String,
    /// The show it is about.
    pub(super) event: Option<String>,
    pub(super) pairs: Vec<Pair>,
    /// What stands before and after the id.
    body: (String, String),
}

/// Stands for the id until there is one: never part of what is written otherwise.
const ID_PLACE: &str = "\0";

impl Draft {
    pub(super) fn read(value: Value, organizer: &str, kinds: &Kinds) -> Result<Self, Vec<Fault>> {
        let object = value
            .into_object()
            .map_err(|other| vec![no_dictionary(&other)])?;
        let mut faults = Vec::new();
        let action = match judged("action", Rule::Action, object.get("action"), organizer) {
            Ok(action) => action.as_str().unwrap_or_default().to_owned(),
            Err(fault) => return Err(vec![fault]),
        };
        let kind = kinds.of(&action);
        let class = kind.and_then(|kind| kind.class);
        let keys = class.map_or(UNCLASSED, |class| class.keys);
        let id = match object.get("notification_id") {
            Some(Value::Int(digits)) => Some(digits.clone()),
            Some(_) | None => None,
        };
        let slug = match object.get("event") {
            Some(Value::Text(Text::Whole(slug))) => Some(slug.clone()),
            Some(_) | None => None,
        };
        let has_scope = class.is_none_or(|class| class.has_scope);
        let event = slug.filter(|_| has_scope);
        let pairs = put_in_order(object, keys, class.is_some(), organizer, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let body = Value::Object(Object::from_pairs(pairs)).dumped();
        let (before, after) = body.split_once(ID_PLACE).unwrap_or((&body, ""));
        let scope = event.as_deref().map(event_scope);
        let pair = kind.map(|kind| Pair {
            topic: kind.key.clone(),
            scope: scope.unwrap_or_else(|| ORGANIZER_SCOPE.to_owned()),
        });
        Ok(Self {
            id,
            action,
            event,
            pairs: pair.into_iter().collect(),
            body: (before.to_owned(), after.to_owned()),
        })
    }

    /// The exact bytes to be sent, under this id.
    pub(super) fn body(&self, id: &str) -> String {
        let (before, after) = &self.body;
        format!("{before}{id}{after}")
    }

    /// How long a body may become, whatever its id.
    pub(super) fn bytes_max(&self) -> usize {
        let (before, after) = &self.body;
        let id = self.id.as_ref().map_or(GENERATED_DIGITS, String::len);
        before.len() + after.len() + id
    }
}

/// Ids made here are below 2^53.
const GENERATED_DIGITS: usize = 16;

/// What is known of notifications that nobody can subscribe to, and of an operator's own types.
const UNCLASSED: &[(&str, Rule)] = &[ID, ORGANIZER, ("event", Rule::NameOrNull), ACTION];

pub(super) fn no_dictionary(value: &Value) -> Fault {
    let name = python::type_name(value);
    let reason = if *value == Value::Null {
        "No data provided".to_owned()
    } else {
        format!("Invalid data. Expected a dictionary, but got {name}.")
    };
    Fault::new(fields::WHOLE, reason)
}

/// The pairs of a body, with what can be filled in. `classed`: all keys belong there, in this
/// order; else only the id and the organizer do, and the rest stays where it is.
fn put_in_order(
    object: Object,
    keys: &'static [(&'static str, Rule)],
    classed: bool,
    organizer: &str,
    faults: &mut Vec<Fault>,
) -> Vec<(Text, Value)> {
    for (key, value) in object.iter() {
        if value.has_no_number() {
            faults.push(Fault::new(
                &fields::whole(key),
                "NaN and Infinity cannot be sent.",
            ));
        }
    }
    let is_key = |name: &str| keys.iter().any(|(key, _)| *key == name);
    // Classes without this key name the organizer with another one.
    let spare = object.get("organizer").filter(|_| !is_key("organizer"));
    if let Some(Err(fault)) =
        spare.map(|value| judged("organizer", Rule::Organizer, Some(value), organizer))
    {
        faults.push(fault);
    }
    let given: Vec<&str> = object.iter().filter_map(|(key, _)| key.as_str()).collect();
    let in_order = given
        .iter()
        .filter(|name| is_key(name))
        .eq(keys.iter().map(|(key, _)| key));
    let mut known: Vec<(&'static str, Option<Value>)> = Vec::new();
    for (key, rule) in keys {
        let value = object.get(key);
        let value = match judged(key, *rule, value, organizer) {
            // Of what has no class only these two are filled in.
            Ok(value) => Some(value).filter(|_| {
                classed || object.get(key).is_some() || matches!(rule, Rule::Id | Rule::Organizer)
            }),
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        known.push((key, value));
    }
    arrange(object, known, in_order || !classed)
}

/// Keys of the class come first, unless they may stay where they stand.
fn arrange(
    object: Object,
    mut known: Vec<(&'static str, Option<Value>)>,
    stays: bool,
) -> Vec<(Text, Value)> {
    let has_organizer = known.iter().any(|(key, _)| *key == "organizer");
    let mut placed: Vec<(Text, Value)> = Vec::new();
    for (key, value) in object.into_pairs() {
        let own = known.iter_mut().find(|(own, _)| key.as_str() == Some(own));
        match own {
            Some((_, judged)) if stays => placed.push((key, judged.take().unwrap_or(value))),
            Some(_) => {}
            None if !has_organizer && key.as_str() == Some("organizer") => {}
            None => placed.push((key, value)),
        }
    }
    let first = known
        .into_iter()
        .filter_map(|(key, value)| Some((Text::Whole(key.to_owned()), value?)));
    first.chain(placed).collect()
}

/// The value that goes out under `key`, or what is wrong with the one that came in.
fn judged(key: &str, rule: Rule, value: Option<&Value>, organizer: &str) -> Result<Value, Fault> {
    let fault = |reason: &str| Err(Fault::new(key, reason));
    match (rule, value) {
        (Rule::Id, None) => Ok(Value::Int(ID_PLACE.to_owned())),
        // pretix's own numbers are of this size, and receivers were promised that they are.
        (Rule::Id, Some(Value::Int(digits))) if digits.parse::<i64>().is_err() => {
            Err(Fault::new(key, "Ensure this value fits into 64 bits."))
        }
        (Rule::Id, Some(Value::Int(_))) => Ok(Value::Int(ID_PLACE.to_owned())),
        (Rule::Organizer, None) => Ok(Value::text(organizer)),
        (Rule::Organizer, Some(value)) if value.as_str() == Some(organizer) => Ok(value.clone()),
        (Rule::Organizer, Some(_)) => {
            let reason = format!("Must be \"{organizer}\", the organizer in the path.");
            Err(Fault::new(key, reason))
        }
        (Rule::NameOrNull | Rule::Anything, None | Some(Value::Null)) => Ok(Value::Null),
        (Rule::Anything, Some(value)) => Ok(value.clone()),
        (Rule::Action | Rule::Name | Rule::Integer, None) => fault(REQUIRED),
        (Rule::Id | Rule::Action | Rule::Name | Rule::Integer, Some(Value::Null)) => {
            fault(NOT_NULL)
        }
        (Rule::Integer, Some(value @ Value::Int(_))) => Ok(value.clone()),
        (Rule::Id | Rule::Integer, Some(_)) => fault(NO_INTEGER),
        (Rule::Action | Rule::Name | Rule::NameOrNull, Some(Value::Text(text))) => {
            judged_name(key, text)
        }
        (Rule::Action | Rule::Name | Rule::NameOrNull, Some(_)) => fault(NO_TEXT),
    }
}

fn judged_name(key: &str, text: &Text) -> Result<Value, Fault> {
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
        return Ok(Value::Text(text.clone()));
    }
    let field = key.to_owned();
    Err(Fault { field, reasons })
}
