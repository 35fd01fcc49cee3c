//! A store that was not closed: a missing part of its WAL is noticed, a torn end is fine.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::contract::DueQuery;
use model::id::WebhookId;
use model::lease::Epoch;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use store::{OpenError, WalFault};
use tempfile::TempDir;

use crate::sqlite::harness::{Given, at, wait};

const PAGE: usize = 4_096;
const FRAME: usize = PAGE + 24;
const NOTIFICATIONS: i64 = 30;

/// The files of a killed store, in a folder of their own.
struct Killed {
    folder: TempDir,
    webhook: WebhookId,
}

/// A frame of a WAL: the byte at which it begins, and whether it ends a commit.
#[derive(Debug, Clone, Copy)]
struct Frame {
    at: usize,
    is_commit: bool,
}

fn name(suffix: &str) -> String {
    format!("willcall.db{suffix}")
}

fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal", "-mark"] {
        let from = from.join(name(suffix));
        if from.exists() {
            fs::copy(from, to.join(name(suffix))).unwrap();
        }
    }
}

fn open(path: &Path) -> Result<Given, OpenError> {
    Ok(Given::on(store::open(path, &mut Registry::default())?))
}

impl Killed {
    /// With a notification in each commit, some of it moved into the file.
    fn new() -> Self {
        let running = tempfile::tempdir().unwrap();
        let given = open(&running.path().join(name(""))).unwrap();
        let webhook = given.paid_webhook();
        for n in 0..NOTIFICATIONS {
            given.notified(&n.to_string(), n);
        }
        let folder = tempfile::tempdir().unwrap();
        copy(running.path(), folder.path());
        Self { folder, webhook }
    }

    fn again(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        Self {
            folder,
            webhook: self.webhook,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(name(""))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(name(suffix))
    }

    fn without(self, suffix: &str) -> Self {
        fs::remove_file(self.beside(suffix)).unwrap();
        self
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.beside("-wal")).unwrap()
    }

    fn put_log(&self, bytes: &[u8]) {
        fs::write(self.beside("-wal"), bytes).unwrap();
    }

    fn cut_log(&self, length: usize) {
        let log = self.log();
        self.put_log(&log[..length]);
    }

    /// The frames of the WAL's current generation.
    fn frames(&self) -> Vec<Frame> {
        let log = self.log();
        let salts = &log[16..24];
        let is_last = |at: &usize| log[at + 8..at + 16] == *salts;
        let all = (0..).map(|n| 32 + n * FRAME);
        all.take_while(|at| at + FRAME <= log.len())
            .take_while(is_last)
            .map(|at| Frame {
                at,
                is_commit: log[at + 4..at + 8] != [0; 4],
            })
            .collect()
    }

    /// Where commits end.
    fn commit_ends(&self) -> Vec<usize> {
        let commits = self.frames().into_iter().filter(|frame| frame.is_commit);
        commits.map(|frame| frame.at + FRAME).collect()
    }

    /// What is owed, if the store opens.
    fn owed(&self) -> Result<usize, OpenError> {
        let given = open(&self.path())?;
        let ask = DueQuery {
            webhook: self.webhook,
            limit: 99,
            held: [].into(),
            recovery: None,
        };
        let due = wait(given.store.due(Epoch::FIRST, vec![ask], at(99))).unwrap();
        Ok(due[0].deliveries.len())
    }

