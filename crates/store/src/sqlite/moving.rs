//! Moving: has the write-ahead log moved into the file, beside the writer.
//!
//! It is moved by a thread of its own while the writer goes on. Only when nothing is left is the
//! log begun anew. So where the writer makes no pause it moves the last of it itself, which is
//! little.

use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use crate::sqlite::fault;
use crate::sqlite::queue::lock;
use crate::sqlite::writer::{CHECKPOINT, LOG_PAGES, LogPages, Writer, log_pages};

/// Pages in the log before they are moved: 16 MiB, so that a page written in many transactions is
/// moved once.
const MOVED_FROM: i64 = 4_096;

/// While more than this is left after a try, trying again would not catch up.
const REST_MAX: i64 = 1_024;

/// A log with so much left grows faster than it is moved: the writer waits for the thread, and
/// whoever hands in more for the writer.
const LONG_FROM: i64 = 2 * MOVED_FROM;

/// Readers that look at an old state keep pages from being moved: it is tried again once the log
/// has grown by so many.
const AGAIN_AFTER: i64 = MOVED_FROM / 4;

/// How often the thread tries to move all before it leaves the rest to the writer.
const TRIES: u32 = 4;

/// Asking how long the log is takes some calls to the system: it is asked once so much was written.
pub(crate) const LOOK_AFTER: usize = 256;

/// What the writer and the thread that moves say to one another.
#[derive(Default)]
pub(crate) struct Moving {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Default)]
struct Stage {
    turn: Turn,
    /// What was written since the log was looked at.
    written: usize,
    /// Pages in the log when it was last begun to be moved.
    moved_at: i64,
    closed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing is to be done.
    #[default]
    Nobodys,
    /// The thread's, to move what there is.
    Threads,
    /// The writer's, to move the rest.
    Writers,
}

impl Moving {
    /// Moves what is to be moved, again and again, until closed.
    pub(crate) fn run(&self, conn: &Connection) {
        let mut stage = lock(&self.stage);
        while !stage.closed {
            if stage.turn != Turn::Threads {
                let woken = self.changed.wait(stage);
                stage = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(stage);
            let is_whole = move_all(conn);
            stage = lock(&self.stage);
            stage.turn = match is_whole {
                true => Turn::Nobodys,
                false => Turn::Writers,
            };
            self.changed.notify_all();
        }
    }

    /// Looks after the log, after a transaction of `weight`.
    pub(crate) fn look(&self, writer: &Writer, weight: usize) {
        let mut stage = lock(&self.stage);
        stage.written = stage.written.saturating_add(weight);
        if stage.written < LOOK_AFTER && stage.turn != Turn::Writers {
            return;
        }
        stage.written = 0;
        let Some(pages) = writer.log_pages() else {
            return;
        };
        while stage.turn == Turn::Threads && pages.left() >= LONG_FROM && !stage.closed {
            let woken = self.changed.wait(stage);
            stage = woken.unwrap_or_else(PoisonError::into_inner);
        }
        match stage.turn {
            Turn::Nobodys if stage.is_time(pages) => {
                stage.turn = Turn::Threads;
                stage.moved_at = pages.all;
                drop(stage);
                self.changed.notify_all();
            }
            Turn::Writers => {
                stage.turn = Turn::Nobodys;
                drop(stage);
                writer.move_log();
            }
            // Something was written in the very moment in which nothing was left.
            Turn::Nobodys if pages.is_half_moved() => {
                drop(stage);
                writer.move_log();
            }
            Turn::Nobodys | Turn::Threads => {}
        }
    }

    pub(crate) fn close(&self) {
        lock(&self.stage).closed = true;
        self.changed.notify_all();
    }
}

/// Moves what there is, and then what came meanwhile, which is ever less. Says whether nothing was
/// left in the end, as in a house with pauses.
fn move_all(conn: &Connection) -> bool {
    for _ in 0..TRIES {
        // What is answered to moving is the log as it was when that began.
        let moved = log_pages(conn, CHECKPOINT).and_then(|_| log_pages(conn, LOG_PAGES));
        match moved {
            Ok(pages) if pages.left() == 0 => return true,
            Ok(pages) if pages.left() <= REST_MAX => {}
            // It grows too fast for that.
            Ok(_) => return false,
            Err(error) if fault::unwritten(&error) => return false,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be moved into the file");
                return false;
            }
        }
    }
    false
}

impl LogPages {
    /// Whether a long log could be begun anew but for what came since it was moved.
    fn is_half_moved(self) -> bool {
        self.all >= MOVED_FROM && self.moved > 0 && (1..MOVED_FROM).contains(&self.left())
    }
}

impl Stage {
    fn is_time(&self, pages: LogPages) -> bool {
        let begun_anew = pages.all < self.moved_at;
        let grown = pages.all - self.moved_at >= AGAIN_AFTER;
        pages.left() >= MOVED_FROM && (begun_anew || grown)
    }
}
