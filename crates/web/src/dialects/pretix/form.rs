//! This dialect's part of the dashboard.

use std::sync::Arc;

use model::webhook::Webhook;

use super::super::board::{Board, Described};
use super::Pretix;
use super::fields::Settings;

pub(super) fn board(_pretix: &Arc<Pretix>) -> Board {
    Board {
        platform: "pretix",
        tenant_word: "Organizer",
        describe: Box::new(describe),
    }
}

fn describe(webhook: &Webhook) -> Described {
    let Ok(settings) = serde_json::from_str::<Settings>(&webhook.settings) else {
        return Described {
            name: None,
            wants: String::new(),
        };
    };
    let types = match settings.action_types.as_slice() {
        [] => "no action types".to_owned(),
        [one] => one.clone(),
        several => format!("{} action types", several.len()),
    };
    let events = match (settings.all_events, settings.limit_events.as_slice()) {
        (true, _) => "all events".to_owned(),
        (false, []) => "no event in particular".to_owned(),
        (false, [one]) => format!("event {one}"),
        (false, several) => format!("{} events", several.len()),
    };
    Described {
        name: settings.comment.filter(|comment| !comment.is_empty()),
        wants: format!("{types}, {events}"),
    }
}
