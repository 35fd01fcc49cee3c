//! A copy from its beginning to its end: the tables one after the other, then what counts ids, then
//! every row is looked at again in the database, and only then the file is not used any more and
//! the database is.
//!
//! Neither is ever used while the other is: the file says that it was moved before the database
//! says that it is whole.

use std::path::{Path, PathBuf};

use model::time::Timestamp;

use crate::copy::datum::Checksum;
use crate::copy::error::CopyError;
use crate::copy::source::Source;
use crate::copy::table::CopiedTable;
use crate::copy::tables::TABLES;
use crate::copy::target::{Progress, Target};
use crate::error::OpenError;
use crate::inspect::Moved;
use crate::postgres::copy_mark::UnfinishedCopy;
use crate::postgres::settings::DatabaseSettings;
use crate::sqlite::moved::CopyMark;

/// Rows of a batch at most.
pub(crate) const BATCH_ROWS: usize = 2_000;

/// What a copy is begun with. One that goes on keeps what it was begun with.
#[derive(Debug, Clone)]
pub struct CopyOrder {
    /// A text that no other copy has: drawn by chance.
    pub id: String,
    pub now: Timestamp,
}

/// What a copy has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStep {
    /// An earlier copy of this file did not end, and goes on.
    GoesOn,
    /// An earlier one did not end, and the file was used since: what it has is removed.
    StartsOver,
    /// Rows of a table are in the database.
    Copied(TableProgress),
    /// Rows of a table were read again in the database.
    Checked(TableProgress),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableProgress {
    pub table: &'static str,
    /// From 1 on.
    pub place: usize,
    /// How many tables there are.
    pub of: usize,
    /// Rows so far.
    pub rows: i64,
    /// Whether those are all.
    pub is_all: bool,
}

impl TableProgress {
    fn new(table: &CopiedTable, place: usize, rows: i64, is_all: bool) -> Self {
        Self {
            table: table.name,
            place,
            of: TABLES.len(),
            rows,
            is_all,
        }
    }
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The file, which is not used any more.
    pub source: PathBuf,
    /// The database, without secrets.
    pub target: String,
    pub tables: usize,
    pub rows: i64,
}

/// How `watch` ends a copy: with the reason.
type Watch<'a> = &'a mut dyn FnMut(CopyStep) -> Result<(), String>;

/// Copies the store in the file at `path` into a database, or goes on with a copy of it. `watch` is
/// told each step, and may give the copy up with a reason.
pub(crate) fn run(
    path: &Path,
    settings: &DatabaseSettings,
    order: &CopyOrder,
    batch_rows: usize,
    watch: Watch<'_>,
) -> Result<CopyReport, CopyError> {
    let source = Source::open(path)?;
    let mark = source.mark()?;
    refuse_moved_elsewhere(&source, mark.as_ref(), settings)?;
    let target = Target::open(settings)?;
    begin(&source, mark.as_ref(), &target, order, watch)?;
    let mut sums = Vec::with_capacity(TABLES.len());
    for (table, place) in TABLES.iter().zip(1..) {
        let stopped = |error| CopyError::stopped(table.name, error);
        sums.push(copy(&source, &target, table, place, batch_rows, watch)?);
        if table.counts_ids {
            let highest = source.highest_id(table).map_err(stopped)?;
            target.count_from(table, highest).map_err(stopped)?;
        }
    }
    let stopped = |error| CopyError::stopped("notification", error);
    let highest = source.highest_notification().map_err(stopped)?;
    target.count_notifications_from(highest).map_err(stopped)?;
    for ((table, place), copied) in TABLES.iter().zip(1..).zip(&sums) {
        check(&target, table, place, copied, watch)?;
    }
    source.end(order.now)?;
    target.end()?;
    Ok(CopyReport {
        source: source.path().to_owned(),
        target: target.address().to_owned(),
        tables: TABLES.len(),
        rows: sums.iter().map(|sum| sum.rows).sum(),
    })
}

/// Lets a file that was moved be used again.
pub(crate) fn undo(path: &Path) -> Result<Option<Moved>, OpenError> {
    let source = Source::open(path)?;
    let Some(CopyMark {
        target,
        ended_at: Some(at),
        ..
    }) = source.mark()?
    else {
        return Ok(None);
    };
    source.forget_copy()?;
    Ok(Some(Moved { target, at }))
}

