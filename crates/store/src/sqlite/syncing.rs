//! Syncing: has what was committed reach the disk, and only then told.
//!
//! The writer commits without waiting for the disk; a thread of its own waits, for one group after
//! the other. Meanwhile the writer works on the next group, which stays open until the disk is
//! free. So neither waits for the other, and a busy house has as few commits as it can.
//!
//! Nobody hears of what was committed and has not reached the disk: readers wait for it, too.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::time::Instant;

use crate::sqlite::queue::lock;
use crate::sqlite::writer::{Done, Shared};
use crate::whole::beside;

/// What makes everything committed so far durable.
pub trait Disk: Send + Sync {
    /// Returns once it is, or with why it may not be.
    fn sync(&self) -> io::Result<()>;
}

/// The write-ahead log of a store.
pub(crate) struct LogFile {
    path: PathBuf,
    file: OnceLock<File>,
}

/// Where groups are between their commit and being told.
pub(crate) struct Syncing {
    disk: Box<dyn Disk>,
    stage: Mutex<Stage>,
    /// Wakes the thread that waits for the disk.
    given: Condvar,
    /// Wakes whoever waits for that thread.
    changed: Condvar,
}

#[derive(Default)]
struct Stage {
    /// Commits that have begun, counted.
    begun: u64,
    /// Of these, so many have reached the disk or were rolled back.
    durable: u64,
    /// A group that waits for the disk.
    next: Option<Group>,
    /// A group was put and is not told yet.
    busy: bool,
    /// When the latest group was told.
    free_since: Option<Instant>,
    /// Threads that wait for another to be done.
    waiting: usize,
    closing: bool,
    dead: bool,
}

/// A group that was committed: the how many-eth, and what is to be told.
struct Group {
    number: u64,
    done: Done,
}

/// What came of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Sound,
    /// What the disk holds is not known any more: the store must end.
    Doubtful,
}

impl LogFile {
    /// Of the store at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: log_of(path),
            file: OnceLock::new(),
        }
    }
}

/// Where the write-ahead log of the store at `path` is.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

impl Disk for LogFile {
    // SQLite keeps this one file as long as anybody has the store open, so it is opened once. Its
    // locks are on other files, so closing this one drops none of them.
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

impl Syncing {
    pub(crate) fn new(disk: Box<dyn Disk>) -> Self {
        Self {
            disk,
            stage: Mutex::default(),
            given: Condvar::new(),
            changed: Condvar::new(),
        }
    }

    /// A commit is about to begin, the how many-eth.
    pub(crate) fn begin(&self) -> u64 {
        let mut stage = lock(&self.stage);
        stage.begun += 1;
        stage.begun
    }

    /// Since when no group waits for the disk or is being told, if none does.
    pub(crate) fn free_since(&self) -> Option<Instant> {
        let stage = lock(&self.stage);
        let since = stage.free_since.unwrap_or_else(Instant::now);
        (!stage.busy).then_some(since)
    }

    /// Waits until no group waits for the disk.
    pub(crate) fn wait_until_free(&self) {
        let mut stage = lock(&self.stage);
        while stage.busy && !stage.dead {
            stage = self.wait(stage);
        }
    }

    /// Hands a group to the thread that waits for the disk. Only while it has none.
    pub(crate) fn put(&self, number: u64, done: Done) {
        let mut stage = lock(&self.stage);
        assert!(
            stage.next.is_none() && !stage.busy,
            "one group at a time waits for the disk"
        );
        if stage.dead {
            return;
        }
        stage.busy = true;
        stage.next = Some(Group { number, done });
        drop(stage);
        self.given.notify_one();
    }

    /// Waits for the disk here, and tells. Only while no group waits.
    pub(crate) fn finish_here(&self, number: u64, done: Done, shared: &Shared) -> Told {
        self.finish(Group { number, done }, shared)
    }

    /// Finishes one group after the other, until closed. `free` is called after each.
    pub(crate) fn run(&self, shared: &Shared, free: impl Fn()) -> Told {
        loop {
            let mut stage = lock(&self.stage);
            let group = loop {
                match stage.next.take() {
                    Some(group) => break group,
                    None if stage.closing || stage.dead => return Told::Sound,
                    None => stage = wait(&self.given, stage),
                }
            };
            drop(stage);
            let told = self.finish(group, shared);
            let mut stage = lock(&self.stage);
            stage.busy = false;
            stage.free_since = Some(Instant::now());
            self.tell_changed(stage);
            free();
            if told == Told::Doubtful {
                return told;
            }
        }
    }

    /// Returns once everything is durable that a reader can have seen by now, or says false if
    /// that will never be.
    pub(crate) fn wait_for_durable(&self) -> bool {
        let mut stage = lock(&self.stage);
        let seen = stage.begun;
        while stage.durable < seen && !stage.dead {
            stage = self.wait(stage);
        }
        stage.durable >= seen
    }

    /// Whether what the disk holds is not known any more.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.stage).dead
    }

    /// Ends the thread once it has told what it was given.
    pub(crate) fn close(&self) {
        lock(&self.stage).closing = true;
        self.given.notify_one();
    }

    /// Lets go of everybody who waits.
    pub(crate) fn die(&self) {
        let mut stage = lock(&self.stage);
        stage.dead = true;
        stage.next = None;
        stage.busy = false;
        self.tell_changed(stage);
        self.given.notify_one();
    }

    fn finish(&self, group: Group, shared: &Shared) -> Told {
        let Group { number, mut done } = group;
        if done.has_written() {
            let began_at = Instant::now();
            if let Err(error) = self.disk.sync() {
                // The system may have dropped what it could not write, and says so only once.
                tracing::error!(%error, "the disk failed to make the log durable: the store ends, \
                    and a restart finds out what is there");
                done.forsake();
                done.tell(shared);
                return Told::Doubtful;
            }
            shared.meters.synced(began_at);
            done.note_durable(shared);
        }
        let mut stage = lock(&self.stage);
        stage.durable = stage.durable.max(number);
        self.tell_changed(stage);
        done.tell(shared);
        lock(&self.stage).free_since = Some(Instant::now());
        Told::Sound
    }

    fn wait<'a>(&self, mut stage: MutexGuard<'a, Stage>) -> MutexGuard<'a, Stage> {
        stage.waiting += 1;
        let mut stage = wait(&self.changed, stage);
        stage.waiting -= 1;
        stage
    }

    /// Wakes who waits for another to be done. Mostly nobody does, and then the system is not
    /// called.
    fn tell_changed(&self, stage: MutexGuard<'_, Stage>) {
        let waiting = stage.waiting;
        drop(stage);
        if waiting > 0 {
            self.changed.notify_all();
        }
    }
}

fn wait<'a>(until: &Condvar, stage: MutexGuard<'a, Stage>) -> MutexGuard<'a, Stage> {
    until.wait(stage).unwrap_or_else(PoisonError::into_inner)
}
