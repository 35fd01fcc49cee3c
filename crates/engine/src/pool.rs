//! Connections kept open for the next attempt at the same endpoint.
//!
//! Bounded in number, in age and by use: no more stay idle than were of use lately, because a
//! receiver may serve each with a process of its own. `connection.rs` finds out whether one still
//! works; `idle_lifetime.rs` remembers what that says of the receiver.
//! `docs/decisions/0031-kept-connections.md` has the reasons.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::limits::RECEIVERS_REMEMBERED_MAX;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::idle_lifetime::{CloseTiming, IdleLifetime};
use crate::sync::lock;
use crate::transport::Endpoint;

/// What was not used for one to two of these, while others were, is of no use. One stays.
const USEFUL_WITHIN: Duration = Duration::from_secs(1);

/// While a new connection to the same place waits for its answer, an idle one may be what keeps it
/// waiting.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(100);

/// What is too old is closed within this time.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct ConnectionPool {
    state: Mutex<PoolState>,
    count_max: usize,
    kept_for: Duration,
    /// It is to be swept sooner than it was.
    stirred: Notify,
}

#[derive(Default)]
struct PoolState {
    endpoints: BTreeMap<Arc<Endpoint>, EndpointPool>,
    count: usize,
    /// When it is to be swept next, if there is anything to sweep.
    sweep_at: Option<Instant>,
}

/// What is kept of a place. One whose connections are all in use stays until it is swept: mostly
/// they come back.
struct EndpointPool {
    /// Oldest in front.
    connections: VecDeque<(Instant, Connection)>,
    lifetime: IdleLifetime,
    /// So many new connections wait for their answer.
    unanswered: usize,
    /// The fewest lines there were since `from`: so many were of no use.
    fewest: usize,
    from: Instant,
}

/// A new connection, until it has its answer.
pub(crate) struct NewConnection<'a> {
    pool: &'a ConnectionPool,
    endpoint: &'a Arc<Endpoint>,
}

impl ConnectionPool {
    pub(crate) fn new(count_max: usize, kept_for: Duration) -> Self {
        Self {
            state: Mutex::default(),
            count_max,
            kept_for,
            stirred: Notify::new(),
        }
    }

    /// The connection to `endpoint` that was used last, if it may still be used, and for how long
    /// it has been idle.
    pub(crate) fn take(&self, endpoint: &Arc<Endpoint>) -> Option<(Connection, Duration)> {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.endpoints.get_mut(endpoint)?;
        let newest = entry.connections.pop_back();
        entry.fewest = entry.fewest.min(entry.connections.len());
        let idle_max = entry.lifetime.idle_max(self.kept_for, now);
        let fits = newest.as_ref().zip(idle_max);
        let fits = fits
            .is_some_and(|((at, connection), most)| now - *at <= most.min(connection.keeps_for()));
        let mut old = VecDeque::new();
        if !fits {
            old = std::mem::take(&mut entry.connections);
        }
        state.count = state
            .count
            .saturating_sub(old.len() + usize::from(newest.is_some()));
        // Closing is left until the lock is given back.
        drop(state);
        let (at, connection) = newest.filter(|_| fits)?;
        Some((connection, now - at))
    }

    /// Keeps a connection; `idle` is how long it had lain idle before its latest answer.
    pub(crate) fn put(
        &self,
        endpoint: &Arc<Endpoint>,
        connection: Connection,
        idle: Option<Duration>,
    ) {
        if self.count_max == 0 {
            return;
        }
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        if let Some(idle) = idle {
            entry.lifetime.served(idle);
        }
        if entry.lifetime.idle_max(self.kept_for, now).is_none() {
            return;
        }
        // One gives way to it only now that it is kept.
        let pushed_out = match state.count >= self.count_max {
            true => state.pop_any(),
            false => None,
        };
        let entry = state.entry(endpoint, now);
        entry.connections.push_back((now, connection));
        let pause = entry.pause(self.kept_for);
        state.count += 1;
        self.sweep_within(state, pause, now);
        drop(pushed_out);
    }

    /// A connection to `endpoint` turned out to be ended by the receiver after it had lain idle so
    /// long. The others there are no better.
    pub(crate) fn ended(&self, endpoint: &Arc<Endpoint>, idle: Duration, timing: CloseTiming) {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        entry.lifetime.ended(idle, timing, now);
        let old = std::mem::take(&mut entry.connections);
        state.count = state.count.saturating_sub(old.len());
        drop(state);
        drop(old);
    }

    /// Closes all of them: what they take is needed more elsewhere.
    pub(crate) fn close_all(&self) {
        let mut state = self.lock();
        let endpoints = state.endpoints.values_mut();
        let all: Vec<_> = endpoints
            .flat_map(|entry| entry.connections.drain(..))
            .collect();
        state.count = 0;
        drop(state);
        drop(all);
    }

