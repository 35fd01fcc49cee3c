//! `willcall copy`: moves a store from the file in the data folder into a database. The crate
//! `store` does the work; this file has the arguments and what is printed.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use store::{CopyOrder, CopyStep, DatabaseSettings, TableProgress};
use tokio::time::Instant;

use crate::arguments::text;
use crate::config::{self, Config};
use crate::data_folder::DataFolder;
use crate::store_location::StoreLocation;
use crate::{assemble, disk};

/// Least time between two lines about the same table.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Of the number of a copy, as letters and digits.
const ID_LENGTH: usize = 20;

const FILE: &str = "sqlite";
const DATABASE: &str = "postgres";

/// Of whom `--from` and `--to` tell the engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    File,
    Database,
}

pub(crate) fn command(store: &[&str]) -> Command {
    let engine = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("ENGINE")
            .required_unless_present("undo")
            .help(help)
    };
    Command::new("copy")
        .about("Move the store from the file in data_dir into the database of database_url")
        .long_about(
            "Move the store from the file in data_dir into the database of database_url.\n\n\
             No server may use either. Everything is copied: also deliveries that wait for a retry, \
             the log, users and their sessions. Then every row is read again in the database. If the \
             copy ends before that, run the command again: it goes on where it stopped. Neither is \
             used while it is unfinished but the file, as it was.\n\n\
             Afterwards the file is kept as it was, and no command but this one works on it: \
             `willcall copy --undo` lets it be used again.",
        )
        .arg(engine("from", "Where the store is: sqlite, a file"))
        .arg(engine("to", "Where it is to be: postgres, a database"))
        .arg(
            Arg::new("undo")
                .long("undo")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["from", "to"])
                .help("Let a file that was moved be used again, without what came after"),
        )
        .args(config::arguments(store))
}

pub(crate) fn run(config: &Config, matches: &ArgMatches) -> Result<()> {
    let folder = &config.data_folder;
    if matches.get_flag("undo") {
        return undo(folder);
    }
    check_direction(&text(matches, "from"), &text(matches, "to"))?;
    let StoreLocation::Database(database) = &config.store else {
        bail!("there is no database to copy to: name it with the setting database_url");
    };
    copy(folder, database)
}

fn engine(word: &str) -> Result<Engine> {
    match word {
        FILE => Ok(Engine::File),
        DATABASE => Ok(Engine::Database),
        _ => bail!("a store is in {FILE}, a file, or in {DATABASE}, a database, and not in {word}"),
    }
}

fn check_direction(from: &str, to: &str) -> Result<()> {
    match (engine(from)?, engine(to)?) {
        (Engine::File, Engine::Database) => Ok(()),
        (Engine::File, Engine::File) => bail!(
            "a store in a file is copied into another file by `willcall backup`, also while a \
             server runs"
        ),
        (Engine::Database, Engine::Database) => bail!(
            "a store in a database is copied into another database by PostgreSQL's own programs: \
             pg_dump and pg_restore (docs/operating.md, \"On PostgreSQL\")"
        ),
        (Engine::Database, Engine::File) => bail!(
            "a store in a database cannot be moved into a file. A file that was moved into a \
             database can be used again, without what came after: `willcall copy --undo`"
        ),
    }
}

/// Keeps servers away from the folder. Nothing is made where there is no store.
fn take(folder: &DataFolder) -> Result<std::fs::File> {
    let store = folder.store_file();
    if !store.exists() {
        bail!(
            "there is no store {}; name its folder with --data-dir",
            store.display()
        );
    }
    let lock = folder.lock()?;
    disk::check_unused(&store)?;
    Ok(lock)
}

fn copy(folder: &DataFolder, database: &DatabaseSettings) -> Result<()> {
    let _lock = take(folder)?;
    let order = CopyOrder {
        id: assemble::rng()?.split("copies").alphanumeric(ID_LENGTH),
        now: assemble::clock().now(),
    };
    let mut printer = ProgressPrinter::default();
    let copied = store::copy(&folder.store_file(), database, &order, &mut |step| {
        printer.tell(step);
        Ok(())
    })?;
    say!(
        "{} was moved to {}: {} tables, {} rows. Each was read again there.",
        copied.source.display(),
        copied.target,
        copied.tables,
        copied.rows
    );
    say!(
        "Start servers with the setting database_url from now on. The file is kept, and no server \
         starts on it any more; remove it when you no longer need it."
    );
    Ok(())
}

fn undo(folder: &DataFolder) -> Result<()> {
    let _lock = take(folder)?;
    let store = folder.store_file();
    match store::undo_copy(&store)? {
        Some(moved) => say!(
            "{} can be used again, as it was at {}. What came after is in {} only. Let no server \
             run there: it would deliver the same again.",
            store.display(),
            moved.at,
            moved.target
        ),
        None => say!(
            "{} was not moved, and is used as before; nothing was done.",
            store.display()
        ),
    }
    Ok(())
}

#[derive(Default)]
struct ProgressPrinter {
    at: Option<Instant>,
}

impl ProgressPrinter {
    fn tell(&mut self, step: CopyStep) {
        match step {
            CopyStep::GoesOn => say!("An earlier copy of this file did not end; it goes on."),
            CopyStep::StartsOver => say!(
                "An earlier copy of this file did not end, and the file was used since; it starts \
                 over."
            ),
            CopyStep::Copied(progress) => self.tell_progress(progress, "copied"),
            CopyStep::Checked(progress) => self.tell_progress(progress, "checked"),
        }
    }

    /// A line for each table with rows, and one each second of a long one.
    fn tell_progress(&mut self, progress: TableProgress, done: &str) {
        let TableProgress {
            table,
            place,
            of,
            rows,
            is_all,
        } = progress;
        let now = Instant::now();
        let since = *self.at.get_or_insert(now);
        let is_time = now.duration_since(since) >= TOLD_EVERY;
        if rows == 0 || !(is_all || is_time) {
            return;
        }
        self.at = Some(now);
        let more = match is_all {
            true => "",
            false => " so far",
        };
        say!("rows of {table} {done}{more}: {rows} (table {place} of {of})");
    }
}
