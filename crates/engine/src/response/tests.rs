//! Answers in all kinds of pieces: the same bytes always come to the same.

mod fuzz;

use prometheus_client::metrics::counter::Counter;
use proptest::prelude::*;

use super::*;
use crate::response_budget::ResponseBudget;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// How the bytes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Closed,
    Reset,
    TimeUp,
}

/// What comes of these pieces, and how many bytes were still held at any time.
fn read_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>, then: Then) -> (ParsedResponse, usize) {
    read_within(limits::RESPONSES_BYTES_MAX, pieces, then)
}

/// The same where all have so many bytes of room.
fn read_within<'a>(
    room: usize,
    pieces: impl Iterator<Item = &'a [u8]>,
    then: Then,
) -> (ParsedResponse, usize) {
    let room = ResponseBudget::new(room, Counter::default());
    let mut taken = room.nothing();
    let mut reading = ResponseParser::new(&mut taken);
    let (mut read, mut held) = (None, 0);
    for piece in pieces {
        read = match read {
            None => reading.take(piece),
            // Whoever reads stops here, and what is behind was in the network.
            Some(read) => Some(read),
        };
        held = held.max(reading.held.capacity() + reading.body.capacity());
    }
    let read = read.unwrap_or_else(|| {
        ParsedResponse::last(match then {
            Then::Closed => reading.end(None),
            Then::Reset => reading.end(Some(Failure::new(FailureKind::Closed, "reset"))),
            Then::TimeUp => reading.time_up(Failure::new(FailureKind::TimeLimit, "late")),
        })
    });
    (read, held)
}

fn read(text: impl AsRef<[u8]>, then: Then) -> ParsedResponse {
    let text = text.as_ref();
    let (whole, _) = read_pieces([text].into_iter(), then);
    for size in [1, 2, 5, 1000] {
        let (pieces, _) = read_pieces(text.chunks(size), then);
        assert_eq!(pieces.outcome, whole.outcome, "in pieces of {size}");
    }
    whole
}

