//! Alerts: what has gone wrong, and who was told.

use crate::contract::StoreFuture;
use crate::incident::{AlertKind, Audience, IncidentChange, WatchQuery, Watched};
use crate::notification::NewNotification;
use crate::time::Timestamp;

/// What a round of the watch comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRecord {
    /// `Watched::version` that it rests on.
    pub version: i64,
    pub changes: Vec<IncidentChange>,
    /// Who was told what.
    pub told: Vec<(Audience, AlertKind)>,
    /// The alerts.
    pub alerts: Vec<NewNotification>,
}

/// What the watch asks, on any node.
pub trait AlertStore: Send + Sync {
    /// What there is to be watched: webhooks that have failed for long or were disabled by their
    /// receivers, and the incidents that are open.
    ///
    /// Errors: those of a read.
    fn watched(&self, query: WatchQuery) -> StoreFuture<Watched>;

    /// Writes down what became of incidents, and accepts the alerts, in one transaction. Answers
    /// false, and does nothing, if another round was recorded since `version` was read: so of
    /// several nodes one tells.
    ///
    /// Errors: those of a change; `Busy` as `accept`.
    fn record_incidents(&self, round: WatchRecord, at: Timestamp) -> StoreFuture<bool>;
}
