//! The checkpointer: moves the WAL into the database file while the writer goes on.
//!
//! A thread of its own does most of it. SQLite restarts the WAL only when nothing is left in it. So
//! under constant load the writer moves the last pages itself, which are few.

use std::sync::{Condvar, Mutex};

use rusqlite::Connection;

use crate::sqlite::writer::{CHECKPOINT, WAL_PAGES, WalPages, Writer, wal_pages};
use crate::sqlite::{error_codes, writer};
use crate::sync::{lock, wait};

/// Pages in the WAL before a checkpoint: 16 MiB. A page that many transactions wrote is moved once.
const CHECKPOINT_PAGES_MIN: i64 = 4_096;

/// With more pages than this left after a try, another try would not catch up.
const REST_MAX: i64 = 1_024;

/// With so many pages left the WAL grows faster than it is moved: the writer waits for the thread,
/// and callers wait for the writer.
const LONG_FROM: i64 = 2 * CHECKPOINT_PAGES_MIN;

/// Readers of an old state keep pages from being moved. It is tried again once the WAL has grown by
/// so many.
const AGAIN_AFTER: i64 = CHECKPOINT_PAGES_MIN / 4;

/// How often the thread tries to move everything before it leaves the rest to the writer.
const TRIES: u32 = 4;

/// The length of the WAL costs some system calls: it is asked for after writing this weight.
pub(crate) const LOOK_AFTER: usize = 256;

/// What the writer and the checkpoint thread say to each other.
#[derive(Default)]
pub(crate) struct Checkpointer {
    state: Mutex<CheckpointState>,
    changed: Condvar,
}

#[derive(Default)]
struct CheckpointState {
    turn: CheckpointTurn,
    /// The weight written since the WAL was last looked at.
    written: usize,
    /// Pages in the WAL when the latest checkpoint began.
    checkpointed_at: i64,
    closed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum CheckpointTurn {
    /// There is nothing to do.
    #[default]
    Idle,
    /// The thread moves what there is.
    Thread,
    /// The writer moves the rest.
    Writer,
}

impl Checkpointer {
    /// Checkpoints whenever it is the thread's turn, until closed.
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

    /// Looks at the WAL after a transaction of `weight`, and starts or finishes a checkpoint if it
    /// is time.
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
            // Something was written at the very moment when nothing was left.
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

/// Moves what there is, then what came meanwhile, which gets less each time. Answers whether
/// nothing was left in the end.
fn checkpoint_all(conn: &Connection) -> bool {
    for _ in 0..TRIES {
        // A checkpoint answers with the WAL as it was when it began.
        let moved = wal_pages(conn, CHECKPOINT).and_then(|_| wal_pages(conn, WAL_PAGES));
        match moved {
            Ok(pages) if pages.left() == 0 => return true,
            Ok(pages) if pages.left() <= REST_MAX => {}
            // It grows too fast.
            Ok(_) => return false,
            Err(error) if error_codes::is_write_failure(&error) => return false,
            Err(error) => {
                writer::tell_not_checkpointed(&error);
                return false;
            }
        }
    }
    false
}

impl WalPages {
    /// Whether a long WAL could be restarted but for what came since the checkpoint.
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
