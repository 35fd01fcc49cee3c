//! Replay: which deliveries somebody asks to have sent again, and what came of asking.

use crate::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use crate::query::DeliveryStatus;
use crate::time::Timestamp;

/// Which deliveries are to be sent again, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub which: ReplayScope,
    /// For the audit log.
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayScope {
    /// This delivery, whatever its state.
    One(DeliveryId),
    /// Every one that ended undelivered by `began_at`, and every one waiting for a retry.
    Undelivered { began_at: Timestamp },
    /// Every one that was tried out by `began_at`, and none that is still owed.
    Failed { began_at: Timestamp },
    /// Of those of one status the ones that are meant: one step along their notifications.
    Filtered(ReplayFilter),
}

/// Some of what `ReplayScope::Undelivered` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayFilter {
    /// Retrying, exhausted or cancelled: there are none of another.
    pub status: DeliveryStatus,
    pub began_at: Timestamp,
    /// Of notifications accepted at this moment or later, and before that one.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub action_type: Option<String>,
    /// Where the step before came to.
    pub after: NotificationId,
    /// Whether nothing else is asked for once these have come to their end.
    pub last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayResult {
    /// So many are due now; `more` asks for another call.
    Done { count: usize, more: bool },
    /// Of those that are picked; with a notification there are more, behind it.
    Reached {
        count: usize,
        upto: Option<NotificationId>,
    },
    /// The tenant has no such delivery or webhook.
    Unknown,
    /// The webhook is disabled, so nothing can be sent.
    Disabled,
}

impl ReplayResult {
    /// With those of steps before.
    pub fn with(self, counted: usize) -> Self {
        match self {
            Self::Done { count, more } => Self::Done {
                count: counted.saturating_add(count),
                more,
            },
            Self::Reached { count, upto } => Self::Reached {
                count: counted.saturating_add(count),
                upto,
            },
            Self::Unknown | Self::Disabled => self,
        }
    }
}
