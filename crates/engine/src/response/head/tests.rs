//! Heads byte by byte: what each says of the body and of the line, and what is no head.

use model::attempt::FailureKind;

use super::*;

const ROOM: usize = limits::RESPONSE_HEAD_BYTES_MAX;

fn head(text: impl AsRef<[u8]>) -> ResponseHead {
    let text = text.as_ref();
    let found = parse(text, ROOM);
    let HeadParse::Whole(head, length) = found else {
        panic!("{found:?}");
    };
    assert_eq!(length, text.len());
    head
}

/// The status of a head that is no more than that, and what is wrong with it.
fn damaged(text: impl AsRef<[u8]>) -> (u16, String) {
    let found = parse(text.as_ref(), ROOM);
    let HeadParse::Damaged(damaged) = found else {
        panic!("{found:?}");
    };
    (damaged.status, damaged.note)
}

fn detail(text: impl AsRef<[u8]>) -> String {
    let found = parse(text.as_ref(), ROOM);
    let HeadParse::Garbled(failure) = found else {
        panic!("{found:?}");
    };
    assert_eq!(failure.kind, FailureKind::Garbled);
    failure.detail
}

/// The framing that these lines give a 200, and whether the line is kept.
fn framing(lines: &str) -> (Framing, bool) {
    let head = head(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    (head.framing, head.keeps)
}

#[test]
fn a_head_is_whole_at_its_blank_line_and_not_before() {
    let text = b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\n\r\nabc";
    for end in 0..text.len() - 3 {
        assert_eq!(parse(&text[..end], ROOM), HeadParse::More, "{end}");
    }
    let head = head(&text[..text.len() - 3]);
    assert_eq!((head.status, head.framing), (200, Framing::Length(3)));
}

#[test]
fn lines_are_kept_in_their_order_with_names_in_small_letters_and_any_bytes() {
    let head = head(
        b"HTTP/1.1 200 OK\r\nSet-Cookie:a\r\nX-ODD: \xff\x80 \t\r\nSET-COOKIE: b\r\nE:\r\n\r\n",
    );
    assert_eq!(
        &head.headers.0[..],
        b"set-cookie: a\r\nx-odd: \xff\x80\r\nset-cookie: b\r\ne: \r\n"
    );
}

#[test]
fn some_answers_have_no_body_whatever_their_lines_say() {
    for status in [100, 101, 199, 204, 304] {
        for lines in [
            "Content-Length: 5\r\n",
            "Content-Length: x\r\n",
            "Transfer-Encoding: chunked\r\n",
            "",
        ] {
            let head = head(format!("HTTP/1.1 {status} X\r\n{lines}\r\n"));
            assert_eq!(head.framing, Framing::Length(0), "{status} {lines}");
        }
    }
}

#[test]
fn a_length_is_a_number_that_may_be_said_twice_but_not_two_numbers() {
    for (lines, length) in [
        ("Content-Length: 0\r\n", 0),
        ("content-length:\t007 \r\n", 7),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 5),
        ("Content-Length: 5, 5\r\n", 5),
        ("Content-Length: 18446744073709551615\r\n", u64::MAX),
    ] {
        assert_eq!(framing(lines), (Framing::Length(length), true), "{lines}");
    }
    for value in [
        "",
        "-1",
        "+1",
        "0x10",
        "1e3",
        "1 2",
        "5;",
        "5,",
        ",5",
        "1.0",
        "\u{a0}5",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        assert_eq!(
            damaged(format!(
                "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {value}\r\n\r\n"
            )),
            (
                200,
                format!(
                    "line 3 of its head has no number as its length (“Content-Length: {value}”), \
                     so no more of it was read"
                )
            )
        );
    }
    for (lines, number, value) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 3, "2"),
        ("Content-Length: 1, 2\r\n", 2, "1, 2"),
        (
            "Content-Length: 1\r\nContent-Length: 1\r\nContent-Length: 3\r\n",
            4,
            "3",
        ),
    ] {
        assert_eq!(
            damaged(format!("HTTP/1.1 410 X\r\n{lines}\r\n")),
            (
                410,
                format!(
                    "line {number} of its head says another length than before \
                     (“Content-Length: {value}”), so no more of it was read"
                )
            )
        );
    }
}