    /// Why the store is refused. Checks that nothing of it was touched, and that inspecting says
    /// the same.
    fn fault(&self) -> WalFault {
        let files = || ["", "-wal", "-mark"].map(|suffix| fs::read(self.beside(suffix)).ok());
        let before = files();
        let refused = |opened: Result<(), OpenError>| match opened {
            Err(OpenError::Wal { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        let fault = refused(open(&self.path()).map(drop));
        assert_eq!(refused(store::inspect(&self.path()).map(drop)), fault);
        let after = files().map(|file| file.filter(|bytes| !bytes.is_empty()));
        let is_same = after == before.map(|file| file.filter(|bytes| !bytes.is_empty()));
        assert!(is_same, "{fault}");
        fault
    }
}

const ALL: usize = 30;

#[test]
fn a_killed_store_opens_with_all_it_answered() {
    let killed = Killed::new();
    assert_eq!(killed.owed().unwrap(), ALL);
    // Whoever copies only what SQLite knows of has it all, too.
    let killed = Killed::new().without("-mark");
    assert_eq!(killed.owed().unwrap(), ALL);
}

#[test]
fn a_log_that_is_missing_is_missed() {
    let killed = Killed::new();
    assert_eq!(killed.again().without("-wal").fault(), WalFault::Missing);
    let alone = killed.without("-mark").without("-wal");
    assert_eq!(alone.fault(), WalFault::Missing);
    let words = open(&alone.path()).map(drop).unwrap_err().to_string();
    assert!(words.contains("is missing"), "{words}");
    assert!(words.contains("willcall recover"), "{words}");
}

#[test]
fn a_log_that_is_empty_is_missed() {
    for with_mark in [true, false] {
        let killed = match with_mark {
            true => Killed::new(),
            false => Killed::new().without("-mark"),
        };
        let whole = killed.log();
        killed.put_log(b"");
        assert_eq!(killed.fault(), WalFault::Empty);
        killed.put_log(&vec![0; whole.len()]);
        assert_eq!(killed.fault(), WalFault::Empty);
    }
}

#[test]
fn a_bit_that_flipped_in_the_log_is_noticed_wherever_it_is() {
    let killed = Killed::new();
    let (whole, ends) = (killed.log(), killed.commit_ends());
    let last_commit = ends[ends.len() - 2];
    let bare = killed.again().without("-mark");
    // Every part of a frame's header, and of its page.
    let parts = [0, 4, 8, 15, 16, 23, 24, 2_000, FRAME - 1];
    let frames: Vec<Frame> = killed.frames();
    let frames = frames.iter().filter(|frame| frame.at < last_commit);
    let frames: Vec<_> = frames.enumerate().collect();
    for (part, (number, frame)) in parts.iter().zip(frames.iter().step_by(frames.len() / 9)) {
        let place = frame.at + part;
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (part % 8);
        for killed in [&killed, &bare] {
            killed.put_log(&damaged);
            let fault = killed.fault();
            let is_found = matches!(fault, WalFault::Broken { bad_frame, good_behind }
                if bad_frame == u32::try_from(*number).unwrap() + 1 && good_behind > 0);
            assert!(is_found, "{place}: {fault:?}");
        }
    }
}

#[test]
fn a_log_whose_beginning_is_bad_is_noticed() {
    let killed = Killed::new();
    let whole = killed.log();
    for at in (0..32).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        killed.put_log(&damaged);
        assert_eq!(killed.fault(), WalFault::Headless, "{at}");
    }
    killed.put_log(&whole[..20]);
    assert_eq!(killed.fault(), WalFault::Headless);
}

#[test]
fn a_log_that_was_cut_is_noticed() {
    let killed = Killed::new();
    let ends = killed.commit_ends();
    for end in ends[..ends.len() - 2].iter().step_by(9) {
        // At the end of a commit, within a header and within a page.
        for more in [0, 10, 1_000] {
            let killed = killed.again();
            killed.cut_log(end + more);
            let fault = killed.fault();
            assert!(matches!(fault, WalFault::Short { .. }), "{fault:?}");
            assert_eq!(killed.without("-mark").fault(), WalFault::Cut);
        }
    }
    let all = *ends.last().unwrap();
    killed.cut_log(all);
    assert_eq!(killed.owed().unwrap(), ALL);
}

#[test]
fn what_follows_the_last_commit_may_be_torn() {
    let killed = Killed::new();
    let (whole, end) = (killed.log(), *killed.commit_ends().last().unwrap());
    let frame = &whole[end - FRAME..end];
    for length in [1, 24, 2_000, FRAME] {
        let mut torn = whole.clone();
        torn[end..end + length].copy_from_slice(&frame[..length]);
        for with_mark in [true, false] {
            let killed = killed.again();
            killed.put_log(&torn);
            let killed = if with_mark {
                killed
            } else {
                killed.without("-mark")
            };
            assert_eq!(killed.owed().unwrap(), ALL, "{length}");
        }
    }
}

#[test]
fn a_commit_that_nobody_was_told_of_may_be_torn_in_any_order() {
    let killed = Killed::new();
    let ends = killed.commit_ends();
    // The mark as it was before the last commit.
    let mut mark = fs::read(killed.beside("-mark")).unwrap();
    let frames = u32::try_from((ends[ends.len() - 2] - 32) / FRAME).unwrap();
    mark[8..12].copy_from_slice(&frames.to_be_bytes());
    fs::write(killed.beside("-mark"), remade(&mark)).unwrap();
    let mut torn = killed.log();
    // Its first frame never reached the disk, its last one did.
    torn[ends[ends.len() - 2]..ends[ends.len() - 2] + FRAME].fill(0);
    killed.put_log(&torn);
    assert_eq!(killed.again().owed().unwrap(), ALL - 1);
}

/// The bytes of a mark with the checksum that they should have.
fn remade(mark: &[u8]) -> Vec<u8> {
    let body = &mark[..48];
    let (mut one, mut two) = (0_u32, 0_u32);
    for pair in body.chunks(8) {
        let word = |at: usize| u32::from_be_bytes(pair[at..at + 4].try_into().unwrap());
        one = one.wrapping_add(word(0)).wrapping_add(two);
        two = two.wrapping_add(word(4)).wrapping_add(one);
    }
    [body, &one.to_be_bytes(), &two.to_be_bytes()].concat()
}

#[test]
fn a_last_commit_that_is_torn_though_it_was_durable_is_missed() {
    let killed = Killed::new();
    let ends = killed.commit_ends();
    let (before, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    for cut in [last - 1, last - FRAME + 3] {
        let killed = killed.again();
        let mut torn = killed.log();
        torn[cut.max(before)..last].fill(0);
        killed.put_log(&torn);
        assert!(matches!(killed.fault(), WalFault::Short { .. }));
    }
    // One bit is enough.
    let mut flipped = killed.log();
    flipped[last - 100] ^= 1;
    killed.put_log(&flipped);
    assert!(matches!(killed.fault(), WalFault::Short { .. }));
}

#[test]
fn a_mark_that_cannot_be_read_is_as_good_as_none() {
    let killed = Killed::new();
    let mark = fs::read(killed.beside("-mark")).unwrap();
    for at in [0, 9, 20, 50] {
        let killed = killed.again();
        let mut damaged = mark.clone();
        damaged[at] ^= 1;
        fs::write(killed.beside("-mark"), damaged).unwrap();
        assert_eq!(killed.owed().unwrap(), ALL);
    }
}

#[test]
fn the_log_of_another_store_is_noticed() {
    let (killed, other) = (Killed::new(), Killed::new());
    killed.put_log(&other.log());
    assert_eq!(killed.fault(), WalFault::Foreign);
    // An old copy of its own, from before it was closed, is another one's as well.
    let (old, path) = (killed.again(), killed.path());
    killed.put_log(&Killed::new().log());
    drop(old);
    assert!(open(&path).is_err());
}

#[test]
fn a_log_beside_a_closed_store_is_noticed() {
    let killed = Killed::new();
    let log = killed.log();
    assert_eq!(killed.owed().unwrap(), ALL);
    let given = open(&killed.path()).unwrap();
    wait(given.store.close()).unwrap();
    assert!(!killed.beside("-wal").exists());
    killed.put_log(&log);
    assert_eq!(killed.fault(), WalFault::Needless);
}

#[test]
fn a_closed_store_needs_no_log_and_no_mark() {
    let killed = Killed::new();
    let given = open(&killed.path()).unwrap();
    wait(given.store.close()).unwrap();
    assert!(!killed.beside("-mark").exists());
    assert_eq!(fs::read(killed.path()).unwrap()[18..20], [1, 1]);
    assert_eq!(killed.again().owed().unwrap(), ALL);
}

#[test]
fn who_closes_while_another_has_it_open_leaves_the_log_to_the_other() {
    let killed = Killed::new();
    let (one, other) = (open(&killed.path()).unwrap(), open(&killed.path()).unwrap());
    wait(one.store.close()).unwrap();
    assert_eq!(fs::read(killed.path()).unwrap()[18..20], [2, 2]);
    other.notified("more", 1);
    let crashed = killed.again();
    assert_eq!(crashed.again().without("-wal").fault(), WalFault::Missing);
    assert_eq!(crashed.owed().unwrap(), ALL + 1);
    wait(other.store.close()).unwrap();
    assert!(!killed.beside("-wal").exists());
    assert_eq!(killed.owed().unwrap(), ALL + 1);
}

#[test]
fn a_log_that_another_program_moved_into_the_file_is_not_missed() {
    let killed = Killed::new();
    let other = Connection::open(killed.path()).unwrap();
    let count = other.query_row("select count(*) from notification", [], |row| row.get(0));
    assert_eq!(count.unwrap_or(0_i64), NOTIFICATIONS);
    // The last one to close checkpoints the WAL and removes it.
    drop(other);
    assert!(!killed.beside("-wal").exists());
    assert_eq!(killed.owed().unwrap(), ALL);
}

#[test]
fn a_log_begun_anew_since_its_mark_was_written_is_taken() {
    let running = tempfile::tempdir().unwrap();
    let path = running.path().join(name(""));
    let given = open(&path).unwrap();
    let webhook = given.paid_webhook();
    given.notified("0", 0);
    let mark = fs::read(running.path().join(name("-mark"))).unwrap();
    let other = Connection::open(&path).unwrap();
    other
        .query_row("pragma wal_checkpoint(restart)", [], |_| Ok(()))
        .unwrap();
    for n in 1..NOTIFICATIONS {
        given.notified(&n.to_string(), n);
    }
    let folder = tempfile::tempdir().unwrap();
    copy(running.path(), folder.path());
    let killed = Killed { folder, webhook };
    assert_eq!(killed.again().without("-wal").fault(), WalFault::Missing);
    fs::write(killed.beside("-mark"), mark).unwrap();
    assert_eq!(killed.owed().unwrap(), ALL);
}

#[test]
fn a_file_that_was_cut_below_its_log_is_noticed() {
    let killed = Killed::new();
    let bytes = fs::read(killed.path()).unwrap();
    fs::write(killed.path(), &bytes[..PAGE * 3]).unwrap();
    let fault = killed.fault();
    assert!(matches!(fault, WalFault::FileShort { .. }), "{fault:?}");
}

#[test]
fn shared_memory_that_is_left_over_does_no_harm() {
    let killed = Killed::new();
    for bytes in [vec![], vec![0xff; 32_768], vec![7; 100]] {
        let killed = killed.again();
        fs::write(killed.beside("-shm"), bytes).unwrap();
        assert_eq!(killed.owed().unwrap(), ALL);
    }
}

#[test]
fn a_store_killed_before_it_took_anything_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name(""));
    let store = store::open(&path, &mut Registry::default()).unwrap();
    let killed = Killed {
        folder: tempfile::tempdir().unwrap(),
        webhook: WebhookId(1),
    };
    copy(folder.path(), killed.folder.path());
    drop(store);
    killed.put_log(b"");
    for without in [None, Some("-wal")] {
        let killed = killed.again();
        if let Some(suffix) = without {
            fs::remove_file(killed.beside(suffix)).unwrap();
        }
        open(&killed.path()).unwrap();
    }
}

#[test]
fn a_store_of_the_first_schema_that_was_closed_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name(""));
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0001_init.sql"))
        .unwrap();
    old.execute_batch("pragma application_id = 1466526828; pragma user_version = 1")
        .unwrap();
    old.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .unwrap();
    drop(old);
    assert_eq!(fs::read(&path).unwrap()[18..20], [2, 2]);
    let given = open(&path).unwrap();
    given.paid_webhook();
    // Killed now, it misses its WAL: the file itself knows that it is of this version.
    let killed = Killed {
        folder: tempfile::tempdir().unwrap(),
        webhook: WebhookId(1),
    };
    copy(folder.path(), killed.folder.path());
    assert_eq!(killed.without("-wal").fault(), WalFault::Missing);
}

