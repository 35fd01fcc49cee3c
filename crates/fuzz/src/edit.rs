//! Edits: what is done to a seed. Each is a value, so that a failing input is made simpler by
//! leaving edits out.

use proptest::arbitrary::any;
use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::sample::Index;
use proptest::strategy::Strategy;

use super::corpus::Corpus;

/// The longest input that is made: longer than most bounds of parsers.
pub(crate) const INPUT_BYTES_MAX: usize = 96 * 1024;

/// Numbers at which something ends: of bytes, of types, of lengths.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "2",
    "9",
    "10",
    "16",
    "127",
    "128",
    "255",
    "256",
    "1000",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999",
];

/// Bytes that end or begin something in most grammars.
const BYTES: &[u8] = b"\0\t\n\r \"%&'()*+,-./:;<=>?@[\\]_{}\x7f\x80\xc3\xff";

/// One change of an input. Places are relative to what it has become until then.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// What stands from here on is gone.
    End(Index),
    /// What stands before is gone.
    Begin(Index),
    /// So many bytes once more, or many times.
    Repeat(Index, usize, usize),
    /// A word of the target, in place of so many bytes.
    Word(Index, Index, usize),
    /// Another number in place of one that is there.
    Number(Index, Index),
    /// So many bytes of a seed, from there to here, in place of what stood there or not.
    Splice(Index, Index, Index, usize, bool),
    /// Two lines change places.
    Lines(Index, Index),
    /// A letter becomes small, or large.
    Case(Index),
}

/// Any edit. Those that keep an input near to what it was are more frequent.
pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let byte = prop_oneof![2 => proptest::sample::select(BYTES), 1 => any::<u8>()];
    let length = prop_oneof![4 => 1..4_usize, 3 => 1..24_usize, 1 => 1..400_usize];
    let times = prop_oneof![8 => 1..3_usize, 3 => 2..20_usize, 1 => 100..9_000_usize];
    prop_oneof![
        2 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (at(), byte.clone()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (at(), vec(byte, 1..4)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        4 => (at(), length.clone()).prop_map(|(at, length)| Edit::Remove(at, length)),
        1 => at().prop_map(Edit::End),
        1 => at().prop_map(Edit::Begin),
        3 => (at(), length.clone(), times).prop_map(|(at, length, times)| {
            Edit::Repeat(at, length, times)
        }),
        6 => (at(), at(), prop_oneof![3 => 0..1_usize, 1 => 1..12_usize])
            .prop_map(|(at, word, length)| Edit::Word(at, word, length)),
        3 => (at(), at()).prop_map(|(number, other)| Edit::Number(number, other)),
        3 => (at(), at(), at(), length, any::<bool>())
            .prop_map(|(seed, from, at, length, over)| Edit::Splice(seed, from, at, length, over)),
        1 => (at(), at()).prop_map(|(one, other)| Edit::Lines(one, other)),
        1 => at().prop_map(Edit::Case),
    ]
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>, corpus: &Corpus) {
        match self {
            Self::Flip(at, bit) => change(input, at, |byte| byte ^ (1 << bit)),
            Self::Set(at, byte) => change(input, at, |_| *byte),
            Self::Insert(at, bytes) => replace(input, place(at, input), 0, bytes),
            Self::Remove(at, length) => replace(input, place(at, input), *length, &[]),
            Self::End(at) => input.truncate(place(at, input)),
            Self::Begin(at) => replace(input, 0, place(at, input), &[]),
            Self::Repeat(at, length, times) => {
                let at = place(at, input);
                let piece = piece(input, at, *length);
                let most = INPUT_BYTES_MAX.saturating_sub(input.len()) / piece.len().max(1);
                let pieces = piece.repeat((*times).min(most));
                replace(input, at, 0, &pieces);
            }
            Self::Word(at, word, length) => {
                replace(input, place(at, input), *length, corpus.word(word));
            }
            Self::Number(which, other) => {
                let numbers = runs(input, u8::is_ascii_digit);
                if !numbers.is_empty() {
                    let (from, length) = *which.get(&numbers);
                    replace(input, from, length, other.get(&NUMBERS).as_bytes());
                }
            }
            Self::Splice(seed, from, at, length, over) => {
                let seed = corpus.seed(seed);
                let piece = piece(seed, place(from, seed), *length);
                let gone = if *over { piece.len() } else { 0 };
                replace(input, place(at, input), gone, &piece);
            }
            Self::Lines(one, other) => {
                let mut lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
                if !lines.is_empty() {
                    let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                    lines.swap(one, other);
                    *input = lines.concat();
                }
            }
            Self::Case(at) => change(input, at, |byte| match byte.is_ascii_alphabetic() {
                true => byte ^ 0x20,
                false => byte,
            }),
        }
    }
}

/// A seed with these edits.
pub(crate) fn bent(corpus: &Corpus, from: &Index, edits: &[Edit]) -> Vec<u8> {
    let mut input = corpus.seed(from).to_vec();
    for edit in edits {
        edit.apply(&mut input, corpus);
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

/// A place in `input`, its end included.
fn place(at: &Index, input: &[u8]) -> usize {
    at.index(input.len() + 1)
}

fn change(input: &mut [u8], at: &Index, to: impl Fn(u8) -> u8) {
    if !input.is_empty() {
        let at = at.index(input.len());
        if let Some(byte) = input.get_mut(at) {
            *byte = to(*byte);
        }
    }
}

fn piece(input: &[u8], at: usize, length: usize) -> Vec<u8> {
    let end = at.saturating_add(length).min(input.len());
    input.get(at..end).unwrap_or_default().to_vec()
}

fn replace(input: &mut Vec<u8>, at: usize, length: usize, by: &[u8]) {
    let end = at.saturating_add(length).min(input.len());
    drop(input.splice(at.min(end)..end, by.iter().copied()));
}

/// Where such bytes stand one behind another, and how many.
fn runs(input: &[u8], is: impl Fn(&u8) -> bool) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in input.iter().enumerate() {
        match found.last_mut() {
            _ if !is(byte) => {}
            Some((from, length)) if *from + *length == at => *length += 1,
            _ => found.push((at, 1)),
        }
    }
    found
}
