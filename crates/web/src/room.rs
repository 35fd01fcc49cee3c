//! Room for what requests bring: bodies that are not small are held in memory only as far as all
//! of them together have room, which is taken as they come. Each sharer has half of it at most.
//!
//! Whoever finds none waits a little, and is asked to come again. A body that makes no progress
//! gives way to those who wait, so nobody has room by being slow; and if all wait for one another,
//! one of them gives way at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::id::{TenantId, UserId};
use model::limits::{BODIES_BYTES_MAX, BODIES_SHARE_BYTES_MAX, BODY_STEP_BYTES};
use model::refusal::Refusal;
use model::tenant::TokenHash;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::state::locked;

/// Room comes back within moments, unless bodies come slowly. All waits of a body together.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// A body that took no step for so long makes no progress. At 64 KiB a step that is slower than
/// any line between servers.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// Who has waited for so long has the room of whoever has more, progress or not.
const PATIENCE: Duration = Duration::from_secs(3);

/// After so many seconds somebody is asked to come again.
const AGAIN_AFTER_S: u32 = 5;

const REFUSED: Refusal = Refusal::Busy(AGAIN_AFTER_S);

/// Whose bodies are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sharer {
    Tenant(TenantId),
    /// Of several tenants, or of none that was let in.
    Token(TokenHash),
    User(UserId),
    /// Nobody knows who, but from where.
    Client(Option<IpAddr>),
}

pub(crate) struct Room {
    desk: Mutex<Desk>,
    /// Those who wait look again.
    changed: Notify,
}

struct Desk {
    left: usize,
    /// By age.
    bodies: BTreeMap<u64, Held>,
    shares: BTreeMap<Sharer, usize>,
    next: u64,
    /// How many bodies wait for room that others have.
    waiting: usize,
}

struct Held {
    sharer: Sharer,
    bytes: usize,
    /// What it says it becomes, if it says so. It is kept from its own sharer's other bodies only.
    declared: usize,
    state: State,
    /// When it took room last, or began.
    moved_at: Instant,
    told: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Arriving,
    /// For so many bytes; of the room that others have, or of its own share.
    Waiting(usize, Within),
    /// It is to give way, and will in a moment.
    Leaving,
    /// It is being worked on.
    Whole,
}

/// Where a body finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Share,
    All,
}

enum Turn {
    Taken,
    /// Until something changes, or this moment.
    Wait(Option<Instant>),
    GivesWay,
}

/// The room of one body, which grows until it is whole; given back when it is dropped.
pub(crate) struct Taken<'a> {
    room: &'a Room,
    id: u64,
    bytes: usize,
    told: Arc<Notify>,
    /// For so long it may still wait.
    patience: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            desk: Mutex::new(Desk {
                left: BODIES_BYTES_MAX,
                bodies: BTreeMap::new(),
                shares: BTreeMap::new(),
                next: 0,
                waiting: 0,
            }),
            changed: Notify::new(),
        }
    }
}

impl Room {
    /// For a body that has turned out not to be small, and says that it becomes so long. Nothing is
    /// taken yet.
    pub(crate) fn begin(&self, sharer: Sharer, declared: usize) -> Taken<'_> {
        let told = Arc::new(Notify::new());
        let id = locked(&self.desk).begin(sharer, declared, Arc::clone(&told));
        Taken {
            room: self,
            id,
            bytes: 0,
            told,
            patience: WAIT_LIMIT,
        }
    }

    fn turn(&self, id: u64, bytes: usize, waits_since: Instant) -> Turn {
        let (turn, is_news) = locked(&self.desk).turn(id, bytes, waits_since);
        if is_news {
            self.changed.notify_waiters();
        }
        turn
    }
}

impl Taken<'_> {
    /// Takes what a body of `bytes` needs; waits if need be.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.next_multiple_of(BODY_STEP_BYTES);
        let more = wanted.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let since = Instant::now();
        let until = since + self.patience;
        loop {
            let mut changed = pin!(self.room.changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            let next = match self.room.turn(self.id, more, since) {
                Turn::Taken => break,
                Turn::Wait(next) if Instant::now() < until => next,
                Turn::Wait(_) | Turn::GivesWay => return Err(REFUSED),
            };
            let next = next.map_or(until, |next| next.min(until));
            // Either way it looks again.
            drop(timeout_at(next, changed).await);
        }
        self.patience = self.patience.saturating_sub(since.elapsed());
        self.bytes = wanted;
        Ok(())
    }

    /// Comes to an end if this body has to give way to others.
    pub(crate) async fn give_way(&self) -> Refusal {
        self.told.notified().await;
        REFUSED
    }

    /// Nothing more comes, and it does not have to give way any more.
    pub(crate) fn settle(&self) {
        locked(&self.room.desk).enter(self.id, State::Whole);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        locked(&self.room.desk).end(self.id);
        self.room.changed.notify_waiters();
    }
}

impl Desk {
    fn begin(&mut self, sharer: Sharer, declared: usize, told: Arc<Notify>) -> u64 {
        let id = self.next;
        self.next += 1;
        let held = Held {
            sharer,
            bytes: 0,
            declared: declared.next_multiple_of(BODY_STEP_BYTES),
            state: State::Arriving,
            moved_at: Instant::now(),
            told,
        };
        self.bodies.insert(id, held);
        id
    }

