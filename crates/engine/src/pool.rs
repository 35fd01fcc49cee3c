//! Connections kept for the next attempt at the same place.
//!
//! Bounded in number and in age: a kept connection is used again only for some tens of seconds,
//! so that a change of address in DNS is noticed. Whether one still works, `line.rs` finds out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dial::Place;
use crate::line::Line;

pub(crate) struct Pool {
    kept: Mutex<Kept>,
    count_max: usize,
    kept_for: Duration,
}

#[derive(Default)]
struct Kept {
    /// Oldest in front. A place whose connections are all in use keeps its entry until it is swept:
    /// mostly they come back.
    lines: BTreeMap<Arc<Place>, VecDeque<(Instant, Line)>>,
    count: usize,
}

impl Pool {
    pub(crate) fn new(count_max: usize, kept_for: Duration) -> Self {
        Self {
            kept: Mutex::default(),
            count_max,
            kept_for,
        }
    }

    /// The connection to `place` that was used last, if one is young enough.
    pub(crate) fn take(&self, place: &Arc<Place>) -> Option<Line> {
        let now = Instant::now();
        let mut kept = self.lock();
        let lines = kept.lines.get_mut(place)?;
        let newest = lines.pop_back();
        let mut old = VecDeque::new();
        if newest
            .as_ref()
            .is_none_or(|(at, _)| now - *at > self.kept_for)
        {
            old = std::mem::take(lines);
        }
        kept.count = kept
            .count
            .saturating_sub(old.len() + usize::from(newest.is_some()));
        // Closing is left until the lock is given back.
        drop(kept);
        let (at, line) = newest?;
        (now - at <= self.kept_for).then_some(line)
    }

    pub(crate) fn put(&self, place: &Arc<Place>, line: Line) {
        if self.count_max == 0 {
            return;
        }
        let mut kept = self.lock();
        let mut pushed_out = None;
        if kept.count >= self.count_max {
            pushed_out = kept.pop_any();
        }
        let lines = kept.lines.entry(Arc::clone(place)).or_default();
        lines.push_back((Instant::now(), line));
        kept.count += 1;
        drop(kept);
        drop(pushed_out);
    }

    /// Closes what is too old to be used again.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut kept = self.lock();
        let mut old = Vec::new();
        kept.lines.retain(|_, lines| {
            while lines
                .front()
                .is_some_and(|(at, _)| now - *at > self.kept_for)
            {
                old.extend(lines.pop_front());
            }
            !lines.is_empty()
        });
        kept.count = kept.count.saturating_sub(old.len());
        drop(kept);
        drop(old);
    }

    /// Closes all of them: what they take is needed more elsewhere.
    pub(crate) fn close_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn pop_any(&mut self) -> Option<(Instant, Line)> {
        loop {
            let mut entry = self.lines.first_entry()?;
            if let Some(popped) = entry.get_mut().pop_front() {
                self.count = self.count.saturating_sub(1);
                return Some(popped);
            }
            entry.remove();
        }
    }
}

#[cfg(test)]
impl Pool {
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    pub(crate) fn places(&self) -> usize {
        self.lock().lines.len()
    }
}
