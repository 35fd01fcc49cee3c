//! One attempt on the page of a delivery. What a receiver sent is cut to fit; the rest is a
//! download.

use askama::Template;
use model::attempt::{Attempt, BodyEnd, HttpResponse, Outcome};
use model::limits::PAGE_BYTES_MAX;
use model::mail::MailAddress;
use model::query::AttemptRecord;
use model::refusal::Refusal;
use model::webhook::Headers;

use super::{curl, plan};
use crate::dashboard::send_test::{took, was_sent};
use crate::dashboard::text::{BodyText, TextExcerpt};
use crate::dashboard::view::{DisplayDuration, DisplaySize, DisplayTime, HtmlFragment, Tone};

/// Limits in bytes of the page.
const URL_ROOM: usize = 400;
const WORDS_ROOM: usize = 300;
const REQUEST_HEADERS_ROOM: usize = 3 * 1024;
const ANSWER_HEADERS_ROOM: usize = 5 * 1024;
const ANSWER_ROOM: usize = 8 * 1024;
const CURL_ROOM: usize = 4 * 1024;

/// For all attempts of a page together; the others link to where they are shown.
const ATTEMPTS_ROOM: usize = 60 * 1024;

/// What an attempt takes without its details, and the markup of these.
const BRIEF_ROOM: usize = 1_200;
const DETAILS_ROOM: usize = 3 * 1024;

/// The most attempts on one page.
pub(super) const ATTEMPTS: usize = 20;

// The details of one attempt are always shown.
const _: () = assert!(
    ATTEMPTS * BRIEF_ROOM
        + (URL_ROOM + REQUEST_HEADERS_ROOM + ANSWER_HEADERS_ROOM + CURL_ROOM)
        + (2 * ANSWER_ROOM + DETAILS_ROOM)
        <= ATTEMPTS_ROOM
);

// Everything else takes less than the rest: the body twice, names, the state, the frame.
const _: () = assert!(ATTEMPTS_ROOM + 36 * 1024 <= PAGE_BYTES_MAX);

#[derive(Template)]
#[template(path = "log/attempt.html")]
struct AttemptView {
    /// The path of the delivery's page.
    path: String,
    number: u32,
    began_at: DisplayTime,
    lasted: Option<DisplayDuration>,
    /// Its details.
    title: &'static str,
    tone: Tone,
    status: String,
    words: String,
    next: Option<DisplayTime>,
    details: Option<AttemptDetails>,
    is_open: bool,
}

struct AttemptDetails {
    url: String,
    request_headers: TextExcerpt,
    command: Option<String>,
    /// Some values are not stored; three stars stand for each.
    hides_secrets: bool,
    answer: Option<ResponseView>,
}

struct ResponseView {
    headers: TextExcerpt,
    body: BodyText,
    size: DisplaySize,
    end: Option<&'static str>,
}

/// The attempts of a delivery, newest first. `first` is the one asked for: its details come
/// before those of others.
pub(super) fn parts(
    path: &str,
    attempts: &[AttemptRecord],
    body: &[u8],
    first: Option<u32>,
) -> Result<Vec<HtmlFragment>, Refusal> {
    let newest = attempts.last().map(|past| past.number);
    let first = first.or(newest);
    let brief = |past: &AttemptRecord| step(path, past, None);
    let mut left = ATTEMPTS_ROOM.saturating_sub(attempts.len() * BRIEF_ROOM);
    let mut order: Vec<&AttemptRecord> = attempts.iter().rev().collect();
    order.sort_by_key(|past| Some(past.number) != first);
    let mut parts = Vec::with_capacity(order.len());
    for past in order {
        let whole = whole(path, past, body, Some(past.number) == first)?;
        let part = match left.checked_sub(whole.as_str().len()) {
            Some(rest) => {
                left = rest;
                whole
            }
            None => HtmlFragment::of(&brief(past))?,
        };
        parts.push((past.number, part));
    }
    parts.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// One attempt with its details.
pub(super) fn whole(
    path: &str,
    past: &AttemptRecord,
    body: &[u8],
    is_open: bool,
) -> Result<HtmlFragment, Refusal> {
    let details = details(&past.attempt, body);
    HtmlFragment::of(&AttemptView {
        is_open,
        ..step(path, past, Some(details))
    })
}

fn step(path: &str, past: &AttemptRecord, details: Option<AttemptDetails>) -> AttemptView {
    let attempt = &past.attempt;
    let outcome = &attempt.outcome;
    AttemptView {
        path: path.to_owned(),
        number: past.number,
        began_at: DisplayTime(attempt.began_at),
        lasted: took(attempt),
        title: match outcome {
            Outcome::Answered(_) => "Request and answer",
            Outcome::Failed(_) if was_sent(outcome) => "What was sent",
            Outcome::Failed(_) => "What would have been sent",
        },
        tone: match (outcome.is_success(), past.next_due_at) {
            (true, _) => Tone::Good,
            (false, _) if plan::is_stale(outcome) => Tone::Waiting,
            (false, Some(_)) => Tone::Waiting,
            (false, None) => Tone::Bad,
        },
        status: match outcome {
            Outcome::Answered(answer) => answer.status.to_string(),
            Outcome::Failed(_) => "No answer".to_owned(),
        },
        words: TextExcerpt::line(&outcome.words(), WORDS_ROOM),
        next: past.next_due_at.map(DisplayTime),
        details,
        is_open: false,
    }
}

fn details(attempt: &Attempt, body: &[u8]) -> AttemptDetails {
    let command = curl::command(attempt, body);
    let piece = TextExcerpt::of(&command, CURL_ROOM);
    AttemptDetails {
        url: TextExcerpt::line(&attempt.url, URL_ROOM),
        request_headers: lines(&attempt.request_headers, REQUEST_HEADERS_ROOM),
        hides_secrets: attempt.request_headers.iter().any(is_masked),
        // A command that is cut would do something else.
        command: (!piece.cut).then_some(piece.text),
        answer: match &attempt.outcome {
            Outcome::Answered(answer) => Some(answered(answer)),
            Outcome::Failed(_) => None,
        },
    }
}

/// Whether the engine stored this header line without its value: `***`, or `Basic ***`.
fn is_masked((_, value): (&[u8], &[u8])) -> bool {
    value.ends_with(b"***")
}

fn answered(answer: &HttpResponse) -> ResponseView {
    ResponseView {
        headers: lines(&answer.headers, ANSWER_HEADERS_ROOM),
        body: BodyText::of(&answer.body, ANSWER_ROOM),
        size: DisplaySize(answer.body.len()),
        end: match answer.body_end {
            BodyEnd::Whole => None,
            BodyEnd::Cut => Some("It was longer; the rest was not read."),
            // The summary of the attempt says what was wrong.
            BodyEnd::Broken if answer.note.is_some() => Some("It was not read to its end."),
            BodyEnd::Broken => Some("The connection broke off before its end."),
            BodyEnd::TimeUp => Some("It did not end within the time limit."),
        },
    }
}

fn lines(headers: &Headers, room: usize) -> TextExcerpt {
    let text = String::from_utf8_lossy(&headers.0).replace("\r\n", "\n");
    TextExcerpt::of(text.trim_end(), room)
}
impl AttemptDetails {
    /// It was written to, and not called.
    fn is_mail(&self) -> bool {
        MailAddress::of_target(&self.url).is_some()
    }
}
