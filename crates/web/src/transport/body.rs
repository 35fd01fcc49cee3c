//! Bodies of requests and responses, and reading those of requests: never more than the limit,
//! never for longer than the time limit.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use model::limits::SMALL_BODY_BYTES_MAX;
use model::refusal::Refusal;

use super::body_budget::{BodyBudget, BodyReservation, BudgetOwner};
use super::limit::within;

/// A body must arrive within this time.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// The body of a request or a response.
pub struct Body(BodyKind);

enum BodyKind {
    Whole(Bytes),
    /// A stream.
    Flow(BodyStream),
    /// A stream with an observer.
    Watched(BodyStream, Arc<dyn BodyObserver>),
}

/// Observes whether a request waits.
pub trait BodyObserver: Send + Sync {
    /// It waits for its client, or for memory.
    fn waits(&self);

    /// It continues.
    fn works(&self);
}

type BodyStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// Why the rest of a body does not arrive. Only the sender could tell more.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl Body {
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self(BodyKind::Flow(Box::pin(body.map_err(Into::into))))
    }

    /// A request body whose observer is told whether it waits while it is read.
    pub fn watched<B>(body: B, watch: Arc<dyn BodyObserver>) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        match Self::new(body).0 {
            BodyKind::Flow(flow) => Self(BodyKind::Watched(flow, watch)),
            other @ (BodyKind::Whole(_) | BodyKind::Watched(..)) => Self(other),
        }
    }

    /// Tells the observer whether it waits.
    fn note(&mut self, waits: bool) {
        if let BodyKind::Watched(_, watch) = &mut self.0 {
            match waits {
                true => watch.waits(),
                false => watch.works(),
            }
        }
    }

    pub fn empty() -> Self {
        Self(BodyKind::Whole(Bytes::new()))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(whole: T) -> Self {
        Self(BodyKind::Whole(whole.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.0 {
            BodyKind::Whole(whole) if whole.is_empty() => Poll::Ready(None),
            BodyKind::Whole(whole) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(whole))))),
            BodyKind::Flow(flow) | BodyKind::Watched(flow, _) => flow.as_mut().poll_frame(context),
        };
        self.note(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyKind::Whole(whole) => whole.is_empty(),
            BodyKind::Flow(flow) | BodyKind::Watched(flow, _) => flow.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Whole(whole) => SizeHint::with_exact(whole.len() as u64),
            BodyKind::Flow(flow) | BodyKind::Watched(flow, _) => flow.size_hint(),
        }
    }
}

/// Where a body that is not small reserves memory, and the flag that is set while it waits.
pub(crate) struct BodyAdmission<'a> {
    pub(crate) room: &'a BodyBudget,
    pub(crate) owner: BudgetOwner,
    pub(crate) waits: &'a AtomicBool,
}

/// Reads a body of at most `most` bytes. Returns its reservation, too, if it is not small.
pub(crate) async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    space: BodyAdmission<'a>,
) -> Result<(Bytes, Option<BodyReservation<'a>>), Refusal> {
    arrived(headers, body, most, Some(space)).await
}

/// Reads a body of at most `most` bytes, which counts as small whatever its length.
pub(crate) async fn read_small(
    headers: &HeaderMap,
    body: Body,
    most: usize,
) -> Result<Bytes, Refusal> {
    let (whole, _) = arrived(headers, body, most.min(SMALL_BODY_BYTES_MAX), None).await?;
    Ok(whole)
}

async fn arrived<'a>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    space: Option<BodyAdmission<'a>>,
) -> Result<(Bytes, Option<BodyReservation<'a>>), Refusal> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let declared: Option<usize> = declared.and_then(|digits| digits.parse().ok());
    if declared > Some(most) {
        return Err(Refusal::TooLarge(most));
    }
    let mut whole = pin!(whole(body, most, declared.unwrap_or(0), space));
    // A small body arrives with the head of its request and needs no timer.
    let polled = poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await;
    if let Poll::Ready(read) = polled {
        return read;
    }
    let read = within(ARRIVAL_LIMIT, whole).await;
    read.unwrap_or(Err(Refusal::TooSlow))
}

/// Reads a body, unless it is longer than `most`. Memory is reserved for what arrives, not for what
/// is declared.
async fn whole(
    mut body: Body,
    most: usize,
    declared: usize,
    space: Option<BodyAdmission<'_>>,
) -> Result<(Bytes, Option<BodyReservation<'_>>), Refusal> {
    let mut buffer = BodyBuffer::new(most);
    while !http_body::Body::is_end_stream(&body)
        && let Some(frame) = body.frame().await
    {
        buffer.add(frame)?;
        if buffer.bytes > SMALL_BODY_BYTES_MAX
            && let Some(space) = space
        {
            // Boxed: rare, and this part of the future would be moved with every request.
            return Box::pin(rest(body, buffer, declared, space)).await;
        }
    }
    Ok((buffer.end(), None))
}

/// Reads the rest of a body that turned out not to be small.
async fn rest(
    mut body: Body,
    mut buffer: BodyBuffer,
    declared: usize,
    space: BodyAdmission<'_>,
) -> Result<(Bytes, Option<BodyReservation<'_>>), Refusal> {
    let mut taken = space.room.begin(space.owner, declared);
    loop {
        {
            let mut grown = pin!(taken.grow(buffer.bytes));
            let waiting = poll_fn(|context| {
                let polled = grown.as_mut().poll(context);
                space.waits.store(polled.is_pending(), Ordering::Relaxed);
                body.note(polled.is_pending());
                polled
            });
            waiting.await?;
        }
        if http_body::Body::is_end_stream(&body) {
            break;
        }
        let frame = tokio::select! {
            biased;
            refusal = taken.give_way() => return Err(refusal),
            frame = body.frame() => frame,
        };
        match frame {
            Some(frame) => buffer.add(frame)?,
            None => break,
        }
    }
    taken.settle();
    Ok((buffer.end(), Some(taken)))
}

