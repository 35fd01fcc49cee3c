//! The one place of this crate that spawns and listens.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Spawns a task. When the process stops, the task is dropped wherever it is.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate's one place that spawns"
    )]
    drop(tokio::spawn(task));
}

/// Runs `work` on a thread of its own, whose CPU time is that of the work alone.
pub(crate) fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("bench-alone".to_owned());
    let started = thread.spawn(move || drop(tell.send(work())));
    async move {
        started.context("a thread cannot be started")?;
        told.await.context("a thread of the benchmark fell over")
    }
}

/// Listens on `address`.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate's one place that listens"
    )]
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}
