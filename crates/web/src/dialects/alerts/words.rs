//! Alerts in words: what each kind is called, and the text of one.

use model::dashboard::BoundedCount;
use model::incident::AlertKind;
use model::time::Timestamp;

use crate::dialect::alerts::{Alert, AlertWebhook};

/// What a kind is called, and when it is told.
pub(super) fn kind(kind: AlertKind) -> (&'static str, &'static str) {
    match kind {
        AlertKind::Failing => (
            "A webhook began failing",
            "Every call has failed for some minutes: five, unless the server has another number.",
        ),
        AlertKind::FailingForLong => (
            "A webhook fails for long",
            "Every call has failed for six hours.",
        ),
        AlertKind::GivingUp => (
            "Deliveries are about to be given up",
            "The oldest that waits is given up within twelve hours, unless a call succeeds.",
        ),
        AlertKind::Recovered => (
            "A webhook recovered",
            "Nothing has failed for ten minutes. Told to those who were told that it began.",
        ),
        AlertKind::Gone => (
            "A receiver disabled its webhook",
            "It answered 410 Gone. What was waiting is cancelled.",
        ),
        AlertKind::Disk => (
            "The store's disk",
            "It is nearly full, or something else is to be known of it.",
        ),
        AlertKind::Clock => (
            "The clock was set",
            "Nothing is removed or ended by the clock for a while.",
        ),
        AlertKind::Deliveries => (
            "Deliveries do not flow",
            "Nothing is sent, or the server lacks something.",
        ),
        AlertKind::Backlog => (
            "The backlog is large",
            "More deliveries are owed than the setting alert_backlog.",
        ),
        AlertKind::ServerRecovered => (
            "The server recovered",
            "What was wrong with it is over. Told to those who were told that it began.",
        ),
    }
}

/// One line: what happened to what.
pub(super) fn subject(alert: &Alert) -> String {
    let count = alert.webhooks.len() + alert.more;
    let only = alert.webhooks.first().filter(|_| count == 1);
    let what = match (only, verbs(alert.kind)) {
        (Some(webhook), Some((one, _))) => format!("\u{201c}{}\u{201d} {one}", webhook.name),
        (None, Some((_, several))) => format!("{count} webhooks {several}"),
        (_, None) => kind(alert.kind).0.to_owned(),
    };
    match (&alert.tenant, &alert.server) {
        (Some(whose), _) | (None, Some(whose)) => format!("{what} ({whose})"),
        (None, None) => what,
    }
}

/// What one webhook does, and what several do; nothing if it is about the server.
fn verbs(kind: AlertKind) -> Option<(&'static str, &'static str)> {
    match kind {
        AlertKind::Failing => Some(("began failing", "began failing")),
        AlertKind::FailingForLong => Some(("fails for hours", "fail for hours")),
        AlertKind::GivingUp => Some((
            "is about to give up deliveries",
            "are about to give up deliveries",
        )),
        AlertKind::Recovered => Some(("recovered", "recovered")),
        AlertKind::Gone => Some((
            "was disabled by its receiver",
            "were disabled by their receivers",
        )),
        AlertKind::Disk
        | AlertKind::Clock
        | AlertKind::Deliveries
        | AlertKind::Backlog
        | AlertKind::ServerRecovered => None,
    }
}

/// The whole text, for people.
pub(super) fn text(alert: &Alert) -> String {
    let mut parts = vec![format!("{}.", subject(alert))];
    parts.extend(alert.words.clone());
    let each = alert.webhooks.iter();
    parts.extend(each.map(|webhook| of_webhook(alert, webhook).join("\n")));
    if alert.more > 0 {
        parts.push(format!("And {} more.", alert.more));
    }
    parts.push(format!("{}\n{}\n", remedy(alert.kind), alert.page));
    parts.join("\n\n")
}

fn of_webhook(alert: &Alert, webhook: &AlertWebhook) -> Vec<String> {
    let name = match alert.tenant {
        Some(_) => webhook.name.clone(),
        None => format!("{} of {}", webhook.name, webhook.tenant.name),
    };
    let mut lines = vec![format!("{name}, {}", webhook.target_url)];
    let since = minute(webhook.since);
    lines.push(match alert.kind {
        AlertKind::Gone => format!("  Disabled at {since}."),
        AlertKind::Recovered => format!("  It failed from {since} on."),
        AlertKind::Failing
        | AlertKind::FailingForLong
        | AlertKind::GivingUp
        | AlertKind::Disk
        | AlertKind::Clock
        | AlertKind::Deliveries
        | AlertKind::Backlog
        | AlertKind::ServerRecovered => format!("  Every call has failed since {since}."),
    });
    lines.extend(
        webhook
            .last
            .as_ref()
            .map(|last| format!("  Last call: {last}")),
    );
    lines.extend(
        webhook
            .said
            .as_ref()
            .map(|said| format!("  It said: {said}")),
    );
    if webhook.waiting.count > 0 {
        let oldest = webhook.oldest_waiting_at.map(minute);
        let oldest = oldest.map_or_else(String::new, |at| format!(", the oldest from {at}"));
        lines.push(format!("  Waiting: {}{oldest}.", count(webhook.waiting)));
    }
    if let Some(at) = webhook.gives_up_at {
        let at = minute(at);
        lines.push(format!("  The oldest is given up at about {at}."));
    }
    if webhook.page != alert.page {
        lines.push(format!("  {}", webhook.page));
    }
    lines
}

fn count(waiting: BoundedCount) -> String {
    match waiting.more {
        true => format!("more than {}", waiting.count),
        false => waiting.count.to_string(),
    }
}

/// What to do about it.
fn remedy(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Failing | AlertKind::FailingForLong => {
            "Nothing is lost: what waits is tried again, and once the receiver is back everything \
             is sent. See what its answers are:"
        }
        AlertKind::GivingUp => {
            "What is given up stays in the log and can be replayed. If the receiver stays away for \
             longer, replay it afterwards:"
        }
        AlertKind::Recovered => "What waited is being sent. See what is left:",
        AlertKind::Gone => {
            "What happens from now on is not kept for it. Mend the receiver or the URL, then enable \
             the webhook; what it had waiting can be replayed:"
        }
        AlertKind::Disk | AlertKind::Clock | AlertKind::Deliveries | AlertKind::Backlog => {
            "What fails now:"
        }
        AlertKind::ServerRecovered => "What fails still:",
    }
}

/// A time to the minute, in UTC.
pub(super) fn minute(at: Timestamp) -> String {
    let whole = at.to_string();
    let day = whole.get(..10).unwrap_or_default();
    let time = whole.get(11..16).unwrap_or_default();
    format!("{day} {time} UTC")
}
