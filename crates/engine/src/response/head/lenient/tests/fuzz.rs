//! Two readers of heads: what the strict one takes, the lenient one takes in the same way.

use super::*;

#[test]
fn two_readers_of_heads_agree() {
    ::fuzz::run("response", 6_000, |bytes| {
        // Blank lines before a response are taken away before it is read.
        let blank = bytes.iter().take_while(|byte| b"\r\n".contains(byte));
        let bytes = &bytes[blank.count()..];
        let found = head::parse(bytes, ROOM);
        let within = &bytes[..bytes.len().min(ROOM)];
        match (parse(within, within.len() >= ROOM), &found) {
            // Of interim responses nobody asks for the lines.
            (HeadParse::Whole(lenient, end), HeadParse::Whole(strict, length))
                if is_interim(strict.status) =>
            {
                assert_eq!((lenient.status, end), (strict.status, *length));
            }
            (lenient, _) => assert_eq!(lenient, found),
        }
        let status = head::status(within);
        match &found {
            HeadParse::Whole(head, length) => {
                assert!((100..=999).contains(&head.status));
                assert_eq!(status, Some(head.status));
                // What follows a head changes nothing of it, and it is whole at its end only.
                assert_eq!(head::parse(&bytes[..*length], ROOM), found);
                assert_eq!(head::parse(&bytes[..*length - 1], ROOM), HeadParse::More);
            }
            HeadParse::Damaged(damaged) => {
                assert_eq!(status, Some(damaged.status));
                assert!(damaged.note.chars().count() < 2 * SHOWN_CHARS + 200);
            }
            HeadParse::Garbled(failure) => {
                // Only an interim response that does not end has a status and is none.
                assert_eq!(failure.kind, FailureKind::Garbled);
                assert!(status.is_none_or(is_interim));
            }
            HeadParse::More => {
                assert!(bytes.len() < ROOM);
                for well in [true, false] {
                    let end = head::cut_off(bytes, well, "why");
                    assert!(!matches!(end, HeadParse::Whole(..)), "{end:?}");
                }
            }
        }
    });
}
