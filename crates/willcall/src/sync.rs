//! Locks that go on after a panic. What they guard is whole between two statements, so a thread
//! that panicked while it held one has spoiled nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
