//! The benchmark's receiver: answers 200 as fast as it can, and records for every notification and
//! webhook whether, when and how often it was received. Calls to some webhooks may be left to hang.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::tasks;

/// How long a call to a webhook that hangs stays unanswered.
const HANGS_FOR: Duration = Duration::from_secs(30);

/// What was received, and when.
pub(crate) struct ReceiverTally {
    began: Instant,
    number: fn(&[u8]) -> Option<u64>,
    notifications: usize,
    webhooks: Webhooks,
    /// Webhooks with a lower index hang.
    hanging: usize,
    /// For each expected pair of webhook and notification: when it was first received, in
    /// microseconds since `began` plus one; 0 before.
    first: Vec<AtomicU64>,
    received: AtomicU64,
    /// Repeated calls to webhooks that answer.
    again: AtomicU64,
    /// Unexpected calls.
    strange: AtomicU64,
    bytes: AtomicU64,
}

/// Which webhooks get a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Webhooks {
    /// Each of so many webhooks gets every notification.
    All(usize),
    /// One of so many webhooks gets it.
    One(usize),
}

impl ReceiverTally {
    pub(crate) fn new(
        number: fn(&[u8]) -> Option<u64>,
        webhooks: Webhooks,
        notifications: u64,
        hanging: usize,
    ) -> Result<Arc<Self>> {
        let notifications = usize::try_from(notifications)?;
        let places = match webhooks {
            Webhooks::All(count) => count.saturating_mul(notifications),
            Webhooks::One(_) => notifications,
        };
        Ok(Arc::new(Self {
            began: Instant::now(),
            number,
            notifications,
            webhooks,
            hanging,
            first: std::iter::repeat_with(AtomicU64::default)
                .take(places)
                .collect(),
            received: AtomicU64::default(),
            again: AtomicU64::default(),
            strange: AtomicU64::default(),
            bytes: AtomicU64::default(),
        }))
    }

    /// Records a call; returns the webhook that it was for.
    fn note(&self, path: &str, body: &[u8]) -> Option<usize> {
        let at = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        self.bytes.fetch_add(length, Ordering::Relaxed);
        let webhook = path.rsplit('/').next()?.parse::<usize>().ok();
        let number = (self.number)(body).and_then(|number| usize::try_from(number).ok());
        let owed = webhook.zip(number);
        let Some(place) = owed.and_then(|(webhook, number)| self.place(webhook, number)) else {
            self.strange.fetch_add(1, Ordering::Relaxed);
            return webhook;
        };
        let order = Ordering::Relaxed;
        match place.compare_exchange(0, at.saturating_add(1), order, order) {
            Ok(_) => self.received.fetch_add(1, Ordering::Release),
            // A call that hangs is rightly retried.
            Err(_) if webhook < Some(self.hanging) => 0,
            Err(_) => self.again.fetch_add(1, order),
        };
        webhook
    }

    fn place(&self, webhook: usize, number: usize) -> Option<&AtomicU64> {
        if number >= self.notifications {
            return None;
        }
        match self.webhooks {
            Webhooks::All(_) => {
                let before = webhook.checked_mul(self.notifications)?;
                self.first.get(before.checked_add(number)?)
            }
            Webhooks::One(count) if webhook < count => self.first.get(number),
            Webhooks::One(_) => None,
        }
    }

    /// When a notification was first received for a webhook, since the tally began.
    pub(crate) fn came(&self, webhook: usize, number: u64) -> Option<Duration> {
        let number = usize::try_from(number).ok()?;
        let at = self.place(webhook, number)?.load(Ordering::Relaxed);
        at.checked_sub(1).map(Duration::from_micros)
    }

    /// When the very first was received.
    pub(crate) fn first(&self) -> Option<Instant> {
        let came = self.first.iter().map(|at| at.load(Ordering::Relaxed));
        let first = came.filter_map(|at| at.checked_sub(1)).min()?;
        Some(self.began + Duration::from_micros(first))
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    pub(crate) fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    pub(crate) fn strange(&self) -> u64 {
        self.strange.load(Ordering::Relaxed)
    }

    /// Bytes of all bodies.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// All calls.
    pub(crate) fn calls(&self) -> u64 {
        self.received() + self.again() + self.strange()
    }
}

/// A receiver that runs until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    _stop: watch::Sender<()>,
}