#[test]
fn what_cannot_be_read_at_all_is_named() {
    let killed = Killed::new();
    fs::remove_file(killed.beside("-wal")).unwrap();
    fs::create_dir(killed.beside("-wal")).unwrap();
    let words = open(&killed.path()).map(drop).unwrap_err().to_string();
    assert!(words.contains("willcall.db"), "{words}");
}

#[test]
fn recovering_keeps_what_can_be_read_and_the_old_files() {
    let killed = Killed::new();
    let ends = killed.commit_ends();
    let (third, frames) = (ends[ends.len() - 4], killed.frames().len());
    let file = File::options()
        .write(true)
        .open(killed.beside("-wal"))
        .unwrap();
    file.write_all_at(b"?", u64::try_from(third + 500).unwrap())
        .unwrap();
    let damaged = killed.log();
    assert!(killed.owed().is_err());

    let recovery = store::recover(&killed.path(), ".before").unwrap().unwrap();
    let read = (third - 32) / FRAME;
    assert_eq!(recovery.read, u32::try_from(read).unwrap());
    assert_eq!(recovery.lost, Some(u32::try_from(frames - read).unwrap()));
    assert_eq!(recovery.inspection.latest_notification, Some(at(26)));
    assert_eq!(fs::read(killed.beside(".before-wal")).unwrap(), damaged);
    assert!(killed.beside(".before").exists());
    assert_eq!(recovery.kept.len(), 3, "{:?}", recovery.kept);
    assert_eq!(killed.owed().unwrap(), ALL - 3);
    assert!(store::recover(&killed.path(), ".again").unwrap().is_none());
}