fn answered(read: &ParsedResponse) -> (u16, &[u8], BodyEnd) {
    match &read.outcome {
        Outcome::Answered(answer) => (answer.status, &answer.body[..], answer.body_end),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

/// What is said to be wrong behind the status line.
fn note(read: &ParsedResponse) -> &str {
    match &read.outcome {
        Outcome::Answered(answer) => answer.note.as_deref().unwrap_or_default(),
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

fn failed(read: &ParsedResponse) -> (FailureKind, &str) {
    match &read.outcome {
        Outcome::Failed(failure) => (failure.kind, &failure.detail),
        Outcome::Answered(answer) => panic!("{answer:?}"),
    }
}

#[test]
fn a_body_with_a_length_ends_there_and_the_line_is_kept() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let found = read(text, Then::TimeUp);
    assert_eq!(answered(&found), (200, &b"hello"[..], BodyEnd::Whole));
    assert!(found.keeps);
    for status in [204, 304] {
        let found = read(format!("HTTP/1.1 {status} X\r\n\r\n"), Then::TimeUp);
        assert_eq!(answered(&found), (status, &b""[..], BodyEnd::Whole));
        assert!(found.keeps);
    }
    let found = read(
        format!("{CHUNKED}5\r\nhello\r\n0\r\nT: t\r\n\r\n"),
        Then::TimeUp,
    );
    assert_eq!(answered(&found), (200, &b"hello"[..], BodyEnd::Whole));
    assert!(found.keeps);
}

#[test]
fn a_status_is_judged_when_its_digits_have_ended() {
    const DIGITS: &str = "the status in its status line does not have three digits";
    for (text, words) in [
        ("HTTP/1.2 0200 OK\r\n\r\n", DIGITS),
        ("HTTP/1.1 0200\r\n\r\n", DIGITS),
        ("HTTP/1.2 020 OK\r\n\r\n", "020 is no status"),
    ] {
        let found = read(text, Then::Closed);
        assert_eq!(failed(&found), (FailureKind::Garbled, words), "{text:?}");
    }
}

#[test]
fn what_is_behind_an_answer_ends_the_line() {
    for text in [
        "HTTP/1.1 204 X\r\n\r\n!".to_owned(),
        "HTTP/1.1 304 X\r\nContent-Length: 1\r\n\r\n!".to_owned(),
        "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n!".to_owned(),
        "HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\nx!".to_owned(),
        format!("{CHUNKED}0\r\n\r\n!"),
        format!("{CHUNKED}1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let found = read_pieces([text.as_bytes()].into_iter(), Then::Closed).0;
        assert_eq!(answered(&found).2, BodyEnd::Whole, "{text}");
        assert!(!found.keeps, "{text}");
    }
}

#[test]
fn a_body_to_the_end_of_the_line_is_whole_only_if_the_line_ended_well() {
    let text = "HTTP/1.1 200 OK\r\n\r\nhello";
    for (then, end) in [
        (Then::Closed, BodyEnd::Whole),
        (Then::Reset, BodyEnd::Broken),
        (Then::TimeUp, BodyEnd::TimeUp),
    ] {
        let found = read(text, then);
        assert_eq!(answered(&found), (200, &b"hello"[..], end));
        assert!(!found.keeps);
    }
}

#[test]
fn an_answer_that_ends_anywhere_before_its_end_has_its_status_or_none() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        format!("{CHUNKED}5;x\r\nhello\r\n0\r\nT: t\r\n\r\n"),
    ] {
        let status = "HTTP/1.1 200".len();
        let status_line = text.find('\n').unwrap() + 1;
        for end in 0..text.len() {
            let cut = &text[..end];
            for (then, body_end, from) in [
                (Then::Closed, BodyEnd::Broken, status),
                (Then::Reset, BodyEnd::Broken, status_line),
                (Then::TimeUp, BodyEnd::TimeUp, status_line),
            ] {
                let found = read(cut, then);
                if end >= from {
                    let (status, _, found_end) = answered(&found);
                    assert_eq!((status, found_end), (200, body_end), "{cut:?}");
                    assert!(!found.keeps);
                    continue;
                }
                let expected = match then {
                    Then::Closed if end == 0 => (FailureKind::Closed, ""),
                    Then::Closed => (
                        FailureKind::Closed,
                        "it broke off within the head of the answer",
                    ),
                    Then::Reset => (FailureKind::Closed, "reset"),
                    Then::TimeUp => (FailureKind::TimeLimit, "late"),
                };
                assert_eq!(failed(&found), expected, "{cut:?}");
            }
        }
    }
}

#[test]
fn how_an_answer_ended_before_its_end_is_said() {
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Le";
    for (text, then, expected) in [
        (HEAD, Then::Closed, "the connection ended within its head"),
        (
            HEAD,
            Then::Reset,
            "the connection ended within its head: reset",
        ),
        (
            HEAD,
            Then::TimeUp,
            "its head did not end within the time limit",
        ),
        (
            LENGTH,
            Then::Closed,
            "the connection ended 6 bytes before the end of its body",
        ),
        (
            LENGTH,
            Then::Reset,
            "the connection ended 6 bytes before the end of its body: reset",
        ),
        (LENGTH, Then::TimeUp, ""),
        (
            "HTTP/1.1 200 OK\r\n\r\nabc",
            Then::Reset,
            "the connection ended within its body: reset",
        ),
        (
            CHUNKED,
            Then::Closed,
            "the connection ended within its body",
        ),
        (
            "HTTP/1.1 102 X\r\n\r\n",
            Then::Closed,
            "no other answer followed",
        ),
        (
            "HTTP/1.1 102 X\r\n\r\n<html>",
            Then::Closed,
            "no other answer followed: it does not begin with HTTP/1.1 or HTTP/1.0",
        ),
    ] {
        assert_eq!(note(&read(text, then)), expected, "{text:?} {then:?}");
    }
}

#[test]
fn a_head_that_is_wrong_behind_its_status_line_ends_reading_with_that_status() {
    for status in [204, 299, 410, 503] {
        for lines in [
            "A: b\r\n c\r\n",
            "no colon\r\n",
            "A : b\r\n",
            ": b\r\n",
            "A: \0\r\n",
            "A: b\rc\r\n",
        ] {
            let text =
                format!("HTTP/1.1 {status} X\r\nB: 1\r\n{lines}Content-Length: 4\r\n\r\nbody");
            let found = read(&text, Then::TimeUp);
            assert_eq!(answered(&found), (status, &b""[..], BodyEnd::Broken));
            assert!(
                note(&found).contains("so no more of it was read"),
                "{lines:?}"
            );
            assert!(!found.keeps);
            let Outcome::Answered(answer) = &found.outcome else {
                unreachable!()
            };
            assert_eq!(answer.headers.get("b"), Some(&b"1"[..]));
        }
    }
}

#[test]
fn the_final_answer_counts_however_sloppy_the_interim_ones_are() {
    for lines in ["no colon\r\n", "A: b\r\n c\r\n", "A: \0\r\n"] {
        let text =
            format!("HTTP/1.1 103 X\r\n{lines}\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let found = read(&text, Then::TimeUp);
        assert_eq!(answered(&found), (200, &b"ok"[..], BodyEnd::Whole));
        assert!(found.keeps);
    }
}

#[test]
fn a_body_is_cut_where_no_more_of_it_is_kept() {
    const MAX: usize = limits::RESPONSE_BODY_BYTES_MAX;
    let many = |count| format!("{count:x}\r\n{}\r\n", "x".repeat(count));
    for (text, end) in [
        (
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {MAX}\r\n\r\n{}",
                "x".repeat(MAX)
            ),
            BodyEnd::Whole,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}",
                "x".repeat(MAX)
            ),
            BodyEnd::Cut,
        ),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX)),
            BodyEnd::Cut,
        ),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX - 1)),
            BodyEnd::TimeUp,
        ),
        (
            format!("{CHUNKED}{}0\r\n\r\n", many(MAX - 1)),
            BodyEnd::Whole,
        ),
        (format!("{CHUNKED}{}0\r\n\r\n", many(MAX)), BodyEnd::Cut),
        (
            format!("{CHUNKED}{}{}", many(MAX - 1), many(2)),
            BodyEnd::Cut,
        ),
        (
            format!("{CHUNKED}{}", "1\r\nx\r\n".repeat(MAX)),
            BodyEnd::Cut,
        ),
    ] {
        let found = read(&text, Then::TimeUp);
        let (status, body, found_end) = answered(&found);
        assert_eq!((status, found_end), (200, end), "{}", &text[..80]);
        assert!(body.len() >= MAX - 1 && body.len() <= MAX);
        assert!(!found.keeps || end == BodyEnd::Whole);
    }
}

