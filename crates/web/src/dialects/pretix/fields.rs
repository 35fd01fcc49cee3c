//! The fields of a webhook: the allowed values, and the faults of others (`docs/pretix.md`). The
//! same rules hold for REST and for an operator's file.
//!
//! All events together with some events is a contradiction: it is refused here and never stored.

use std::collections::BTreeSet;

use model::filter::Filter;
use model::limits;
use model::refusal::Fault;
use model::target::{MASKED, PART_MASKED, has_masked_credentials};
use model::url_marks;
use model::webhook::Webhook;
use serde::{Deserialize, Serialize};

use super::action_types::ActionTypes;
use super::faults::{NO_TEXT, NOT_BLANK, NOT_NULL, REQUIRED, TOO_MANY, WHOLE, judge_text, whole};
use super::json::{JsonObject, JsonText, JsonValue};
use super::{python, scopes, url};
use crate::dialect::damaged;
use crate::dialect::dashboard::listed;

const TARGET_URL_CHARS_MAX: usize = 1_024;
const COMMENT_CHARS_MAX: usize = 255;

/// What the dialect keeps of a webhook for itself (`Webhook::settings`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) all_events: bool,
    pub(super) limit_events: Vec<String>,
    pub(super) action_types: Vec<String>,
    pub(super) comment: Option<String>,
}

/// All fields that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) enabled: bool,
    pub(super) target_url: String,
    pub(super) settings: Settings,
}

/// Fields that were given, each sound by itself.
#[derive(Debug, Default)]
pub(super) struct FieldValues {
    enabled: Option<bool>,
    target_url: Option<String>,
    all_events: Option<bool>,
    limit_events: Option<Vec<String>>,
    action_types: Option<Vec<String>>,
    comment: Option<Option<String>>,
    wishes_max: usize,
}

/// Against what fields are judged.
pub(super) struct FieldLimits<'a> {
    pub(super) action_types: &'a ActionTypes,
    /// Slugs of the organizer's shows.
    pub(super) events: &'a BTreeSet<String>,
    /// So many of them may be named.
    named_max: usize,
    /// So many may they be times the action types.
    pub(super) wishes_max: usize,
}

impl<'a> FieldLimits<'a> {
    pub(super) fn new(action_types: &'a ActionTypes, events: &'a BTreeSet<String>) -> Self {
        Self {
            action_types,
            events,
            named_max: limits::SHOWS_NAMED_MAX,
            wishes_max: limits::SUBSCRIPTIONS_MAX,
        }
    }

    /// The same, but what a webhook has already it may keep.
    pub(super) fn or_as_in(mut self, old: Option<&Fields>) -> Self {
        if let Some(Fields { settings, .. }) = old {
            self.named_max = self.named_max.max(settings.limit_events.len());
            self.wishes_max = self.wishes_max.max(settings.subscriptions());
        }
        self
    }
}

impl FieldValues {
    /// Reads every field; `whole` demands those that have no default.
    pub(super) fn read(
        object: &JsonObject<'_>,
        whole: bool,
        bounds: &FieldLimits<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut given = Self {
            wishes_max: bounds.wishes_max,
            ..Self::default()
        };
        keep(
            &mut faults,
            "enabled",
            object.get("enabled").map(boolean),
            &mut given.enabled,
        );
        let found = object.get("target_url").map(target_url);
        keep(
            &mut faults,
            "target_url",
            required(found, whole),
            &mut given.target_url,
        );
        keep(
            &mut faults,
            "all_events",
            object.get("all_events").map(boolean),
            &mut given.all_events,
        );
        let found = object.get("limit_events");
        let found = found.map(|value| limit_events(value, bounds));
        keep(
            &mut faults,
            "limit_events",
            required(found, whole),
            &mut given.limit_events,
        );
        let found = object.get("action_types");
        let found = found.map(|value| action_types(value, bounds.action_types));
        keep(
            &mut faults,
            "action_types",
            required(found, whole),
            &mut given.action_types,
        );
        keep(
            &mut faults,
            "comment",
            object.get("comment").map(comment),
            &mut given.comment,
        );
        if faults.is_empty() {
            Ok(given)
        } else {
            Err(faults)
        }
    }