#[test]
fn recovering_without_a_log_says_how_much_is_lost() {
    for content in [None, Some(vec![]), Some(vec![0; 100_000])] {
        let killed = Killed::new();
        let frames = killed.frames().len();
        match content {
            None => fs::remove_file(killed.beside("-wal")).unwrap(),
            Some(bytes) => killed.put_log(&bytes),
        }
        let recovery = store::recover(&killed.path(), ".before").unwrap().unwrap();
        assert_eq!(recovery.lost, Some(u32::try_from(frames).unwrap()));
        open(&killed.path()).unwrap();
    }
    let killed = Killed::new().without("-mark").without("-wal");
    let recovery = store::recover(&killed.path(), ".before").unwrap().unwrap();
    assert_eq!(recovery.lost, None);
}

#[test]
fn recovering_reads_a_log_whose_beginning_is_bad() {
    let killed = Killed::new();
    let whole = killed.log();
    for place in (0..32).step_by(3) {
        let killed = killed.again();
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        killed.put_log(&damaged);
        let recovery = store::recover(&killed.path(), ".before").unwrap().unwrap();
        assert_eq!(
            (recovery.fault, recovery.lost),
            (WalFault::Headless, Some(0))
        );
        assert_eq!(killed.owed().unwrap(), ALL, "{place}");
    }
}

