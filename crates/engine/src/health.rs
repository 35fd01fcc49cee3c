//! Health: whether deliveries flow, in one sentence if they do not.
//!
//! Written by the loop, read by anybody, at any time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::tasks::Alarm;

/// The loop comes round every second; after so long without it something is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// A handle that answers whether deliveries flow. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    alarm: Alarm,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    beat: Instant,
    stopped: bool,
    trouble: Option<Trouble>,
}

/// Since when something does not work, and why.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) since: Instant,
    pub(crate) what: &'static str,
    pub(crate) cause: String,
}

impl Health {
    pub(crate) fn new(alarm: Alarm) -> Self {
        let state = State {
            beat: Instant::now(),
            stopped: false,
            trouble: None,
        };
        Self(Arc::new(Inside {
            alarm,
            state: Mutex::new(state),
        }))
    }

    /// `Ok` while deliveries flow, else what keeps them.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = self.0.alarm.rung() {
            return Err(format!("{name} fell over; Willcall must be restarted"));
        }
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return Err("the engine is stopped".to_owned());
        }
        if let Some(Trouble { since, what, cause }) = &state.trouble {
            let seconds = since.elapsed().as_secs();
            return Err(format!("the store refuses {what} for {seconds} s: {cause}"));
        }
        let silent = state.beat.elapsed();
        if silent > STUCK_AFTER {
            let seconds = silent.as_secs();
            return Err(format!(
                "the delivery loop has not come round for {seconds} s"
            ));
        }
        Ok(())
    }

    pub(crate) fn beat(&self, trouble: Option<Trouble>) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.beat = Instant::now();
        state.trouble = trouble;
    }

    pub(crate) fn stopped(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
    }
}
