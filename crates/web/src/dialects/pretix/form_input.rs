//! The input of a webhook's form, converted to the fields that programs send and judged by
//! `fields.rs`. What a webhook already has stays allowed: a show or an action type that is unknown
//! by now does not block other changes.

use std::collections::BTreeSet;

use model::refusal::{Fault, Refusal};

use super::action_types::ActionTypes;
use super::faults::TOO_MANY;
use super::fields::{FieldLimits, FieldValues, Fields};
use super::json::{JsonObject, JsonValue};
use crate::dialect::dashboard::{FormContext, unmasked};
use crate::transport::query::Query;

/// All events, or the selected ones.
pub(super) const ALL: &str = "all";
pub(super) const SOME: &str = "some";

/// Further shows by their codes, where there are too many to list.
pub(super) const MORE_EVENTS: &str = "more_events";

/// Judges the input as that of programs; `old` may keep what it has.
pub(super) fn judge(
    action_types: &ActionTypes,
    context: &FormContext<'_>,
    old: Option<&Fields>,
    typed: &Query,
) -> Result<Fields, Refusal> {
    let (types_kept, events_kept, comment_kept, url) = match old {
        Some(old) => (
            old.settings.action_types.clone(),
            old.settings.limit_events.clone(),
            old.settings.comment.clone(),
            Some(old.target_url.as_str()),
        ),
        None => (Vec::new(), Vec::new(), None, None),
    };
    let mut faults = Vec::new();
    let url = unmasked(typed.get("target_url").unwrap_or_default().trim(), url);
    let url = url.unwrap_or_else(|words| {
        faults.push(Fault::new("target_url", words));
        // Valid, so that no other fault is reported.
        "https://example.org/".to_owned()
    });
    let known = context.events.iter().map(|event| event.slug.clone());
    let events: BTreeSet<String> = known.chain(events_kept.iter().cloned()).collect();
    let is_kept =
        |key: &&str| types_kept.iter().any(|own| own == key) && !action_types.is_registered(key);
    let kept: Vec<&str> = typed.all("action_types").filter(is_kept).collect();
    let types = typed.all("action_types").filter(|key| !is_kept(key));
    let types: Vec<&str> = types.collect();
    let all_events = typed.get("all_events") != Some(SOME);
    let given = given(typed, &url, &types, all_events, comment_kept.as_deref());
    let bounds = FieldLimits::new(action_types, &events).or_as_in(old);
    let fields = FieldValues::read(&given, true, &bounds).and_then(|given| given.over(None));
    match fields {
        Ok(mut fields) if faults.is_empty() => {
            let types = &mut fields.settings.action_types;
            types.extend(kept.into_iter().map(str::to_owned));
            types.sort();
            types.dedup();
            let judged = fields.settings.judge_wishes(bounds.wishes_max);
            judged.map_err(Refusal::Invalid)?;
            keep_order(&mut fields.settings.limit_events, &events_kept);
            Ok(fields)
        }
        Ok(_) => Err(Refusal::Invalid(faults)),
        Err(more) => {
            faults.extend(more.into_iter().map(plainer));
            Err(Refusal::Invalid(faults))
        }
    }
}

/// Keeps the order of shows if they are the same: checkboxes have an order of their own.
fn keep_order(shows: &mut Vec<String>, before: &[String]) {
    let set = |slugs: &[String]| slugs.iter().cloned().collect::<BTreeSet<String>>();
    if set(shows) == set(before) {
        shows.clear();
        shows.extend_from_slice(before);
    }
}

/// The fields of the form, as a program would send them.
fn given<'a>(
    typed: &'a Query,
    url: &'a str,
    types: &[&'a str],
    all_events: bool,
    old_comment: Option<&'a str>,
) -> JsonObject<'a> {
    let list =
        |items: Vec<&'a str>| JsonValue::List(items.into_iter().map(JsonValue::text).collect());
    // Checkboxes without effect are ignored.
    let more = typed.get(MORE_EVENTS).unwrap_or_default();
    let more = more.split(['\n', ',']).map(str::trim);
    let more = more.filter(|slug| !slug.is_empty());
    let slugs = match all_events {
        true => Vec::new(),
        false => typed.all("limit_events").chain(more).collect(),
    };
    let comment = typed.get("comment").unwrap_or_default();
    let comment = comment.replace("\r\n", "\n");
    let comment = match comment.trim() {
        // No comment and an empty one look alike here: the stored one stays.
        "" => old_comment
            .filter(|old| old.is_empty())
            .map_or(JsonValue::Null, JsonValue::text),
        _ => JsonValue::text(comment),
    };
    let pairs = [
        ("enabled", JsonValue::Bool(typed.get("enabled").is_some())),
        ("target_url", JsonValue::text(url)),
        ("all_events", JsonValue::Bool(all_events)),
        ("limit_events", list(slugs)),
        ("action_types", list(types.to_vec())),
        ("comment", comment),
    ];
    JsonObject::of(pairs)
}

/// The same in words for people.
fn plainer(fault: Fault) -> Fault {
    let reason = |words: String| match (fault.field.as_str(), words.as_str()) {
        ("target_url", "Enter a valid URL.") => "Enter a URL that begins with https:// or \
            http:// and names a host, such as https://example.com/hook."
            .to_owned(),
        ("target_url", "This field may not be blank.") => "Enter the URL to be called.".to_owned(),
        ("limit_events", _) => match words.strip_prefix("Object with slug=") {
            Some(rest) => {
                let slug = rest.strip_suffix(" does not exist.").unwrap_or(rest);
                format!("There is no show with the code {slug}.")
            }
            None => match words.strip_prefix(TOO_MANY) {
                Some(most) => {
                    let most = most.strip_suffix(" elements.").unwrap_or(most);
                    format!("Choose {most} shows at most, or all shows.")
                }
                None => words,
            },
        },
        _ => words,
    };
    let reasons = fault.reasons.into_iter().map(reason).collect();
    Fault {
        field: fault.field,
        reasons,
    }
}
