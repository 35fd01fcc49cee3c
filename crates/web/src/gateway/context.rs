//! What a dialect's handlers are given beside the request: the store, the clock, the random source,
//! and where they count and say what became of what was handed in.

use model::time::Clock;

use super::intake_warnings::IntakeWarnings;
use super::metrics::IntakeMetrics;
use super::store::StoreHandle;
use crate::rng::SharedRng;

pub(crate) struct Context {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    pub(crate) rng: SharedRng,
    pub(crate) intake_metrics: IntakeMetrics,
    pub(crate) intake_warnings: IntakeWarnings,
}
