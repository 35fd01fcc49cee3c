//! Heads byte by byte: what each says of the body and of the line, and what is no head.

use super::*;

const ROOM: usize = limits::RESPONSE_HEAD_BYTES_MAX;

fn head(text: impl AsRef<[u8]>) -> Head {
    let text = text.as_ref();
    let (head, length) = parse(text, ROOM).unwrap().expect("the head is whole");
    assert_eq!(length, text.len());
    head
}

fn detail(text: impl AsRef<[u8]>) -> String {
    let failure = parse(text.as_ref(), ROOM).unwrap_err();
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
        assert_eq!(parse(&text[..end], ROOM), Ok(None), "{end}");
    }
    let (head, length) = parse(text, ROOM).unwrap().unwrap();
    assert_eq!(length, text.len() - 3);
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
            detail(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n"
            )),
            "its Content-Length is not a number",
            "{value:?}"
        );
    }
    for lines in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\nContent-Length: 3\r\n",
    ] {
        assert_eq!(
            detail(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")),
            "it says more than one Content-Length"
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
    assert_eq!(
        detail("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "HTTP/1.0 has no Transfer-Encoding"
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
fn what_is_wrong_with_a_head_is_said() {
    const NAME: &str =
        "a header line has no colon, or a name with a character that no name may have";
    const VALUE: &str = "a header line has a character that none may have";
    const STATUS: &str = "its status line is not one";
    const VERSION: &str = "it does not begin with HTTP/1.1 or HTTP/1.0";
    for (text, words) in [
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\nNoColon\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\nA : 1\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\n: 1\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\nA\0: 1\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\n A: 1\r\n\r\n", NAME),
        ("HTTP/1.1 200 OK\r\nA: 1\r2\r\n\r\n", VALUE),
        ("HTTP/1.1 200 OK\r\nA: 1\0\r\n\r\n", VALUE),
        ("HTTP/1.1 200 OK\r\nA: \x7f\r\n\r\n", VALUE),
        ("HTTP/1.1 200 OK\rA: 1\r\n\r\n", STATUS),
        ("HTTP/1.1 2000 OK\r\n\r\n", STATUS),
        ("HTTP/1.1 20 OK\r\n\r\n", STATUS),
        ("HTTP/1.1 -20 OK\r\n\r\n", STATUS),
        ("HTTP/1.1  200 OK\r\n\r\n", STATUS),
        ("HTTP/1.1 099 X\r\n\r\n", "099 is no status"),
        ("HTTP/1.2 200 OK\r\n\r\n", VERSION),
        ("HTTP/2 200\r\n\r\n", VERSION),
        ("http/1.1 200 OK\r\n\r\n", VERSION),
        ("<html>", VERSION),
        ("\x16\x03\x01 hello", VERSION),
        (
            "HTTP/1.1 200 OK\r\n\rX",
            "a line of its head has no proper end",
        ),
    ] {
        assert_eq!(detail(text), words, "{text:?}");
    }
    let many = "A: 1\r\n".repeat(limits::RESPONSE_HEADERS_MAX);
    assert_eq!(
        detail(format!("HTTP/1.1 200 OK\r\n{many}A: 1\r\n\r\n")),
        "it has more than 100 header lines"
    );
    assert_eq!(head(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).status, 200);
}

#[test]
fn a_head_may_be_as_long_as_its_bound_and_no_longer() {
    let of_size = |size: usize| {
        let begin = "HTTP/1.1 200 ";
        let reason = "x".repeat(size - begin.len() - 4);
        format!("{begin}{reason}\r\n\r\n")
    };
    assert_eq!(head(of_size(ROOM)).status, 200);
    for size in [ROOM + 1, ROOM * 2] {
        assert_eq!(detail(of_size(size)), "its head is longer than 64 KiB");
    }
    // What comes behind the bound is not even looked at.
    let bad = format!("HTTP/1.1 200 OK\r\nA: {}\0", "x".repeat(ROOM));
    assert_eq!(detail(bad), "its head is longer than 64 KiB");
}
