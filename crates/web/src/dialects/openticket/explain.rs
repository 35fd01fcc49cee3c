//! Why a webhook got a trigger or not, in the words of this dialect.
//!
//! The verdict is the filter's. The rule beside it is derived again from the settings, and a test
//! keeps the two together.

use model::dashboard::WebhookSnapshot;

use super::fields::Settings;
use super::guid;
use super::triggers::{happening, with_article};
use super::wire::TriggerContext;
use crate::dialect::dashboard::{MatchVerdict, NotificationFacts, listed};

pub(super) fn explain(happened: &NotificationFacts<'_>, then: &WebhookSnapshot) -> MatchVerdict {
    let about = happened
        .about
        .and_then(|text| serde_json::from_str(text).ok());
    let Some(about) = about else {
        let words = "It is not known any more what this was about.";
        return MatchVerdict::new(false, words);
    };
    let wanted = then.filter.matches(&TriggerContext::pairs(&about));
    let found = serde_json::from_str(&then.settings).ok();
    let found = found.map(|settings| rule(&about, &settings));
    match found {
        Some(verdict) if verdict.wanted == wanted => verdict,
        Some(_) | None if wanted => MatchVerdict::new(true, "Its filter wanted this."),
        Some(_) | None => MatchVerdict::new(false, "Its filter did not want this."),
    }
}

/// The rule of the settings that decided.
pub(super) fn rule(about: &TriggerContext, settings: &Settings) -> MatchVerdict {
    let identifier = guid::read(&settings.identifier);
    let (resource, trigger) = (settings.resource.as_str(), settings.trigger.as_str());
    let happened = happening(&about.resource, &about.trigger);
    if trigger != about.trigger {
        let words = format!(
            "Other trigger: it waits for \"{trigger}\", and this was \"{}\".",
            about.trigger
        );
        return MatchVerdict::new(false, words);
    }
    let is_meant = |guid: &str| identifier.as_deref().is_none_or(|own| own == guid);
    let is_own = resource == about.resource;
    if is_own && is_meant(&about.guid) {
        return MatchVerdict::new(true, format!("It is for this: {happened}."));
    }
    let Some(guids) = about.reached.get(resource) else {
        return MatchVerdict::new(false, beyond(about, settings, is_own));
    };
    if !settings.triggered_by_child_resources {
        let words = format!(
            "No child switch: {happened}, which reaches related webhooks for \"{resource}\" only \
             if \"triggered by child resources\" is on."
        );
        return MatchVerdict::new(false, words);
    }
    if !guids.iter().any(|guid| is_meant(guid)) {
        let words = format!(
            "Other identifier: it is limited to {}, and this was about {}.",
            settings.identifier,
            listed(guids.iter().map(String::as_str))
        );
        return MatchVerdict::new(false, words);
    }
    let words = format!(
        "It is triggered by related resources: {happened}, and {} is related to that.",
        with_article(resource)
    );
    MatchVerdict::new(true, words)
}

/// Why this trigger does not reach webhooks for this resource.
fn beyond(about: &TriggerContext, settings: &Settings, is_own: bool) -> String {
    let resource = &settings.resource;
    if is_own {
        return format!(
            "Other identifier: it is limited to {}, and this was about {}.",
            settings.identifier, about.guid
        );
    }
    let words = format!(
        "Other resource: it is for \"{resource}\", and this was about \"{}\"",
        about.resource
    );
    match about.beyond.contains(resource) {
        true => format!(
            "{words}. {} was related to it, but \"{}\" does not reach from there.",
            capital(&with_article(resource)),
            about.trigger
        ),
        false => format!("{words}, with no {resource} related to it that it reaches."),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
