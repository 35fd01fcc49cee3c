//! Work with a session on a thread of its own: a session has a runtime, and no thread can be in
//! two.

use std::thread;

use crate::OpenError;

/// Runs work on a new thread, and waits for it.
pub(crate) fn apart<T: Send, E: From<OpenError> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("store open".to_owned());
        let working = builder.spawn_scoped(scope, work);
        let working = working.map_err(|error| OpenError::NoThreads(error.to_string()))?;
        match working.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
