//! What requests and answers carry. Reading what a request brings: its body, never more than
//! asked for and never for longer than the time limit; the form that the body says it has; and
//! its query.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyDataStream, BodyExt, Full};
use model::limits::{PARAMETERS_MAX, SMALL_BODY_BYTES_MAX};
use model::refusal::{Fault, Refusal};
use multer::Multipart;
use percent_encoding::percent_decode_str;

use crate::body_budget::{BodyBudget, BodyReservation, BudgetOwner};
use crate::limit::within;

/// What stands between the parts of a form (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// So many parameters that are wrong are named, and so much of each name.
const FAULTS_MAX: usize = 10;
const FAULT_CHARS_MAX: usize = 100;

/// Within this time a body must have arrived.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// The body of a request or of an answer.
pub struct Body(BodyKind);

enum BodyKind {
    Whole(Bytes),
    /// As it comes.
    Flow(BodyStream),
    /// As it comes, and who is told.
    Watched(BodyStream, Arc<dyn BodyObserver>),
}

/// Is told what holds up a request.
pub trait BodyObserver: Send + Sync {
    /// It waits for its client, or for others to leave it room.
    fn waits(&self);

    /// It goes on.
    fn works(&self);
}

type BodyStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// Why the rest of a body does not come. Only whoever sent it could tell more.
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

    /// A body of a request, and who is told whether it waits while it is read.
    pub fn watched<B>(body: B, watch: Arc<dyn BodyObserver>) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        match Self::new(body).0 {
            BodyKind::Flow(flow) => Self(BodyKind::Watched(flow, watch)),
            other @ (BodyKind::Whole(_) | BodyKind::Watched(..)) => Self(other),
        }
    }

    /// Tells whether it waits.
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

/// Where a body that is not small finds room, and what is told while it waits for some.
pub(crate) struct BodyAdmission<'a> {
    pub(crate) room: &'a BodyBudget,
    pub(crate) owner: BudgetOwner,
    pub(crate) waits: &'a AtomicBool,
}

/// A whole body of at most `most` bytes, and the room it takes as long as it is held, if it is not
/// small.
pub(crate) async fn read<'a>(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    space: BodyAdmission<'a>,
) -> Result<(Bytes, Option<BodyReservation<'a>>), Refusal> {
    arrived(headers, body, most, Some(space)).await
}

/// A whole body of at most `most` bytes, which is small however long it becomes.
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
    // A small body has come with the head of its request, and needs no timer.
    let come = poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await;
    if let Poll::Ready(come) = come {
        return come;
    }
    let come = within(ARRIVAL_LIMIT, whole).await;
    come.unwrap_or(Err(Refusal::TooSlow))
}

/// All of a body, unless it is longer than `most`. What it declares takes no room: what comes does.
async fn whole(
    mut body: Body,
    most: usize,
    declared: usize,
    space: Option<BodyAdmission<'_>>,
) -> Result<(Bytes, Option<BodyReservation<'_>>), Refusal> {
    let mut come = BodyBuffer::new(most);
    while !http_body::Body::is_end_stream(&body)
        && let Some(frame) = body.frame().await
    {
        come.add(frame)?;
        if come.bytes > SMALL_BODY_BYTES_MAX
            && let Some(space) = space
        {
            // Rare, and what it takes would be moved about with every request.
            return Box::pin(rest(body, come, declared, space)).await;
        }
    }
    Ok((come.end(), None))
}

/// All of a body that has turned out not to be small.
async fn rest(
    mut body: Body,
    mut come: BodyBuffer,
    declared: usize,
    space: BodyAdmission<'_>,
) -> Result<(Bytes, Option<BodyReservation<'_>>), Refusal> {
    let mut taken = space.room.begin(space.owner, declared);
    loop {
        {
            let mut grown = pin!(taken.grow(come.bytes));
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
            Some(frame) => come.add(frame)?,
            None => break,
        }
    }
    taken.settle();
    Ok((come.end(), Some(taken)))
}

