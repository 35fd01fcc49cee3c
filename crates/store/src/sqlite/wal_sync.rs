//! WAL sync: the fsync that makes commits durable; then publishes them.
//!
//! The writer commits without waiting for the disk. A thread of its own syncs, one group after the
//! other. Meanwhile the writer works on the next group, which stays open until the disk is free. So
//! neither waits for the other, and under load there are as few commits as possible.
//!
//! Nobody learns of a commit before it is durable: readers wait for it, too.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};

use tokio::time::Instant;

use crate::files::wal_of;
use crate::sqlite::shared::Shared;
use crate::sqlite::writer::GroupResult;
use crate::sync::{lock, wait};

/// Makes everything committed so far durable.
pub trait SyncTarget: Send + Sync {
    /// Returns once it is durable, or why it may not be.
    fn sync(&self) -> io::Result<()>;
}

/// The write-ahead log of a store.
pub(crate) struct WalFile {
    path: PathBuf,
    file: OnceLock<File>,
}

/// The groups between their commit and being published.
pub(crate) struct WalSync {
    disk: Box<dyn SyncTarget>,
    state: Mutex<SyncState>,
    /// Wakes the thread that syncs.
    given: Condvar,
    /// Wakes whoever waits for that thread.
    changed: Condvar,
}

#[derive(Default)]
struct SyncState {
    /// How many commits have begun.
    begun: u64,
    /// So many of them are durable or were rolled back.
    durable: u64,
    /// The group that is to be synced.
    next: Option<PendingGroup>,
    /// A group was put and is not published yet.
    busy: bool,
    /// When the latest group was published.
    free_since: Option<Instant>,
    /// How many threads wait in `wait`.
    waiting: usize,
    closing: bool,
    dead: bool,
}

/// A group that was committed, and the number of its commit.
struct PendingGroup {
    number: u64,
    done: GroupResult,
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncOutcome {
    Durable,
    /// What the disk holds is unknown: the store has to end.
    Uncertain,
}

impl WalFile {
    /// Of the store at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: wal_of(path),
            file: OnceLock::new(),
        }
    }
}

impl SyncTarget for WalFile {
    // SQLite keeps this one file for as long as anybody has the store open, so it is opened once.
    // SQLite's locks are on other files, so closing this one drops none of them.
    fn sync(&self) -> io::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let file = File::open(&self.path)?;
                self.file.get_or_init(|| file)
            }
        };
        file.sync_data()
    }
}

impl WalSync {
    pub(crate) fn new(disk: Box<dyn SyncTarget>) -> Self {
        Self {
            disk,
            state: Mutex::default(),
            given: Condvar::new(),
            changed: Condvar::new(),
        }
    }

    /// A commit is about to begin. Returns its number.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = lock(&self.state);
        state.begun += 1;
        state.begun
    }

    /// Since when the disk is free; `None` while a group is being synced or published.
    pub(crate) fn free_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        let since = state.free_since.unwrap_or_else(Instant::now);
        (!state.busy).then_some(since)
    }

    /// Waits until the disk is free.
    pub(crate) fn wait_until_free(&self) {
        let mut state = lock(&self.state);
        while state.busy && !state.dead {
            state = self.wait(state);
        }
    }

    /// Hands a group to the thread that syncs. Only while the disk is free.
    pub(crate) fn put(&self, number: u64, done: GroupResult) {
        let mut state = lock(&self.state);
        assert!(
            state.next.is_none() && !state.busy,
            "one group at a time waits for the disk"
        );
        if state.dead {
            return;
        }
        state.busy = true;
        state.next = Some(PendingGroup { number, done });
        drop(state);
        self.given.notify_one();
    }

    /// Syncs and publishes on the calling thread. Only while the disk is free.
    pub(crate) fn finish_here(
        &self,
        number: u64,
        done: GroupResult,
        shared: &Shared,
    ) -> SyncOutcome {
        self.finish(PendingGroup { number, done }, shared)
    }

    /// Syncs and publishes one group after the other until closed. Calls `free` after each.
    pub(crate) fn run(&self, shared: &Shared, free: impl Fn()) -> SyncOutcome {
        loop {
            let mut state = lock(&self.state);
            let group = loop {
                match state.next.take() {
                    Some(group) => break group,
                    None if state.closing || state.dead => return SyncOutcome::Durable,
                    None => state = wait(&self.given, state),
                }
            };
            drop(state);
            let told = self.finish(group, shared);
            let mut state = lock(&self.state);
            state.busy = false;
            state.free_since = Some(Instant::now());
            self.notify_changed(state);
            free();
            if told == SyncOutcome::Uncertain {
                return told;
            }
        }
    }

    /// Blocks until everything is durable that a reader can have seen by now. False if that will
    /// never be.
    pub(crate) fn wait_for_durable(&self) -> bool {
        let mut state = lock(&self.state);
        let seen = state.begun;
        while state.durable < seen && !state.dead {
            state = self.wait(state);
        }
        state.durable >= seen
    }

    /// Whether what the disk holds is unknown.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.state).dead
    }

    /// Ends the thread once it has published what it was given.
    pub(crate) fn close(&self) {
        lock(&self.state).closing = true;
        self.given.notify_one();
    }

    /// Releases everybody who waits.
    pub(crate) fn die(&self) {
        let mut state = lock(&self.state);
        state.dead = true;
        state.next = None;
        state.busy = false;
        self.notify_changed(state);
        self.given.notify_one();
    }

    fn finish(&self, group: PendingGroup, shared: &Shared) -> SyncOutcome {
        let PendingGroup { number, mut done } = group;
        if done.has_written() {
            let began_at = Instant::now();
            if let Err(error) = self.disk.sync() {
                // The system may have dropped what it could not write, and reports that only once.
                tracing::error!(%error, "the disk failed to make the log durable: the store ends, \
                    and a restart finds out what is there");
                done.mark_uncertain();
                done.publish(shared);
                return SyncOutcome::Uncertain;
            }
            shared.metrics.fsynced(began_at);
            done.note_durable(shared);
        }
        let mut state = lock(&self.state);
        state.durable = state.durable.max(number);
        self.notify_changed(state);
        done.publish(shared);
        lock(&self.state).free_since = Some(Instant::now());
        SyncOutcome::Durable
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, SyncState>) -> MutexGuard<'a, SyncState> {
        state.waiting += 1;
        let mut state = wait(&self.changed, state);
        state.waiting -= 1;
        state
    }

    /// Wakes whoever waits in `wait`. Mostly nobody does, which saves the system call.
    fn notify_changed(&self, state: MutexGuard<'_, SyncState>) {
        let waiting = state.waiting;
        drop(state);
        if waiting > 0 {
            self.changed.notify_all();
        }
    }
}
