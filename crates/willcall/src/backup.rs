//! `willcall backup`, `restore` and `recover`: a store as one file, put back, or saved from a lost
//! log. What each does to files is the store's; here is what a person asks for and is told.

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

/// A line about how far it is, at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn commands(store: &[&str]) -> [Command; 3] {
    let file = |help: &'static str| {
        Arg::new("file")
            .value_name("FILE")
            .required(true)
            .help(help)
    };
    [
        Command::new("backup")
            .about("Copy the store into one file at one moment, also while the server runs")
            .long_about(
                "Copy the store into one file at one moment, also while the server runs.\n\n\
                 The file must not exist. It gets its name once every page of it was read again \
                 and is on the disk. Only its owner may read it: it holds what the store holds. \
                 `willcall restore FILE` puts it back.",
            )
            .arg(file("A file that does not exist yet"))
            .args(config::arguments(store)),
        Command::new("restore")
            .about("Put a backup in the place of the store, while the server is stopped")
            .long_about(
                "Put a backup in the place of the store, while the server is stopped.\n\n\
                 Every page is read first. What was there is kept beside it, under a name with \
                 the time. What was accepted after the backup is not in it, and what was \
                 delivered after it is delivered again.",
            )
            .arg(file(
                "What `willcall backup` has made, or another whole copy of a store",
            ))
            .args(config::arguments(store)),
        Command::new("recover")
            .about("Make a store that opens of one whose write-ahead log is lost or damaged")
            .long_about(
                "Make a store that opens of one whose write-ahead log is lost or damaged, while \
                 the server is stopped.\n\n\
                 Says what is lost. The old files are kept, under a name with the time. Does \
                 nothing if nothing is wrong.",
            )
            .args(config::arguments(store)),
    ]
}

pub(crate) fn backup(config: &Config, to: &Path) -> Result<()> {
    let store = assemble::store_file(&config.data_dir);
    let mut told = ProgressPrinter::default();
    let data_dir = config.data_dir.clone();
    let made = store::backup(&store, to, &mut |progress| {
        told.tell(progress);
        check_room(&data_dir, progress)
    })?;
    say!(
        "{} holds the store as it was when the copy began, and every page of it is whole: {}",
        to.display(),
        words(&made)
    );
    Ok(())
}

/// The log grows while it is copied; that must not take from the server what it needs.
fn check_room(data_dir: &Path, progress: BackupProgress) -> Result<(), String> {
    // It is given up rather than leave the server less on its disk.
    let is_short = disk::free_bytes(data_dir).is_some_and(|free| free < FREE_BYTES_MIN);
    if is_short && progress.log_bytes > FREE_BYTES_MIN {
        return Err(format!(
            "the disk of {} is nearly full, and what is written meanwhile needs room there",
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
            say!("{} % of {pages_all} pages are copied", percent.unwrap_or(0));
        }
    }
}

pub(crate) fn restore(config: &Config, from: &Path) -> Result<()> {
    // Before a folder is made for it.
    store::inspect_copy(from)?;
    assemble::make_folder(&config.data_dir)?;
    let _lock = assemble::lock(&config.data_dir)?;
    let store = assemble::store_file(&config.data_dir);
    disk::check_unused(&store)?;
    let restored = store::restore(from, &store, &aside())?;
    say!(
        "{} is what {} holds now: {}",
        store.display(),
        from.display(),
        words(&restored.inspection)
    );
    if restored.is_open_copy {
        say!(
            "It was copied while the store was open. If it was copied without its write-ahead log \
             (-wal), what was in that is missing."
        );
    }
    say!("{}", after(&restored.inspection));
    say_kept(&restored.kept);
    Ok(())
}

pub(crate) fn recover(config: &Config) -> Result<()> {
    let store = assemble::store_file(&config.data_dir);
    let lock = config
        .data_dir
        .is_dir()
        .then(|| assemble::lock(&config.data_dir));
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
        Some(0) => say!("All of the log that counts was read ({read} pages): nothing is lost."),
        Some(lost) => say!(
            "{read} pages of the log were read, {lost} are lost, with what was written last: \
             notifications, what became of deliveries, changes of webhooks, tokens and users."
        ),
        None => say!(
            "{read} pages of the log were read. How many are lost nobody can say; what was written \
             last may be."
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

/// What is missing in an older state, and what comes again.
fn after(found: &Inspection) -> String {
    let since = match found.latest_notification {
        Some(at) => format!("after {at}"),
        None => "since".to_owned(),
    };
    format!(
        "What was accepted {since} is not in it: have the application hand it in again. What was \
         delivered {since} is not known to be, and is delivered again."
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
    say!("What was there is kept; remove it when it is not needed any more:");
    for file in kept {
        say!("    {}", file.display());
    }
}

/// What is put behind the name of files that are kept.
fn aside() -> String {
    let now = assemble::clock().now().to_string();
    format!(".before-{}", now.replace(['-', ':'], ""))
}
