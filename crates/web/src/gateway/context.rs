//! What handlers get beside the request: the store, the clock, the random source, and the metrics
//! and warnings of intake.

use std::sync::Arc;

use model::call_limits::CallBounds;
use model::signing::Keyring;
use model::time::Clock;
use tokio::sync::watch;

use super::export_slots::ExportSlots;
use super::intake_warnings::IntakeWarnings;
use super::metrics::IntakeMetrics;
use super::store::StoreHandle;
use crate::rng::SharedRng;

pub(crate) struct Context {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    pub(crate) rng: SharedRng,
    /// Seals secrets.
    pub(crate) keyring: Arc<Keyring>,
    /// What limits of webhooks may be.
    pub(crate) bounds: Arc<CallBounds>,
    pub(crate) export_slots: Arc<ExportSlots>,
    /// True once what is sent in pieces is to end.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) intake_metrics: IntakeMetrics,
    pub(crate) intake_warnings: IntakeWarnings,
}
