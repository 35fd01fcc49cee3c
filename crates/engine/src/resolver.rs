//! The resolver: from the name of a receiver to addresses, on threads of its own.
//!
//! The system's lookup blocks, for half a minute and more if nobody answers, and cannot be
//! interrupted. So it runs on threads that nothing else needs: not the runtime's, which verify
//! passwords and are waited for at the end. A lookup occupies its thread until the system returns,
//! not only until the attempt gives up. `resolver/queue.rs` says who gets a thread.

mod cache;
mod metrics;
mod queue;
mod system;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::attempt::{Failure, FailureKind};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub use self::system::{Addresses, NameError};

use self::cache::LookupResult;
use self::metrics::{LookupCounts, ResolverMetrics};
use self::queue::{Lookup, LookupQueue, LookupWait, Ticket};
use crate::sync::lock;
use crate::transport::{Deadline, LookupContext};

/// A thread that has had nothing to do for so long ends.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// What runs for longer hangs: a resolver that works has answered or given up, or is asked again.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// Names of hanging look-ups are logged no more often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The system's look-up needs some tens of kilobytes; what operators plug into it may need more.
const STACK_BYTES: usize = 512 * 1024;

/// One look-up. It may block for as long as it likes.
pub type LookupFn = dyn Fn(&str) -> Result<Addresses, NameError> + Send + Sync;

/// Begins a look-up and returns at once; the reply may be answered at any time, or never.
pub type BeginLookupFn = dyn Fn(&str, LookupReply) + Send + Sync;

/// How names are looked up.
enum LookupSource {
    /// On threads.
    Blocking(Box<LookupFn>),
    /// By somebody who answers later, as the simulator does.
    Deferred(Box<BeginLookupFn>),
}

/// The way back of a look-up that was begun. Whoever drops it leaves the name unanswered.
pub struct LookupReply {
    inner: Arc<ResolverInner>,
    lookup: Lookup,
    began: Instant,
}

/// Looks names up. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Arc<ResolverInner>);

struct ResolverInner {
    source: LookupSource,
    idle_for: Duration,
    state: Mutex<ResolverState>,
    /// Rings when a thread that rests has something to do.
    notify: Condvar,
    metrics: ResolverMetrics,
}

#[derive(Default)]
struct ResolverState {
    queue: LookupQueue<oneshot::Sender<LookupResult>>,
    /// Handed to threads that rest.
    handed: VecDeque<Lookup>,
    threads: usize,
    resting: usize,
    told_at: Option<Instant>,
}

/// One who waits. Dropping it is giving up.
struct LookupGuard {
    inner: Arc<ResolverInner>,
    ticket: Ticket,
}

impl Resolver {
    /// The resolver of this machine, with its meters.
    pub fn of_system(registry: &mut Registry) -> Self {
        Self::new(Box::new(system::look_up), registry)
    }

    pub fn new(look_up: Box<LookupFn>, registry: &mut Registry) -> Self {
        Self::with(LookupSource::Blocking(look_up), IDLE_FOR, registry)
    }

    /// A resolver without threads: `begin` is told of each look-up that has its turn.
    pub fn deferred(begin: Box<BeginLookupFn>, registry: &mut Registry) -> Self {
        Self::with(LookupSource::Deferred(begin), IDLE_FOR, registry)
    }

    fn with(source: LookupSource, idle_for: Duration, registry: &mut Registry) -> Self {
        let inner = Arc::new(ResolverInner {
            source,
            idle_for,
            state: Mutex::default(),
            notify: Condvar::new(),
            metrics: ResolverMetrics::new(registry),
        });
        let weak = Arc::downgrade(&inner);
        metrics::follow(
            registry,
            Box::new(move || Some(weak.upgrade()?.counts(Instant::now()))),
        );
        Self(inner)
    }

