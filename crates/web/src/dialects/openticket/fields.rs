//! The fields of a webhook: their allowed values and their meaning. The same rules hold for REST,
//! in every media type, and for an operator's file.

use model::filter::Filter;
use model::limits::{RETRIES_MAX, TARGET_URL_CHARS_MAX};
use model::refusal::Fault;
use model::target::{MASKED, PART_MASKED, Target, has_masked_credentials};
use model::url_marks;
use model::webhook::Webhook;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::triggers::TriggerTable;
use super::{guid, wire};
use crate::dialect::damaged;

const NAME_CHARS_MAX: usize = 255;

/// What the vendor's pages speak of where they say nothing else.
const RETRIES_DEFAULT: u32 = 3;

/// What is stored of a webhook beside its target, its nonce and its retries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) resource: String,
    pub(super) trigger: String,
    /// As it was given; empty for none.
    pub(super) identifier: String,
    pub(super) triggered_by_child_resources: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) url: String,
    pub(super) retries: u32,
    pub(super) settings: Settings,
}

/// What judging fields needs.
#[derive(Clone, Copy)]
pub(super) struct FieldLimits<'a> {
    pub(super) triggers: &'a TriggerTable,
    /// Whether a webhook that nothing is known to call is refused.
    pub(super) strict: bool,
}

/// Values being read, and their faults.
struct FieldReader<'a> {
    given: &'a Map<String, Value>,
    /// Whether missing fields keep their values.
    partial: bool,
    faults: Vec<Fault>,
}

impl Fields {
    /// The fields of `old` changed by `given`, or all faults.
    pub(super) fn read(
        given: &Map<String, Value>,
        old: Option<Self>,
        bounds: FieldLimits<'_>,
    ) -> Result<Self, Vec<Fault>> {
        let mut reading = FieldReader {
            given,
            partial: old.is_some(),
            faults: Vec::new(),
        };
        let triggers = bounds.triggers;
        let name = reading.required("name", name);
        let known = old.as_ref().map(|old| &*old.url);
        let url = reading.required("url", |text| {
            let text = url(text)?;
            url_marks::filled(&text, known).ok_or_else(|| PART_MASKED.to_owned())
        });
        let resource = reading.required("resource", |text| triggers.resource(text));
        let trigger = reading.required("trigger", |text| triggers.trigger(text));
        let retries = reading.retries();
        let identifier = reading.identifier();
        let related = reading.flag("triggered_by_child_resources");
        let fields = Self::over(old, |old: &mut Self| {
            let settings = &mut old.settings;
            put(&mut settings.name, name);
            put(&mut settings.resource, resource);
            put(&mut settings.trigger, trigger);
            put(&mut settings.identifier, identifier);
            put(&mut settings.triggered_by_child_resources, related);
            put(&mut old.url, url);
            put(&mut old.retries, retries);
        });
        if !reading.faults.is_empty() {
            return Err(reading.faults);
        }
        match fields.doubt(bounds.triggers) {
            Some(doubt) if bounds.strict => Err(vec![Fault::new("trigger", doubt)]),
            Some(_) | None => Ok(fields),
        }
    }

    fn over(old: Option<Self>, change: impl FnOnce(&mut Self)) -> Self {
        let mut fields = old.unwrap_or_else(Self::blank);
        change(&mut fields);
        fields
    }

    /// The defaults of a webhook.
    pub(super) fn blank() -> Self {
        Self {
            url: String::new(),
            retries: RETRIES_DEFAULT,
            settings: Settings {
                name: String::new(),
                resource: String::new(),
                trigger: String::new(),
                identifier: String::new(),
                triggered_by_child_resources: false,
            },
        }
    }

    /// Why this webhook would never be called, as far as is known.
    pub(super) fn doubt(&self, triggers: &TriggerTable) -> Option<String> {
        let settings = &self.settings;
        let related = settings.triggered_by_child_resources;
        triggers.doubt(&settings.resource, &settings.trigger, related)
    }
}

