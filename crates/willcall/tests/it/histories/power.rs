//! Power failures: from the journal that `power_loss.c` wrote under the server, what the disk would
//! have held if the power had failed: what was synced, and some of what was not, also in parts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use model::rng::SeededRng;

/// A folder whose files are journaled, from a moment on when all of them were durable.
pub(crate) struct Journaled {
    folder: PathBuf,
    journal: PathBuf,
    lies: bool,
    before: Disk,
}

/// A folder: what of it is durable, and what was done since, in order.
#[derive(Default, Clone)]
struct Disk {
    folder: u64,
    files: Vec<File>,
    by_inode: BTreeMap<u64, usize>,
    names: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    /// How many changes of names became durable.
    durable: usize,
    /// By number: what is being synced (`None` for names), and how far.
    syncs: BTreeMap<u64, (Option<usize>, usize)>,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    unsynced: Vec<Change>,
    durable: usize,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Zeros(usize, usize),
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// How much of what was not synced reached the disk.
#[derive(Clone, Copy)]
enum Reached {
    Nothing,
    All,
    /// Some writes, each whole.
    Some,
    /// Some parts of writes, of so many bytes.
    Parts(usize),
}

/// The number of bytes of a record without what follows it.
const RECORD_BYTES: usize = 32;

impl Journaled {
    /// From now on; `lies` is a disk whose `fdatasync` does nothing.
    pub(crate) fn begin(folder: &Path, journal: &Path, lies: bool) -> Self {
        drop(fs::remove_file(journal));
        let folder = folder.canonicalize().unwrap();
        let mut before = Disk {
            folder: fs::metadata(&folder).unwrap().ino(),
            ..Disk::default()
        };
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            if !name.ends_with("-shm") {
                let file = before.add(entry.metadata().unwrap().ino(), bytes);
                before.names.insert(name, file);
            }
        }
        Self {
            folder,
            journal: journal.to_owned(),
            lies,
            before,
        }
    }

    /// The binary, journaled.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
        command
            .env("LD_PRELOAD", library())
            .env("POWER_LOSS_FOLDER", &self.folder)
            .env("POWER_LOSS_JOURNAL", &self.journal);
        if self.lies {
            command.env("POWER_LOSS_LIES", "1");
        }
        command
    }

    /// Puts the folder back to what the disk holds after a power failure. Nobody may have it open.
    /// Returns what reached the disk, in words.
    pub(crate) fn power_fails(&self, rng: &mut SeededRng) -> String {
        let mut disk = self.before.clone();
        let mut journal = Vec::new();
        let file = fs::File::open(&self.journal);
        file.unwrap().read_to_end(&mut journal).unwrap();
        disk.replay(&journal);
        let told = disk.draw(rng);
        for entry in fs::read_dir(&self.folder).unwrap().map(Result::unwrap) {
            fs::remove_file(entry.path()).unwrap();
        }
        for (name, file) in &disk.names {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut written = options.open(self.folder.join(name)).unwrap();
            std::io::Write::write_all(&mut written, &disk.files[*file].bytes).unwrap();
        }
        told
    }
}

impl Disk {
    fn add(&mut self, inode: u64, bytes: Vec<u8>) -> usize {
        self.files.push(File {
            bytes,
            ..File::default()
        });
        let file = self.files.len() - 1;
        self.by_inode.insert(inode, file);
        file
    }