    /// Where the name leads, or why nowhere. Ends by the limit; what the system does goes on.
    pub async fn look_up(
        &self,
        context: LookupContext,
        name: &str,
        limit: Deadline,
    ) -> Result<Addresses, Failure> {
        let failed = |words| Failure::new(FailureKind::LookUp, words);
        let found = match self.0.begin(context, name) {
            Ok(found) => found,
            Err((waiting, answer)) => match timeout_at(limit.deadline(), answer).await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => unreachable!("whoever waits is told before the look-up is forgotten"),
                Err(_) => return Err(failed(waiting.missed(limit))),
            },
        };
        found.map_err(|error| {
            let kind = match error {
                NameError::Ours(_) => FailureKind::Short,
                NameError::NoSuchName
                | NameError::NoAddress
                | NameError::NoAnswer
                | NameError::Refused(_) => FailureKind::LookUp,
            };
            Failure::new(kind, error.words(name))
        })
    }

    /// One sentence if look-ups hang.
    pub fn note(&self) -> Option<String> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<String> {
        let (hanging, longest) = self.0.hanging(now);
        let seconds = longest.as_secs();
        (hanging > 0).then(|| {
            format!(
                "Look-ups of names hang: {hanging} have had no answer for up to {seconds} s. They \
                 keep those tenants' own unknown names waiting, and nobody else's; if they are \
                 many, look at the name servers in /etc/resolv.conf."
            )
        })
    }
}

impl ResolverInner {
    /// What is known, or where to wait for it.
    fn begin(
        self: &Arc<Self>,
        context: LookupContext,
        name: &str,
    ) -> Result<LookupResult, (LookupGuard, oneshot::Receiver<LookupResult>)> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(found) = state.queue.cache.get(context, name, now) {
            self.metrics.cache_hits.inc();
            return Ok(found.clone());
        }
        let (tell, answer) = oneshot::channel();
        let (ticket, lookup) = state.queue.join(context, name, tell, now);
        let waiting = LookupGuard {
            inner: Arc::clone(self),
            ticket,
        };
        let begins = lookup.is_some();
        let unhanded = lookup.and_then(|lookup| state.hand(lookup));
        drop(state);
        match unhanded {
            Some(lookup) => self.start(lookup),
            None if begins => self.notify.notify_one(),
            None => {}
        }
        Err((waiting, answer))
    }

    /// Begins a look-up that has its turn; whatever waits comes after it.
    fn start(self: &Arc<Self>, lookup: Lookup) {
        match &self.source {
            LookupSource::Blocking(_) => self.start_thread(lookup),
            LookupSource::Deferred(begin) => {
                let name = Arc::clone(&lookup.name);
                let reply = LookupReply {
                    inner: Arc::clone(self),
                    lookup,
                    began: Instant::now(),
                };
                begin(&name, reply);
            }
        }
    }

    /// Has a thread of its own look it up.
    fn start_thread(self: &Arc<Self>, lookup: Lookup) {
        let mut next = Some(lookup);
        while let Some(lookup) = next {
            let (inner, given) = (Arc::clone(self), lookup.clone());
            let thread = std::thread::Builder::new()
                .name("willcall-names".to_owned())
                .stack_size(STACK_BYTES);
            let started = thread.spawn(move || inner.work(given));
            next = match started {
                Ok(_) => None,
                Err(error) => {
                    let words = format!("it gives no further thread, {error}");
                    self.finish(&lookup, &Err(NameError::Ours(words)));
                    let mut state = self.lock();
                    state.threads -= 1;
                    state
                        .queue
                        .next(Instant::now())
                        .and_then(|lookup| state.hand(lookup))
                }
            };
        }
    }

    /// The life of a thread.
    fn work(self: Arc<Self>, mut lookup: Lookup) {
        loop {
            let began = Instant::now();
            let found = catch_unwind(AssertUnwindSafe(|| match &self.source {
                LookupSource::Blocking(look_up) => look_up(&lookup.name),
                LookupSource::Deferred(_) => unreachable!("it has no threads"),
            }));
            let found =
                found.unwrap_or_else(|_| Err(NameError::Ours("its look-up fell over".to_owned())));
            self.ended(&lookup, &found, began.elapsed());
            lookup = match self.next() {
                Some(lookup) => lookup,
                None => return,
            };
        }
    }

    /// A look-up has ended: counts it, and tells whoever waits for it.
    fn ended(&self, lookup: &Lookup, found: &LookupResult, took: Duration) {
        self.metrics.looked_up(found, took);
        if took >= HANGS_AFTER {
            self.tell(lookup, took);
        }
        self.finish(lookup, found);
    }

    /// Tells everybody who waits what came of it.
    fn finish(&self, lookup: &Lookup, found: &LookupResult) {
        let told = self.lock().queue.finish(lookup, found, Instant::now());
        for tell in told {
            // Whoever gave up meanwhile does not hear it.
            tell.send(found.clone()).ok();
        }
    }

    /// What this thread does next, for which it may wait. Nothing: it ends.
    fn next(&self) -> Option<Lookup> {
        let mut state = self.lock();
        if let Some(lookup) = state.queue.next(Instant::now()) {
            return Some(lookup);
        }
        state.resting += 1;
        let has_none = |state: &mut ResolverState| state.handed.is_empty();
        let waited = self
            .notify
            .wait_timeout_while(state, self.idle_for, has_none);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.resting -= 1;
        let lookup = state.handed.pop_front();
        if lookup.is_none() {
            state.threads -= 1;
        }
        lookup
    }

    /// Says that a look-up took long, now and then.
    fn tell(&self, lookup: &Lookup, took: Duration) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.told_at.is_some_and(|at| now < at + TOLD_EVERY) {
            return;
        }
        state.told_at = Some(now);
        drop(state);
        let (name, tenant) = (&*lookup.name, lookup.tenant);
        let seconds = took.as_secs();
        tracing::warn!(name, %tenant, seconds, "a look-up of a name hung; others are logged once a \
            minute at most");
    }

    fn counts(&self, now: Instant) -> LookupCounts {
        let (running, waiting) = self.lock().queue.counts();
        let (hanging, _) = self.hanging(now);
        LookupCounts {
            running,
            waiting,
            hanging,
        }
    }

    /// How many look-ups hang, and the longest of them.
    fn hanging(&self, now: Instant) -> (usize, Duration) {
        let state = self.lock();
        let hang = state.queue.running_since().map(|since| now - since);
        let hang = hang.filter(|long| *long >= HANGS_AFTER);
        hang.fold((0, Duration::ZERO), |(count, longest), long| {
            (count + 1, longest.max(long))
        })
    }

    fn lock(&self) -> MutexGuard<'_, ResolverState> {
        lock(&self.state)
    }
}