    /// The same with the marked parts of `old` where the URL that was given has stars.
    pub(super) fn filled(self, old: Option<&str>) -> Result<Self, Vec<Fault>> {
        let filled = self.target_url.map(|url| {
            let filled = url_marks::filled(&url, old);
            filled.ok_or_else(|| vec![Fault::new("target_url", PART_MASKED)])
        });
        Ok(Self {
            target_url: filled.transpose()?,
            ..self
        })
    }

    /// All fields, those that were not given as in `old` or at their default.
    pub(super) fn over(self, old: Option<Fields>) -> Result<Fields, Vec<Fault>> {
        let this = self.filled(old.as_ref().map(|old| &*old.target_url))?;
        this.with_defaults(old)
    }

    fn with_defaults(self, old: Option<Fields>) -> Result<Fields, Vec<Fault>> {
        let kept = old.as_ref().map_or(0, |old| old.settings.subscriptions());
        let (enabled, target_url, old) = match old {
            Some(old) => (old.enabled, old.target_url, Some(old.settings)),
            None => (true, String::new(), None),
        };
        let (old_all, old_limit, old_types, old_comment) = match old {
            Some(old) => (
                Some(old.all_events),
                old.limit_events,
                old.action_types,
                old.comment,
            ),
            None => (None, Vec::new(), Vec::new(), None),
        };
        let limit_events = self.limit_events.unwrap_or(old_limit);
        let by_default = old_all.unwrap_or(limit_events.is_empty());
        let settings = Settings {
            all_events: self.all_events.unwrap_or(by_default),
            limit_events,
            action_types: self.action_types.unwrap_or(old_types),
            comment: self.comment.unwrap_or(old_comment),
        };
        if settings.all_events && !settings.limit_events.is_empty() {
            let reason = "You can set either limit_events or all_events.";
            return Err(vec![Fault::new(WHOLE, reason)]);
        }
        settings.judge_wishes(self.wishes_max.max(kept))?;
        Ok(Fields {
            enabled: self.enabled.unwrap_or(enabled),
            target_url: self.target_url.unwrap_or(target_url),
            settings,
        })
    }

    pub(super) fn enabled(&self) -> Option<bool> {
        self.enabled
    }
}

impl Settings {
    /// Those of a webhook. What is missing or damaged is as if it had never been given, so that
    /// somebody can still look at the webhook and mend it.
    pub(super) fn of(webhook: &Webhook) -> Self {
        serde_json::from_str(&webhook.settings).unwrap_or_else(|error| {
            damaged::tell(webhook, "pretix", &error);
            Self::default()
        })
    }

    /// How many shows are named, times the action types.
    fn subscriptions(&self) -> usize {
        self.limit_events
            .len()
            .saturating_mul(self.action_types.len())
    }

    /// Refuses more than so many shows times action types.
    pub(super) fn judge_wishes(&self, most: usize) -> Result<(), Vec<Fault>> {
        if self.subscriptions() <= most {
            return Ok(());
        }
        let types = self.action_types.len();
        let most = most / types;
        let reason = format!(
            "At most {most} shows can be named together with {types} action types: name fewer of \
             either, or all shows.",
        );
        Err(vec![Fault::new("limit_events", reason)])
    }

    /// Whether only what belongs to no show is wanted.
    pub(super) fn is_for_no_show(&self) -> bool {
        !self.all_events && self.limit_events.is_empty()
    }