    /// Does what the journal says. Its last record may be incomplete.
    fn replay(&mut self, mut journal: &[u8]) {
        while let Some((record, rest)) = journal.split_at_checked(RECORD_BYTES) {
            let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
            let number = |at: usize| {
                let bytes = record[at..at + 8].try_into().unwrap();
                usize::try_from(u64::from_le_bytes(bytes)).unwrap()
            };
            let Some((bytes, rest)) = rest.split_at_checked(word(4) as usize) else {
                return;
            };
            let (inode, at, length) = (number(8) as u64, number(16), number(24));
            match word(0) {
                1 => self.change(inode, Change::Write(at, bytes.to_vec())),
                2 => self.change(inode, Change::Zeros(at, length)),
                3 => self.change(inode, Change::Length(at)),
                4 => self.sync_begins(inode, at as u64),
                5 => self.sync_ends(at as u64),
                kind => self.rename(kind, inode, bytes),
            }
            journal = rest;
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        let file = self.by_inode.get(&inode).expect("a file that was opened");
        self.files[*file].unsynced.push(change);
    }

    fn rename(&mut self, kind: u32, inode: u64, bytes: &[u8]) {
        let names = std::str::from_utf8(bytes).unwrap();
        let mut names = names.split_terminator('\0').map(str::to_owned);
        let mut next = || names.next().expect("a name");
        let change = match kind {
            6 => NameChange::Create(next(), self.add(inode, Vec::new())),
            7 => NameChange::Rename(next(), next()),
            8 => NameChange::Remove(next()),
            _ => panic!("a record of kind {kind}"),
        };
        self.unsynced.push(change);
    }

    fn sync_begins(&mut self, inode: u64, number: u64) {
        let to = if inode == self.folder {
            (None, self.durable + self.unsynced.len())
        } else {
            let file = self.by_inode[&inode];
            let known = &self.files[file];
            (Some(file), known.durable + known.unsynced.len())
        };
        self.syncs.insert(number, to);
    }

    fn sync_ends(&mut self, number: u64) {
        let (file, to) = self.syncs.remove(&number).expect("it began");
        match file {
            Some(file) => {
                let file = &mut self.files[file];
                let count = to.saturating_sub(file.durable);
                file.durable += count;
                for change in file.unsynced.drain(..count).collect::<Vec<_>>() {
                    file.apply(&change);
                }
            }
            None => {
                let count = to.saturating_sub(self.durable);
                self.keep_names(count);
            }
        }
    }

    /// The first changes of names become durable.
    fn keep_names(&mut self, count: usize) {
        self.durable += count;
        for change in self.unsynced.drain(..count) {
            match change {
                NameChange::Create(name, file) => drop(self.names.insert(name, file)),
                NameChange::Remove(name) => drop(self.names.remove(&name)),
                NameChange::Rename(from, to) => {
                    if let Some(file) = self.names.remove(&from) {
                        self.names.insert(to, file);
                    }
                }
            }
        }
    }

    /// Draws what of the rest reached the disk. File systems keep changes of names in order.
    fn draw(&mut self, rng: &mut SeededRng) -> String {
        let open = self.unsynced.len();
        let kept = match rng.below(3) {
            0 => 0,
            1 => open,
            _ => usize::try_from(rng.below(open as u64 + 1)).unwrap(),
        };
        self.keep_names(kept);
        let mut told = format!("{kept} of {open} changes of names");
        for (name, file) in &self.names {
            let file = &mut self.files[*file];
            let open = file.unsynced.len();
            let reached = match rng.below(5) {
                0 => Reached::Nothing,
                1 => Reached::All,
                2 => Reached::Some,
                3 => Reached::Parts(512),
                _ => Reached::Parts(4_096),
            };
            if open == 0 {
                continue;
            }
            for change in std::mem::take(&mut file.unsynced) {
                file.apply_some(&change, reached, rng);
            }
            let words = match reached {
                Reached::Nothing => "nothing".to_owned(),
                Reached::All => "all".to_owned(),
                Reached::Some => "some".to_owned(),
                Reached::Parts(bytes) => format!("parts of {bytes} bytes"),
            };
            told = format!("{told}; {name}: {words} of {open}");
        }
        told
    }
}

impl File {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(at, bytes) => self.write(*at, bytes),
            Change::Zeros(at, length) => self.write(*at, &vec![0; *length]),
            Change::Length(length) => self.bytes.resize(*length, 0),
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    fn apply_some(&mut self, change: &Change, reached: Reached, rng: &mut SeededRng) {
        match (reached, change) {
            (Reached::Nothing, _) => {}
            (Reached::All, _) => self.apply(change),
            (Reached::Some, _) | (_, Change::Length(_) | Change::Zeros(..)) => {
                if rng.below(2) == 0 {
                    self.apply(change);
                }
            }
            (Reached::Parts(part), Change::Write(at, bytes)) => {
                let (mut at, mut rest) = (*at, bytes.as_slice());
                while !rest.is_empty() {
                    let count = (part - at % part).min(rest.len());
                    if rng.below(2) == 0 {
                        self.write(at, &rest[..count]);
                    }
                    (at, rest) = (at + count, &rest[count..]);
                }
            }
        }
    }
}

/// The library that writes the journal, built once.
fn library() -> &'static OsStr {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/histories/power_loss.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("power_loss-{}.so", std::process::id()));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]);
        let done = compiler
            .arg("-o")
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-lpthread"]);
        let done = done.output().expect("cc (package gcc) is there");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        // One name for all runs, so that they leave one file.
        let name = folder.join("power_loss.so");
        fs::rename(library, &name).unwrap();
        name
    });
    built.as_os_str()
}

#[test]
fn what_was_synced_is_there_and_the_rest_in_parts() {
    let mut disk = Disk {
        folder: 1,
        ..Disk::default()
    };
    disk.rename(6, 2, b"a\0");
    disk.change(2, Change::Write(0, vec![1; 1_024]));
    disk.sync_begins(2, 1);
    // While it is being synced.
    disk.change(2, Change::Write(1_024, vec![2; 1_024]));
    disk.sync_ends(1);
    assert_eq!(disk.files[0].bytes, [1; 1_024]);
    assert!(disk.names.is_empty());
    disk.sync_begins(1, 2);
    disk.rename(7, 0, b"a\0b\0");
    disk.sync_ends(2);
    assert_eq!(disk.names.keys().collect::<Vec<_>>(), ["a"]);
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut disk = disk.clone();
        disk.draw(&mut SeededRng::from_seed([seed; 32]));
        let name = disk.names.keys().next().unwrap();
        assert!(name == "a" || name == "b");
        let bytes = &disk.files[0].bytes;
        assert_eq!(bytes[..1_024], [1; 1_024]);
        lengths.insert(bytes.len());
    }
    assert_eq!(lengths, [1_024, 1_536, 2_048].into());
}