impl LookupReply {
    /// Ends the look-up. The next one begins if one waits for its turn.
    pub fn answer(self, found: &Result<Addresses, NameError>) {
        let inner = self.inner;
        inner.ended(&self.lookup, found, self.began.elapsed());
        let mut state = inner.lock();
        let next = state.queue.next(Instant::now());
        if next.is_none() {
            state.threads -= 1;
        }
        drop(state);
        if let Some(lookup) = next {
            inner.start(lookup);
        }
    }
}

impl ResolverState {
    /// Gives it to a thread that rests. If there is none, one is to be started for it.
    fn hand(&mut self, lookup: Lookup) -> Option<Lookup> {
        if self.resting > self.handed.len() {
            self.handed.push_back(lookup);
            return None;
        }
        self.threads += 1;
        Some(lookup)
    }
}

impl LookupGuard {
    /// Why there is no answer when the time is over.
    fn missed(&self, limit: Deadline) -> String {
        let name = &self.ticket.name;
        let seconds = limit.seconds();
        match self.inner.lock().queue.leave(&self.ticket) {
            Some(LookupWait::TenantThreads) => {
                self.inner.metrics.abandoned.inc();
                format!(
                    "its look-up did not begin within {seconds} s: all that this tenant may have \
                     at once were busy with other names that nobody answers for ({name})"
                )
            }
            Some(LookupWait::Threads) => {
                self.inner.metrics.abandoned.inc();
                format!(
                    "its look-up did not begin within {seconds} s: all that there may be at once \
                     were busy with names that nobody answers for ({name})"
                )
            }
            Some(LookupWait::Answer) | None => {
                format!("the resolver did not answer within {seconds} s ({name})")
            }
        }
    }
}

impl Drop for LookupGuard {
    fn drop(&mut self) {
        self.inner.lock().queue.leave(&self.ticket);
    }
}

#[cfg(test)]
mod tests;