#[test]
fn chunks_that_are_none_break_a_body_and_leave_its_status() {
    const SIZE: &str = "in its body the size of a chunk is not a hexadecimal number";
    for (body, wrong) in [
        ("zz\r\n", SIZE),
        ("-1\r\n", SIZE),
        ("10000000000000000\r\n", SIZE),
        ("1\nx", SIZE),
        (
            "5\r\nhelloX",
            "in its body a chunk is longer than its size says",
        ),
        (
            "5;x\n",
            "in its body what stands behind the size of a chunk does not end as it should",
        ),
        (
            "0\r\n: t\r\n",
            "in its body what stands behind the chunks is no header line, or too long",
        ),
    ] {
        let found = read(format!("{CHUNKED}{body}"), Then::TimeUp);
        assert_eq!(
            (answered(&found).0, answered(&found).2),
            (200, BodyEnd::Broken)
        );
        assert_eq!(note(&found), wrong);
        assert!(!found.keeps);
    }
}

#[test]
fn interim_answers_are_passed_over_until_there_are_too_many() {
    let interim = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let most = interim.repeat(INTERIM_ANSWERS_MAX as usize);
    let found = read(format!("{most}{last}"), Then::TimeUp);
    assert_eq!(answered(&found), (200, &b"ok"[..], BodyEnd::Whole));
    assert!(found.keeps);
    let found = read(format!("{most}{interim}{last}"), Then::TimeUp);
    assert_eq!(
        failed(&found),
        (FailureKind::Garbled, "more than 32 interim answers (1xx)")
    );
}

