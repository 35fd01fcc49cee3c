//! Chunked bodies, bent; and bodies that were put into chunks come out of them.

use super::*;

/// `data` in chunks whose sizes its own bytes tell, with extensions and trailers.
fn in_chunks(mut data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while let [size, ..] = data {
        let (chunk, rest) = data.split_at((usize::from(*size) % 40 + 1).min(data.len()));
        let extension = [" ", ";x=\"y;z\"", "\t;x", ""][usize::from(*size) % 4];
        text.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
        data = rest;
    }
    text.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    text
}

#[test]
fn in_any_pieces_chunks_are_the_same_and_data_comes_out_as_it_went_in() {
    ::fuzz::run("chunks", 4_000, |bytes| {
        let found = read(bytes, bytes.len().max(1));
        for piece in [1, 3, 64] {
            assert_eq!(read(bytes, piece), found, "in pieces of {piece}");
        }
        if let Some((data, ended, behind)) = found {
            assert!(data.len() + behind <= bytes.len());
            if ended {
                let end = bytes.len() - behind;
                assert_eq!(
                    read(&bytes[..end], usize::MAX),
                    Some((data.clone(), true, 0))
                );
                let cut = read(&bytes[..end - 1], usize::MAX);
                assert_eq!(cut, Some((data, false, 0)));
            }
        }
        // More would have more extensions than a body may have.
        let data = &bytes[..bytes.len().min(2_000)];
        assert_eq!(read(&in_chunks(data), 100), Some((data.to_vec(), true, 0)));
    });
}
