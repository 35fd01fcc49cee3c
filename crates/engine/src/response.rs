//! The response parser: a response as it arrives, until there is an `Outcome`. It sees bytes and no
//! network.
//!
//! The result does not depend on how the bytes are split. At most one head and one body within
//! `limits.rs` are held, as far as the memory budget allows. The status line decides; a body that
//! is broken or late does not change the outcome's status.

mod chunked;
mod head;

use model::attempt::{BodyEnd, Failure, FailureKind, HttpResponse, Outcome};
use model::limits::{self, RESPONSE_FREE_BYTES};
use model::webhook::Headers;

use self::chunked::{ChunkPiece, ChunkedDecoder};
pub(crate) use self::head::{CUT, KeepAlive};
use self::head::{Framing, HeadParse, MalformedHead, ResponseHead, garbled, is_interim};
use crate::response_budget::{ReadReservation, STEP_BYTES};

/// Interim responses (1xx) before the final one. Receivers send none or one.
const INTERIM_ANSWERS_MAX: u32 = 32;

/// What came of a head is looked at whenever more comes while it is shorter than this. A longer
/// one is looked at when it has grown by a part, or each byte of it would be read for each byte.
const LOOKED_AT_EACH_TIME: usize = 1024;

pub(crate) struct ResponseParser<'a, 'r> {
    /// What all of this takes of the memory budget.
    reservation: &'a mut ReadReservation<'r>,
    stage: ParseStage,
    /// What came of a head that is not whole.
    held: Vec<u8>,
    /// It is looked at when it has as many bytes.
    look_at: usize,
    /// Bytes of blank lines before it.
    skipped: usize,
    heard: bool,
    interim: u32,
    /// Status and lines of the latest head: of an interim one until the final one is there.
    latest: Option<(u16, Headers)>,
    keeps: bool,
    keep_alive: KeepAlive,
    body: Vec<u8>,
    /// What is wrong behind the status line.
    note: Option<Box<str>>,
}

enum ParseStage {
    Head,
    /// So many bytes are still to come.
    Length(u64),
    Chunked(ChunkedDecoder),
    ToTheEnd,
}

/// What a response came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParsedResponse {
    pub(crate) outcome: Outcome,
    /// Whether the connection can be used again, as far as the response says.
    pub(crate) keeps: bool,
    pub(crate) keep_alive: KeepAlive,
}

impl<'a, 'r> ResponseParser<'a, 'r> {
    pub(crate) fn new(reservation: &'a mut ReadReservation<'r>) -> Self {
        Self {
            reservation,
            stage: ParseStage::Head,
            held: Vec::new(),
            look_at: 0,
            skipped: 0,
            heard: false,
            interim: 0,
            latest: None,
            keeps: false,
            keep_alive: KeepAlive::default(),
            body: Vec::new(),
            note: None,
        }
    }
}

impl ResponseParser<'_, '_> {
    /// Takes what came. Nothing while more is to come.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<ParsedResponse> {
        self.heard |= !bytes.is_empty();
        if !matches!(self.stage, ParseStage::Head) {
            return self.take_body(bytes);
        }
        if self.held.is_empty() {
            return self.take_heads(bytes);
        }
        let before = self.held.len();
        let may = self
            .reservation
            .afford(before + bytes.len())
            .saturating_sub(before);
        let (fits, rest) = bytes.split_at(may.min(bytes.len()));
        extend(&mut self.held, fits);
        let is_long = !rest.is_empty();
        if !is_long && self.held.len() < self.look_at && !has_blank_line(&self.held, before) {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        if let Some(read) = self.take_heads(&held) {
            return Some(ParsedResponse {
                keeps: read.keeps && rest.is_empty(),
                ..read
            });
        }
        match self.stage {
            _ if rest.is_empty() => None,
            // Interim responses are done with: what follows may use their memory.
            ParseStage::Head if self.held.len() < held.len() => self.take(rest),
            ParseStage::Head => Some(self.without_room()),
            ParseStage::Length(_) | ParseStage::Chunked(_) | ParseStage::ToTheEnd => {
                self.take_body(rest)
            }
        }
    }

    /// The connection has ended: by itself, or with a failure.
    pub(crate) fn end(&mut self, failure: Option<Failure>) -> Outcome {
        let why = |what: &str| match &failure {
            Some(failure) if !failure.detail.is_empty() => format!("{what}: {}", failure.detail),
            Some(_) | None => what.to_owned(),
        };
        match &self.stage {
            ParseStage::Head => {}
            ParseStage::ToTheEnd if failure.is_none() => return self.answered(BodyEnd::Whole),
            ParseStage::Length(left) => {
                let what = format!("the connection ended {left} bytes before the end of its body");
                return self.noted(why(&what), BodyEnd::Broken);
            }
            ParseStage::Chunked(_) | ParseStage::ToTheEnd => {
                let note = why("the connection ended within its body");
                return self.noted(note, BodyEnd::Broken);
            }
        }
        let (well, note) = (
            failure.is_none(),
            why("the connection ended within its head"),
        );
        let failure = failure.unwrap_or_else(|| {
            let is_within = !self.held.is_empty() || (self.heard && self.latest.is_none());
            let detail = match is_within {
                true => "it broke off within the head of the answer",
                false => "",
            };
            Failure::new(FailureKind::Closed, detail)
        });
        self.cut_off(failure, well, &note, BodyEnd::Broken)
    }

