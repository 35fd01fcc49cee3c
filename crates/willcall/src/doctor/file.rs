//! A store in a file: its folder and files and who owns them, free space, what is in it, and the
//! clock beside it.
//!
//! Whatever `serve` needs is tried, not concluded from file modes. What is created for that is
//! removed.

use std::fs::{DirBuilder, Metadata, OpenOptions};
use std::io::{Error, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::limits::{FREE_BYTES_LOW, FREE_BYTES_MIN};
use rustix::process::geteuid;
use store::Inspection;

use super::clock;
use super::finding::{Finding, Verdict};
use crate::data_folder::DataFolder;
use crate::{assemble, disk};

/// Written to see whether the folder can be written.
const PROBE_BYTES: usize = 64 * 1024;

pub(super) fn findings(folder: &DataFolder) -> Vec<Finding> {
    vec![
        self::folder(folder),
        files(folder),
        inspect(folder),
        space(folder),
        clock(folder),
    ]
}

fn folder(folder: &DataFolder) -> Finding {
    let (about, folder) = ("data folder", folder.path());
    let shown = folder.display();
    let wrong = |words| Finding::new(about, Verdict::Wrong, words);
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => wrong(format!("{shown} is not a folder")),
        Ok(found) => match write_in(folder) {
            Err(error) => wrong(cannot(folder, "no file can be written in", &error)),
            Ok(()) => match strangers(folder, &found) {
                Some(words) => Finding::new(about, Verdict::Odd, words),
                None => Finding::new(about, Verdict::Good, format!("{shown}")),
            },
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match make_below(folder) {
            Ok(()) => {
                let words = format!("{shown} does not exist yet; the first start creates it");
                Finding::new(about, Verdict::Odd, words)
            }
            Err((place, error)) => {
                let what = format!(
                    "{shown} does not exist and cannot be created: nothing can be created in"
                );
                wrong(cannot(&place, &what, &error))
            }
        },
        Err(error) => wrong(cannot(folder, "Willcall cannot examine", &error)),
    }
}

const ONLY_OWN: &str = "only this user can read and write them";
const SHARED: &str = "only this user and its group can use them";

/// Whether `serve` can open the files, and who else can.
fn files(folder: &DataFolder) -> Finding {
    let about = "files";
    let store = folder.store_file();
    let beside = |end: &str| PathBuf::from(format!("{}{end}", store.display()));
    let lock = folder.lock_file();
    let mut odd = None;
    let mut words = "there are none yet";
    for file in [store.clone(), beside("-wal"), beside("-shm"), lock.clone()] {
        let found = match std::fs::metadata(&file) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let words = cannot(&file, "Willcall cannot examine", &error);
                return Finding::new(about, Verdict::Wrong, words);
            }
        };
        if let Err(error) = OpenOptions::new().read(true).append(true).open(&file) {
            let words = cannot(&file, "Willcall cannot write to", &error);
            return Finding::new(about, Verdict::Wrong, words);
        }
        // The lock file is empty.
        let rights = match file == lock {
            true => 0,
            false => found.mode() & 0o077,
        };
        if rights & 0o007 != 0 {
            let words = format!(
                "everybody on this machine may use {} (rights {:03o}), which holds passwords of \
                 receivers: chmod 600",
                file.display(),
                found.mode() & 0o777
            );
            return Finding::new(about, Verdict::Wrong, words);
        }
        odd = odd.or_else(|| strangers(&file, &found));
        words = match (words, rights) {
            (SHARED, _) | (_, 1..) => SHARED,
            _ => ONLY_OWN,
        };
    }
    match odd {
        Some(words) => Finding::new(about, Verdict::Odd, words),
        None => Finding::new(about, Verdict::Good, words),
    }
}

fn inspect(folder: &DataFolder) -> Finding {
    let file = folder.store_file();
    let shown = file.display();
    match file.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            let words = format!("{shown} does not exist yet; the first start creates it");
            return Finding::new("store", Verdict::Odd, words);
        }
        // The finding about files says why, and what to do.
        Err(error) => {
            let words = format!("{shown} cannot be examined: {error}");
            return Finding::new("store", Verdict::Wrong, words);
        }
    }
    match store::inspect(&file) {
        Ok(Inspection {
            moved: Some(moved), ..
        }) => {
            let words = moved.into_open_error(&file).to_string();
            Finding::new("store", Verdict::Wrong, words)
        }
        // `files` checks whether it can be written.
        Ok(found) => Finding::new("store", Verdict::Good, store_words(&found)),
        Err(error) => Finding::new("store", Verdict::Wrong, error.to_string()),
    }
}

fn store_words(found: &Inspection) -> String {
    let age = if found.schema_version < found.known_version {
        format!(
            ", schema version {} of {}; the next start upgrades it",
            found.schema_version, found.known_version
        )
    } else {
        String::new()
    };
    format!(
        "intact{age}; tenants: {}, webhooks: {} ({} disabled), {} KiB",
        found.tenants,
        found.webhooks,
        found.disabled_webhooks,
        (found.file_bytes + found.log_bytes) / 1024
    )
}

