//! `willcall backup`, `restore` and `recover`. The crate `store` does the work on files; this file
//! has the arguments and what is printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Arg, Command};
use model::limits::FREE_BYTES_MIN;
use store::{BackupProgress, Inspection};
use tokio::time::Instant;

use crate::assemble;
use crate::config::{self, Config};
use crate::disk::{self, mib};

/// Least time between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What is said instead when the store is in a database.
const BACKUP_INSTEAD: &str = "Back it up with PostgreSQL's own programs: pg_basebackup and an \
                              archive of the WAL for any moment, or pg_dump for one \
                              (docs/operating.md, \"On PostgreSQL\")";
const RESTORE_INSTEAD: &str = "Restore it with PostgreSQL's own programs, while no server runs: \
                               pg_restore into an empty database, or a base backup with the WAL \
                               (docs/operating.md, \"On PostgreSQL\")";
const RECOVER_INSTEAD: &str = "PostgreSQL recovers by itself from a crash; if its files are \
                               damaged, restore a backup (docs/operating.md, \"On PostgreSQL\")";

pub(crate) fn commands(store: &[&str]) -> [Command; 3] {
    let file = |help: &'static str| {
        Arg::new("file")
            .value_name("FILE")
            .required(true)
            .help(help)
    };
    [
        Command::new("backup")
            .about("Copy the store into one file, also while the server runs")
            .long_about(
                "Copy the store into one file, also while the server runs.\n\n\
                 The copy is a snapshot of one moment. FILE must not exist yet; it appears under \
                 its name only when every page has been verified and is on the disk. Only its \
                 owner may read it, because it holds secrets. `willcall restore FILE` puts it back.",
            )
            .arg(file("The backup; a file that does not exist yet"))
            .args(config::arguments(store)),
        Command::new("restore")
            .about("Replace the store with a backup, while the server is stopped")
            .long_about(
                "Replace the store with a backup, while the server is stopped.\n\n\
                 Every page is verified first. The old store is kept beside the new one, with \
                 the time in its name. Notifications accepted after the backup are not in it. \
                 Deliveries made after the backup are made again.",
            )
            .arg(file(
                "A file made by `willcall backup`, or another complete copy of a store",
            ))
            .args(config::arguments(store)),
        Command::new("recover")
            .about("Repair a store whose write-ahead log is lost or damaged")
            .long_about(
                "Repair a store whose write-ahead log is lost or damaged, while the server is \
                 stopped.\n\n\
                 Makes a store of everything that can be read and says what is lost. The old files \
                 are kept, with the time in their names. Does nothing if nothing is wrong.",
            )
            .args(config::arguments(store)),
    ]
}

pub(crate) fn backup(config: &Config, to: &Path) -> Result<()> {
    let folder = config.store.folder(BACKUP_INSTEAD)?;
    let mut told = ProgressPrinter::default();
    let made = store::backup(&folder.store_file(), to, &mut |progress| {
        told.tell(progress);
        check_room(folder.path(), progress)
    })?;
    say!(
        "{} holds the store as of the moment the copy began; every page of it is whole: {}",
        to.display(),
        words(&made)
    );
    Ok(())
}

/// Gives up when the disk gets full: the log grows during the copy, and the server needs the space.
fn check_room(data_dir: &Path, progress: BackupProgress) -> Result<(), String> {
    let is_short = disk::free_bytes(data_dir).is_some_and(|free| free < FREE_BYTES_MIN);
    if is_short && progress.log_bytes > FREE_BYTES_MIN {
        return Err(format!(
            "the disk of {} is nearly full, and the server needs the rest; free some space",
            data_dir.display()
        ));
    }
    Ok(())
}

#[derive(Default)]
struct ProgressPrinter {
    at: Option<Instant>,
}

impl ProgressPrinter {
    fn tell(&mut self, progress: BackupProgress) {
        let now = Instant::now();
        let since = *self.at.get_or_insert(now);
        if now.duration_since(since) >= TOLD_EVERY {
            self.at = Some(now);
            let BackupProgress {
                pages, pages_all, ..
            } = progress;
            let percent = pages.saturating_mul(100).checked_div(pages_all);
            say!("{} % of {pages_all} pages copied", percent.unwrap_or(0));
        }
    }
}

pub(crate) fn restore(config: &Config, from: &Path) -> Result<()> {
    let folder = config.store.folder(RESTORE_INSTEAD)?;
    // First, so that a bad file creates no folder.
    store::inspect_copy(from)?;
    folder.make()?;
    let _lock = folder.lock()?;
    let store = folder.store_file();
    disk::check_unused(&store)?;
    let restored = store::restore(from, &store, &aside())?;
    say!(
        "{} now holds the backup {}: {}",
        store.display(),
        from.display(),
        words(&restored.inspection)
    );
    if restored.is_open_copy {
        say!(
            "The copy was made while the store was open. If it was made without the write-ahead log \
             (-wal), what was in the log is missing."
        );
    }
    say!("{}", after(&restored.inspection));
    say_kept(&restored.kept);
    Ok(())
}

pub(crate) fn recover(config: &Config) -> Result<()> {
    let folder = config.store.folder(RECOVER_INSTEAD)?;
    let store = folder.store_file();
    let lock = folder.path().is_dir().then(|| folder.lock());
    let _lock = lock.transpose()?;
    disk::check_unused(&store)?;
    let Some(recovery) = store::recover(&store, &aside())? else {
        say!(
            "Nothing is wrong with {}; nothing was done.",
            store.display()
        );
        return Ok(());
    };
    say!(
        "{} was not closed, and {}.",
        store.display(),
        recovery.fault
    );
    let read = recovery.read;
    match recovery.lost {
        Some(0) => say!("All of the log could be read ({read} pages): nothing is lost."),
        Some(lost) => say!(
            "{read} pages of the log could be read, {lost} are lost. They held what was written last: \
             notifications, outcomes of deliveries, changes of webhooks, tokens and users."
        ),
        None => say!(
            "{read} pages of the log could be read. How many are lost is not known; what was written \
             last may be among them."
        ),
    }
    say!(
        "{} opens again: {}",
        store.display(),
        words(&recovery.inspection)
    );
    if recovery.lost != Some(0) {
        say!("{}", after(&recovery.inspection));
    }
    say_kept(&recovery.kept);
    Ok(())
}

/// What an older state lacks, and what is delivered again.
fn after(found: &Inspection) -> String {
    let since = match found.latest_notification {
        Some(at) => format!("after {at}"),
        None => "since then".to_owned(),
    };
    format!(
        "Notifications accepted {since} are not in it: let the application send them again. \
         Deliveries made {since} are made again, because the store does not know of them."
    )
}

fn words(found: &Inspection) -> String {
    let newest = match found.latest_notification {
        Some(at) => format!("newest notification of {at}"),
        None => "no notification".to_owned(),
    };
    format!(
        "{newest}, tenants: {}, webhooks: {}, {}",
        found.tenants,
        found.webhooks,
        mib(found.file_bytes)
    )
}

fn say_kept(kept: &[PathBuf]) {
    if kept.is_empty() {
        return;
    }
    say!("The old files are kept; remove them when you no longer need them:");
    for file in kept {
        say!("    {}", file.display());
    }
}

/// The end of the names under which old files are kept.
fn aside() -> String {
    let now = assemble::clock().now().to_string();
    format!(".before-{}", now.replace(['-', ':'], ""))
}
