//! Backing up a store in use, and restoring a copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::notification::NewNotification;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use store::{BackupError, BackupProgress, OpenError, WalFault};
use tempfile::TempDir;

use crate::sqlite::harness::{Given, at, wait};

/// Some steps of a copy.
const NOTIFICATIONS: i64 = 6_000;

struct House {
    folder: TempDir,
    given: Given,
}

fn house(notifications: i64) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store = store::open(&folder.path().join("willcall.db"), &mut Registry::default());
    let given = Given::on(store.unwrap());
    given.paid_webhook();
    let house = House { folder, given };
    for batch in (0..notifications).step_by(500) {
        house.hand_in(batch, 500.min(notifications));
    }
    house
}

impl House {
    fn hand_in(&self, from: i64, count: i64) {
        let one = |n: i64| NewNotification {
            body: Bytes::from(vec![b'x'; 2_000]),
            ..self.given.new_notification(&n.to_string(), n)
        };
        let batch = (from..from + count).map(one).collect();
        wait(self.given.store.accept(batch)).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("willcall.db")
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("backup.db")
    }

    fn backup(&self, to: &Path) -> Result<store::Inspection, BackupError> {
        store::backup(&self.path(), to, &mut |_| Ok(()))
    }

    /// The names in the folder that are not the store's.
    fn others(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let others = names.filter(|name| !name.starts_with("willcall.db"));
        others.collect()
    }
}

fn notifications(path: &Path) -> i64 {
    let conn = Connection::open(path).unwrap();
    conn.query_row("select count(*) from notification", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_backup_is_the_state_of_one_moment_whatever_is_written_meanwhile() {
    let house = house(NOTIFICATIONS);
    let mut steps: Vec<BackupProgress> = Vec::new();
    let found = store::backup(&house.path(), &house.to(), &mut |progress| {
        // Twenty times as much as a step could catch up with, if the copy started over.
        let next = NOTIFICATIONS + i64::try_from(steps.len()).unwrap() * 20;
        house.hand_in(next, 20);
        steps.push(progress);
        Ok(())
    })
    .unwrap();
    assert!(steps.len() > 2, "{steps:?}");
    assert!(steps.is_sorted_by_key(|step| step.pages));
    let all = steps[0].pages_all;
    assert!(steps.iter().all(|step| step.pages_all == all));
    assert_eq!(steps.last().unwrap().pages, all);
    assert_eq!(found.latest_notification, Some(at(NOTIFICATIONS - 1)));
    assert_eq!(house.others(), ["backup.db"]);
    let mode = fs::metadata(house.to()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is closed and needs no WAL.
    assert_eq!(fs::read(house.to()).unwrap()[18..20], [1, 1]);
    assert_eq!(notifications(&house.to()), NOTIFICATIONS);
    // The WAL can be restarted afterwards.
    house.hand_in(1_000_000, 500);
    wait(house.given.store.close()).unwrap();
    assert!(notifications(&house.path()) > NOTIFICATIONS);
}

#[test]
fn a_backup_takes_the_place_of_nothing() {
    let house = house(1);
    let taken = house.folder.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    let link = house.folder.path().join("link");
    symlink(house.folder.path().join("nowhere"), &link).unwrap();
    for to in [&taken, &link, &house.path()] {
        let error = house.backup(to).unwrap_err();
        assert!(matches!(error, BackupError::Exists(_)), "{error}");
    }
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    assert!(link.is_symlink());
    assert_eq!(house.others().len(), 2);
    // A file that comes there in the meantime stays, too.
    let error = store::backup(&house.path(), &house.to(), &mut |_| {
        fs::write(house.to(), "quicker").map_err(|error| error.to_string())
    });
    assert!(matches!(error, Err(BackupError::Exists(_))), "{error:?}");
    assert_eq!(fs::read(house.to()).unwrap(), b"quicker");
    assert_eq!(house.others().len(), 3);
}

#[test]
fn a_backup_is_not_made_where_it_would_be_a_part_of_the_store() {
    let house = house(1);
    for suffix in ["-journal", "-mark2"] {
        let to = house.folder.path().join(format!("willcall.db{suffix}"));
        let error = house.backup(&to).unwrap_err();
        assert!(matches!(error, BackupError::OfTheStore(_)), "{error}");
    }
}

#[test]
fn where_a_backup_cannot_be_written_is_named() {
    let house = house(1);
    let nowhere = house.folder.path().join("nowhere").join("backup.db");
    let error = house.backup(&nowhere).unwrap_err();
    assert!(matches!(error, BackupError::NoFolder(_)), "{error}");
    let error = house.backup(Path::new("/proc/backup.db")).unwrap_err();
    assert!(matches!(error, BackupError::Unwritten(..)), "{error}");
    assert!(error.to_string().contains("/proc/backup.db"), "{error}");
}

#[test]
fn a_backup_that_is_given_up_leaves_nothing() {
    let house = house(NOTIFICATIONS);
    let error = store::backup(
        &house.path(),
        &house.to(),
        &mut |_| Err("enough".to_owned()),
    );
    let words = error.unwrap_err().to_string();
    assert_eq!(words, "the backup was given up: enough");
    assert_eq!(house.others(), [""; 0]);
}

#[test]
fn a_backup_is_given_up_when_the_log_grows_too_long() {
    const MORE: u64 = 4 * 1024 * 1024;
    let house = house(NOTIFICATIONS);
    let mut next = NOTIFICATIONS;
    let (path, to) = (house.path(), house.to());
    let error = store::probe::backup_within(&path, &to, MORE, &mut |_| {
        // A log with room for 24 MiB.
        for _ in 0..32 {
            house.hand_in(next, 500);
            next += 500;
        }
        Ok(())
    });
    assert!(matches!(error, Err(BackupError::LogTooLong)), "{error:?}");
    assert_eq!(house.others(), [""; 0]);
}

#[test]
fn there_is_no_backup_of_what_is_no_store_or_has_lost_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("willcall.db"), folder.path().join("to"));
    let backup = || store::backup(&path, &to, &mut |_| Ok(()));
    let is_no_store = |error| matches!(error, Err(BackupError::Store(OpenError::NoStore(_))));
    assert!(is_no_store(backup()));
    let house = house(1);
    fs::copy(house.path(), &path).unwrap();
    let error = backup();
    assert!(
        matches!(
            error,
            Err(BackupError::Store(OpenError::Wal {
                fault: WalFault::Missing,
                ..
            }))
        ),
        "{error:?}"
    );
    assert!(!to.exists());
}

#[test]
fn a_backup_is_put_back_and_what_was_there_is_kept() {
    let house = house(10);
    house.backup(&house.to()).unwrap();
    house.hand_in(10, 5);
    wait(house.given.store.close()).unwrap();
    let restored = store::restore(&house.to(), &house.path(), ".before").unwrap();
    assert!(!restored.is_open_copy);
    assert_eq!(restored.inspection.latest_notification, Some(at(9)));
    let kept = house.folder.path().join("willcall.db.before");
    assert_eq!(restored.kept, [kept.canonicalize().unwrap()]);
    assert_eq!(notifications(&kept), 15);
    assert_eq!(notifications(&house.path()), 10);
    assert!(house.to().exists());
    let again = Given::on(store::open(&house.path(), &mut Registry::default()).unwrap());
    again.notified("more", 20);
}

#[test]
fn a_store_that_was_killed_is_kept_with_its_log_when_another_takes_its_place() {
    let house = house(10);
    house.backup(&house.to()).unwrap();
    house.hand_in(10, 5);
    let folder = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal", "-mark", "-shm"] {
        let name = format!("willcall.db{suffix}");
        fs::copy(house.folder.path().join(&name), folder.path().join(&name)).unwrap();
    }
    let path = folder.path().join("willcall.db");
    let restored = store::restore(&house.to(), &path, ".before").unwrap();
    assert_eq!(restored.kept.len(), 3, "{:?}", restored.kept);
    assert_eq!(notifications(&path), 10);
    assert_eq!(notifications(&folder.path().join("willcall.db.before")), 15);
}