    /// What these settings mean to whoever looks for webhooks. Notifications about no event in
    /// particular go to limited webhooks, too (`docs/pretix.md`).
    pub(super) fn filter(&self) -> Filter {
        let events = self.limit_events.iter();
        let scopes = events.map(|slug| scopes::event_scope(slug));
        let scopes = scopes.chain([scopes::ORGANIZER_SCOPE.to_owned()]);
        Filter::all_of(
            self.action_types.iter().cloned(),
            (!self.all_events).then_some(scopes),
        )
    }
}

type FieldResult<T> = Result<T, Vec<String>>;

fn keep<T>(
    faults: &mut Vec<Fault>,
    field: &str,
    found: Option<FieldResult<T>>,
    place: &mut Option<T>,
) {
    match found {
        None => {}
        Some(Ok(value)) => *place = Some(value),
        Some(Err(reasons)) => faults.push(Fault {
            field: field.to_owned(),
            reasons,
        }),
    }
}

fn required<T>(found: Option<FieldResult<T>>, whole: bool) -> Option<FieldResult<T>> {
    match found {
        None if whole => Some(fail(REQUIRED)),
        found => found,
    }
}

fn fail<T>(reason: impl Into<String>) -> FieldResult<T> {
    Err(vec![reason.into()])
}

fn boolean(value: &JsonValue<'_>) -> FieldResult<bool> {
    const NO_BOOLEAN: &str = "Must be a valid boolean.";
    match value {
        JsonValue::Null => fail(NOT_NULL),
        JsonValue::Bool(flag) => Ok(*flag),
        JsonValue::Int(digits) if digits == "1" => Ok(true),
        JsonValue::Int(digits) if digits == "0" => Ok(false),
        JsonValue::Float(number) if number.to_bits() == 1.0_f64.to_bits() => Ok(true),
        JsonValue::Float(number) if number.abs().to_bits() == 0 => Ok(false),
        JsonValue::Text(JsonText::Whole(word)) => match word.to_ascii_lowercase().as_str() {
            "t" | "y" | "yes" | "true" | "on" | "1" => Ok(true),
            "f" | "n" | "no" | "false" | "off" | "0" => Ok(false),
            _ => fail(NO_BOOLEAN),
        },
        JsonValue::Int(_)
        | JsonValue::Float(_)
        | JsonValue::Text(_)
        | JsonValue::List(_)
        | JsonValue::Object(_) => fail(NO_BOOLEAN),
    }
}

fn target_url(value: &JsonValue<'_>) -> FieldResult<String> {
    const NO_URL: &str = "Enter a valid URL.";
    let text = match value {
        JsonValue::Null => return fail(NOT_NULL),
        JsonValue::Bool(_) | JsonValue::List(_) | JsonValue::Object(_) => return fail(NO_URL),
        JsonValue::Int(_) | JsonValue::Float(_) | JsonValue::Text(_) => {
            python::strip_text(&python::text_of(value))
        }
    };
    if text.as_str() == Some("") {
        return fail(NOT_BLANK);
    }
    let mut reasons = Vec::new();
    judge_text(&text, TARGET_URL_CHARS_MAX, &mut reasons);
    // A URL with half a surrogate pair in its path has the shape of one, and one fault less.
    let shape: String = whole(&text);
    if !url::is_target(&shape) {
        reasons.push(NO_URL.to_owned());
    }
    if has_masked_credentials(&shape) {
        reasons.push(MASKED.to_owned());
    }
    if let Err(error) = url_marks::check(&shape) {
        reasons.push(format!("Marks of secret parts: {error}."));
    }
    if reasons.is_empty() {
        Ok(shape)
    } else {
        Err(reasons)
    }
}

fn comment(value: &JsonValue<'_>) -> FieldResult<Option<String>> {
    let text = match value {
        JsonValue::Null => return Ok(None),
        JsonValue::Bool(_) | JsonValue::List(_) | JsonValue::Object(_) => return fail(NO_TEXT),
        JsonValue::Int(_) | JsonValue::Float(_) | JsonValue::Text(_) => {
            python::strip_text(&python::text_of(value))
        }
    };
    let mut reasons = Vec::new();
    judge_text(&text, COMMENT_CHARS_MAX, &mut reasons);
    if reasons.is_empty() {
        Ok(Some(whole(&text)))
    } else {
        Err(reasons)
    }
}

