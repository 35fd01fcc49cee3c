//! The state that the handlers of this dialect share.

use super::triggers::TriggerTable;

pub(super) struct OpenTicket {
    pub(super) triggers: TriggerTable,
    /// Whether a webhook that nothing is known to call is refused.
    pub(super) strict: bool,
    /// Whether a trigger that is not known to fire is refused.
    pub(super) strict_reports: bool,
}
