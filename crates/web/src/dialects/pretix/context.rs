//! The state that the handlers of this dialect share.

use super::action_types::ActionTypes;
use super::ids::NotificationIds;

pub(super) struct Pretix {
    pub(super) action_types: ActionTypes,
    pub(super) ids: NotificationIds,
    /// Whether actions that nobody can subscribe to are refused.
    pub(super) strict: bool,
}