    /// The time is over.
    pub(crate) fn time_up(&mut self, missed: Failure) -> Outcome {
        match self.stage {
            ParseStage::Head => {
                let note = "its head did not end within the time limit";
                self.cut_off(missed, false, note, BodyEnd::TimeUp)
            }
            ParseStage::Length(_) | ParseStage::Chunked(_) | ParseStage::ToTheEnd => {
                self.answered(BodyEnd::TimeUp)
            }
        }
    }

    fn take_heads(&mut self, mut bytes: &[u8]) -> Option<ParsedResponse> {
        loop {
            bytes = self.skip_blank_lines(bytes);
            match head::parse(bytes, self.head_bytes_max()) {
                HeadParse::More => {
                    self.hold(bytes);
                    return None;
                }
                HeadParse::Whole(head, length) => {
                    let rest = bytes.get(length..).unwrap_or_default();
                    if !is_interim(head.status) {
                        return self.begin_body(head, rest);
                    }
                    self.interim += 1;
                    if self.interim > INTERIM_ANSWERS_MAX {
                        let words =
                            format!("more than {INTERIM_ANSWERS_MAX} interim answers (1xx)");
                        return Some(ParsedResponse::last(Outcome::Failed(garbled(words))));
                    }
                    if length > RESPONSE_FREE_BYTES {
                        return Some(ParsedResponse::last(
                            self.headless(long_interim(), BodyEnd::Broken),
                        ));
                    }
                    self.latest = Some((head.status, head.headers));
                    self.skipped = 0;
                    bytes = rest;
                }
                HeadParse::Damaged(damaged) => {
                    return Some(ParsedResponse::last(self.damaged(damaged, BodyEnd::Broken)));
                }
                HeadParse::Garbled(failure) => {
                    return Some(ParsedResponse::last(
                        self.headless(failure, BodyEnd::Broken),
                    ));
                }
            }
        }
    }

