//! Moving: has the write-ahead log moved into the file, beside the writer.
//!
//! Most of it is moved by a thread of its own while the writer goes on. What was written meanwhile
//! is little, and the writer moves it itself: only when nothing is left is the log begun anew.

use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use crate::sqlite::queue::lock;
use crate::sqlite::writer::{CHECKPOINT, LogPages, Writer, log_pages};

/// Pages in the log before they are moved: 16 MiB, so that a page written in many transactions is
/// moved once.
const MOVED_FROM: i64 = 4_096;

/// So many the writer moves itself, in a few milliseconds.
const REST_MAX: i64 = 1_024;

/// A log this long grows faster than it is moved: the writer moves what is left, and whoever hands
/// in more waits for it.
const LONG_FROM: i64 = 2 * MOVED_FROM;

/// Readers that look at an old state keep pages from being moved: it is tried again once the log
/// has grown by so many.
const AGAIN_AFTER: i64 = MOVED_FROM / 4;

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
            if let Err(error) = log_pages(conn, CHECKPOINT) {
                tracing::warn!(%error, "the log cannot be moved into the file");
            }
            stage = lock(&self.stage);
            stage.turn = Turn::Writers;
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
                if pages.left() <= REST_MAX || pages.all >= LONG_FROM {
                    writer.move_log();
                }
            }
            Turn::Nobodys | Turn::Threads => {}
        }
    }

    pub(crate) fn close(&self) {
        lock(&self.stage).closed = true;
        self.changed.notify_all();
    }
}

impl Stage {
    fn is_time(&self, pages: LogPages) -> bool {
        let begun_anew = pages.all < self.moved_at;
        let grown = pages.all - self.moved_at >= AGAIN_AFTER;
        pages.left() >= MOVED_FROM && (begun_anew || grown)
    }
}
