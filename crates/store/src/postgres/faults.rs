//! What is wrong with the database: by the threads that met it, since when, in whose words. The log
//! is told when something begins and when all is over, and nothing in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::contract::DiskFault;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sync::lock;

/// A thread that has nothing to do does not find out that its fault is over. After so long without
/// another failure it is, if others can write.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(12);

/// What somebody has done, and so can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Proof {
    /// A question was answered.
    Answered,
    /// A transaction that may write was committed.
    Committed,
    /// There was room for something large: small changes are made on a full disk, too.
    HasRoom,
}

/// The thread that watches. What it asks is quick, and it asks all the time.
pub(crate) const WATCH_ROLE: &str = "willcall watch";

#[derive(Default)]
pub(crate) struct Faults {
    inner: Mutex<FaultsInner>,
    /// Whether the thread that watches gets no answer, so that nobody has to wait for one.
    is_silent: watch::Sender<bool>,
    /// Whether there is any, for those who do not want to wait for the lock.
    are_any: AtomicBool,
}

#[derive(Default)]
struct FaultsInner {
    /// By what the thread's sessions are called.
    threads: BTreeMap<&'static str, Fault>,
    /// Since when there has been one at any time.
    since: Option<Instant>,
    said: BTreeSet<DiskFault>,
}

#[derive(Debug, Clone)]
struct Fault {
    kind: DiskFault,
    /// What the database or the network said.
    words: String,
    since: Instant,
    latest: Instant,
}

impl Faults {
    /// A thread met a fault.
    pub(crate) fn met(&self, role: &'static str, kind: DiskFault, words: &str) {
        self.met_at(Instant::now(), role, kind, words);
    }

    fn met_at(&self, now: Instant, role: &'static str, kind: DiskFault, words: &str) {
        let mut inner = lock(&self.inner);
        self.are_any.store(true, Ordering::Release);
        let known = inner.threads.get(role).filter(|known| known.kind == kind);
        let fault = Fault {
            kind,
            // The first words say what began it, later ones only that it goes on.
            words: known.map_or_else(|| words.to_owned(), |known| known.words.clone()),
            since: known.map_or(now, |known| known.since),
            latest: now,
        };
        inner.threads.insert(role, fault);
        self.tell_silence(&inner);
        inner.since.get_or_insert(now);
        let is_new = inner.said.insert(kind);
        drop(inner);
        if is_new {
            tracing::error!("{kind} ({words}). {}", kind.to_do());
        }
    }

    /// A thread has done what it began at this time, and shows that so much is possible.
    pub(crate) fn are_over(&self, role: &'static str, began_at: Instant, proof: Proof) {
        if self.are_any.load(Ordering::Acquire) {
            self.are_over_at(Instant::now(), role, began_at, proof);
        }
    }

    fn are_over_at(&self, now: Instant, role: &'static str, began_at: Instant, proof: Proof) {
        let mut inner = lock(&self.inner);
        inner.threads.retain(|other, fault| {
            let is_over = match fault.kind {
                DiskFault::FullDatabase => proof == Proof::HasRoom,
                // Others may have a session, or not have asked yet.
                DiskFault::NoConnection | DiskFault::ReadOnlyDatabase => *other == role,
                _ => *other == role || proof >= Proof::Committed && fault.latest < began_at,
            };
            let is_forgotten = now.duration_since(fault.latest) >= FORGOTTEN_AFTER;
            !(is_over || is_forgotten && proof >= Proof::Committed)
        });
        self.tell_silence(&inner);
        if !inner.threads.is_empty() {
            return;
        }
        self.are_any.store(false, Ordering::Release);
        inner.said.clear();
        let since = inner.since.take();
        drop(inner);
        if let Some(since) = since {
            let seconds = now.duration_since(since).as_secs();
            tracing::info!(seconds, "the database answers again");
        }
    }

    fn tell_silence(&self, inner: &FaultsInner) {
        let fault = inner.threads.get(WATCH_ROLE);
        let is_silent = fault.is_some_and(|fault| fault.kind == DiskFault::NoDatabase);
        self.is_silent
            .send_if_modified(|was| std::mem::replace(was, is_silent) != is_silent);
    }