#[test]
fn an_interim_answer_is_all_there_was_if_no_other_follows() {
    let interim = "HTTP/1.1 102 Wait\r\nA: 1\r\n\r\n";
    for (rest, then, end) in [
        ("", Then::Closed, BodyEnd::Broken),
        ("", Then::TimeUp, BodyEnd::TimeUp),
        ("garbage", Then::TimeUp, BodyEnd::Broken),
        ("HTTP/1.1 20", Then::Closed, BodyEnd::Broken),
    ] {
        let found = read(format!("{interim}{rest}"), then);
        assert_eq!(answered(&found), (102, &b""[..], end), "{rest}");
        assert!(!found.keeps);
    }
    let found = read("HTTP/1.1 101 Switching\r\n\r\n", Then::TimeUp);
    assert_eq!(answered(&found), (101, &b""[..], BodyEnd::Whole));
    assert!(!found.keeps);
}

#[test]
fn blank_lines_before_an_answer_mean_nothing_and_count() {
    let found = read("\r\n\n\r\nHTTP/1.1 204 X\r\n\r\n", Then::TimeUp);
    assert_eq!(answered(&found).0, 204);
    assert!(found.keeps);
    for blank in ["\r\n", "\n"] {
        let blanks = blank.repeat(limits::RESPONSE_HEAD_BYTES_MAX);
        let found = read(blanks, Then::TimeUp);
        assert_eq!(
            failed(&found),
            (FailureKind::Garbled, "its head is longer than 64 KiB")
        );
    }
}

/// What comes of these pieces where no answer has more room than its own.
fn read_without_room<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> ParsedResponse {
    let (read, held) = read_within(STEP_BYTES - 1, pieces, Then::TimeUp);
    assert!(held <= 2 * RESPONSE_FREE_BYTES, "{held}");
    read
}

/// The same for pieces of each of several sizes, no larger than what is read at once.
fn in_any_pieces(text: &str) -> ParsedResponse {
    let sizes = [1, 2, 100, 1_000, 5_000, 8 * 1024];
    let mut found = sizes
        .map(|size| read_without_room(text.as_bytes().chunks(size)))
        .into_iter();
    let first = found.next().unwrap();
    for (read, size) in found.zip(sizes.into_iter().skip(1)) {
        assert_eq!(read.outcome, first.outcome, "in pieces of {size}");
    }
    first
}

