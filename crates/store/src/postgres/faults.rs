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
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7);

/// A fault that was over is not told of again sooner, unless it lasts for so long.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);
const STAYS_AFTER: Duration = Duration::from_secs(3);

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
    /// Whether the thread that watches gets no session, so that nobody has to wait for an answer.
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
    /// What the log was told of these.
    said: BTreeSet<DiskFault>,
    /// And when it was told of each at any time.
    said_at: BTreeMap<DiskFault, Instant>,
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

    /// A thread has got no session. If it is the one that watches, nobody has to wait.
    pub(crate) fn met_at_door(&self, role: &'static str, kind: DiskFault, words: &str) {
        self.met(role, kind, words);
        let inner = lock(&self.inner);
        if let Some(fault) = inner.threads.get(WATCH_ROLE)
            && role == WATCH_ROLE
        {
            let is_silent = fault.kind == DiskFault::NoDatabase;
            self.is_silent.send_replace(is_silent);
        }
    }

    fn met_at(&self, now: Instant, role: &'static str, kind: DiskFault, words: &str) {
        let mut inner = lock(&self.inner);
        self.are_any.store(true, Ordering::Release);
        let known = inner.threads.get(role).filter(|known| known.kind == kind);
        let fault = Fault {
            kind,
            words: words.to_owned(),
            since: known.map_or(now, |known| known.since),
            latest: now,
        };
        inner.threads.insert(role, fault);
        inner.since.get_or_insert(now);
        let is_new = inner.is_news(now, kind);
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
                DiskFault::Full
                | DiskFault::ReadOnly
                | DiskFault::Failing
                | DiskFault::Moved
                | DiskFault::Unreadable
                | DiskFault::NoDatabase => {
                    *other == role || proof >= Proof::Committed && fault.latest < began_at
                }
            };
            let is_forgotten = now.duration_since(fault.latest) >= FORGOTTEN_AFTER;
            !(is_over || is_forgotten && proof >= Proof::Committed)
        });
        if !inner.threads.contains_key(WATCH_ROLE) {
            self.is_silent.send_replace(false);
        }
        if !inner.threads.is_empty() {
            return;
        }
        self.are_any.store(false, Ordering::Release);
        let is_said = !std::mem::take(&mut inner.said).is_empty();
        let since = inner.since.take();
        drop(inner);
        if let Some(since) = since.filter(|_| is_said) {
            let seconds = now.duration_since(since).as_secs();
            tracing::info!(seconds, "the database answers again");
        }
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

    /// What was wrong most recently, in words: what, since when, who says so, what to do.
    pub(crate) fn words(&self) -> Option<String> {
        self.words_at(Instant::now())
    }

    fn words_at(&self, now: Instant) -> Option<String> {
        let inner = lock(&self.inner);
        // Who did not try again knows least.
        let latest = inner.threads.values().max_by_key(|fault| fault.latest)?;
        let Fault { kind, words, .. } = latest;
        let same = inner.threads.values().filter(|fault| fault.kind == *kind);
        let since = same.map(|fault| fault.since).min()?;
        let seconds = now.duration_since(since).as_secs();
        Some(format!(
            "{kind}, for {seconds} s ({words}). {}",
            kind.to_do()
        ))
    }
}

impl FaultsInner {
    /// Whether the log is to be told of this. What comes and goes is told of once a minute, unless
    /// it stays.
    fn is_news(&mut self, now: Instant, kind: DiskFault) -> bool {
        let since = self.since.unwrap_or(now);
        let latest = self.said_at.get(&kind);
        let is_fresh = latest.is_none_or(|at| now.duration_since(*at) >= SAID_AGAIN_AFTER);
        let stays = now.duration_since(since) >= STAYS_AFTER;
        let is_news = !self.said.contains(&kind) && (is_fresh || stays);
        if is_news {
            self.said.insert(kind);
            self.said_at.insert(kind, now);
        }
        is_news
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
    fn what_is_wrong_is_told_with_its_latest_words_and_since_when_until_somebody_writes() {
        let (faults, t) = (Faults::default(), Instant::now());
        let kind = DiskFault::NoDatabase;
        assert_eq!(faults.words(), None);
        faults.met_at(t, "settle", kind, "no route");
        faults.met_at(after(t, 2), "read 0", kind, "reset by peer");
        faults.met_at(after(t, 3), "settle", kind, "connection refused");
        let words = faults.words_at(after(t, 4)).unwrap();
        let start =
            "the database does not answer, for 4 s (connection refused). Look at PostgreSQL";
        assert!(words.starts_with(start), "{words}");
        // What began before says nothing, and neither does who only reads.
        faults.are_over_at(after(t, 5), "write 0", after(t, 2), COMMITTED);
        faults.are_over_at(after(t, 5), "read 1", after(t, 5), Proof::Answered);
        assert!(faults.of("settle").is_some() && faults.of("read 0").is_some());
        faults.are_over_at(after(t, 6), "write 0", after(t, 5), COMMITTED);
        assert_eq!((faults.words(), faults.of("settle")), (None, None));
    }

    #[test]
    fn nobody_waits_for_a_database_that_gives_no_session_to_who_watches() {
        let (faults, kind) = (Faults::default(), DiskFault::NoDatabase);
        faults.met_at_door("settle", kind, "no route");
        faults.met_at_door(WATCH_ROLE, DiskFault::NoConnection, "too many clients");
        // It may have been this connection only.
        faults.met(WATCH_ROLE, kind, "no answer within 2500 ms");
        assert!(!faults.is_silent());
        let silence = faults.silence();
        faults.met_at_door(WATCH_ROLE, kind, "no answer within 4 s");
        faults.met_at_door("settle", DiskFault::ReadOnlyDatabase, "a standby");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(silence);
        assert!(faults.is_silent());
        // It answers, though not as it should.
        faults.met_at_door(WATCH_ROLE, DiskFault::ReadOnlyDatabase, "a standby");
        assert!(!faults.is_silent());
        faults.met_at_door(WATCH_ROLE, kind, "no answer within 4 s");
        assert!(faults.is_silent());
        faults.are_over(WATCH_ROLE, Instant::now(), Proof::Answered);
        assert!(!faults.is_silent());
        assert!(faults.words().is_some());
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_told_of_once_a_minute_and_one_that_stays_at_once() {
        let t = Instant::now();
        let (mut inner, kind) = (FaultsInner::default(), DiskFault::NoDatabase);
        for (seconds, since, is_news) in [
            (0, 0, true),
            (1, 0, false),
            (9, 0, false),
            // It was over in between.
            (10, 10, false),
            (12, 10, false),
            (13, 10, true),
            (14, 10, false),
            (60, 60, false),
            (73, 73, true),
        ] {
            if inner.since != Some(after(t, since)) {
                inner.said.clear();
                inner.since = Some(after(t, since));
            }
            assert_eq!(inner.is_news(after(t, seconds), kind), is_news, "{seconds}");
        }
        assert!(inner.is_news(after(t, 74), DiskFault::ReadOnlyDatabase));
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
