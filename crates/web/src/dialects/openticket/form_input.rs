//! The input of a webhook's form, converted to the fields that programs send and judged by
//! `fields.rs`; and its faults in words for people.

use model::refusal::{Fault, Refusal};
use model::webhook::Webhook;
use serde_json::{Map, Value};

use crate::dialect::dashboard::unmasked;
use crate::transport::query::Query;

/// The switch, as the form and the resource call it.
pub(super) const RELATED: &str = "triggered_by_child_resources";

/// What was typed as a program would send it, and what is wrong with it even so.
pub(super) struct FormInput {
    pub(super) fields: Map<String, Value>,
    faults: Vec<Fault>,
}

pub(super) fn given(typed: &Query, old: Option<&Webhook>) -> FormInput {
    let text = |name: &str| typed.get(name).unwrap_or_default().trim().to_owned();
    let mut faults = Vec::new();
    let url = unmasked(&text("url"), old.map(|old| old.target_url.as_str()));
    let url = url.unwrap_or_else(|words| {
        faults.push(Fault::new("url", words));
        // Sound by itself, so that nothing else is said of it.
        "https://example.org/".to_owned()
    });
    let chosen = text("trigger");
    let (resource, trigger) = chosen.split_once('.').unwrap_or_default();
    let related = typed.get(RELATED).is_some();
    let pairs = [
        (
            "name",
            Value::String(typed.get("name").unwrap_or_default().to_owned()),
        ),
        ("url", Value::String(url)),
        ("resource", Value::String(resource.to_owned())),
        ("trigger", Value::String(trigger.to_owned())),
        ("retries", Value::String(text("retries"))),
        ("identifier", Value::String(text("identifier"))),
        (RELATED, Value::Bool(related)),
    ];
    let pairs = pairs.into_iter();
    FormInput {
        fields: pairs
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        faults,
    }
}

impl FormInput {
    /// The fields, unless something is wrong; faults in words for people.
    pub(super) fn judged<T>(self, fields: Result<T, Vec<Fault>>) -> Result<T, Refusal> {
        let mut faults = self.faults;
        let more = match fields {
            Ok(fields) if faults.is_empty() => return Ok(fields),
            Ok(_) => Vec::new(),
            Err(more) => more,
        };
        for fault in more {
            // Both stand in one field, and neither was chosen if it has neither.
            let none = |name| self.fields.get(name) == Some(&Value::String(String::new()));
            if fault.field == "resource" && none("resource") {
                faults.push(Fault::new("trigger", "Choose a resource and a trigger."));
            } else if !(fault.field == "trigger" && none("trigger")) {
                let field = match fault.field.as_str() {
                    "resource" => "trigger".to_owned(),
                    _ => fault.field,
                };
                let reasons = fault.reasons;
                faults.push(Fault { field, reasons });
            }
        }
        Err(Refusal::Invalid(faults))
    }
}
