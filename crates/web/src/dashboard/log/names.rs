//! What pages of the log call things: a webhook, why it gets nothing, a bulk job.

use model::dashboard::BulkJobKind;
use model::target;
use model::webhook::{DisableCause, Disablement, Webhook};

use crate::dashboard::response::PageError;
use crate::dashboard::text::TextExcerpt;
use crate::dashboard::view::DisplayTime;
use crate::dashboard::visit::Visit;

/// Room for a name, in bytes of the page.
const NAME_ROOM: usize = 200;

/// What people call a webhook.
pub(super) fn name_of(visit: &Visit, webhook: &Webhook) -> Result<String, PageError> {
    let described = (visit.dialect()?.board.describe)(webhook);
    let name = described.name.filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or_else(|| target::masked(&webhook.target_url));
    Ok(TextExcerpt::line(&name, NAME_ROOM))
}

/// Since when and why a webhook gets nothing.
pub(super) fn off(disabled: Disablement) -> (DisplayTime, &'static str) {
    let why = match disabled.cause {
        DisableCause::Requested => "somebody switched it off",
        DisableCause::Gone => {
            "its receiver answered 410 Gone, which means that it is gone for good"
        }
        DisableCause::Deleted => "it was deleted",
    };
    (DisplayTime(disabled.at), why)
}

/// What it is called on pages.
pub(super) fn kind_words(kind: BulkJobKind) -> &'static str {
    match kind {
        BulkJobKind::ReplayUndelivered => "Send again all that did not arrive",
        BulkJobKind::CancelPending => "Stop all that is waiting",
    }
}