impl Settings {
    /// The settings of a webhook. Missing or damaged ones count as never given, so that the webhook
    /// can still be shown and repaired.
    pub(super) fn of(webhook: &Webhook) -> Self {
        serde_json::from_str(&webhook.settings).unwrap_or_else(|error| {
            damaged::tell(webhook, "openticket", &error);
            Self::default()
        })
    }

    /// The subscriptions of the webhook, as the store keeps them.
    pub(super) fn filter(&self) -> Filter {
        let scope = guid::read(&self.identifier);
        let own = wire::topic(&self.resource, &self.trigger);
        let related = || wire::related_topic(&self.resource, &self.trigger);
        let related = self.triggered_by_child_resources.then(related);
        Filter::all_of([own].into_iter().chain(related), scope.map(|scope| [scope]))
    }
}

impl<'a> FieldReader<'a> {
    /// A field that must say something when a webhook is made.
    fn required(
        &mut self,
        field: &str,
        judge: impl Fn(&str) -> Result<String, String>,
    ) -> Option<String> {
        let judged = match self.given.get(field) {
            None if self.partial => return None,
            None | Some(Value::Null) => Err(missing(field)),
            Some(Value::String(text)) if text.trim().is_empty() => Err(missing(field)),
            Some(Value::String(text)) => judge(text),
            Some(_) => Err(format!("The {field} must be a string.")),
        };
        self.settle(field, judged)
    }

    fn retries(&mut self) -> Option<u32> {
        let words = || format!("The retries must be an integer between 0 and {RETRIES_MAX}.");
        let number = match self.optional("retries")? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let number = number.and_then(|number| u32::try_from(number).ok());
        let judged = number.filter(|number| *number <= RETRIES_MAX);
        self.settle("retries", judged.ok_or_else(words))
    }

    fn identifier(&mut self) -> Option<String> {
        let words = "The identifier must be the GUID of a resource, or empty.";
        let judged = match self.given.get("identifier")? {
            Value::Null => Ok(String::new()),
            Value::String(text) if text.is_empty() || guid::read(text).is_some() => {
                Ok(text.clone())
            }
            Value::String(_)
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(words.to_owned()),
        };
        self.settle("identifier", judged)
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        let flag = match self.optional(field)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => match number.as_u64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                Some(_) | None => None,
            },
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" | "on" | "yes" => Some(true),
                "0" | "false" | "off" | "no" => Some(false),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let words = || format!("The {field} field must be true or false.");
        self.settle(field, flag.ok_or_else(words))
    }

    /// A field that may be left out: null and the empty text of a form say nothing.
    fn optional(&self, field: &str) -> Option<&'a Value> {
        let value = self.given.get(field)?;
        let empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
        (!empty).then_some(value)
    }

    fn settle<T>(&mut self, field: &str, judged: Result<T, String>) -> Option<T> {
        judged
            .map_err(|words| self.faults.push(Fault::new(field, words)))
            .ok()
    }
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn missing(field: &str) -> String {
    format!("The {field} field is required.")
}

fn name(text: &str) -> Result<String, String> {
    if text.chars().count() > NAME_CHARS_MAX {
        return Err(format!(
            "The name may not be greater than {NAME_CHARS_MAX} characters."
        ));
    }
    Ok(text.to_owned())
}

/// Where to call. What is wrong is said without the URL itself: it may have a password in it.
fn url(text: &str) -> Result<String, String> {
    if text.chars().count() > TARGET_URL_CHARS_MAX {
        return Err(format!(
            "The url may not be greater than {TARGET_URL_CHARS_MAX} characters."
        ));
    }
    let (scheme, _) = text.split_once("://").unwrap_or_default();
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        let words = "The url must be absolute and begin with \"https://\" or \"http://\", such as \
                     https://example.com/webhook/receive.";
        return Err(words.to_owned());
    }
    if text
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control())
    {
        return Err("The url may not have spaces or control characters.".to_owned());
    }
    if let Err(error) = url_marks::check(text) {
        return Err(format!("Marks of secret parts: {error}."));
    }
    if url_marks::unmarked(text).contains('#') {
        return Err("The url may not have a fragment (#).".to_owned());
    }
    if has_masked_credentials(text) {
        return Err(MASKED.to_owned());
    }
    match Target::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("The url is not a valid URL: {error}.")),
    }
}
