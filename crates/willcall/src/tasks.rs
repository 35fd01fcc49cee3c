//! The one place of this crate that spawns.

/// Spawns a task. When the process stops, the task is dropped wherever it is.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate's one place that spawns"
    )]
    drop(tokio::spawn(task));
}