#[test]
fn where_there_is_no_room_less_of_a_long_answer_is_kept_and_its_status_counts() {
    let long = "x".repeat(40_000);
    let lines = format!("A: {}\r\n", "y".repeat(1_000)).repeat(30);
    let own = RESPONSE_FREE_BYTES - "content-length: 40000\r\n".len();
    for (text, status, kept) in [
        (
            format!("HTTP/1.1 410 X\r\nContent-Length: 40000\r\n\r\n{long}"),
            410,
            own,
        ),
        (
            format!("HTTP/1.1 200 X\r\n\r\n{long}"),
            200,
            RESPONSE_FREE_BYTES,
        ),
        (format!("HTTP/1.1 204 X\r\n{lines}\r\n"), 204, 0),
        (
            format!("HTTP/1.1 500 X\r\n{lines}Content-Length: 3\r\n\r\nabc"),
            500,
            0,
        ),
        (
            format!("HTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 201 X\r\n{lines}\r\n"),
            201,
            0,
        ),
    ] {
        let read = in_any_pieces(&text);
        let (found, body, end) = answered(&read);
        assert_eq!(
            (found, body.len(), end),
            (status, kept, BodyEnd::Cut),
            "{status}"
        );
    }
    let short = in_any_pieces("HTTP/1.1 200 X\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(answered(&short), (200, &b"abc"[..], BodyEnd::Whole));
}

#[test]
fn a_head_that_is_there_counts_though_what_comes_with_its_end_has_no_room() {
    let body = "x".repeat(8_140);
    let rest = format!("\r\nHTTP/1.1 200 OK\r\nContent-Length: 8140\r\n\r\n{body}");
    let pieces = ["HTTP/1.1 103 Early\r\nLink: a\r\n", &rest];
    let found = read_without_room(pieces.iter().map(|piece| piece.as_bytes()));
    assert_eq!(answered(&found), (200, body.as_bytes(), BodyEnd::Whole));
    let rest = format!("Retry-After: 120\r\n\r\n{}", "x".repeat(8_100));
    let pieces = ["HTTP/1.1 429 X\r\n", &rest];
    let found = read_without_room(pieces.iter().map(|piece| piece.as_bytes()));
    assert_eq!(answered(&found).0, 429);
    let Outcome::Answered(answer) = &found.outcome else {
        panic!("it was answered");
    };
    assert_eq!(answer.headers.get("retry-after"), Some(&b"120"[..]));
    let garbled = format!("HTTP/1.1 200 X\r\nA: {}\r\nno colon\r\n", "y".repeat(7_000));
    let found = in_any_pieces(&(garbled + &"x".repeat(9_000)));
    assert!(note(&found).contains("no colon"));
}

#[test]
fn what_comes_behind_interim_answers_has_the_room_that_they_had() {
    // So long that each piece of 8 KiB ends somewhere in the head behind it.
    for length in 8_120..8_192 {
        let begin = "HTTP/1.1 103 X\r\nA: ";
        let lines = "y".repeat(length - begin.len() - 4);
        let interim = format!("{begin}{lines}\r\n\r\n");
        let text = format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n");
        let text = text + &"x".repeat(90);
        let pieces = [&text.as_bytes()[..1], &text.as_bytes()[1..]];
        let found = read_without_room(pieces.into_iter());
        assert_eq!(
            answered(&found),
            (200, &[b'x'; 90][..], BodyEnd::Whole),
            "{length}"
        );
        assert!(found.keeps, "{length}");
    }
}

#[test]
fn an_answer_counts_as_shortened_once_and_only_if_it_is() {
    for (text, shortened) in [
        (format!("HTTP/1.1 200 X\r\n\r\n{}", "x".repeat(20_000)), 1),
        (format!("HTTP/1.1 200 X\r\nA: {}", "y".repeat(20_000)), 1),
        (format!("HTTP/1.1 200 X\r\n\r\n{}", "x".repeat(8_192)), 0),
    ] {
        let counter = Counter::default();
        let room = ResponseBudget::new(0, counter.clone());
        let mut taken = room.nothing();
        let mut reading = ResponseParser::new(&mut taken);
        for piece in text.as_bytes().chunks(5_000) {
            if reading.take(piece).is_some() {
                break;
            }
        }
        assert_eq!(counter.get(), shortened);
    }
}

#[test]
fn a_long_interim_answer_is_none_whatever_room_there_is() {
    let lines = format!("A: {}\r\n", "y".repeat(1_000)).repeat(10);
    let text = format!("HTTP/1.1 103 X\r\n{lines}\r\nHTTP/1.1 204 X\r\n\r\n");
    for found in [in_any_pieces(&text), read(&text, Then::TimeUp)] {
        assert_eq!(
            failed(&found),
            (
                FailureKind::Garbled,
                "an interim answer (1xx) is longer than 8 KiB"
            )
        );
    }
    // As long as it may be.
    let lines = format!("A: {}\r\n", "y".repeat(1_000)).repeat(8);
    let text = format!("HTTP/1.1 103 X\r\n{lines}\r\nHTTP/1.1 204 X\r\n\r\n");
    for found in [in_any_pieces(&text), read(&text, Then::TimeUp)] {
        assert_eq!(answered(&found).0, 204);
    }
}

#[test]
fn what_has_no_end_is_held_within_bounds() {
    let begins = [
        "HTTP/1.1 200 ",
        "HTTP/1.1 200 OK\r\nA: ",
        "HTTP/1.1 200 OK\r\n\r\n",
        "\r\n",
    ];
    let chunked =
        ["1;", "0\r\nT: ", "0\r\n", "0", "1", ""].map(|begin| format!("{CHUNKED}{begin}"));
    for begin in begins.into_iter().map(str::to_owned).chain(chunked) {
        for more in ["x", "1\r\nx\r\n", "A: b\r\n", "\r\n", "0"] {
            let text = format!("{begin}{}", more.repeat(1 + 200_000 / more.len()));
            for size in [1, 4096] {
                let (_, held) = read_pieces(text.as_bytes().chunks(size), Then::TimeUp);
                assert!(held <= 256 * 1024, "{begin:?} {more:?}: {held}");
            }
        }
    }
}

#[test]
fn something_wrong_in_a_long_head_is_found_when_its_line_has_ended() {
    let text = format!(
        "HTTP/1.1 200 OK\r\nA: {}\0{}\n",
        "x".repeat(5_000),
        "y".repeat(10)
    );
    for then in [Then::Closed, Then::TimeUp] {
        let found = read(&text, then);
        assert!(note(&found).contains("line 2 of its head has a NUL in it"));
        assert_eq!(answered(&found), (200, &b""[..], BodyEnd::Broken));
    }
}

/// Parts of answers, and things that are near to them.
fn pieces_of_answers() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.0 404 No\n".to_vec()),
        Just(b"HTTP/1.1 103 Early\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 204 X\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"Content-Length: 12\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: close\r\n".to_vec()),
        Just(b"A: b\r\n c\r\n".to_vec()),
        Just(b"HTTP/1.2  200  OK\r\n".to_vec()),
        Just(b"HTTP/1.1 410".to_vec()),
        Just(b"A : b\r\n".to_vec()),
        Just(b"no colon\r\n".to_vec()),
        Just(b"Content-Length: x\r\n".to_vec()),
        Just(b"Connection: keep-alive\r\nKeep-Alive: timeout=5, max=x\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"3;x=y\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"0\r\nT: t\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![Just(Then::Closed), Just(Then::Reset), Just(Then::TimeUp)]
}

/// Splits at these places, whatever they are.
fn split<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn in_whatever_pieces_an_answer_comes_the_same_comes_of_it(
        bytes in pieces_of_answers(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        then in then(),
    ) {
        let (whole, _) = read_pieces([&bytes[..]].into_iter(), then);
        let (pieces, _) = read_pieces(split(&bytes, &places).into_iter(), then);
        let (single, _) = read_pieces(bytes.chunks(1), then);
        prop_assert_eq!(&pieces.outcome, &whole.outcome);
        prop_assert_eq!(&single.outcome, &whole.outcome);
    }

    #[test]
    fn no_bytes_are_too_odd(
        begin in pieces_of_answers(),
        more in proptest::collection::vec(any::<u8>(), 0..300),
        size in 1_usize..64,
        then in then(),
    ) {
        let bytes = [begin, more].concat();
        let (read, held) = read_pieces(bytes.chunks(size), then);
        prop_assert!(held <= 2 * limits::RESPONSE_HEAD_BYTES_MAX);
        prop_assert!(!read.outcome.words().is_empty());
        if let Outcome::Answered(answer) = read.outcome {
            prop_assert!((100..=999).contains(&answer.status));
            prop_assert!(answer.body.len() <= limits::RESPONSE_BODY_BYTES_MAX);
        }
    }
}