/// What has come of a body. Trailers are left out.
struct BodyBuffer {
    /// Of more than one piece; copied as they come: kept pieces of a byte each would take many
    /// times their size.
    all: BytesMut,
    /// The first, until there is another.
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

/// A header as text; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        // Nearly always, and judged many bytes at once.
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(value.as_bytes()),
    }
}

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// As it was sent.
    whole: Cow<'a, str>,
}

impl<'a> MediaType<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let header = headers.get(CONTENT_TYPE);
        let whole = header.map(text_of);
        Self {
            whole: whole.unwrap_or_default(),
        }
    }

    /// Without parameters, in lower case.
    pub(crate) fn kind(&self) -> Cow<'_, str> {
        let whole = self.whole.as_ref();
        let kind = whole.split_once(';').map_or(whole, |(kind, _)| kind).trim();
        if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return kind.to_ascii_lowercase().into();
        }
        kind.into()
    }

    pub(crate) fn charset(&self) -> Option<&str> {
        self.parameter("charset")
    }

    /// Of equal names the last counts.
    fn parameter(&self, wanted: &str) -> Option<&str> {
        let (_, parameters) = self.whole.split_once(';')?;
        let parts = parameters.split(';');
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        let found = pairs.rfind(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// Whether it says one JSON text a line. No name for that is registered, and these are in use.
    pub(crate) fn is_json_lines(&self) -> bool {
        const NAMES: [&str; 6] = [
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonl",
            "application/jsonlines",
            "application/x-jsonlines",
        ];
        NAMES.contains(&self.kind().as_ref())
    }

    pub(crate) fn unknown(&self) -> Refusal {
        Refusal::UnknownForm(self.whole.clone().into_owned())
    }

    /// The fields of a form of several parts; files are left out.
    pub(crate) async fn parts(&self, body: &Bytes) -> Result<Vec<(String, String)>, String> {
        let boundary = self.parameter("boundary");
        // Longer ones are no boundaries (RFC 2046, 5.1.1), and to look for them takes long.
        let boundary =
            boundary.filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
        let boundary = boundary.ok_or("Invalid boundary in multipart: None")?;
        let opening = format!("--{boundary}");
        if !body
            .windows(opening.len())
            .any(|window| window == opening.as_bytes())
        {
            // A body without a single part is an empty form.
            return Ok(Vec::new());
        }
        let stream = BodyDataStream::new(Full::new(body.clone()));
        let mut multipart = Multipart::new(stream, boundary);
        let mut pairs = Vec::new();
        loop {
            let part = multipart.next_field().await;
            let Some(part) = part.map_err(|error| error.to_string())? else {
                return Ok(pairs);
            };
            let name = part.name().map(str::to_owned);
            let is_file = part.file_name().is_some();
            let value = part.bytes().await.map_err(|error| error.to_string())?;
            if let (Some(name), false) = (name, is_file) {
                pairs.push((name, String::from_utf8_lossy(&value).into_owned()));
            }
        }
    }
}

/// The query of a request, decoded, in its order. Of equal names the last counts. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Query(Arc<[(String, String)]>);

impl Query {
    /// Refused if it has more than `limits::PARAMETERS_MAX` pairs.
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (form_decoded(name), form_decoded(value))
        };
        let parts = text.split('&').filter(|part| !part.is_empty());
        let few = parts.clone().nth(PARAMETERS_MAX).is_none();
        match few {
            true => Ok(Self(parts.map(pair).collect())),
            false => Err(Refusal::bad_request(format!(
                "A request may have at most {PARAMETERS_MAX} parameters in its query, and as many \
                 in a form."
            ))),
        }
    }

    /// That of a URI; if it is refused an empty one, and why.
    pub(crate) fn of(uri: &Uri) -> (Self, Result<(), Refusal>) {
        match Self::read(uri.query().unwrap_or_default()) {
            Ok(query) => (query, Ok(())),
            Err(refusal) => (Self::default(), Err(refusal)),
        }
    }

    /// The same without what has this name.
    pub(crate) fn without(&self, name: &str) -> Self {
        let others = self.0.iter().filter(|(own, _)| own != name);
        Self(others.cloned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(own, _)| own == name);
        last.map(|(_, value)| value.as_str())
    }

    /// Every value of this name, in their order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses what is not one of these, and what is given twice: nobody could tell what is meant,
    /// and to leave it out may do more than was asked for.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut seen = Vec::with_capacity(known.len());
        for (name, _) in self.iter() {
            let reason = if !known.contains(&name) {
                unknown_of(known)
            } else if seen.contains(&name) {
                "This parameter is given twice.".to_owned()
            } else {
                seen.push(name);
                continue;
            };
            let name: String = name.chars().take(FAULT_CHARS_MAX).collect();
            if faults.iter().all(|fault| fault.field != name) {
                faults.push(Fault::new(&name, reason));
            }
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Parameters(faults)),
        }
    }
}