#[test]
fn recovering_takes_nothing_from_the_log_of_another() {
    let (killed, other) = (Killed::new(), Killed::new());
    killed.put_log(&other.log());
    let recovery = store::recover(&killed.path(), ".before").unwrap().unwrap();
    assert_eq!(recovery.read, 0);
    open(&killed.path()).unwrap();

    let closed = Killed::new();
    let log = closed.log();
    assert_eq!(closed.owed().unwrap(), ALL);
    wait(open(&closed.path()).unwrap().store.close()).unwrap();
    closed.put_log(&log);
    let recovery = store::recover(&closed.path(), ".before").unwrap().unwrap();
    assert_eq!((recovery.read, recovery.lost), (0, Some(0)));
    assert_eq!(closed.owed().unwrap(), ALL);
}

#[test]
fn recovering_that_was_interrupted_is_begun_again() {
    let killed = Killed::new();
    let log = killed.log();
    killed.cut_log(log.len() / 2);
    let bytes = fs::read(killed.path()).unwrap();
    let mut damaged = log;
    damaged[32 + FRAME + 100] ^= 1;
    killed.put_log(&damaged);
    store::recover(&killed.path(), ".one").unwrap().unwrap();
    // As if it had ended with the new file in place and the old WAL still there.
    fs::rename(killed.beside(".one-wal"), killed.beside("-wal")).unwrap();
    fs::rename(killed.beside(".one-mark"), killed.beside("-mark")).unwrap();
    assert_eq!(killed.fault(), WalFault::Needless);
    store::recover(&killed.path(), ".two").unwrap().unwrap();
    open(&killed.path()).unwrap();
    assert_eq!(fs::read(killed.beside(".one")).unwrap(), bytes);
}

#[test]
fn recovering_does_not_make_a_store_of_a_file_that_is_itself_damaged() {
    let killed = Killed::new();
    let bytes = fs::read(killed.path()).unwrap();
    fs::write(killed.path(), &bytes[..PAGE * 3]).unwrap();
    let error = store::recover(&killed.path(), ".before").unwrap_err();
    assert!(
        error.to_string().contains("restore it from a backup"),
        "{error}"
    );
    fs::write(killed.path(), "no store".repeat(1_000)).unwrap();
    let error = store::recover(&killed.path(), ".before").unwrap_err();
    assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
    assert!(!killed.beside(".before").exists());
}