fn space(folder: &DataFolder) -> Finding {
    let about = "disk";
    let shown = folder.path().display();
    let Some(free) = disk::free_bytes(&existing(folder.path())) else {
        let words = format!("the free space for {shown} is not known");
        return Finding::new(about, Verdict::Odd, words);
    };
    let words = format!("{} free for {shown}", disk::mib(free));
    match free {
        0..FREE_BYTES_MIN => {
            let words = format!(
                "the disk is full, or nearly: {words}. Without space notifications are refused; free \
                 some"
            );
            Finding::new(about, Verdict::Wrong, words)
        }
        FREE_BYTES_MIN..FREE_BYTES_LOW => {
            let words = format!("{words}: nearly full, free some soon");
            Finding::new(about, Verdict::Odd, words)
        }
        _ => Finding::new(about, Verdict::Good, words),
    }
}

fn clock(folder: &DataFolder) -> Finding {
    let now = assemble::clock().now();
    let found = store::inspect(&folder.store_file()).ok();
    let last = found.and_then(|found| found.last_written_at);
    clock::judge(now, last, folder.is_running())
}

/// Writes a file in the folder, as the store would, and removes it.
fn write_in(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".doctor-{}", std::process::id()));
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)?;
    let written = made
        .write_all(&[0; PROBE_BYTES])
        .and_then(|()| made.sync_all());
    let removed = std::fs::remove_file(&file);
    written.and(removed)
}

/// Tries whether the folder can be created. The error says where it cannot, and why.
fn make_below(folder: &Path) -> Result<(), (PathBuf, Error)> {
    let place = existing(folder);
    let probe = place.join(format!(".doctor-{}", std::process::id()));
    let made = DirBuilder::new().mode(0o700).create(&probe);
    made.and_then(|()| std::fs::remove_dir(&probe))
        .map_err(|error| (place, error))
}

/// The path itself or its nearest parent that exists.
fn existing(path: &Path) -> PathBuf {
    let mut above = path
        .ancestors()
        .filter(|place| !place.as_os_str().is_empty());
    let found = above.find(|place| place.exists());
    found.unwrap_or_else(|| Path::new(".")).to_owned()
}

/// Says why something cannot be done with a path, who owns it, and what to do.
fn cannot(place: &Path, what: &str, error: &Error) -> String {
    let shown = place.display();
    match std::fs::metadata(existing(place)) {
        Ok(found) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let (owner, own) = (name_of(found.uid()), name_of(geteuid().as_raw()));
            format!(
                "{what} {shown}: it belongs to {owner}, and this is {own}. Run this as the user that \
                 runs the server (`sudo -u {owner} willcall …`), or change the owner (chown)"
            )
        }
        Ok(_) | Err(_) => format!("{what} {shown}: {error}"),
    }
}

/// A warning if the folder belongs to another user. Only root can use it and not notice.
fn strangers(place: &Path, found: &Metadata) -> Option<String> {
    let own = geteuid().as_raw();
    (found.uid() != own).then(|| {
        let (owner, own) = (name_of(found.uid()), name_of(own));
        format!(
            "{} belongs to {owner}, and this is {own}: commands of {own} create files that {owner} \
             cannot open. Run all commands as the user that runs the server",
            place.display()
        )
    })
}

/// The name of a user, if `/etc/passwd` has it.
fn name_of(uid: u32) -> String {
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("user {uid}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(path: impl Into<PathBuf>) -> DataFolder {
        DataFolder::new(path.into())
    }

    fn is(finding: &Finding, verdict: &str) -> bool {
        let found = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Odd => "odd",
            Verdict::Wrong => "wrong",
        };
        found == verdict
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_wrong_and_one_that_can_is_not() {
        let above = tempfile::tempdir().unwrap();
        let below = folder(above.path().join("a/b"));
        assert!(is(&super::folder(&below), "odd"));
        let file = above.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(is(&super::folder(&folder(file.clone())), "wrong"));
        assert!(is(&super::folder(&folder(file.join("a"))), "wrong"));
        assert!(is(&super::folder(&folder("/proc/a/b")), "wrong"));
        // The checks have left nothing behind.
        assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_that_everybody_may_read_is_wrong() {
        let above = tempfile::tempdir().unwrap();
        let folder = folder(above.path());
        let store = folder.store_file();
        assert_eq!(files(&folder).words, "there are none yet");
        std::fs::write(&store, "").unwrap();
        let rights = |mode| {
            std::fs::set_permissions(&store, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        rights(0o600);
        assert_eq!(files(&folder).words, ONLY_OWN);
        rights(0o640);
        assert_eq!(files(&folder).words, SHARED);
        rights(0o600);
        assert!(is(&files(&folder), "good"));
        rights(0o604);
        assert!(is(&files(&folder), "wrong"));
    }

    #[test]
    fn a_store_that_cannot_be_looked_at_is_not_said_to_be_missing() {
        let above = tempfile::tempdir().unwrap();
        let missing = inspect(&folder(above.path()));
        assert!(is(&missing, "odd"), "{}", missing.words);
        let file = above.path().join("file");
        std::fs::write(&file, "").unwrap();
        let hidden = inspect(&folder(file));
        assert!(is(&hidden, "wrong"), "{}", hidden.words);
    }

    #[test]
    fn a_full_disk_is_wrong() {
        assert!(is(&space(&folder("/proc")), "wrong"));
        assert!(is(&super::folder(&folder("/proc")), "wrong"));
    }
}
