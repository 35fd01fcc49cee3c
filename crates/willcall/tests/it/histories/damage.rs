//! Damage to the files of a store that was killed: one is cut, or a bit of it is flipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::rng::SeededRng;

/// Pages of the database file carry no checksums, so a flipped bit in one of them is found by
/// nobody. Its header is checked.
const HEADER_BYTES: usize = 100;

/// The files of a folder as they were.
pub(crate) struct Saved {
    folder: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Saved {
    pub(crate) fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            files.insert(name, fs::read(entry.path()).unwrap());
        }
        let folder = folder.to_owned();
        Self { folder, files }
    }

    pub(crate) fn put_back(&self) {
        for entry in fs::read_dir(&self.folder).unwrap().map(Result::unwrap) {
            fs::remove_file(entry.path()).unwrap();
        }
        for (name, bytes) in &self.files {
            fs::write(self.folder.join(name), bytes).unwrap();
        }
    }

    /// Damages one of them; returns how, in words.
    pub(crate) fn damage(&self, rng: &mut SeededRng) -> String {
        let name = match rng.below(10) {
            0 => "willcall.db",
            1 => "willcall.db-mark",
            _ => "willcall.db-wal",
        };
        let is_cut = rng.below(2) == 0;
        let mut bytes = self.files[name].clone();
        // Behind it are the zeros of the room that was made.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let among = match (is_cut, name) {
            (false, "willcall.db") => HEADER_BYTES,
            _ => used,
        };
        // Half of all damage is near the end, where the latest commits are.
        let near = (among as u64).min(64 * 1_024);
        let at = match rng.below(2) {
            0 => rng.below(among as u64),
            _ => among as u64 - 1 - rng.below(near),
        };
        let at = usize::try_from(at).unwrap();
        let told = if is_cut {
            bytes.truncate(at);
            format!("{name} was cut at {at} of {used} bytes")
        } else {
            let bit = rng.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} of {used} in {name} was flipped")
        };
        fs::write(self.folder.join(name), bytes).unwrap();
        told
    }
}
