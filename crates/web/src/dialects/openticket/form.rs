//! This dialect's part of the dashboard.

use std::sync::Arc;

use model::webhook::Webhook;

use super::super::board::{Board, Described};
use super::OpenTicket;
use super::fields::Settings;

pub(super) fn board(_open: &Arc<OpenTicket>) -> Board {
    Board {
        platform: "OpenTicket",
        tenant_word: "Company",
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
    let related = match settings.triggered_by_child_resources {
        true => ", also of related resources",
        false => "",
    };
    let which = match settings.identifier.as_str() {
        "" => String::new(),
        guid => format!(" {guid}"),
    };
    Described {
        name: Some(settings.name),
        wants: format!(
            "{} on {}{which}{related}",
            settings.trigger, settings.resource
        ),
    }
}
