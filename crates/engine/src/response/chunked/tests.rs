//! Chunks in whole and in single bytes.

mod fuzz;

use super::*;

/// The data, whether the end was found and what is behind it; `None` if it is garbled.
fn read(text: &[u8], piece: usize) -> Option<(Vec<u8>, bool, usize)> {
    let mut chunks = ChunkedDecoder::default();
    let (mut data, mut ended, mut behind) = (Vec::new(), false, 0);
    for mut bytes in text.chunks(piece) {
        loop {
            match chunks.take(&mut bytes) {
                ChunkPiece::Data(found) => data.extend_from_slice(found),
                ChunkPiece::Nothing => break,
                ChunkPiece::End => {
                    ended = true;
                    behind += bytes.len();
                    break;
                }
                ChunkPiece::Garbled(_) => return None,
            }
        }
    }
    Some((data, ended, behind))
}

fn same_in_all_pieces(text: &[u8]) -> Option<(Vec<u8>, bool, usize)> {
    let whole = read(text, usize::MAX);
    for piece in [1, 2, 3, 7] {
        assert_eq!(
            read(text, piece),
            whole,
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }
    whole
}

#[test]
fn chunks_are_joined_and_what_is_around_them_is_left_out() {
    for text in [
        "5\r\nhello\r\n0\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "0005\r\nhello\r\n0000000000000000\r\n\r\n",
        "5;name=value;x\r\nhello\r\n0;y\r\n\r\n",
        "5 \t\r\nhello\r\n0 ;x\r\n\r\n",
        "5;\r\nhello\r\n0\r\nA: 1\r\nB:\r\n\r\n",
        "5\r\nhello\r\n0\r\nA: any \u{fc}: value\r\n\r\n",
    ] {
        let expected = Some((b"hello".to_vec(), true, 0));
        assert_eq!(same_in_all_pieces(text.as_bytes()), expected, "{text:?}");
    }
    let upper_and_lower = format!("1A\r\n{0}\r\n1a\r\n{0}\r\n0\r\n\r\nbehind", "x".repeat(26));
    let (data, ended, behind) = same_in_all_pieces(upper_and_lower.as_bytes()).unwrap();
    assert_eq!((data.len(), ended, behind), (52, true, 6));
    assert_eq!(same_in_all_pieces(b"0\r\n\r\n"), Some((vec![], true, 0)));
}

#[test]
fn a_body_without_its_last_line_has_no_end() {
    let text = b"5\r\nhello\r\n0\r\nA: 1\r\n\r\n";
    for end in 0..text.len() {
        let (data, ended, _) = same_in_all_pieces(&text[..end]).unwrap();
        assert!(!ended, "{end}");
        assert!(b"hello".starts_with(&data[..]));
    }
}

#[test]
fn what_is_no_chunk_is_garbled() {
    for text in [
        "\r\n",
        "zz\r\n",
        "-1\r\n",
        "+1\r\nx",
        "0x5\r\nhello",
        " 5\r\nhello",
        ";x\r\n",
        "5 5\r\nhello",
        "5\nhello",
        "5;x\nhello",
        "5\rhello",
        "5 \nhello",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\rx",
        "5\r\nhelloworld\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "00000000000000005\r\nhello",
        "g\r\n",
        "5\0\r\n",
        "\u{ff15}\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nNoColon\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\n A: x\r\n\r\n",
        "0\r\nA : x\r\n\r\n",
        "0\r\nA: x\n\r\n",
        "0\r\nA: x\ry\r\n",
        "0\r\nA: \0\r\n\r\n",
        "0\r\n\rx",
        "0\r\n\n",
    ] {
        assert_eq!(same_in_all_pieces(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn the_largest_size_is_one_and_the_next_is_none() {
    let mut chunks = ChunkedDecoder::default();
    let mut bytes = &b"ffffffffffffffff\r\nabc"[..];
    assert_eq!(chunks.take(&mut bytes), ChunkPiece::Data(b"abc"));
    assert_eq!(chunks.take(&mut bytes), ChunkPiece::Nothing);
    assert_eq!(read(b"1ffffffffffffffff\r\nabc", usize::MAX), None);
}

#[test]
fn all_that_is_no_data_is_bounded() {
    let extensions = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
    assert!(
        read(extensions(EXTENSION_BYTES_MAX).as_bytes(), 4096)
            .unwrap()
            .1
    );
    assert_eq!(
        read(extensions(EXTENSION_BYTES_MAX + 1).as_bytes(), 4096),
        None
    );
    // The bound is one for all of them, and blanks count.
    let many = "1;ee\r\nx\r\n".repeat(EXTENSION_BYTES_MAX / 2 + 1);
    assert_eq!(read(many.as_bytes(), 4096), None);
    let blanks = format!("1{}", " ".repeat(EXTENSION_BYTES_MAX + 1));
    assert_eq!(read(blanks.as_bytes(), 4096), None);
    let zeros = "0".repeat(100);
    assert_eq!(read(zeros.as_bytes(), 4096), None);
    let trailers = |count: usize| format!("0\r\n{}\r\n", "T: t\r\n".repeat(count));
    assert!(
        read(trailers(limits::RESPONSE_HEADERS_MAX).as_bytes(), 4096)
            .unwrap()
            .1
    );
    assert_eq!(
        read(trailers(limits::RESPONSE_HEADERS_MAX + 1).as_bytes(), 4096),
        None
    );
    for long in ["0\r\nT", "0\r\nT:"] {
        let long = format!("{long}{}", "x".repeat(TRAILER_BYTES_MAX + 1));
        assert_eq!(read(long.as_bytes(), 4096), None);
    }
}