    /// Takes room for a body, or says how it is to wait; and whether others are to look again.
    fn turn(&mut self, id: u64, bytes: usize, since: Instant) -> (Turn, bool) {
        let now = Instant::now();
        let held = self.bodies.get(&id);
        let Some(held) = held.filter(|held| held.state != State::Leaving) else {
            return (Turn::GivesWay, false);
        };
        let before = held.state;
        let Some(within) = self.obstacle(held, bytes) else {
            self.take(id, bytes, now);
            // Somebody may have let this one go first.
            return (Turn::Taken, before != State::Arriving);
        };
        self.enter(id, State::Waiting(bytes, within));
        self.make_way(id, since, now)
    }

    /// Where there is no room for more.
    fn obstacle(&self, body: &Held, bytes: usize) -> Option<Within> {
        let own = self.share(body.sharer);
        // One that has nothing yet waits for its sharer's others: half of each would serve nobody.
        let promised = || {
            let others = self.bodies.values();
            let others = others.filter(|held| held.sharer == body.sharer && held.bytes > 0);
            let promised: usize = others.map(|held| held.bytes.max(held.declared)).sum();
            promised + bytes.max(body.declared) > BODIES_SHARE_BYTES_MAX
        };
        if own + bytes > BODIES_SHARE_BYTES_MAX || (body.bytes == 0 && own > 0 && promised()) {
            return Some(Within::Share);
        }
        // Whoever has less goes first, if there is enough.
        let goes_first = |held: &Held| self.can_go_on(held) && self.share(held.sharer) < own;
        let comes_second = self.waiting > 0 && self.bodies.values().any(goes_first);
        (bytes > self.left || comes_second).then_some(Within::All)
    }

    /// Whether one that has waited will find room when it looks again, which it will in a moment.
    fn can_go_on(&self, held: &Held) -> bool {
        match held.state {
            // It has nothing, and waits for what is promised to others.
            State::Waiting(_, Within::Share) if held.bytes == 0 => false,
            State::Waiting(wanted, Within::All | Within::Share) => {
                wanted <= self.left && self.share(held.sharer) + wanted <= BODIES_SHARE_BYTES_MAX
            }
            State::Arriving | State::Leaving | State::Whole => false,
        }
    }

    /// Has one body give way to one that waits since then, if there is reason to.
    fn make_way(&mut self, id: u64, since: Instant, now: Instant) -> (Turn, bool) {
        let Some(asking) = self.bodies.get(&id) else {
            return (Turn::GivesWay, false);
        };
        let State::Waiting(wanted, within) = asking.state else {
            return (Turn::Wait(None), false);
        };
        let sharer = asking.sharer;
        let has_room = |held: &Held| held.bytes > 0;
        let others = || {
            let concerned = move |held: &Held| within == Within::All || held.sharer == sharer;
            let held = self.bodies.iter();
            held.filter(move |(_, held)| has_room(held) && concerned(held))
        };
        // Things change in a moment anyway.
        let leaves = |held: &Held| held.state == State::Leaving;
        if others().any(|(_, held)| leaves(held) || self.can_go_on(held)) {
            return (Turn::Wait(None), false);
        }
        let arriving = || others().filter(|(_, held)| held.state == State::Arriving);
        let stalls_at = |held: &Held| held.moved_at + STALL_LIMIT;
        let stalls = |held: &Held| stalls_at(held) <= now;
        let is_patient = since + PATIENCE <= now;
        let needs = self.share(sharer) + wanted;
        let has_more = |held: &Held| self.share(held.sharer) > needs;
        let slow = arriving()
            .filter(|(_, held)| stalls(held) || (is_patient && has_more(held)))
            .max_by_key(|(_, held)| {
                (
                    stalls(held),
                    self.share(held.sharer),
                    Reverse(held.moved_at),
                )
            })
            .map(|(slow, _)| *slow);
        let all_wait = others().all(|(_, held)| matches!(held.state, State::Waiting(..)));
        let youngest_of_most = || {
            let most = others().max_by_key(|(id, held)| (self.share(held.sharer), **id));
            most.map_or(id, |(most, _)| *most)
        };
        let gives_way = slow.or_else(|| all_wait.then(youngest_of_most));
        if let Some(other) = gives_way {
            self.tell(other);
            let turn = if other == id {
                Turn::GivesWay
            } else {
                Turn::Wait(None)
            };
            return (turn, true);
        }
        let stall_at = arriving().map(|(_, held)| stalls_at(held));
        let impatient_at = (!is_patient).then(|| since + PATIENCE);
        (Turn::Wait(stall_at.chain(impatient_at).min()), false)
    }

    fn tell(&mut self, id: u64) {
        self.enter(id, State::Leaving);
        if let Some(held) = self.bodies.get(&id) {
            held.told.notify_one();
        }
    }

    fn take(&mut self, id: u64, bytes: usize, now: Instant) {
        self.enter(id, State::Arriving);
        if let Some(held) = self.bodies.get_mut(&id) {
            held.bytes += bytes;
            held.moved_at = now;
            self.left -= bytes;
            *self.shares.entry(held.sharer).or_default() += bytes;
        }
    }

    fn enter(&mut self, id: u64, state: State) {
        if let Some(held) = self.bodies.get_mut(&id) {
            let waits = |state| matches!(state, State::Waiting(_, Within::All));
            self.waiting -= usize::from(waits(held.state));
            self.waiting += usize::from(waits(state));
            held.state = state;
        }
    }

    fn end(&mut self, id: u64) {
        self.enter(id, State::Leaving);
        let Some(held) = self.bodies.remove(&id) else {
            return;
        };
        self.left += held.bytes;
        let rest = self.share(held.sharer) - held.bytes;
        match rest {
            0 => drop(self.shares.remove(&held.sharer)),
            rest => drop(self.shares.insert(held.sharer, rest)),
        }
    }

    fn share(&self, sharer: Sharer) -> usize {
        self.shares.get(&sharer).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
