//! The words of the log: a webhook's name, why it is disabled, a bulk job's kind.

use model::dashboard::BulkJobKind;
use model::target;
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
    }
}
