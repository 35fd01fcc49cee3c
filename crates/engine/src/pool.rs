//! Connections kept for the next attempt at the same place.
//!
//! Bounded in number, in age and by use: no more lie idle than were of use lately, because a
//! receiver may serve each by a process of its own. Whether one still works, `line.rs` finds out;
//! what that says of the receiver, `habits.rs` keeps. The decision on kept connections says why.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::limits::RECEIVERS_REMEMBERED_MAX;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::dial::Place;
use crate::habits::{Habits, Noticed};
use crate::line::Line;

/// What was not used for one to two of these, while others were, is of no use. One stays.
const USEFUL_WITHIN: Duration = Duration::from_secs(1);

/// While a new connection to the same place waits for its answer, an idle one may be what keeps it
/// waiting.
const GIVES_WAY_AFTER: Duration = Duration::from_millis(100);

/// What is too old is closed within this time.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct Pool {
    kept: Mutex<Kept>,
    count_max: usize,
    kept_for: Duration,
    /// It is to be swept sooner than it was.
    stirred: Notify,
}

#[derive(Default)]
struct Kept {
    spots: BTreeMap<Arc<Place>, Spot>,
    count: usize,
    /// When it is to be swept next, if there is anything to sweep.
    sweep_at: Option<Instant>,
}

/// What is kept of a place. One whose connections are all in use stays until it is swept: mostly
/// they come back.
struct Spot {
    /// Oldest in front.
    lines: VecDeque<(Instant, Line)>,
    habits: Habits,
    /// So many new connections wait for their answer.
    unheard: usize,
    /// The fewest lines there were since `from`: so many were of no use.
    fewest: usize,
    from: Instant,
}

/// A connection that is used again, and how long it lay idle.
pub(crate) struct Used {
    pub(crate) line: Line,
    pub(crate) idle: Duration,
}

/// A new connection, until it has its answer.
pub(crate) struct Opening<'a> {
    pool: &'a Pool,
    place: &'a Arc<Place>,
}

impl Pool {
    pub(crate) fn new(count_max: usize, kept_for: Duration) -> Self {
        Self {
            kept: Mutex::default(),
            count_max,
            kept_for,
            stirred: Notify::new(),
        }
    }

    /// The connection to `place` that was used last, if one is young enough.
    pub(crate) fn take(&self, place: &Arc<Place>) -> Option<Used> {
        let now = Instant::now();
        let mut kept = self.lock();
        let spot = kept.spots.get_mut(place)?;
        let newest = spot.lines.pop_back();
        spot.fewest = spot.fewest.min(spot.lines.len());
        let idle_max = spot.habits.idle_max(self.kept_for, now);
        let fits = newest.as_ref().zip(idle_max);
        let fits = fits.is_some_and(|((at, line), most)| now - *at <= most.min(line.keeps_for()));
        let mut old = VecDeque::new();
        if !fits {
            old = std::mem::take(&mut spot.lines);
        }
        kept.count = kept
            .count
            .saturating_sub(old.len() + usize::from(newest.is_some()));
        // Closing is left until the lock is given back.
        drop(kept);
        let (at, line) = newest.filter(|_| fits)?;
        Some(Used {
            line,
            idle: now - at,
        })
    }

    /// Keeps a connection; `idle` is how long it had lain idle before its latest answer.
    pub(crate) fn put(&self, place: &Arc<Place>, line: Line, idle: Option<Duration>) {
        if self.count_max == 0 {
            return;
        }
        let now = Instant::now();
        let mut kept = self.lock();
        let spot = kept.spot(place, now);
        if let Some(idle) = idle {
            spot.habits.bore(idle);
        }
        if spot.habits.idle_max(self.kept_for, now).is_none() {
            return;
        }
        // One gives way to it only now that it is kept.
        let pushed_out = match kept.count >= self.count_max {
            true => kept.pop_any(),
            false => None,
        };
        let spot = kept.spot(place, now);
        spot.lines.push_back((now, line));
        let pause = spot.pause(self.kept_for);
        kept.count += 1;
        self.sweep_within(kept, pause, now);
        drop(pushed_out);
    }

    /// A connection to `place` turned out to be ended by the receiver after it had lain idle so
    /// long. The others there are no better.
    pub(crate) fn ended(&self, place: &Arc<Place>, idle: Duration, noticed: Noticed) {
        let now = Instant::now();
        let mut kept = self.lock();
        let spot = kept.spot(place, now);
        spot.habits.ended(idle, noticed, now);
        let old = std::mem::take(&mut spot.lines);
        kept.count = kept.count.saturating_sub(old.len());
        drop(kept);
        drop(old);
    }