/// A file that was moved is copied no further, but for a copy whose last step is missing.
fn refuse_moved_elsewhere(
    source: &Source,
    mark: Option<&CopyMark>,
    settings: &DatabaseSettings,
) -> Result<(), OpenError> {
    let Some(CopyMark {
        target,
        ended_at: Some(at),
        ..
    }) = mark
    else {
        return Ok(());
    };
    let moved = Moved {
        target: target.clone(),
        at: *at,
    };
    match *target == Target::address_of(settings) {
        true => Ok(()),
        false => Err(moved.into_open_error(source.path())),
    }
}

/// Marks both sides, or finds them marked.
fn begin(
    source: &Source,
    mark: Option<&CopyMark>,
    target: &Target,
    order: &CopyOrder,
    watch: Watch<'_>,
) -> Result<(), CopyError> {
    let shown = source.path().display().to_string();
    let unfinished = target.mark()?;
    if let Some(unfinished) = &unfinished
        && !mark.is_some_and(|mark| is_of(unfinished, mark))
    {
        return Err(CopyError::OtherCopy {
            target: target.address().to_owned(),
            source_file: unfinished.source.clone(),
        });
    }
    match (mark, unfinished) {
        (Some(mark), Some(_)) if !mark.is_stale => {
            watch(CopyStep::GoesOn).map_err(CopyError::GivenUp)
        }
        (Some(mark), Some(_)) => {
            watch(CopyStep::StartsOver).map_err(CopyError::GivenUp)?;
            // A new number, so that what is put back of the file as it was before is not taken for
            // this one. Should this end in between, the file still has the one before.
            target.start_over(&order.id, &mark.id, &shown)?;
            Ok(source.begin(&order.id, target.address())?)
        }
        (
            Some(CopyMark {
                target: to,
                ended_at: Some(at),
                ..
            }),
            None,
        ) => {
            let moved = Moved {
                target: to.clone(),
                at: *at,
            };
            Err(moved.into_open_error(source.path()).into())
        }
        (_, None) => {
            target.check_empty()?;
            source.begin(&order.id, target.address())?;
            Ok(target.begin(&order.id, &shown)?)
        }
        (None, Some(_)) => unreachable!("a copy without a mark in the file is of another store"),
    }
}

/// Whether what the database has is a copy of this file, or one that is about to start over.
fn is_of(unfinished: &UnfinishedCopy, mark: &CopyMark) -> bool {
    let is_previous = mark.is_stale && unfinished.previous.as_ref() == Some(&mark.id);
    unfinished.id == mark.id || is_previous
}

/// Copies what the table does not have yet. Answers what it has then.
fn copy(
    source: &Source,
    target: &Target,
    table: &CopiedTable,
    place: usize,
    batch_rows: usize,
    watch: Watch<'_>,
) -> Result<Checksum, CopyError> {
    let stopped = |error| CopyError::stopped(table.name, error);
    let mut progress = target.progress(table).map_err(stopped)?;
    while !progress.is_ended {
        let behind = progress.reached.as_deref();
        let batch = source.read(table, behind, batch_rows).map_err(stopped)?;
        let mut next = Progress {
            is_ended: batch.is_last,
            ..progress
        };
        for row in &batch.rows {
            next.copied.add(row);
        }
        if let Some(last) = batch.rows.last() {
            let key = table.key_places().into_iter();
            next.reached = Some(key.filter_map(|at| last.get(at).cloned()).collect());
        }
        target.write(table, &batch.rows, &next).map_err(stopped)?;
        progress = next;
        let step = TableProgress::new(table, place, progress.copied.rows, progress.is_ended);
        watch(CopyStep::Copied(step)).map_err(CopyError::GivenUp)?;
    }
    Ok(progress.copied)
}

/// Compares what the database has with what was read of the file.
fn check(
    target: &Target,
    table: &CopiedTable,
    place: usize,
    copied: &Checksum,
    watch: Watch<'_>,
) -> Result<(), CopyError> {
    let step = |rows, is_all| CopyStep::Checked(TableProgress::new(table, place, rows, is_all));
    let found = target.checksum(table, |rows| {
        watch(step(rows, false)).map_err(CopyError::GivenUp)
    })?;
    if found != *copied {
        return Err(CopyError::Differs {
            table: table.name,
            target: target.address().to_owned(),
            found: found.rows,
            copied: copied.rows,
        });
    }
    watch(step(found.rows, true)).map_err(CopyError::GivenUp)
}
