//! Live pages: streams of server-sent events (WHATWG HTML, 9.2) that carry fragments made by the
//! page's own templates. A page says what is new (`Feed`); this file says when it is asked, and
//! when the stream ends.
//!
//! A stream asks the store at most once a second, and only if something was written since. It ends
//! with the rights of its user, when the server stops, and after some minutes in any case. The
//! browser then reconnects and goes on where it was (docs/decisions/0019).

use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::transport::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use model::id::TenantId;
use model::refusal::Refusal;
use model::time::Timestamp;
use model::users::Role;
use tokio::sync::watch;
use tokio::time::Instant;

use super::page_context::PageContext;
use super::response::{PageError, PageResponse};
use super::stream_slots::{StreamSlot, StreamSlots};
use super::view::HtmlFragment;
use super::visit::Visit;

/// The shortest time between two questions to the store.
const EVERY: Duration = Duration::from_secs(1);

/// After this long without news a comment keeps the connection alive: proxies close idle ones after
/// half a minute or more.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How often the rights of the user are checked again.
const JUDGE_EVERY: Duration = Duration::from_secs(10);

/// The longest life of a stream.
const LASTS: Duration = Duration::from_secs(5 * 60);

/// How long a browser waits before it reconnects.
const RETRY_MS: u32 = 2_000;

/// The header in which a reconnecting browser sends the latest id it got.
const LAST_EVENT_ID: &str = "last-event-id";

/// A source of news for a stream.
pub(crate) trait Feed: Send + Sync + 'static {
    /// What is new since the previous question, or since the mark that it started from.
    fn look<'a>(&'a mut self, context: &'a PageContext, now: Timestamp) -> NewsFuture<'a>;
}

pub(crate) type NewsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<FeedUpdate, Refusal>> + Send + 'a>>;

/// News of a feed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FeedUpdate {
    pub(crate) tidings: Vec<FeedItem>,
    /// Where to go on after these items, in the feed's own format: letters, digits, `._-`.
    pub(crate) mark: String,
    /// Not everything was read: ask again even if nothing is written meanwhile.
    pub(crate) again: bool,
    /// There will be no more news.
    pub(crate) over: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FeedItem {
    /// An element with an `id`: it replaces the one there is, or becomes the first child of the one
    /// that its `data-in` names.
    Put(HtmlFragment),
    /// More arrives than is shown.
    TooMany,
}

/// The mark to start from: the latest id that the browser got, else the one in the page.
pub(crate) fn mark_of(visit: &Visit) -> &str {
    let heard = visit.headers.get(LAST_EVENT_ID);
    let heard = heard.and_then(|mark| mark.to_str().ok());
    heard
        .or_else(|| visit.query.get("mark"))
        .unwrap_or_default()
}

