//! The corpus of a target: its seeds, one file each, and the words that mean something to it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use proptest::sample::Index;

/// The file with what means something to the parser: a word a line, with the escapes of Rust.
const WORDS: &str = "words.txt";

pub(crate) struct Corpus {
    /// The name of the file, and what is in it. In the order of the names.
    pub(crate) seeds: Vec<(String, Vec<u8>)>,
    words: Vec<Vec<u8>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// How many targets there are: each has a folder.
pub(crate) fn targets() -> usize {
    fs::read_dir(folder()).map_or(1, Iterator::count)
}

impl Corpus {
    /// # Panics
    /// If the target has no seed.
    pub(crate) fn read(target: &str) -> Self {
        let files = read(&folder().join(target));
        let files = files.unwrap_or_else(|error| panic!("{target}: its corpus: {error}"));
        let (words, seeds): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, _)| name == WORDS);
        assert!(!seeds.is_empty(), "{target}: its corpus has no seed");
        let words = words.iter().flat_map(|(_, text)| words_of(text)).collect();
        Self { seeds, words }
    }

    pub(crate) fn seed(&self, from: &Index) -> &[u8] {
        &from.get(&self.seeds).1
    }

    /// A word; nothing if the target has none.
    pub(crate) fn word(&self, which: &Index) -> &[u8] {
        let words = self.words.as_slice();
        let word = (!words.is_empty()).then(|| which.get::<Vec<u8>>(words));
        word.map_or(&[], Vec::as_slice)
    }
}

fn read(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        seeds.push((name, fs::read(entry.path())?));
    }
    // The system lists them in any order, and a seed has to give the same run.
    seeds.sort();
    Ok(seeds)
}

/// One word for each line of `text`.
pub(crate) fn words_of(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(meant).collect()
}

/// A line with its escapes undone: `\r`, `\n`, `\t`, `\0`, `\\`, `\x7f`. Any other backslash means
/// itself.
fn meant(line: &[u8]) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = line;
    loop {
        rest = match rest {
            [] => return word,
            [b'\\', b'x', high, low, rest @ ..] => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap_or_default();
                word.push(u8::try_from(digit(high) * 16 + digit(low)).unwrap_or_default());
                rest
            }
            [b'\\', b'r', rest @ ..] => plain(&mut word, b'\r', rest),
            [b'\\', b'n', rest @ ..] => plain(&mut word, b'\n', rest),
            [b'\\', b't', rest @ ..] => plain(&mut word, b'\t', rest),
            [b'\\', b'0', rest @ ..] => plain(&mut word, b'\0', rest),
            [b'\\', b'\\', rest @ ..] => plain(&mut word, b'\\', rest),
            [byte, rest @ ..] => plain(&mut word, *byte, rest),
        };
    }
}

fn plain<'a>(word: &mut Vec<u8>, byte: u8, rest: &'a [u8]) -> &'a [u8] {
    word.push(byte);
    rest
}