    /// Whether the database does not answer at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.are_any.load(Ordering::Acquire) && *self.is_silent.borrow()
    }

    /// Waits until it does not answer at all.
    pub(crate) fn silence(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_silent = self.is_silent.subscribe();
        async move {
            if is_silent.wait_for(|silent| *silent).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What this thread met, if it is not over.
    pub(crate) fn of(&self, role: &'static str) -> Option<DiskFault> {
        lock(&self.inner).threads.get(role).map(|fault| fault.kind)
    }

    /// Whether some thread met this.
    pub(crate) fn is(&self, kind: DiskFault) -> bool {
        let inner = lock(&self.inner);
        inner.threads.values().any(|fault| fault.kind == kind)
    }

    /// What is wrong for the longest time, in words: what, since when, who says so, what to do.
    pub(crate) fn words(&self) -> Option<String> {
        self.words_at(Instant::now())
    }

    fn words_at(&self, now: Instant) -> Option<String> {
        let inner = lock(&self.inner);
        let first = inner.threads.values().min_by_key(|fault| fault.since)?;
        let Fault {
            kind, words, since, ..
        } = first;
        let seconds = now.duration_since(*since).as_secs();
        Some(format!(
            "{kind}, for {seconds} s ({words}). {}",
            kind.to_do()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: Proof = Proof::Committed;

    /// So many seconds after the others.
    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_first_words_and_since_when_until_somebody_writes() {
        let (faults, t) = (Faults::default(), Instant::now());
        let kind = DiskFault::NoDatabase;
        assert_eq!(faults.words(), None);
        faults.met_at(t, "settle", kind, "no route");
        faults.met_at(after(t, 3), "settle", kind, "this session has ended");
        faults.met_at(after(t, 3), "read 0", kind, "this session has ended");
        let words = faults.words_at(after(t, 4)).unwrap();
        let start = "the database does not answer, for 4 s (no route). Look at PostgreSQL";
        assert!(words.starts_with(start), "{words}");
        // What began before says nothing, and neither does who only reads.
        faults.are_over_at(after(t, 5), "write 0", after(t, 2), COMMITTED);
        faults.are_over_at(after(t, 5), "read 1", after(t, 5), Proof::Answered);
        assert!(faults.of("settle").is_some() && faults.of("read 0").is_some());
        faults.are_over_at(after(t, 6), "write 0", after(t, 5), COMMITTED);
        assert_eq!((faults.words(), faults.of("settle")), (None, None));
    }

    #[test]
    fn nobody_waits_for_a_database_that_gives_no_answer_to_who_watches() {
        let faults = Faults::default();
        faults.met("settle", DiskFault::NoDatabase, "no answer within 35000 ms");
        assert!(!faults.is_silent());
        faults.met(WATCH_ROLE, DiskFault::NoConnection, "too many clients");
        assert!(!faults.is_silent());
        let silence = faults.silence();
        faults.met(
            WATCH_ROLE,
            DiskFault::NoDatabase,
            "no answer within 2500 ms",
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(silence);
        assert!(faults.is_silent());
        faults.are_over(WATCH_ROLE, Instant::now(), Proof::Answered);
        assert!(!faults.is_silent());
        assert!(faults.words().is_some());
    }

    #[test]
    fn a_disk_is_full_until_there_is_room_for_something_large() {
        let (faults, t) = (Faults::default(), Instant::now());
        let kind = DiskFault::FullDatabase;
        faults.met_at(t, "accept 0", kind, "could not extend file");
        faults.are_over_at(after(t, 1), "accept 0", after(t, 1), COMMITTED);
        assert!(faults.is(kind));
        faults.are_over_at(after(t, 2), "write 0", after(t, 2), Proof::HasRoom);
        assert!(!faults.is(kind));
    }

    #[test]
    fn a_thread_without_a_session_has_one_before_its_fault_is_over() {
        let (faults, t) = (Faults::default(), Instant::now());
        let (accept, kind) = ("accept 0", DiskFault::NoConnection);
        for seconds in 0..5 {
            faults.met_at(after(t, seconds), accept, kind, "too many clients");
            let next = after(t, seconds + 1);
            faults.are_over_at(next, "write 0", next, COMMITTED);
            assert_eq!(faults.of(accept), Some(kind));
        }
        // It may be that nothing more is asked of it.
        let later = after(t, 4) + FORGOTTEN_AFTER;
        faults.are_over_at(later, "read 0", later, Proof::Answered);
        assert_eq!(faults.of(accept), Some(kind));
        faults.are_over_at(later, "write 0", later, COMMITTED);
        assert_eq!(faults.of(accept), None);
        faults.met_at(t, accept, kind, "too many clients");
        faults.are_over_at(after(t, 1), accept, after(t, 1), Proof::Answered);
        assert_eq!(faults.words(), None);
    }
}
