//! Heads of receivers that break the rules: what still counts, and what is said about the rest.

mod fuzz;

use model::attempt::FailureKind;
use proptest::prelude::*;

use super::*;
use crate::response::head;
use crate::response::head::parsed::SHOWN_CHARS;

const ROOM: usize = limits::RESPONSE_HEAD_BYTES_MAX;

fn parsed(text: impl AsRef<[u8]>) -> HeadParse {
    head::parse(text.as_ref(), ROOM)
}

fn whole(text: impl AsRef<[u8]>) -> u16 {
    let found = parsed(&text);
    let HeadParse::Whole(head, length) = found else {
        panic!("{found:?}");
    };
    assert_eq!(length, text.as_ref().len());
    head.status
}

#[test]
fn a_status_below_100_is_refused_before_its_line_has_ended() {
    for (text, is_judged) in [("HTTP/1.1 099", false), ("HTTP/1.1 099 ", true)] {
        let found = parsed(text);
        assert_eq!(found, parse(text.as_bytes(), false), "{text:?}");
        assert_eq!(
            matches!(found, HeadParse::Garbled(_)),
            is_judged,
            "{found:?}"
        );
    }
}

#[test]
fn a_line_that_is_wrong_is_named_and_the_status_counts() {
    for (lines, number, wrong, shown) in [
        (
            "A: 1\r\n 2\r\n",
            3,
            "is folded: it begins with a blank",
            " 2",
        ),
        (
            "\tA: 1\r\n",
            2,
            "is folded: it begins with a blank",
            "\\tA: 1",
        ),
        (
            "Warning message\r\nA: 1\r\n",
            2,
            "has no colon",
            "Warning message",
        ),
        ("A: 1\r\nB: 2\r\nNoColon\r\n", 4, "has no colon", "NoColon"),
        ("A : 1\r\n", 2, "has a blank before its colon", "A : 1"),
        ("A\t: 1\r\n", 2, "has a blank before its colon", "A\\t: 1"),
        (": 1\r\n", 2, "has no name before its colon", ": 1"),
        ("A: 1\0\r\n", 2, "has a NUL in it", "A: 1\\u{0}"),
        ("A\0: 1\r\n", 2, "has a NUL in it", "A\\u{0}: 1"),
        ("A: 1\r2\r\n", 2, "has a carriage return in it", "A: 1\\r2"),
        ("A: 1\r\n\rX\r\n", 3, "has a carriage return in it", "\\rX"),
        ("A: 1\r\r\n", 2, "has a carriage return in it", "A: 1\\r"),
        (
            "PHP Warning: x\r\n",
            2,
            "has a character in its name that no name may have",
            "PHP Warning: x",
        ),
        (
            "\u{e4}: 1\r\n",
            2,
            "has a character in its name that no name may have",
            "\u{e4}: 1",
        ),
        (
            "A: \x7f\r\n",
            2,
            "has a control character in it",
            "A: \\u{7f}",
        ),
    ] {
        for status in [200, 299, 410, 500, 101] {
            let text = format!("HTTP/1.1 {status} X\r\n{lines}B: 2\r\n\r\nbody");
            let HeadParse::Damaged(damaged) = parsed(&text) else {
                panic!("{text:?}");
            };
            let note =
                format!("line {number} of its head {wrong} (“{shown}”), so no more of it was read");
            assert_eq!((damaged.status, &*damaged.note), (status, &*note));
        }
    }
}

#[test]
fn lines_before_the_one_that_is_wrong_are_kept() {
    let text = b"HTTP/1.1 200 OK\nServer:  x \r\nX-Odd:\t\xff\r\nno colon\r\nAfter: 1\r\n\r\n";
    let HeadParse::Damaged(damaged) = parsed(text) else {
        panic!("it is damaged");
    };
    assert_eq!(&damaged.headers.0[..], b"server: x\r\nx-odd: \xff\r\n");
}