    /// Blank lines before a status line mean nothing (RFC 9112, section 2.2), but count.
    fn skip_blank_lines<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Some(rest) = bytes
            .strip_prefix(b"\r\n")
            .or_else(|| bytes.strip_prefix(b"\n"))
        {
            self.skipped += bytes.len() - rest.len();
            bytes = rest;
        }
        bytes
    }

    /// How long the head may be that comes next.
    fn head_bytes_max(&self) -> usize {
        limits::RESPONSE_HEAD_BYTES_MAX.saturating_sub(self.skipped)
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held = bytes.to_vec();
        let grown = match bytes.len() < LOOKED_AT_EACH_TIME {
            true => bytes.len() + 1,
            false => bytes.len() + bytes.len() / 4,
        };
        self.look_at = grown.min(self.head_bytes_max());
    }

    fn begin_body(&mut self, head: ResponseHead, bytes: &[u8]) -> Option<ParsedResponse> {
        self.latest = Some((head.status, head.headers));
        self.keeps = head.keeps;
        self.keep_alive = head.keep_alive;
        self.stage = match head.framing {
            Framing::Length(0) => return Some(self.whole(bytes)),
            Framing::Length(length) => ParseStage::Length(length),
            Framing::Chunked => ParseStage::Chunked(ChunkedDecoder::default()),
            Framing::ToTheEnd => ParseStage::ToTheEnd,
        };
        self.take_body(bytes)
    }

    fn take_body(&mut self, mut bytes: &[u8]) -> Option<ParsedResponse> {
        loop {
            let (data, ends) = match &mut self.stage {
                ParseStage::Head => return None,
                ParseStage::Length(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (data, rest) = bytes.split_at(length.min(bytes.len()));
                    bytes = rest;
                    *left = left.saturating_sub(data.len() as u64);
                    (data, *left == 0)
                }
                ParseStage::Chunked(decoder) => match decoder.take(&mut bytes) {
                    ChunkPiece::Data(data) => (data, false),
                    ChunkPiece::Nothing => return None,
                    ChunkPiece::End => return Some(self.whole(bytes)),
                    ChunkPiece::Garbled(wrong) => {
                        let note = format!("in its body {wrong}");
                        return Some(ParsedResponse::last(self.noted(note, BodyEnd::Broken)));
                    }
                },
                ParseStage::ToTheEnd => (std::mem::take(&mut bytes), false),
            };
            let fits = self.keep(data);
            if ends && fits {
                return Some(self.whole(bytes));
            }
            // It is not waited for the end: to a full body nothing can be added.
            if !fits || self.body.len() >= limits::RESPONSE_BODY_BYTES_MAX {
                return Some(ParsedResponse::last(self.answered(BodyEnd::Cut)));
            }
            if bytes.is_empty() {
                return None;
            }
        }
    }

    /// Keeps what the budget allows; returns whether that was all.
    fn keep(&mut self, data: &[u8]) -> bool {
        let most = limits::RESPONSE_BODY_BYTES_MAX.saturating_sub(self.body.len());
        let most = most.min(data.len());
        let before = self.headers_bytes() + self.body.len();
        let may = self
            .reservation
            .afford(before + most)
            .saturating_sub(before);
        if may < most {
            self.reservation.shorten();
        }
        let kept = data.get(..may).unwrap_or(data);
        if self.body.is_empty() {
            // Most bodies come in one piece, and then have the size they need.
            self.body = kept.to_vec();
        } else {
            extend(&mut self.body, kept);
        }
        kept.len() == data.len()
    }

    /// Of the lines that are kept.
    fn headers_bytes(&self) -> usize {
        let headers = self.latest.as_ref();
        headers.map_or(0, |(_, headers)| headers.0.len())
    }

    /// The budget has nothing for the rest of a head, so only what it says first is kept.
    fn without_room(&mut self) -> ParsedResponse {
        self.reservation.shorten();
        match head::status(&self.held) {
            Some(status @ 200..) => {
                self.held = Vec::new();
                self.latest = Some((status, Headers::default()));
                let note = "there was no room for its long head".to_owned();
                ParsedResponse::last(self.noted(note, BodyEnd::Cut))
            }
            Some(_) | None => ParsedResponse::last(self.headless(long_interim(), BodyEnd::Broken)),
        }
    }

    /// The response is complete. What came behind it was not asked for.
    fn whole(&mut self, behind: &[u8]) -> ParsedResponse {
        ParsedResponse {
            outcome: self.answered(BodyEnd::Whole),
            keeps: self.keeps && behind.is_empty(),
            keep_alive: self.keep_alive,
        }
    }

    fn answered(&mut self, body_end: BodyEnd) -> Outcome {
        let (status, headers) = self.latest.take().unwrap_or_default();
        // It is kept until it is written, with no room to grow.
        let body = std::mem::take(&mut self.body).into_boxed_slice();
        Outcome::Answered(HttpResponse {
            status,
            headers,
            body: body.into(),
            body_end,
            note: self.note.take(),
        })
    }

    /// The same, with what is wrong behind the status line.
    fn noted(&mut self, note: String, body_end: BodyEnd) -> Outcome {
        self.note = Some(note.into());
        self.answered(body_end)
    }

    /// Its status line was there, and no more of it is read.
    fn damaged(&mut self, damaged: MalformedHead, body_end: BodyEnd) -> Outcome {
        self.latest = Some((damaged.status, damaged.headers));
        self.noted(damaged.note, body_end)
    }

    /// The rest of the head does not come.
    fn cut_off(&mut self, failure: Failure, well: bool, note: &str, end: BodyEnd) -> Outcome {
        let held = std::mem::take(&mut self.held);
        // The last of it may not have been looked at.
        let (parsed, end) = match head::parse(&held, self.head_bytes_max()) {
            HeadParse::More => (head::cut_off(&held, well, note), end),
            found @ (HeadParse::Whole(..) | HeadParse::Damaged(_) | HeadParse::Garbled(_)) => {
                (found, BodyEnd::Broken)
            }
        };
        match parsed {
            HeadParse::Damaged(damaged) => self.damaged(damaged, end),
            HeadParse::Garbled(garbled) => self.headless(garbled, end),
            HeadParse::More | HeadParse::Whole(..) => self.headless(failure, end),
        }
    }

    /// There is no final head. A status below 200 promises one; if none follows, it is all the
    /// answer there was, and what follows instead is a body that should not be.
    fn headless(&mut self, failure: Failure, body_end: BodyEnd) -> Outcome {
        match self.latest {
            Some(_) => {
                let note = match &*failure.detail {
                    "" => "no other answer followed".to_owned(),
                    detail => format!("no other answer followed: {detail}"),
                };
                self.noted(note, body_end)
            }
            None => Outcome::Failed(failure),
        }
    }
}

impl ParsedResponse {
    /// After which the connection is of no more use.
    fn last(outcome: Outcome) -> Self {
        Self {
            outcome,
            keeps: false,
            keep_alive: KeepAlive::default(),
        }
    }
}

fn long_interim() -> Failure {
    let kib = RESPONSE_FREE_BYTES / 1024;
    garbled(format!("an interim answer (1xx) is longer than {kib} KiB"))
}

/// Adds to what is held, without twice the room that a vector takes to grow once that is much.
fn extend(held: &mut Vec<u8>, more: &[u8]) {
    let all = held.len() + more.len();
    if all > RESPONSE_FREE_BYTES && all > held.capacity() {
        held.reserve_exact(all.next_multiple_of(STEP_BYTES) - held.len());
    }
    held.extend_from_slice(more);
}

/// Whether a blank line, which ends a head, is among what was added behind the first `before`.
fn has_blank_line(bytes: &[u8], before: usize) -> bool {
    let added = bytes.get(before.saturating_sub(2)..).unwrap_or(bytes);
    let ends = |pair: &[u8]| pair == b"\n\n";
    added.windows(2).any(ends) || added.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests;
