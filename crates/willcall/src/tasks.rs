//! The one place of this crate that spawns.

/// Runs beside everything else. What it does must not matter once the process stops.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate's one place that spawns"
    )]
    drop(tokio::spawn(task));
}
