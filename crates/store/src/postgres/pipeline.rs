//! Requests that are sent at once and answered in order.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

/// Parameters of one statement, in the order of `$1`, `$2`.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// What came of one statement of several.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Row>,
    /// How many rows it changed or, if it has columns, returned.
    pub(crate) count: u64,
}

pub(crate) type Request<'a> = Pin<Box<dyn Future<Output = Result<Answer, Error>> + 'a>>;

/// A text without parameters, of which nothing is returned.
pub(crate) fn text<'a>(client: &'a Client, sql: &'a str) -> Request<'a> {
    Box::pin(async move { client.batch_execute(sql).await.map(|()| Answer::default()) })
}

pub(crate) fn bound<'a>(
    client: &'a Client,
    statement: &'a Statement,
    params: Params<'a>,
) -> Request<'a> {
    Box::pin(async move {
        if statement.columns().is_empty() {
            let count = client.execute(statement, params).await?;
            return Ok(Answer {
                rows: Vec::new(),
                count,
            });
        }
        let rows = client.query(statement, params).await?;
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(Answer { rows, count })
    })
}

/// What came of all.
#[derive(Debug)]
pub(crate) struct Answered {
    /// In the order of the requests. Fewer if they were not all sent.
    pub(crate) answers: Vec<Result<Answer, Error>>,
    /// Whether the last one was sent.
    pub(crate) is_sent: bool,
}

enum Slot<'a> {
    Waiting(Request<'a>),
    Done(Result<Answer, Error>),
}

/// Sends all, in their order, and answers once all are answered. If one cannot be sent, those
/// behind it are not.
pub(crate) async fn all(requests: Vec<Request<'_>>) -> Answered {
    let mut slots: Vec<Slot<'_>> = requests.into_iter().map(Slot::Waiting).collect();
    // A request is sent when it is polled for the first time.
    let sent = std::future::poll_fn(|cx| {
        let failed = slots.iter_mut().position(|slot| !slot.is_sent(cx));
        Poll::Ready(failed.unwrap_or(slots.len()))
    });
    let sent = sent.await;
    let is_sent = sent == slots.len();
    slots.truncate(sent.saturating_add(1));
    let mut answers = Vec::with_capacity(slots.len());
    for slot in slots {
        answers.push(match slot {
            Slot::Waiting(request) => request.await,
            Slot::Done(answer) => answer,
        });
    }
    Answered { answers, is_sent }
}

impl Slot<'_> {
    fn is_sent(&mut self, cx: &mut Context<'_>) -> bool {
        let Self::Waiting(request) = self else {
            return true;
        };
        let Poll::Ready(answer) = request.as_mut().poll(cx) else {
            return true;
        };
        let is_sent = answer.is_ok();
        *self = Self::Done(answer);
        is_sent
    }
}