fn unknown_of(known: &[&str]) -> String {
    match known {
        [] => "There is no such parameter: none is taken here.".to_owned(),
        known => format!("There is no such parameter: here are {}.", known.join(", ")),
    }
}

/// What `text` says in the encoding of forms; bytes that are not UTF-8 become U+FFFD.
fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn a_query_is_decoded_and_the_last_of_a_name_counts() {
        let query = Query::read("a=1&b=x%20y+z&a=%C3%A4&c&=&%ff=1").unwrap();
        assert_eq!(query.get("a"), Some("ä"));
        assert_eq!(query.get("b"), Some("x y z"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
        assert_eq!(query.iter().count(), 6);
        assert_eq!(query.get("\u{fffd}"), Some("1"));
    }

    #[test]
    fn a_query_of_very_many_parameters_is_refused() {
        let text = "a&".repeat(PARAMETERS_MAX);
        assert_eq!(Query::read(&text).unwrap().iter().count(), PARAMETERS_MAX);
        let refused = Query::read(&format!("{text}&b")).unwrap_err();
        assert!(matches!(refused, Refusal::BadRequest(words) if words.contains("4096")));
    }

    #[test]
    fn what_is_not_known_or_given_twice_is_refused_by_its_name() {
        let faults = |text: &str, known: &[&str]| match Query::read(text).unwrap().only(known) {
            Ok(()) => Vec::new(),
            Err(Refusal::Parameters(faults)) => faults,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(faults("", &[]), []);
        assert_eq!(faults("a=1&b=&", &["a", "b", "c"]), []);
        let twice = Fault::new("a", "This parameter is given twice.");
        assert_eq!(faults("a=1&a=1&a=2", &["a"]), [twice]);
        let unknown = Fault::new("x y", "There is no such parameter: here are a, b.");
        assert_eq!(faults("a=1&x+y=2&x%20y", &["a", "b"]), [unknown]);
        let none = Fault::new("", "There is no such parameter: none is taken here.");
        assert_eq!(faults("=1", &[]), [none]);
        let many: Vec<String> = (0..100)
            .map(|n| format!("{n}{}", "ä".repeat(200)))
            .collect();
        let faults = faults(&many.join("&"), &[]);
        assert_eq!(faults.len(), FAULTS_MAX);
        assert!(
            faults
                .iter()
                .all(|fault| fault.field.chars().count() == FAULT_CHARS_MAX)
        );
    }

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
        for (all, come) in [
            (&["abc"] as &[&str], Ok(Bytes::from("abc"))),
            (&["", "ab", "", "c"], Ok(Bytes::from("abc"))),
            (&["a", "b", "c", ""], Ok(Bytes::from("abc"))),
            (&["ab", "cd"], Err(Refusal::TooLarge(3))),
            (
                &["ab", "!"],
                Err(Refusal::bad_request("The body broke off.")),
            ),
        ] {
            assert_eq!(read(&HeaderMap::new(), pieces(all), 3).await, come);
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
        let mut come = BodyBuffer::new(9);
        let first = Bytes::from_owner(Owner(Arc::clone(&held)));
        come.add(Ok(Frame::data(first))).unwrap();
        assert_eq!(Arc::strong_count(&held), 2);
        come.add(Ok(Frame::data(Bytes::from("b")))).unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(come.end(), "aaab");
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
        let (come, ()) = tokio::join!(read(&headers, body, 3), still);
        assert_eq!(come, Ok(Bytes::from("abc")));
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
