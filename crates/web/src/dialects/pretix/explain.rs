//! Why a webhook got a notification or not, in the words of this dialect.
//!
//! The verdict is the filter's. The rule beside it is derived again from the settings, and a test
//! keeps the two together.

use model::dashboard::WebhookSnapshot;
use model::filter::MatchKey;

use super::action_types::ActionTypes;
use super::fields::{Settings, shows_of};
use super::scopes::{ORGANIZER_SCOPE, event_scope};
use crate::dialect::dashboard::{MatchVerdict, NotificationFacts};

pub(super) fn explain(
    action_types: &ActionTypes,
    happened: &NotificationFacts<'_>,
    then: &WebhookSnapshot,
) -> MatchVerdict {
    let wanted = then.filter.matches(&pairs(action_types, happened));
    let found = serde_json::from_str(&then.settings).ok();
    let found = found.map(|settings| rule(action_types, happened, &settings));
    match found {
        Some(verdict) if verdict.wanted == wanted => verdict,
        Some(_) | None if wanted => MatchVerdict::new(true, "Its filter wanted this."),
        Some(_) | None => MatchVerdict::new(false, "Its filter did not want this."),
    }
}

/// What the notification stood for.
pub(super) fn pairs(action_types: &ActionTypes, happened: &NotificationFacts<'_>) -> Vec<MatchKey> {
    let scope = happened.event.map(event_scope);
    let pair = action_types.of(happened.action_type).map(|kind| MatchKey {
        topic: kind.key.clone(),
        scope: scope.unwrap_or_else(|| ORGANIZER_SCOPE.to_owned()),
    });
    pair.into_iter().collect()
}

/// The rule of the settings that decided.
pub(super) fn rule(
    action_types: &ActionTypes,
    happened: &NotificationFacts<'_>,
    settings: &Settings,
) -> MatchVerdict {
    let action = happened.action_type;
    let Some(kind) = action_types.of(action) else {
        let words = format!("No webhook can ask for {action}: it belongs to no action type.");
        return MatchVerdict::new(false, words);
    };
    let as_what = match kind.key == action {
        true => action.to_owned(),
        false => format!("{action} (as {})", kind.key),
    };
    if !settings.action_types.contains(&kind.key) {
        let words = format!("Other action type: {as_what} is not among those it asks for.");
        return MatchVerdict::new(false, words);
    }
    let (wanted, where_) = match happened.event {
        _ if settings.all_events => (true, "for all shows".to_owned()),
        None => (true, "and this belongs to no show in particular".to_owned()),
        Some(slug) if settings.limit_events.iter().any(|own| own == slug) => {
            (true, format!("for the show {slug}"))
        }
        Some(slug) => {
            let words = format!(
                "Other show: this is about {slug}, and the webhook is limited to {}.",
                shows_of(settings)
            );
            return MatchVerdict::new(false, words);
        }
    };
    MatchVerdict::new(wanted, format!("It asks for {as_what}, {where_}."))
}
