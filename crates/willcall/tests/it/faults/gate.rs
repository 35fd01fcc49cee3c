//! A gate: what a receiver has not answered, until it is opened.

use std::sync::{Condvar, Mutex};

use crate::harness::PATIENCE;

/// Calls that are not answered yet.
#[derive(Default)]
pub(super) struct Gate {
    is_open: Mutex<bool>,
    opens: Condvar,
}

impl Gate {
    pub(super) fn pass(&self) {
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            let (again, waited) = self.opens.wait_timeout(is_open, PATIENCE).unwrap();
            assert!(!waited.timed_out());
            is_open = again;
        }
    }

    pub(super) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opens.notify_all();
    }
}