    /// Closes all of them: what they take is needed more elsewhere.
    pub(crate) fn close_all(&self) {
        let mut kept = self.lock();
        let spots = kept.spots.values_mut();
        let all: Vec<_> = spots.flat_map(|spot| spot.lines.drain(..)).collect();
        kept.count = 0;
        drop(kept);
        drop(all);
    }

    /// A new connection is there and gets a request.
    pub(crate) fn opening<'a>(&'a self, place: &'a Arc<Place>) -> Opening<'a> {
        let now = Instant::now();
        let mut kept = self.lock();
        let spot = kept.spot(place, now);
        spot.unheard += 1;
        let pause = spot.pause(self.kept_for);
        self.sweep_within(kept, pause, now);
        Opening { pool: self, place }
    }

    /// Has it swept within `pause` from now, if that is sooner than it was to be.
    fn sweep_within(&self, mut kept: MutexGuard<'_, Kept>, pause: Option<Duration>, now: Instant) {
        let Some(at) = pause.map(|pause| now + pause) else {
            return;
        };
        let sooner = kept.sweep_at.is_none_or(|known| at < known);
        if sooner {
            kept.sweep_at = Some(at);
        }
        drop(kept);
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
        let mut kept = self.lock();
        let (mut old, mut next) = (Vec::new(), None);
        kept.spots.retain(|_, spot| {
            spot.sweep(self.kept_for, now, &mut old);
            next = [next, spot.pause(self.kept_for)]
                .into_iter()
                .flatten()
                .min();
            !spot.lines.is_empty() || spot.unheard > 0 || spot.habits.are_known(now)
        });
        kept.count = kept.count.saturating_sub(old.len());
        kept.sweep_at = next.map(|pause| now + pause);
        drop(kept);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn spot(&mut self, place: &Arc<Place>, now: Instant) -> &mut Spot {
        if self.spots.len() >= RECEIVERS_REMEMBERED_MAX && !self.spots.contains_key(place) {
            // What is only known is less than what is in use.
            self.spots
                .retain(|_, spot| !spot.lines.is_empty() || spot.unheard > 0);
        }
        self.spots.entry(Arc::clone(place)).or_insert_with(|| Spot {
            lines: VecDeque::new(),
            habits: Habits::default(),
            unheard: 0,
            fewest: 0,
            from: now,
        })
    }

    fn pop_any(&mut self) -> Option<(Instant, Line)> {
        let mut spots = self.spots.values_mut();
        let popped = spots.find_map(|spot| spot.lines.pop_front())?;
        self.count = self.count.saturating_sub(1);
        Some(popped)
    }
}

impl Spot {
    /// How soon something here may be to be closed.
    fn pause(&self, kept_for: Duration) -> Option<Duration> {
        match (self.lines.len(), self.unheard) {
            (0, _) => None,
            (1, 0) => Some(SWEEP_EVERY.min(kept_for)),
            (_, 0) => Some(USEFUL_WITHIN),
            _ => Some(GIVES_WAY_AFTER),
        }
    }

    /// Moves what is to be closed to `old`.
    fn sweep(&mut self, kept_for: Duration, now: Instant, old: &mut Vec<(Instant, Line)>) {
        let most = self.habits.idle_max(kept_for, now);
        let gives_way = (self.unheard > 0).then_some(GIVES_WAY_AFTER);
        let begin = old.len();
        while let Some((at, line)) = self.lines.front() {
            let most = most.map(|most| most.min(line.keeps_for()));
            let idle = now - *at;
            let gives_way = gives_way.is_some_and(|after| idle >= after);
            if !gives_way && most.is_some_and(|most| idle <= most) {
                break;
            }
            old.extend(self.lines.pop_front());
        }
        if now - self.from >= USEFUL_WITHIN {
            let closed = old.len() - begin;
            let useless = self.fewest.saturating_sub(closed);
            let useless = useless.min(self.lines.len().saturating_sub(1));
            old.extend(self.lines.drain(..useless));
            self.fewest = self.lines.len();
            self.from = now;
        }
        self.fewest = self.fewest.min(self.lines.len());
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut kept = self.pool.lock();
        if let Some(spot) = kept.spots.get_mut(self.place) {
            spot.unheard = spot.unheard.saturating_sub(1);
        }
    }
}

#[cfg(test)]
impl Pool {
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Sweeps, and says how soon it is to be done again.
    pub(crate) fn swept(&self) -> Option<Duration> {
        self.sweep();
        self.lock().sweep_at.map(|at| at - Instant::now())
    }

    pub(crate) fn places(&self) -> usize {
        self.lock().spots.len()
    }
}

#[cfg(test)]
mod tests;