#[test]
fn the_last_coding_decides_whether_a_body_is_chunked() {
    for (lines, framing_found) in [
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding: CHUNKED\r\n", Framing::Chunked),
        ("Transfer-Encoding: gzip, chunked\r\n", Framing::Chunked),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            Framing::Chunked,
        ),
        ("Transfer-Encoding: chunked, gzip\r\n", Framing::ToTheEnd),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            Framing::ToTheEnd,
        ),
        ("Transfer-Encoding: xchunked\r\n", Framing::ToTheEnd),
        ("Transfer-Encoding:\r\n", Framing::ToTheEnd),
    ] {
        let keeps = framing_found == Framing::Chunked;
        assert_eq!(framing(lines), (framing_found, keeps), "{lines}");
    }
    let (status, note) = damaged("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(status, 200);
    assert!(
        note.contains("HTTP/1.0 and has a Transfer-Encoding"),
        "{note}"
    );
}

#[test]
fn a_length_beside_chunks_means_nothing_but_ends_the_line() {
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: -1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(framing(lines), (Framing::Chunked, false), "{lines}");
    }
}

#[test]
fn without_a_length_a_body_goes_to_the_end_of_the_line() {
    assert_eq!(framing("X: y\r\n"), (Framing::ToTheEnd, false));
    assert_eq!(
        framing("Content-Length-X: 1\r\n"),
        (Framing::ToTheEnd, false)
    );
}

#[test]
fn a_line_is_kept_unless_the_version_or_the_receiver_says_otherwise() {
    for (version, lines, keeps) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: x, close ,y\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: close\r\nConnection: keep-alive\r\n",
            false,
        ),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("HTTP/{version} 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        assert_eq!(head(&text).keeps, keeps, "{text}");
    }
    assert!(!head("HTTP/1.1 101 Switching\r\n\r\n").keeps);
}

#[test]
fn lines_may_end_without_a_carriage_return_and_reasons_may_be_missing() {
    for text in [
        "HTTP/1.1 200 OK\nA: 1\n\n",
        "HTTP/1.1 200\r\nA: 1\r\n\r\n",
        "HTTP/1.1 200 \r\nA: 1\n\r\n",
        "HTTP/1.1 200 \u{fc}\r\nA: 1\r\n\n",
    ] {
        assert_eq!(&head(text).headers.0[..], b"a: 1\r\n", "{text:?}");
    }
}

#[test]
fn what_a_receiver_says_of_how_long_it_keeps_a_line_is_heard() {
    let told = |lines: &str| {
        let head = head(format!("HTTP/1.1 204 X\r\n{lines}\r\n"));
        (head.keep_alive.timeout_s, head.keep_alive.requests_max)
    };
    for (lines, expected) in [
        ("", (None, None)),
        ("Keep-Alive: timeout=5, max=100\r\n", (Some(5), Some(100))),
        ("keep-alive: max=1\r\n", (None, Some(1))),
        ("Keep-Alive: timeout = 72 \r\n", (Some(72), None)),
        ("Keep-Alive: timeout=0.5;max=7\r\n", (Some(0), Some(7))),
        (
            "Keep-Alive: timeout=99999999999\r\n",
            (Some(u32::MAX), None),
        ),
        ("Keep-Alive: timeout=x, max=\r\n", (None, None)),
        ("Keep-Alive: 300\r\n", (None, None)),
        (
            "Keep-Alive: timeout=5\r\nKeep-Alive: max=3\r\n",
            (Some(5), Some(3)),
        ),
    ] {
        assert_eq!(told(lines), expected, "{lines}");
    }
}

#[test]
fn a_head_may_be_as_long_as_its_bound_and_counts_if_it_is_longer() {
    let of_size = |size: usize| {
        let begin = "HTTP/1.1 200 OK\r\nA: ";
        let value = "x".repeat(size - begin.len() - 4);
        format!("{begin}{value}\r\n\r\n")
    };
    const LONG: &str = "its head is longer than 64 KiB";
    assert_eq!(head(of_size(ROOM)).status, 200);
    for size in [ROOM + 1, ROOM * 2] {
        assert_eq!(damaged(of_size(size)), (200, LONG.to_owned()));
    }
    // What comes behind the bound is not even looked at.
    let bad = format!("HTTP/1.1 410 OK\r\nA: {}\0", "x".repeat(ROOM));
    assert_eq!(damaged(bad), (410, LONG.to_owned()));
    // A status line without end is none.
    assert_eq!(detail(format!("HTTP/1.1 200 {}", "x".repeat(ROOM))), LONG);
}