    /// A new connection is there and gets a request.
    pub(crate) fn opening<'a>(&'a self, endpoint: &'a Arc<Endpoint>) -> NewConnection<'a> {
        let now = Instant::now();
        let mut state = self.lock();
        let entry = state.entry(endpoint, now);
        entry.unanswered += 1;
        let pause = entry.pause(self.kept_for);
        self.sweep_within(state, pause, now);
        NewConnection {
            pool: self,
            endpoint,
        }
    }

    /// Has it swept within `pause` from now, if that is sooner than it was to be.
    fn sweep_within(
        &self,
        mut state: MutexGuard<'_, PoolState>,
        pause: Option<Duration>,
        now: Instant,
    ) {
        let Some(at) = pause.map(|pause| now + pause) else {
            return;
        };
        let sooner = state.sweep_at.is_none_or(|known| at < known);
        if sooner {
            state.sweep_at = Some(at);
        }
        drop(state);
        if sooner {
            self.stirred.notify_one();
        }
    }

    /// Sweeps as often as there is something to sweep, and no more than ten times a second.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let sweep_at = self.lock().sweep_at;
            match sweep_at {
                None => self.stirred.notified().await,
                Some(at) => match timeout_at(at, self.stirred.notified()).await {
                    Ok(()) => {}
                    Err(_) => self.sweep(),
                },
            }
        }
    }

    /// Closes what is too old to be used again, or was of no use, and says when to come again.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let (mut old, mut next) = (Vec::new(), None);
        state.endpoints.retain(|_, entry| {
            entry.sweep(self.kept_for, now, &mut old);
            next = [next, entry.pause(self.kept_for)]
                .into_iter()
                .flatten()
                .min();
            !entry.connections.is_empty() || entry.unanswered > 0 || entry.lifetime.is_known(now)
        });
        state.count = state.count.saturating_sub(old.len());
        state.sweep_at = next.map(|pause| now + pause);
        drop(state);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}

impl PoolState {
    fn entry(&mut self, endpoint: &Arc<Endpoint>, now: Instant) -> &mut EndpointPool {
        if self.endpoints.len() >= RECEIVERS_REMEMBERED_MAX
            && !self.endpoints.contains_key(endpoint)
        {
            // What is only known is less than what is in use.
            self.endpoints
                .retain(|_, entry| !entry.connections.is_empty() || entry.unanswered > 0);
        }
        self.endpoints
            .entry(Arc::clone(endpoint))
            .or_insert_with(|| EndpointPool {
                connections: VecDeque::new(),
                lifetime: IdleLifetime::default(),
                unanswered: 0,
                fewest: 0,
                from: now,
            })
    }

    fn pop_any(&mut self) -> Option<(Instant, Connection)> {
        let mut endpoints = self.endpoints.values_mut();
        let popped = endpoints.find_map(|entry| entry.connections.pop_front())?;
        self.count = self.count.saturating_sub(1);
        Some(popped)
    }
}

impl EndpointPool {
    /// How soon something here may be to be closed.
    fn pause(&self, kept_for: Duration) -> Option<Duration> {
        match (self.connections.len(), self.unanswered) {
            (0, _) => None,
            (1, 0) => Some(SWEEP_EVERY.min(kept_for)),
            (_, 0) => Some(USEFUL_WITHIN),
            _ => Some(GIVES_WAY_AFTER),
        }
    }

    /// Moves what is to be closed to `old`.
    fn sweep(&mut self, kept_for: Duration, now: Instant, old: &mut Vec<(Instant, Connection)>) {
        let most = self.lifetime.idle_max(kept_for, now);
        let gives_way = (self.unanswered > 0).then_some(GIVES_WAY_AFTER);
        let begin = old.len();
        while let Some((at, connection)) = self.connections.front() {
            let most = most.map(|most| most.min(connection.keeps_for()));
            let idle = now - *at;
            let gives_way = gives_way.is_some_and(|after| idle >= after);
            if !gives_way && most.is_some_and(|most| idle <= most) {
                break;
            }
            old.extend(self.connections.pop_front());
        }
        if now - self.from >= USEFUL_WITHIN {
            let closed = old.len() - begin;
            let useless = self.fewest.saturating_sub(closed);
            let useless = useless.min(self.connections.len().saturating_sub(1));
            old.extend(self.connections.drain(..useless));
            self.fewest = self.connections.len();
            self.from = now;
        }
        self.fewest = self.fewest.min(self.connections.len());
    }
}

impl Drop for NewConnection<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(entry) = state.endpoints.get_mut(self.endpoint) {
            entry.unanswered = entry.unanswered.saturating_sub(1);
        }
    }
}

#[cfg(test)]
impl ConnectionPool {
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Sweeps, and says how soon it is to be done again.
    pub(crate) fn swept(&self) -> Option<Duration> {
        self.sweep();
        self.lock().sweep_at.map(|at| at - Instant::now())
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.lock().endpoints.len()
    }
}

#[cfg(test)]
mod tests;
