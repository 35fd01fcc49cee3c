//! A step of the fan-out, as a job that nobody waits for.

use std::sync::Arc;

use model::contract::StoreError;

use crate::sql::job_error::JobError;
use crate::sqlite::fan_out;
use crate::sqlite::shared::Shared;
use crate::sqlite::tx::{Job, Tx};

pub(crate) struct FanOutStep {
    shared: Arc<Shared>,
}

impl FanOutStep {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl Job for FanOutStep {
    fn is_repeatable(&self) -> bool {
        true
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError> {
        fan_out::step(tx)
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        if lost.is_some() {
            self.shared.fan_out_backlog.pause();
        }
    }
}