#[test]
fn a_line_more_than_are_taken_is_wrong() {
    let many = "A: 1\r\n".repeat(limits::RESPONSE_HEADERS_MAX);
    assert_eq!(whole(format!("HTTP/1.1 200 OK\r\n{many}\r\n")), 200);
    let HeadParse::Damaged(damaged) = parsed(format!("HTTP/1.1 200 OK\r\n{many}B: 1\r\n\r\n"))
    else {
        panic!("it is damaged");
    };
    assert!(
        damaged
            .note
            .starts_with("line 102 of its head is one too many")
    );
    assert_eq!(damaged.headers.iter().count(), 100);
}

#[test]
fn of_a_line_that_is_wrong_only_the_beginning_is_shown() {
    let line = "\u{fc}".repeat(SHOWN_CHARS + 5);
    let HeadParse::Damaged(damaged) = parsed(format!("HTTP/1.1 200 OK\r\n{line}\r\n")) else {
        panic!("it is damaged");
    };
    let shown = format!("“{}…”", "\u{fc}".repeat(SHOWN_CHARS));
    assert!(damaged.note.contains(&shown), "{}", damaged.note);
}

#[test]
fn what_is_shown_of_a_line_has_its_length_however_it_has_to_be_written() {
    let line = "A \u{1}".repeat(SHOWN_CHARS);
    let HeadParse::Damaged(damaged) = parsed(format!("HTTP/1.1 200 OK\r\n{line}\r\n")) else {
        panic!("it is damaged");
    };
    let (_, shown) = damaged.note.split_once('“').expect("the line is shown");
    let (shown, _) = shown.split_once('”').expect("it ends");
    assert!(shown.ends_with('…'), "{shown}");
    assert!(shown.chars().count() <= SHOWN_CHARS + 1, "{shown}");
}

#[test]
fn a_status_line_may_have_any_blanks_any_minor_version_and_any_reason() {
    for begin in [
        "HTTP/1.1 200 OK",
        "HTTP/1.1  200  OK",
        "HTTP/1.1\t200\tOK",
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200  ",
        "HTTP/1.2 200 OK",
        "HTTP/1.9 200 OK",
        "HTTP/1.0  200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 \u{dc}ber\u{1}\u{7f}\0all",
        "HTTP/1.1 200 O\rK",
    ] {
        for end in ["\r\n", "\n"] {
            let text = format!("{begin}{end}Content-Length: 0{end}{end}");
            assert_eq!(whole(&text), 200, "{text:?}");
        }
    }
    let HeadParse::Whole(head, _) = parsed("HTTP/1.2 204 X\r\nA: b\r\n\r\n") else {
        panic!("it is whole");
    };
    assert!(head.keeps);
    assert_eq!(&head.headers.0[..], b"a: b\r\n");
}

#[test]
fn what_is_no_status_line_is_garbled() {
    const VERSION: &str = "it does not begin with HTTP/1.1 or HTTP/1.0";
    const DIGITS: &str = "the status in its status line does not have three digits";
    const NONE: &str = "its status line has no status";
    for (text, words) in [
        ("HTTP/2 200\r\n\r\n", VERSION),
        ("HTTP/2.0 200 OK\r\n\r\n", VERSION),
        ("HTTP/0.9 200 OK\r\n\r\n", VERSION),
        ("HTTP/1 200 OK\r\n\r\n", VERSION),
        ("HTTP/1.11 200 OK\r\n\r\n", VERSION),
        ("HTTP/1.x 200 OK\r\n\r\n", VERSION),
        ("HTTP/1.1200 OK\r\n\r\n", VERSION),
        ("http/1.1 200 OK\r\n\r\n", VERSION),
        ("ICY 200 OK\r\n\r\n", VERSION),
        ("200 OK\r\n\r\n", VERSION),
        ("<html>", VERSION),
        ("\x16\x03\x01 hello", VERSION),
        ("SSH-2.0-OpenSSH_9.6\r\n", VERSION),
        ("HTTP/1.1 2000 OK\r\n\r\n", DIGITS),
        ("HTTP/1.1 20 OK\r\n\r\n", DIGITS),
        ("HTTP/1.1 20\r\n\r\n", DIGITS),
        ("HTTP/1.1 2x0 OK\r\n\r\n", DIGITS),
        ("HTTP/1.1 -20 OK\r\n\r\n", NONE),
        ("HTTP/1.1 +200 OK\r\n\r\n", NONE),
        ("HTTP/1.1 OK\r\n\r\n", NONE),
        ("HTTP/1.1\r\n200 OK\r\n\r\n", NONE),
        ("HTTP/1.1 \n200 OK\r\n\r\n", NONE),
        ("HTTP/1.1 099 X\r\n\r\n", "099 is no status"),
        ("HTTP/1.1 000 X\r\n\r\n", "000 is no status"),
        (
            "HTTP/1.1 200OK\r\n\r\n",
            "the status in its status line is not followed by a blank",
        ),
    ] {
        let found = parsed(text);
        let HeadParse::Garbled(failure) = found else {
            panic!("{text:?}: {found:?}");
        };
        assert_eq!(
            (failure.kind, &*failure.detail),
            (FailureKind::Garbled, words)
        );
    }
}

