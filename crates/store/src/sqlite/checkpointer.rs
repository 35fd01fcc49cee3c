//! Moving: has the write-ahead log moved into the file, beside the writer.
//!
//! It is moved by a thread of its own while the writer goes on. Only when nothing is left is the
//! log begun anew. So where the writer makes no pause it moves the last of it itself, which is
//! little.

use std::sync::{Condvar, Mutex};

use rusqlite::Connection;

use crate::sqlite::error_codes;
use crate::sqlite::writer::{CHECKPOINT, WAL_PAGES, WalPages, Writer, wal_pages};
use crate::sync::{lock, wait};

/// Pages in the log before they are moved: 16 MiB, so that a page written in many transactions is
/// moved once.
const CHECKPOINT_PAGES_MIN: i64 = 4_096;

/// While more than this is left after a try, trying again would not catch up.
const REST_MAX: i64 = 1_024;

/// A log with so much left grows faster than it is moved: the writer waits for the thread, and
/// whoever hands in more for the writer.
const LONG_FROM: i64 = 2 * CHECKPOINT_PAGES_MIN;

/// Readers that look at an old state keep pages from being moved: it is tried again once the log
/// has grown by so many.
const AGAIN_AFTER: i64 = CHECKPOINT_PAGES_MIN / 4;

/// How often the thread tries to move all before it leaves the rest to the writer.
const TRIES: u32 = 4;

/// Asking how long the log is takes some calls to the system: it is asked once so much was written.
pub(crate) const LOOK_AFTER: usize = 256;

/// What the writer and the thread that moves say to one another.
#[derive(Default)]
pub(crate) struct Checkpointer {
    state: Mutex<CheckpointState>,
    changed: Condvar,
}

#[derive(Default)]
struct CheckpointState {
    turn: CheckpointTurn,
    /// What was written since the log was looked at.
    written: usize,
    /// Pages in the log when it was last begun to be moved.
    checkpointed_at: i64,
    closed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum CheckpointTurn {
    /// Nothing is to be done.
    #[default]
    Idle,
    /// The thread's, to move what there is.
    Thread,
    /// The writer's, to move the rest.
    Writer,
}

impl Checkpointer {
    /// Moves what is to be moved, again and again, until closed.
    pub(crate) fn run(&self, conn: &Connection) {
        let mut state = lock(&self.state);
        while !state.closed {
            if state.turn != CheckpointTurn::Thread {
                state = wait(&self.changed, state);
                continue;
            }
            drop(state);
            let is_whole = checkpoint_all(conn);
            state = lock(&self.state);
            state.turn = match is_whole {
                true => CheckpointTurn::Idle,
                false => CheckpointTurn::Writer,
            };
            self.changed.notify_all();
        }
    }

    /// Looks after the log, after a transaction of `weight`.
    pub(crate) fn look(&self, writer: &Writer, weight: usize) {
        let mut state = lock(&self.state);
        state.written = state.written.saturating_add(weight);
        if state.written < LOOK_AFTER && state.turn != CheckpointTurn::Writer {
            return;
        }
        state.written = 0;
        let Some(pages) = writer.wal_pages() else {
            return;
        };
        while state.turn == CheckpointTurn::Thread && pages.left() >= LONG_FROM && !state.closed {
            state = wait(&self.changed, state);
        }
        match state.turn {
            CheckpointTurn::Idle if state.is_time(pages) => {
                state.turn = CheckpointTurn::Thread;
                state.checkpointed_at = pages.all;
                drop(state);
                self.changed.notify_all();
            }
            CheckpointTurn::Writer => {
                state.turn = CheckpointTurn::Idle;
                drop(state);
                writer.checkpoint();
            }
            // Something was written in the very moment in which nothing was left.
            CheckpointTurn::Idle if pages.is_half_checkpointed() => {
                drop(state);
                writer.checkpoint();
            }
            CheckpointTurn::Idle | CheckpointTurn::Thread => {}
        }
    }

    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

/// Moves what there is, and then what came meanwhile, which is ever less. Says whether nothing was
/// left in the end, as in a house with pauses.
fn checkpoint_all(conn: &Connection) -> bool {
    for _ in 0..TRIES {
        // What is answered to moving is the log as it was when that began.
        let moved = wal_pages(conn, CHECKPOINT).and_then(|_| wal_pages(conn, WAL_PAGES));
        match moved {
            Ok(pages) if pages.left() == 0 => return true,
            Ok(pages) if pages.left() <= REST_MAX => {}
            // It grows too fast for that.
            Ok(_) => return false,
            Err(error) if error_codes::is_write_failure(&error) => return false,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be moved into the file");
                return false;
            }
        }
    }
    false
}

impl WalPages {
    /// Whether a long log could be begun anew but for what came since it was moved.
    fn is_half_checkpointed(self) -> bool {
        self.all >= CHECKPOINT_PAGES_MIN
            && self.moved > 0
            && (1..CHECKPOINT_PAGES_MIN).contains(&self.left())
    }
}

impl CheckpointState {
    fn is_time(&self, pages: WalPages) -> bool {
        let begun_anew = pages.all < self.checkpointed_at;
        let grown = pages.all - self.checkpointed_at >= AGAIN_AFTER;
        pages.left() >= CHECKPOINT_PAGES_MIN && (begun_anew || grown)
    }
}
