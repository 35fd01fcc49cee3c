//! Wakes the thread that spreads notifications (`fan_out_thread.rs`).

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sync::lock;

/// How often it looks without being woken. Also the pause after a failure.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Wakes the thread, and ends it.
#[derive(Default)]
pub(crate) struct FanOutWaker {
    state: Mutex<WakerState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakerState {
    is_woken: bool,
    is_closed: bool,
}

impl FanOutWaker {
    /// There is something to spread.
    pub(crate) fn wake(&self) {
        lock(&self.state).is_woken = true;
        self.changed.notify_all();
    }

    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Waits to be woken, or for its time to look. False once it is closed.
    pub(crate) fn wait(&self) -> bool {
        let state = lock(&self.state);
        let is_idle = |state: &mut WakerState| !state.is_woken && !state.is_closed;
        let waited = self.changed.wait_timeout_while(state, LOOK_EVERY, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_woken = false;
        !state.is_closed
    }
}