#[test]
fn copies_of_other_kinds_are_put_back() {
    let house = house(10);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Of all files at one moment.
    for suffix in ["", "-wal", "-mark"] {
        let from = house.folder.path().join(format!("willcall.db{suffix}"));
        fs::copy(from, path(&format!("all{suffix}"))).unwrap();
    }
    let restored = store::restore(&path("all"), &path("one.db"), ".before").unwrap();
    assert!(!restored.is_open_copy);
    assert!(restored.kept.is_empty(), "{:?}", restored.kept);
    assert_eq!(notifications(&path("one.db")), 10);
    // By SQLite itself, while nobody writes.
    let conn = Connection::open(house.path()).unwrap();
    conn.backup(
        "main",
        path("sqlite.db"),
        None::<fn(rusqlite::backup::Progress)>,
    )
    .unwrap();
    let restored = store::restore(&path("sqlite.db"), &path("two.db"), ".before").unwrap();
    assert_eq!(notifications(&path("two.db")), 10);
    assert_eq!(restored.inspection.latest_notification, Some(at(9)));
}

#[test]
fn what_is_not_a_complete_copy_is_not_restored() {
    let house = house(200);
    house.backup(&house.to()).unwrap();
    let whole = fs::read(house.to()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (from, path) = (
        folder.path().join("from"),
        folder.path().join("willcall.db"),
    );
    fs::write(&path, b"what is there").unwrap();
    let mut damaged = whole.clone();
    damaged[4_096..12_000].fill(7);
    let bad: [&[u8]; 5] = [
        b"",
        b"x",
        &[b'x'; 5_000],
        &whole[..whole.len() / 2],
        &damaged,
    ];
    for bytes in bad {
        fs::write(&from, bytes).unwrap();
        let error = store::restore(&from, &path, ".before").unwrap_err();
        assert!(error.to_string().contains("from"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"what is there");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
    fs::write(&from, &whole).unwrap();
    fs::write(folder.path().join("from-wal"), [1; 5_000]).unwrap();
    let error = store::restore(&from, &path, ".before").unwrap_err();
    assert!(
        matches!(error, OpenError::Copy(_, WalFault::Needless)),
        "{error}"
    );
    let error = store::restore(&folder.path().join("nothing"), &path, ".before");
    assert!(matches!(error, Err(OpenError::NoCopy(_))));
    let error = store::restore(folder.path(), &path, ".before");
    assert!(matches!(error, Err(OpenError::NotAStore(_))));
    let error = store::restore(&house.path(), &house.path(), ".before");
    assert!(error.is_err());
}
