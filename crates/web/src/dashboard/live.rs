//! Live pages: streams of server-sent events (WHATWG HTML, 9.2), each a page's own fragments made
//! by the page's own templates. What is told comes from the page (`Feed`); this file says when it
//! is asked, and when the stream ends.
//!
//! A stream asks the store at most once a second, and only if something was written meanwhile. It
//! ends with the rights of whoever follows it, when the house stops, and after some minutes in any
//! case; a browser then comes back and goes on where it was (docs/decisions/0019).

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

use super::response::{PageError, PageResponse};
use super::services::Services;
use super::stream_slots::{StreamSlot, StreamSlots};
use super::view::HtmlFragment;
use super::visit::Visit;

/// How often the store is asked at most.
const EVERY: Duration = Duration::from_secs(1);

/// After this long without news the connection gets a sign of life: proxies close idle ones after
/// half a minute or more.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How often it is judged again whether the follower may see this.
const JUDGE_EVERY: Duration = Duration::from_secs(10);

/// How long a stream lasts at most.
const LASTS: Duration = Duration::from_secs(5 * 60);

/// How long a browser waits before it comes back.
const RETRY_MS: u32 = 2_000;

/// What a stream brings what it was asked for by.
const LAST_EVENT_ID: &str = "last-event-id";

/// What has news for a stream.
pub(crate) trait Feed: Send + Sync + 'static {
    /// What is new since it was asked before, or since the mark that it began from.
    fn look<'a>(&'a mut self, services: &'a Services, now: Timestamp) -> NewsFuture<'a>;
}

pub(crate) type NewsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<FeedUpdate, Refusal>> + Send + 'a>>;

/// What a feed has to tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FeedUpdate {
    pub(crate) tidings: Vec<FeedItem>,
    /// From where to go on after all of them, in the feed's own words: letters, digits, `._-`.
    pub(crate) mark: String,
    /// Not all was looked at: to be asked again even if nothing is written meanwhile.
    pub(crate) again: bool,
    /// Nothing will be new any more.
    pub(crate) over: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FeedItem {
    /// An element with an `id`: takes the place of the one there is, or is put first into the one
    /// that its `data-in` names.
    Put(HtmlFragment),
    /// More arrives than is told.
    TooMany,
}

/// From where the page has it: what the browser says it heard last, else what the page said when
/// it was made.
pub(crate) fn mark_of(visit: &Visit) -> &str {
    let heard = visit.headers.get(LAST_EVENT_ID);
    let heard = heard.and_then(|mark| mark.to_str().ok());
    heard
        .or_else(|| visit.query.get("mark"))
        .unwrap_or_default()
}

/// An answer that tells what `feed` has, as it comes.
///
/// # Errors
/// If nobody is signed in.
pub(crate) fn follow(visit: &Visit, feed: impl Feed) -> Result<PageResponse, PageError> {
    let session = visit.session().ok_or(PageError::SignIn)?;
    let user = visit.user()?.id;
    let Some(slot) = StreamSlots::take(&visit.services.stream_slots, user, session) else {
        // To a browser this means not to come back by itself.
        let mut shown = Response::new(Body::empty());
        *shown.status_mut() = StatusCode::NO_CONTENT;
        return Ok(shown);
    };
    let now = Instant::now();
    let stream = LiveStream {
        services: Arc::clone(&visit.services),
        stopping: visit.services.stopping.clone(),
        tenant: visit.tenant()?.id,
        slot,
        feed: Box::new(feed),
        changes: None,
        looked_at: None,
        told_at: now,
        judged_at: now,
        ends_at: now + LASTS,
        over: false,
    };
    let mut shown = Response::new(Body::new(EventStreamBody(Some(Box::pin(stream.next())))));
    let headers = shown.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    // Asks nginx not to hold it back.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(shown)
}

struct LiveStream {
    services: Arc<Services>,
    stopping: watch::Receiver<bool>,
    tenant: TenantId,
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
    /// The next piece of the answer; nothing at its end.
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
            // Asked before looking: what is written in between is looked at once more.
            let changes = Some(self.services.store.get().changes());
            if self.changes != changes {
                let now = self.services.clock.now();
                // A store in trouble ends it: the browser comes back for the rest.
                let news = self.feed.look(&self.services, now).await.ok()?;
                self.changes = changes.filter(|_| !news.again);
                self.over = news.over;
                text.push_str(&told(&news));
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

    /// Waits until the store may be asked again; answers whether to go on at all.
    async fn wait(&mut self) -> bool {
        let next_at = match self.looked_at {
            None => Instant::now(),
            Some(at) => at + EVERY,
        };
        tokio::select! {
            biased;
            // Nobody left to say so means the same.
            _ = self.stopping.wait_for(|stopping| *stopping) => false,
            () = tokio::time::sleep_until(next_at) => true,
        }
    }

    async fn may_follow(&self) -> bool {
        let (session, now) = (self.slot.session, self.services.clock.certain());
        let user = self
            .services
            .store
            .ask(|store| store.session(session, now))
            .await;
        let user = user.ok().flatten();
        let role = user.and_then(|user| user.role_at(self.tenant));
        role.is_some_and(|role| role >= Role::Look)
    }
}

/// News in the form of event streams. The mark comes with the last one, so that whoever hears
/// only some of them is told all again.
fn told(news: &FeedUpdate) -> String {
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
        // Each of the three ends a line in an event stream.
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

/// The stream as the body of an answer: made piece by piece as the connection takes it, so a slow
/// reader costs one piece.
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
            told(&news),
            "event: put\ndata: <b>\ndata: \ndata: id: 7\ndata: \n\n\
             id: dlv_1_1.5\nevent: too-many\ndata: \n\nevent: over\ndata\n\n"
        );
    }
}