impl Receiver {
    pub(crate) async fn start(address: SocketAddr, tally: Arc<ReceiverTally>) -> Result<Self> {
        let listener = tasks::bind(address).await.with_context(|| {
            format!("the benchmark's receiver needs {address}; choose another with --receiver")
        })?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let answer = move |request| answer(Arc::clone(&tally), request);
        tasks::spawn(answer_all(listener, stopped, answer));
        Ok(Self {
            address,
            _stop: stop,
        })
    }

    /// The target URL of a webhook.
    pub(crate) fn url(&self, webhook: usize) -> String {
        format!("http://{}/{webhook}", self.address)
    }
}

/// Answers every request by `answer`, until told to stop.
pub(crate) async fn answer_all<F>(
    listener: TcpListener,
    mut stopped: watch::Receiver<()>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Response<Empty<Bytes>>> + Send,
{
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Most likely out of file descriptors; some will be closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        stream.set_nodelay(true).ok();
        let (answer, mut stopped) = (answer.clone(), stopped.clone());
        tasks::spawn(async move {
            let answer = service_fn(move |request| {
                let answering = answer(request);
                async { Ok::<_, Infallible>(answering.await) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let served = connection.serve_connection(TokioIo::new(stream), answer);
            // A broken connection is the sender's concern.
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                _ = served => {}
            }
        });
    }
}

/// Records a call and answers it.
pub(crate) async fn answer(
    tally: Arc<ReceiverTally>,
    request: Request<Incoming>,
) -> Response<Empty<Bytes>> {
    let (head, body) = request.into_parts();
    // An incomplete call has no number and counts as unexpected.
    let body = body.collect().await.map(|body| body.to_bytes());
    let webhook = tally.note(head.uri.path(), &body.unwrap_or_default());
    if webhook.is_some_and(|webhook| webhook < tally.hanging) {
        tokio::time::sleep(HANGS_FOR).await;
    }
    Response::new(Empty::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(body: &[u8]) -> Option<u64> {
        std::str::from_utf8(body).ok()?.parse().ok()
    }

    #[test]
    fn what_came_twice_and_what_nobody_expects_is_told_apart() {
        let tally = ReceiverTally::new(number, Webhooks::All(2), 3, 0).unwrap();
        assert_eq!(tally.note("/1", b"2"), Some(1));
        assert_eq!(tally.note("/1", b"2"), Some(1));
        // Not the first notification of the next webhook.
        assert_eq!(tally.note("/0", b"3"), Some(0));
        assert_eq!(tally.note("/2", b"0"), Some(2));
        assert_eq!(tally.note("/1", b"x"), Some(1));
        assert_eq!(tally.note("/other", b"1"), None);
        assert_eq!((tally.received(), tally.again()), (1, 1));
        assert_eq!((tally.strange(), tally.calls()), (4, 6));
        assert!(tally.came(1, 2).is_some() && tally.came(1, 1).is_none());
    }

    #[test]
    fn what_hangs_may_come_again() {
        let tally = ReceiverTally::new(number, Webhooks::All(2), 1, 1).unwrap();
        for path in ["/0", "/0", "/1", "/1"] {
            tally.note(path, b"0");
        }
        assert_eq!((tally.received(), tally.again()), (2, 1));
    }

    #[test]
    fn what_is_owed_to_one_of_several_counts_once() {
        let tally = ReceiverTally::new(number, Webhooks::One(2), 3, 0).unwrap();
        tally.note("/0", b"0");
        tally.note("/1", b"1");
        tally.note("/1", b"0");
        tally.note("/2", b"2");
        assert_eq!(
            (tally.received(), tally.again(), tally.strange()),
            (2, 1, 1)
        );
    }
}