/// The part of a body that has arrived. Trailers are ignored.
struct BodyBuffer {
    /// All chunks, copied as they arrive: kept chunks of a byte each would take many times their
    /// size.
    all: BytesMut,
    /// The first chunk, until there is another.
    first: Bytes,
    bytes: usize,
    most: usize,
}

impl BodyBuffer {
    fn new(most: usize) -> Self {
        Self {
            all: BytesMut::new(),
            first: Bytes::new(),
            bytes: 0,
            most,
        }
    }

    fn add(&mut self, frame: Result<Frame<Bytes>, BodyError>) -> Result<(), Refusal> {
        let frame = frame.map_err(|_| Refusal::bad_request("The body broke off."))?;
        let Ok(data) = frame.into_data() else {
            return Ok(());
        };
        let is_first = self.bytes == 0;
        self.bytes += data.len();
        if self.bytes > self.most {
            return Err(Refusal::TooLarge(self.most));
        }
        if is_first {
            self.first = data;
        } else {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
            self.all.extend_from_slice(&data);
        }
        Ok(())
    }

    fn end(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Refusal> {
        super::read_small(headers, body, most).await
    }

    fn declaring(length: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, length.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_within_the_limit_is_read() {
        let read = read(&HeaderMap::new(), Body::from("abc"), 3).await;
        assert_eq!(read, Ok(Bytes::from("abc")));
    }

    /// A body that comes in these pieces, the last of them only after a while.
    fn pieces(pieces: &'static [&'static str]) -> Body {
        Body::new(Pieces(pieces, true))
    }

    struct Pieces(&'static [&'static str], bool);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            let Some((piece, rest)) = self.0.split_first() else {
                return Poll::Ready(None);
            };
            if rest.is_empty() && self.1 {
                self.1 = false;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.0 = rest;
            Poll::Ready(Some(match *piece {
                "!" => Err(std::io::ErrorKind::ConnectionReset.into()),
                piece => Ok(Frame::data(Bytes::from_static(piece.as_bytes()))),
            }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_put_together_and_counted_together() {
        for (all, expected) in [
            (&["abc"] as &[&str], Ok(Bytes::from("abc"))),
            (&["", "ab", "", "c"], Ok(Bytes::from("abc"))),
            (&["a", "b", "c", ""], Ok(Bytes::from("abc"))),
            (&["ab", "cd"], Err(Refusal::TooLarge(3))),
            (
                &["ab", "!"],
                Err(Refusal::bad_request("The body broke off.")),
            ),
        ] {
            assert_eq!(read(&HeaderMap::new(), pieces(all), 3).await, expected);
        }
    }

    #[test]
    fn a_piece_is_not_kept_beside_its_copy() {
        let held = Arc::new([b'a'; 3]);
        struct Owner(Arc<[u8; 3]>);
        impl AsRef<[u8]> for Owner {
            fn as_ref(&self) -> &[u8] {
                &*self.0
            }
        }
        let mut buffer = BodyBuffer::new(9);
        let first = Bytes::from_owner(Owner(Arc::clone(&held)));
        buffer.add(Ok(Frame::data(first))).unwrap();
        assert_eq!(Arc::strong_count(&held), 2);
        buffer.add(Ok(Frame::data(Bytes::from("b")))).unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(buffer.end(), "aaab");
    }

    #[tokio::test(start_paused = true)]
    async fn the_length_of_a_body_is_known_if_it_is_whole() {
        let length = |body: &Body| http_body::Body::size_hint(body).exact();
        assert_eq!(length(&Body::from("abc")), Some(3));
        assert_eq!(length(&Body::empty()), Some(0));
        assert_eq!(length(&pieces(&["abc"])), None);
        let mut whole = Body::from("abc");
        assert!(whole.frame().await.unwrap().unwrap().is_data());
        assert!(http_body::Body::is_end_stream(&whole));
        assert!(whole.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_one_is_refused_by_what_it_declares_or_by_what_comes() {
        let too_large = Err(Refusal::TooLarge(3));
        assert_eq!(
            read(&HeaderMap::new(), Body::from("abcd"), 3).await,
            too_large
        );
        let empty = Body::new(Empty::<Bytes>::new());
        assert_eq!(read(&declaring("4"), empty, 3).await, too_large);
        let empty = Body::new(Empty::<Bytes>::new());
        assert_eq!(read(&declaring("x"), empty, 3).await, Ok(Bytes::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_came_while_this_process_stood_still_is_read() {
        // The runtime learns of it only after it has learnt that the time is over.
        let late = async {
            tokio::time::sleep(Duration::from_millis(34_001)).await;
            None::<Result<HeaderMap, std::convert::Infallible>>
        };
        let body = Body::new(Full::new(Bytes::from("abc")).with_trailers(late));
        let still = tokio::time::advance(Duration::from_secs(34));
        let headers = HeaderMap::new();
        let (read_body, ()) = tokio::join!(read(&headers, body, 3), still);
        assert_eq!(read_body, Ok(Bytes::from("abc")));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_arrive_is_not_waited_for() {
        let never = std::future::pending::<Option<Result<HeaderMap, std::convert::Infallible>>>();
        let body = Body::new(Empty::<Bytes>::new().with_trailers(never));
        assert_eq!(
            read(&HeaderMap::new(), body, 3).await,
            Err(Refusal::TooSlow)
        );
    }
}
