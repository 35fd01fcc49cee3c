//! One connection with its own small runtime, driven by whoever waits for an answer.
//!
//! No task and no thread drives it in between: what the server says unasked stays in the socket
//! until the next call. Notices and notifications are kept here until they are taken.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Connection, Error, Notification, Socket};

use crate::postgres::tls::TlsStream;

/// What a session hears unasked while nobody takes it; older notices go first.
const NOTICES_MAX: usize = 100;

/// Notifications that nobody takes; older ones go first. They are hints, which may be lost.
const NOTIFICATIONS_MAX: usize = 10_000;

/// How long a goodbye may take.
const GOODBYE_LIMIT: Duration = Duration::from_millis(100);

pub(crate) type ServerConnection = Connection<Socket, TlsStream<Socket>>;

pub(crate) struct Link {
    runtime: Runtime,
    /// None once it has ended.
    connection: Option<ServerConnection>,
    /// What the server said when it ended the connection, or what the network did.
    ended: Option<Error>,
    notices: VecDeque<DbError>,
    notifications: VecDeque<Notification>,
    woken: Arc<Notify>,
}

/// Why a future did not come to its end.
#[derive(Debug)]
pub(crate) struct LimitPassed;

impl Link {
    pub(crate) fn runtime() -> std::io::Result<Runtime> {
        Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
    }

    pub(crate) fn new(runtime: Runtime, connection: ServerConnection) -> Self {
        Self {
            runtime,
            connection: Some(connection),
            ended: None,
            notices: VecDeque::new(),
            notifications: VecDeque::new(),
            woken: Arc::default(),
        }
    }

    /// Drives the connection until `request` is done.
    pub(crate) fn run<T>(
        &mut self,
        limit: Duration,
        request: impl Future<Output = T>,
    ) -> Result<T, LimitPassed> {
        let Self {
            runtime,
            connection,
            ended,
            notices,
            notifications,
            ..
        } = self;
        let mut request = pin!(request);
        let driven = std::future::poll_fn(|cx| {
            // The first poll hands the request over, the second takes what has come meanwhile.
            if let Poll::Ready(done) = request.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            drive(connection, ended, notices, notifications, cx);
            request.as_mut().poll(cx)
        });
        let timed = async { tokio::time::timeout(limit, driven).await };
        runtime.block_on(timed).map_err(|_| LimitPassed)
    }

    /// Drives the connection until there is a notification, the limit has passed, somebody wakes
    /// it, or the connection has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> VecDeque<Notification> {
        let Self {
            runtime,
            connection,
            ended,
            notices,
            notifications,
            woken,
        } = self;
        let mut woken = pin!(woken.notified());
        let heard = std::future::poll_fn(|cx| {
            drive(connection, ended, notices, notifications, cx);
            match woken.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending if !notifications.is_empty() || connection.is_none() => {
                    Poll::Ready(())
                }
                Poll::Pending => Poll::Pending,
            }
        });
        let timed = async { tokio::time::timeout(limit, heard).await };
        drop(runtime.block_on(timed));
        std::mem::take(&mut self.notifications)
    }

    /// Takes what the server has said meanwhile, without waiting: such as that it has ended.
    pub(crate) fn look(&mut self) {
        let Self {
            runtime,
            connection,
            ended,
            notices,
            notifications,
            ..
        } = self;
        runtime.block_on(async {
            // Only with the second turn the runtime has asked the system about the socket.
            tokio::task::yield_now().await;
            std::future::poll_fn(|cx| {
                drive(connection, ended, notices, notifications, cx);
                Poll::Ready(())
            })
            .await;
        });
    }

    /// Runs something beside the connection, which stands still meanwhile.
    pub(crate) fn run_apart<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    pub(crate) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.is_some()
    }

    /// Why the connection has ended, unless it was thrown away.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// The notices since the last call.
    pub(crate) fn take_notices(&mut self) -> VecDeque<DbError> {
        std::mem::take(&mut self.notices)
    }

    /// Closes the socket at once. The server ends whatever was open.
    pub(crate) fn throw_away(&mut self) {
        self.connection = None;
    }
}

impl Drop for Link {
    /// Says goodbye to a server that still answers. The client is gone by now.
    fn drop(&mut self) {
        if tokio::runtime::Handle::try_current().is_ok() {
            return;
        }
        let Self {
            runtime,
            connection,
            ended,
            notices,
            notifications,
            ..
        } = self;
        let closed = std::future::poll_fn(|cx| {
            drive(connection, ended, notices, notifications, cx);
            match connection {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        });
        let timed = async { tokio::time::timeout(GOODBYE_LIMIT, closed).await };
        drop(runtime.block_on(timed));
    }
}

/// Reads and writes what can be read and written now. An ended connection is dropped, so that
/// whoever waits for its answers is told.
fn drive(
    connection: &mut Option<ServerConnection>,
    ended: &mut Option<Error>,
    notices: &mut VecDeque<DbError>,
    notifications: &mut VecDeque<Notification>,
    cx: &mut Context<'_>,
) {
    while let Some(open) = connection {
        match open.poll_message(cx) {
            Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                keep(notices, notice, NOTICES_MAX);
            }
            Poll::Ready(Some(Ok(AsyncMessage::Notification(heard)))) => {
                keep(notifications, heard, NOTIFICATIONS_MAX);
            }
            // The library marks it as open to more.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => {
                *ended = Some(error);
                *connection = None;
            }
            Poll::Ready(None) => *connection = None,
            Poll::Pending => return,
        }
    }
}

fn keep<T>(kept: &mut VecDeque<T>, new: T, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(new);
}
