//! Locks of this crate.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What stands behind a lock is whole at every moment, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
