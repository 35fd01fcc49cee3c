//! Searching for bytes of a kind, eight at a time, by arithmetic on whole words: JSON texts are
//! long, and most have nothing to find.
//!
//! A kind is a function from a word to the word in which the highest bit of each byte of that kind
//! is set. Above the first of them, in the order of the text, other bits may be set, too.

/// Bytes of a word.
const WORD: usize = 8;

/// Words that are judged at once.
const PIECE: usize = 4 * WORD;

const HIGHEST: u64 = each(0x80);

/// What stands in a string of JSON and is not just a part of it: its end, an escape, or NUL.
pub(super) fn special(word: u64) -> u64 {
    zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | zeros(word)
}

/// What is written with an escape: all but printable ASCII, and two of that.
pub(super) fn escaped(word: u64) -> u64 {
    let control = word.wrapping_sub(each(b' ')) & !word & HIGHEST;
    let beyond = (word & HIGHEST) | zeros(word ^ each(0x7f));
    control | beyond | zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\'))
}

/// Whether there is no byte of a kind.
pub(super) fn has_none(bytes: &[u8], kind: impl Fn(u64) -> u64) -> bool {
    let Some(last) = bytes.last_chunk::<WORD>() else {
        return first(bytes, kind).is_none();
    };
    // What does not fill a word at the end is judged with some of what stands before it.
    let (words, _) = bytes.as_chunks::<WORD>();
    let found = words.iter().fold(0, |found, word| found | kind(read(word)));
    found | kind(read(last)) == 0
}

/// Where the first byte of a kind stands.
pub(super) fn first(bytes: &[u8], kind: impl Fn(u64) -> u64) -> Option<usize> {
    let (pieces, _) = bytes.as_chunks::<PIECE>();
    let has_none = |piece: &&[u8; PIECE]| {
        let (words, _) = piece.as_chunks::<WORD>();
        let found = words.iter().fold(0, |found, word| found | kind(read(word)));
        found == 0
    };
    let passed = pieces.iter().take_while(has_none).count() * PIECE;
    let (words, last) = bytes.get(passed..)?.as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        if let Some(at) = lowest(kind(read(word))) {
            return Some(passed + index * WORD + at);
        }
    }
    // Filled up with what is of no kind.
    let mut word = [b'x'; WORD];
    word.get_mut(..last.len())?.copy_from_slice(last);
    let at = lowest(kind(read(&word)))?;
    Some(passed + words.len() * WORD + at)
}

fn read(bytes: &[u8; WORD]) -> u64 {
    u64::from_le_bytes(*bytes)
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// The bytes that are zero. Subtracting borrows only from what stands after one of those.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & HIGHEST
}

/// The first byte with a bit set.
fn lowest(found: u64) -> Option<usize> {
    let byte = (found != 0).then(|| found.trailing_zeros() / 8);
    byte.and_then(|byte| usize::try_from(byte).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_special(byte: u8) -> bool {
        [b'"', b'\\', 0].contains(&byte)
    }

    fn is_escaped(byte: u8) -> bool {
        !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\'
    }

    fn agree(bytes: &[u8]) {
        let one_by_one = |is: fn(u8) -> bool| bytes.iter().position(|byte| is(*byte));
        assert_eq!(first(bytes, special), one_by_one(is_special), "{bytes:?}");
        assert_eq!(first(bytes, escaped), one_by_one(is_escaped), "{bytes:?}");
        let escaped = has_none(bytes, escaped);
        assert_eq!(escaped, one_by_one(is_escaped).is_none(), "{bytes:?}");
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for length in 0..80 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    agree(&bytes);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn of_several_the_first_is_found(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            agree(&bytes);
        }

        #[test]
        fn neighbours_do_not_hide_it(
            bytes in prop::collection::vec(prop::sample::select(
                b"x\"\\!#[]\x00\x01\x1f\x20\x21\x7e\x7f\x80\x81\xff".to_vec(),
            ), 0..50),
        ) {
            agree(&bytes);
        }
    }
}
