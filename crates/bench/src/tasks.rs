//! The one place of this crate that spawns and listens.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

/// Spawns a task. When the process stops, the task is dropped wherever it is.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this crate's one place that spawns"
    )]
    drop(tokio::spawn(task));
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