#[test]
fn an_interim_answer_may_be_as_sloppy_as_it_likes() {
    for lines in ["no colon\r\n", "A: b\r\n c\r\n", "A: 1\0\r\n", ": x\n"] {
        for status in [100, 102, 103, 199] {
            assert_eq!(whole(format!("HTTP/1.1 {status} X\r\n{lines}\r\n")), status);
        }
    }
    let many = "A: 1\r\n".repeat(limits::RESPONSE_HEADERS_MAX + 1);
    assert_eq!(whole(format!("HTTP/1.1 103 X\r\n{many}\r\n")), 103);
}

#[test]
fn a_head_that_is_cut_off_has_its_status_once_its_status_line_is_there() {
    let text = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n";
    let status_line = text.find('\n').unwrap() + 1;
    for end in status_line..text.len() {
        for well in [true, false] {
            let parsed = head::cut_off(&text.as_bytes()[..end], well, "why");
            let HeadParse::Damaged(damaged) = parsed else {
                panic!("{end}");
            };
            assert_eq!((damaged.status, &*damaged.note), (200, "why"));
        }
    }
    let status = "HTTP/1.1 200".len();
    for end in 0..status_line {
        let cut = &text.as_bytes()[..end];
        assert_eq!(head::cut_off(cut, false, "why"), HeadParse::More);
        let found = head::cut_off(cut, true, "why");
        if end < status {
            assert_eq!(found, HeadParse::More, "{end}");
            continue;
        }
        let HeadParse::Damaged(damaged) = found else {
            panic!("{end}: {found:?}");
        };
        let note = "the connection ended within its status line";
        assert_eq!((damaged.status, &*damaged.note), (200, note));
    }
}

/// Heads, mostly within the rules.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(&b"A: b\r\n"[..]),
        2 => Just(&b"Content-Length: 3\n"[..]),
        2 => Just(&b"X-Odd:\t\xff \t\r\n"[..]),
        2 => Just(&b"E:\r\n"[..]),
        1 => Just(&b" c\r\n"[..]),
        1 => Just(&b"A : b\r\n"[..]),
        1 => Just(&b"no colon\r\n"[..]),
        1 => Just(&b"A: \x01\r\n"[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"Connection: close\r\n"[..]),
    ];
    let begin = prop_oneof![
        Just(&b"HTTP/1.1 200 OK\r\n"[..]),
        Just(&b"HTTP/1.0 410\n"[..]),
        Just(&b"HTTP/1.1 500 \xff\r\n"[..]),
    ];
    let end = prop_oneof![Just(&b"\r\n"[..]), Just(&b"\n"[..]), Just(&b""[..])];
    (begin, proptest::collection::vec(part, 0..8), end)
        .prop_map(|(begin, parts, end)| [begin, &parts.concat(), end].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_head_within_the_rules_is_the_same_to_both_readers(bytes in heads()) {
        let strict = head::parse(&bytes, ROOM);
        let lenient = parse(&bytes, false);
        prop_assert_eq!(strict, lenient);
    }

    #[test]
    fn bytes_that_follow_change_nothing_of_what_was_found(
        bytes in heads(),
        more in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let found = head::parse(&bytes, ROOM);
        if found != HeadParse::More {
            prop_assert_eq!(head::parse(&[bytes, more].concat(), ROOM), found);
        }
    }
}
