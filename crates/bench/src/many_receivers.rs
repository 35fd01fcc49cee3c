//! Very many receivers, each at an address of its own on one port of this machine, with TLS or
//! without: how often they are connected to, and what comes over each connection.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{self, Certificates};
use crate::receiver::{ReceiverTally, answer};
use crate::tasks;

/// Idle connections are closed after so long.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What very many receivers need.
#[derive(Default)]
pub(crate) struct ManySetup {
    /// None: no TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The file with what the server is to trust.
    pub(crate) roots: Option<PathBuf>,
    /// Webhooks have targets by name.
    pub(crate) by_name: bool,
}

/// Receivers that run until this is dropped.
pub(crate) struct ManyReceivers {
    by_name: bool,
    shared: Arc<Shared>,
    port: u16,
    _stop: watch::Sender<()>,
}

struct Shared {
    /// None: without TLS.
    certificates: Option<Arc<Certificates>>,
    /// Whether connections are closed after each answer.
    closes: AtomicBool,
    /// Connections of each receiver.
    connections: Vec<AtomicU64>,
    full: AtomicU64,
    resumed: AtomicU64,
}

impl ManySetup {
    /// Starts so many receivers.
    pub(crate) async fn start(
        &self,
        count: usize,
        tally: Arc<ReceiverTally>,
    ) -> Result<ManyReceivers> {
        // All addresses of the loopback; whoever comes by another is turned away.
        let listener = tasks::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            certificates: self.certificates.clone(),
            closes: AtomicBool::new(true),
            connections: (0..count).map(|_| AtomicU64::default()).collect(),
            full: AtomicU64::default(),
            resumed: AtomicU64::default(),
        });
        let (stop, stopped) = watch::channel(());
        tasks::spawn(accept(listener, stopped, Arc::clone(&shared), tally));
        Ok(ManyReceivers {
            by_name: self.by_name,
            shared,
            port,
            _stop: stop,
        })
    }
}

impl ManyReceivers {
    /// The target URL of a webhook.
    pub(crate) fn url(&self, webhook: usize) -> String {
        let scheme = match self.shared.certificates {
            Some(_) => "https",
            None => "http",
        };
        let host = match self.by_name {
            true => certificates::name(webhook),
            false => certificates::address(webhook).to_string(),
        };
        format!("{scheme}://{host}:{}/{webhook}", self.port)
    }

    pub(crate) fn socket(&self, index: usize) -> SocketAddr {
        SocketAddr::from((certificates::address(index), self.port))
    }

    /// From now on connections are closed after each answer, or kept.
    pub(crate) fn close_after_answers(&self, closes: bool) {
        self.shared.closes.store(closes, Ordering::Relaxed);
    }

    /// Connections to the receivers of these indices so far.
    pub(crate) fn connections(&self, range: std::ops::Range<usize>) -> u64 {
        let connections = self.shared.connections.get(range).unwrap_or_default();
        connections
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Handshakes so far: full ones, and resumed ones.
    pub(crate) fn handshakes(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.full), count(&self.shared.resumed))
    }
}

async fn accept(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    shared: Arc<Shared>,
    tally: Arc<ReceiverTally>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Most likely out of file descriptors; some will be closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let here = stream.local_addr().map(|address| address.ip());
        let index = here.ok().and_then(certificates::index);
        if !peer.ip().is_loopback() {
            continue;
        }
        let Some(index) = index.filter(|index| *index < shared.connections.len()) else {
            continue;
        };
        stream.set_nodelay(true).ok();
        let (shared, tally, mut stopped) =
            (Arc::clone(&shared), Arc::clone(&tally), stopped.clone());
        tasks::spawn(async move {
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                () = receive(stream, index, &shared, &tally) => {}
            }
        });
    }
}

/// Agrees on TLS, if that is what it is for, and answers.
async fn receive(
    stream: TcpStream,
    index: usize,
    shared: &Arc<Shared>,
    tally: &Arc<ReceiverTally>,
) {
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    if let Some(connections) = shared.connections.get(index) {
        count(connections);
    }
    let Some(certificates) = &shared.certificates else {
        return answer_on(stream, shared, tally).await;
    };
    let Some(config) = certificates.of(index) else {
        return;
    };
    // A broken handshake is the sender's concern.
    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
        match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => count(&shared.resumed),
            Some(_) | None => count(&shared.full),
        };
        answer_on(stream, shared, tally).await;
    }
}

async fn answer_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    shared: &Arc<Shared>,
    tally: &Arc<ReceiverTally>,
) {
    let (used, mut uses) = watch::channel(Instant::now());
    let used = Arc::new(used);
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, tally) = (Arc::clone(shared), Arc::clone(tally));
        let used = Arc::clone(&used);
        async move {
            let mut response: Response<Empty<Bytes>> = answer(tally, request).await;
            if shared.closes.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            used.send_replace(Instant::now());
            Ok::<_, Infallible>(response)
        }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let idle = async {
        loop {
            let until = *uses.borrow_and_update() + KEPT_FOR;
            tokio::select! {
                biased;
                _ = uses.changed() => {}
                () = sleep_until(until) => return,
            }
        }
    };
    // A broken connection is the sender's concern.
    tokio::select! {
        biased;
        _ = served => {}
        () = idle => {}
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn each_receiver_has_an_address_that_says_which_it_is() {
        for index in [0, 1, 255, 256, 1_999, 70_000] {
            let address = IpAddr::V4(certificates::address(index));
            assert!(address.is_loopback());
            assert_eq!(certificates::index(address), Some(index));
        }
        assert_eq!(certificates::index(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }
}
