//! The words of the log: a webhook's name, why it is disabled, a bulk job's kind and filter.

use model::dashboard::BulkJobKind;
use model::delivery_filter::DeliveryFilter;
use model::target;
use model::time::Timestamp;
use model::webhook::{DisableCause, Disablement, Webhook};

use crate::dashboard::response::PageError;
use crate::dashboard::text::TextExcerpt;
use crate::dashboard::view::DisplayTime;
use crate::dashboard::visit::Visit;

/// The most bytes of a name on a page.
const NAME_ROOM: usize = 200;

/// The name of a webhook, or its URL.
pub(super) fn name_of(visit: &Visit, webhook: &Webhook) -> Result<String, PageError> {
    let described = (visit.dialect()?.dashboard.describe)(webhook);
    let name = described.name.filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or_else(|| target::masked(&webhook.target_url));
    Ok(TextExcerpt::line(&name, NAME_ROOM))
}

/// The most bytes of a value of the filter that are shown.
const VALUE_ROOM: usize = 200;

/// Since when and why a webhook is disabled.
pub(super) fn off(disabled: Disablement) -> (DisplayTime, &'static str) {
    let why = match disabled.cause {
        DisableCause::Requested => "somebody disabled it",
        DisableCause::Gone => {
            "its receiver answered 410 Gone, which means that it is gone for good"
        }
        DisableCause::Deleted => "it was deleted",
    };
    (DisplayTime(disabled.at), why)
}

/// The name of a kind of bulk job.
pub(super) fn kind_words(kind: BulkJobKind) -> &'static str {
    match kind {
        BulkJobKind::ReplayUndelivered => "Replay all undelivered",
        BulkJobKind::CancelPending => "Stop all that is waiting",
        BulkJobKind::ReplayMatching => "Replay what a filter shows",
    }
}

/// What a filter asks for, as pairs of a word and a value. Statuses are said elsewhere.
pub(super) fn filter_facts(filter: &DeliveryFilter) -> Vec<(&'static str, String)> {
    let moment = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    let responses = filter.responses.iter().map(ToString::to_string);
    let responses = responses.collect::<Vec<_>>();
    let facts = [
        ("Action type", filter.action_types.join(", ")),
        ("Show", filter.events.join(", ")),
        ("Response", responses.join(", ")),
        ("From", moment(filter.since)),
        ("Until", moment(filter.until)),
        ("Text in the body", filter.text.clone()),
    ];
    let given = facts.into_iter().filter(|(_, value)| !value.is_empty());
    given
        .map(|(word, value)| (word, TextExcerpt::line(&value, VALUE_ROOM)))
        .collect()
}