/// A response that streams what `feed` has.
///
/// # Errors
/// If nobody is signed in.
pub(crate) fn follow(visit: &Visit, feed: impl Feed) -> Result<PageResponse, PageError> {
    let session = visit.session().ok_or(PageError::SignIn)?;
    let user = visit.user()?.id;
    let Some(slot) = StreamSlots::take(&visit.context.stream_slots, user, session) else {
        // For a browser 204 means: do not reconnect.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let now = Instant::now();
    let stream = LiveStream {
        context: Arc::clone(&visit.context),
        stopping: visit.context.stopping.clone(),
        governed_by: visit.governed_by()?,
        slot,
        feed: Box::new(feed),
        changes: None,
        looked_at: None,
        told_at: now,
        judged_at: now,
        ends_at: now + LASTS,
        over: false,
    };
    let mut response = Response::new(Body::new(EventStreamBody(Some(Box::pin(stream.next())))));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    // Has nginx not buffer it.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

struct LiveStream {
    context: Arc<PageContext>,
    stopping: watch::Receiver<bool>,
    /// Whose roles count; `None`: the server's own.
    governed_by: Option<TenantId>,
    slot: StreamSlot,
    feed: Box<dyn Feed>,
    /// `Catalog::changes` before the latest look.
    changes: Option<u64>,
    looked_at: Option<Instant>,
    told_at: Instant,
    judged_at: Instant,
    ends_at: Instant,
    over: bool,
}

impl LiveStream {
    /// The next chunk of the response; `None` at its end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if self.over || Instant::now() >= self.ends_at || !self.wait().await {
                return None;
            }
            if self.judged_at.elapsed() >= JUDGE_EVERY {
                if !self.may_follow().await {
                    return None;
                }
                self.judged_at = Instant::now();
            }
            let mut text = String::new();
            if self.looked_at.is_none() {
                text = format!("retry: {RETRY_MS}\n\n");
            }
            // Read before the feed is asked: what is written in between is looked at once more.
            let changes = Some(self.context.store.get().changes());
            if self.changes != changes {
                let now = self.context.clock.now();
                // An error of the store ends the stream: the browser reconnects for the rest.
                let news = self.feed.look(&self.context, now).await.ok()?;
                self.changes = changes.filter(|_| !news.again);
                self.over = news.over;
                text.push_str(&events_of(&news));
            }
            self.looked_at = Some(Instant::now());
            if text.is_empty() && self.told_at.elapsed() >= ALIVE_EVERY {
                text.push_str(":\n\n");
            }
            if !text.is_empty() {
                self.told_at = Instant::now();
                return Some((text.into(), self));
            }
        }
    }

    /// Waits until the store may be asked again. Returns whether to go on at all.
    async fn wait(&mut self) -> bool {
        let next_at = match self.looked_at {
            None => Instant::now(),
            Some(at) => at + EVERY,
        };
        tokio::select! {
            biased;
            // A dropped sender means the same.
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
            () = tokio::time::sleep_until(next_at) => true,
        }
    }

    async fn may_follow(&self) -> bool {
        let (session, now) = (self.slot.session, self.context.clock.certain());
        let user = self.context.signed_in(session, now).await;
        let user = user.ok().flatten();
        let role = user.and_then(|user| user.role_over(self.governed_by));
        role.is_some_and(|role| role >= Role::Look)
    }
}

/// News as server-sent events. The mark comes with the last one, so that a browser that got only
/// some of them gets all of them again.
fn events_of(news: &FeedUpdate) -> String {
    let mut text = String::new();
    let last = news.tidings.len().saturating_sub(1);
    for (index, tiding) in news.tidings.iter().enumerate() {
        let (kind, data) = match tiding {
            FeedItem::Put(part) => ("put", part.as_str()),
            FeedItem::TooMany => ("too-many", ""),
        };
        if index == last {
            line(&mut text, "id", &news.mark);
        }
        line(&mut text, "event", kind);
        // CR, LF and CRLF each end a line in an event stream.
        for data in data.split('\n').flat_map(|data| data.split('\r')) {
            line(&mut text, "data", data);
        }
        text.push('\n');
    }
    if news.over {
        text.push_str("event: over\ndata\n\n");
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{name}: {value}").unwrap_or_default();
}

type NextChunk = Pin<Box<dyn Future<Output = Option<(Bytes, LiveStream)>> + Send>>;

/// The stream as a response body. A chunk is made when the connection takes it, so a slow reader
/// costs one chunk.
struct EventStreamBody(Option<NextChunk>);

impl http_body::Body for EventStreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let Poll::Ready(piece) = next.as_mut().poll(context) else {
            return Poll::Pending;
        };
        let (frame, next): (_, Option<NextChunk>) = match piece {
            Some((bytes, stream)) => (Some(Ok(Frame::data(bytes))), Some(Box::pin(stream.next()))),
            None => (None, None),
        };
        self.0 = next;
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tiding_carries_the_mark_and_lines_stay_lines() {
        let news = FeedUpdate {
            tidings: vec![
                FeedItem::Put(HtmlFragment::plain("<b>\r\nid: 7\r")),
                FeedItem::TooMany,
            ],
            mark: "dlv_1_1.5".to_owned(),
            again: false,
            over: true,
        };
        assert_eq!(
            events_of(&news),
            "event: put\ndata: <b>\ndata: \ndata: id: 7\ndata: \n\n\
             id: dlv_1_1.5\nevent: too-many\ndata: \n\nevent: over\ndata\n\n"
        );
    }
}