/// Each show once, in the order in which they are named.
fn limit_events(value: &JsonValue<'_>, bounds: &FieldLimits<'_>) -> FieldResult<Vec<String>> {
    let items = list(value)?;
    let mut slugs: Vec<String> = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for item in items {
        let shown = whole(&python::text_of(item));
        let known = bounds.events.get(&shown);
        let Some(slug) = known.filter(|_| *item != JsonValue::Null) else {
            return fail(format!("Object with slug={shown} does not exist."));
        };
        if !seen.insert(slug) {
            continue;
        }
        if slugs.len() >= bounds.named_max {
            let most = bounds.named_max;
            return fail(format!("{TOO_MANY}{most} elements."));
        }
        slugs.push(shown);
    }
    Ok(slugs)
}

fn action_types(value: &JsonValue<'_>, action_types: &ActionTypes) -> FieldResult<Vec<String>> {
    let mut keys: BTreeSet<String> = BTreeSet::new();
    for item in list(value)? {
        match item.as_str() {
            Some(key) if action_types.is_registered(key) => keys.insert(key.to_owned()),
            Some(_) | None => {
                let shown = whole(&python::text_of(item));
                return fail(format!("Invalid action type \"{shown}\"."));
            }
        };
    }
    Ok(keys.into_iter().collect())
}

fn list<'a, 'b>(value: &'b JsonValue<'a>) -> FieldResult<&'b [JsonValue<'a>]> {
    match value {
        JsonValue::Null => fail(NOT_NULL),
        JsonValue::List(items) => Ok(items),
        JsonValue::Bool(_)
        | JsonValue::Int(_)
        | JsonValue::Float(_)
        | JsonValue::Text(_)
        | JsonValue::Object(_) => {
            let name = python::type_name(value);
            fail(format!("Expected a list of items but got type \"{name}\"."))
        }
    }
}

/// The shows of a webhook, for a sentence.
pub(super) fn shows_of(settings: &Settings) -> String {
    match settings.limit_events.as_slice() {
        [] => "no show".to_owned(),
        slugs => listed(slugs.iter().map(String::as_str)),
    }
}

/// What OPTIONS says of every field.
pub(super) fn described() -> JsonValue<'static> {
    let field =
        |kind: &'static str, required, read_only, label: &'static str, most: Option<usize>| {
            let mut pairs = vec![
                ("type", JsonValue::text(kind)),
                ("required", JsonValue::Bool(required)),
                ("read_only", JsonValue::Bool(read_only)),
                ("label", JsonValue::text(label)),
            ];
            pairs.extend(most.map(|most| ("max_length", JsonValue::int(most))));
            let whole =
                |(key, value): (&'static str, JsonValue<'static>)| (JsonText::whole(key), value);
            JsonValue::Object(JsonObject::from_pairs(
                pairs.into_iter().map(whole).collect(),
            ))
        };
    let url_max = Some(TARGET_URL_CHARS_MAX);
    let all_events = "All events (including newly created ones)";
    JsonValue::object([
        ("id", field("integer", false, true, "ID", None)),
        (
            "enabled",
            field("boolean", false, false, "Enable webhook", None),
        ),
        (
            "target_url",
            field("url", true, false, "Target URL", url_max),
        ),
        (
            "all_events",
            field("boolean", false, false, all_events, None),
        ),
        (
            "limit_events",
            field("field", true, false, "Limit events", None),
        ),
        (
            "action_types",
            field("field", true, false, "Action types", None),
        ),
        (
            "comment",
            field("string", false, false, "Comment", Some(COMMENT_CHARS_MAX)),
        ),
    ])
}
