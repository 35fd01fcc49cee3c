//! Whether deliveries flow, and in one sentence why not.
//!
//! The loop writes it; anybody may read it at any time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::shortage::Shortage;
use crate::sync::lock;
use crate::tasks::Alarm;

/// The loop turns every 5 seconds at least; after this long without a turn it is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// Deliveries stall if something is due for a healthy receiver and nothing has begun for this long:
/// an attempt ends after half a minute at the latest, and then the next may begin.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// A handle that answers whether deliveries flow. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health(Arc<HealthInner>);

#[derive(Debug)]
struct HealthInner {
    alarm: Alarm,
    shortage: Arc<Shortage>,
    state: Mutex<HealthState>,
}

#[derive(Debug)]
struct HealthState {
    beat: Instant,
    stopped: bool,
    trouble: Option<StoreTrouble>,
    stall: Option<Stall>,
}

/// Since when nothing has begun though something is due, and what there is instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    pub(crate) since: Instant,
    pub(crate) in_flight: usize,
    pub(crate) unwritten: usize,
}

/// Since when something does not work, and why.
#[derive(Debug, Clone)]
pub(crate) struct StoreTrouble {
    pub(crate) since: Instant,
    pub(crate) what: &'static str,
    pub(crate) cause: String,
    /// The store takes nothing at all, so nothing can be sent.
    pub(crate) stops_all: bool,
}

impl Health {
    pub(crate) fn new(alarm: Alarm) -> Self {
        let state = HealthState {
            beat: Instant::now(),
            stopped: false,
            trouble: None,
            stall: None,
        };
        Self(Arc::new(HealthInner {
            alarm,
            shortage: Arc::default(),
            state: Mutex::new(state),
        }))
    }

    /// `Ok` while deliveries flow, else what keeps them.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = self.0.alarm.rung() {
            return Err(format!("{name} fell over; Willcall must be restarted"));
        }
        let state = lock(&self.0.state);
        if state.stopped {
            return Err("the engine is stopped".to_owned());
        }
        if let Some(StoreTrouble {
            since, what, cause, ..
        }) = &state.trouble
        {
            let seconds = since.elapsed().as_secs();
            return Err(format!("the store refuses {what} for {seconds} s: {cause}"));
        }
        let silent = state.beat.elapsed();
        if silent > STUCK_AFTER {
            let seconds = silent.as_secs();
            return Err(format!("the delivery loop has been stuck for {seconds} s"));
        }
        let stall = state
            .stall
            .filter(|stall| stall.since.elapsed() >= STALLED_AFTER);
        if let Some(Stall {
            since,
            in_flight,
            unwritten,
        }) = stall
        {
            let seconds = since.elapsed().as_secs();
            return Err(format!(
                "deliveries are due, but no attempt has begun for {seconds} s, with {in_flight} in \
                 flight and {unwritten} outcomes unwritten"
            ));
        }
        match self.0.shortage.words() {
            Some((words, true)) => Err(words),
            Some((_, false)) | None => Ok(()),
        }
    }

    /// What is short, though deliveries still flow.
    pub fn note(&self) -> Option<String> {
        self.0.shortage.words().map(|(words, _)| words)
    }

    pub(crate) fn shortage(&self) -> Arc<Shortage> {
        Arc::clone(&self.0.shortage)
    }

    pub(crate) fn beat(&self, trouble: Option<StoreTrouble>, stall: Option<Stall>) {
        let mut state = lock(&self.0.state);
        state.beat = Instant::now();
        state.trouble = trouble;
        state.stall = stall;
    }

    pub(crate) fn stopped(&self) {
        let mut state = lock(&self.0.state);
        state.stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_come_round_is_noticed() {
        let health = Health::new(Alarm::new());
        assert_eq!(health.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(60)).await;
        let words = "the delivery loop has been stuck for 60 s";
        assert_eq!(health.check(), Err(words.to_owned()));
        health.beat(None, None);
        assert_eq!(health.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_store_refuses_is_said_with_its_cause() {
        let health = Health::new(Alarm::new());
        let trouble = StoreTrouble {
            since: Instant::now(),
            what: "outcomes of attempts",
            cause: "no room left to write".to_owned(),
            stops_all: true,
        };
        tokio::time::advance(Duration::from_secs(5)).await;
        health.beat(Some(trouble), None);
        let words = "the store refuses outcomes of attempts for 5 s: no room left to write";
        assert_eq!(health.check(), Err(words.to_owned()));
    }
}
