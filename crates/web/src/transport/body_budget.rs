//! The memory budget of request bodies. Bodies that are not small reserve memory as they arrive;
//! each owner may have half of the budget at most.
//!
//! A body that finds none left waits a little, then is refused with `Retry-After`. A body that
//! makes no progress gives way to those that wait, so a slow sender holds nothing; and if all wait
//! for one another, one of them gives way at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::id::TenantId;
use model::limits::{
    BODIES_BYTES_MAX, BODIES_SHARE_BYTES_MAX, BODIES_WAITING_OWNER_MAX, BODY_STEP_BYTES,
};
use model::refusal::Refusal;
use model::tenant::TokenHash;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::sync::lock;

/// The limit for all waits of a body together. Memory comes back within moments, unless bodies
/// arrive slowly.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// A body that took no step for so long makes no progress. At 64 KiB a step that is slower than any
/// connection between servers.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// A body that has waited for so long gets the memory of an owner that has more, progress or not.
const PATIENCE: Duration = Duration::from_secs(3);

/// `Retry-After` in seconds.
const AGAIN_AFTER_S: u32 = 5;

const REFUSED: Refusal = Refusal::Busy(AGAIN_AFTER_S);

/// Whose bodies are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BudgetOwner {
    Tenant(TenantId),
    /// A token of several tenants, or of none.
    Token(TokenHash),
}

pub(crate) struct BodyBudget(Mutex<BudgetState>);

/// Every change decides for all that wait, and wakes only those it concerns. So nobody waits who
/// could go on, and a change costs at most one look at all bodies.
struct BudgetState {
    left: usize,
    /// By age.
    bodies: BTreeMap<u64, BodyUsage>,
    shares: BTreeMap<BudgetOwner, OwnerUsage>,
    next: u64,
    /// How many bodies wait.
    waiting: usize,
}

/// What the bodies of one owner have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OwnerUsage {
    bytes: usize,
    /// The declared lengths of those that have memory.
    promised: usize,
    /// How many wait and have nothing yet.
    newcomers: usize,
}

struct BodyUsage {
    owner: BudgetOwner,
    bytes: usize,
    /// Its declared length, if it has one. It is kept from its owner's other bodies only.
    declared: usize,
    state: BodyState,
    /// When it last took memory, or began.
    moved_at: Instant,
    /// Notified when it has memory, or has to give way.
    notify: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Arriving,
    /// For so many bytes, since then.
    Waiting(usize, Instant),
    /// It has to give way, and will in a moment.
    Leaving,
    /// It is complete, and its request runs.
    Whole,
}

/// The limit that a body meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LimitHit {
    Share,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Taken,
    Waits,
    GivesWay,
}

/// Those that wait for the same memory: what one owner may have, or all there is. And which of the
/// bodies that have that room gives way to them.
struct WaitQueue {
    /// The least that an owner needs which has waited long.
    needs: Option<usize>,
    someone_leaves: bool,
    all_wait: bool,
    /// One that stalls, or has more than one that has waited long.
    slow: Option<(bool, usize, Reverse<Instant>, u64)>,
    youngest_of_most: Option<(usize, u64)>,
}

/// The reservation of one body. It grows until the body is complete, and is released on drop.
pub(crate) struct BodyReservation<'a> {
    room: &'a BodyBudget,
    id: u64,
    bytes: usize,
    notify: Arc<Notify>,
    /// How long it may still wait.
    patience: Duration,
    /// When it has stalled, if nobody has looked for that yet.
    stalls_at: Option<Instant>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Mutex::new(BudgetState {
            left: BODIES_BYTES_MAX,
            bodies: BTreeMap::new(),
            shares: BTreeMap::new(),
            next: 0,
            waiting: 0,
        }))
    }
}

impl BodyBudget {
    /// Begins a reservation for a body that is not small, with its declared length. It is empty at
    /// first.
    pub(crate) fn begin(&self, owner: BudgetOwner, declared: usize) -> BodyReservation<'_> {
        let notify = Arc::new(Notify::new());
        let id = lock(&self.0).begin(owner, declared, Arc::clone(&notify));
        BodyReservation {
            room: self,
            id,
            bytes: 0,
            notify,
            patience: WAIT_LIMIT,
            stalls_at: None,
        }
    }
}

impl BodyReservation<'_> {
    /// Grows to what a body of `bytes` needs; waits if need be.
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.next_multiple_of(BODY_STEP_BYTES);
        let more = wanted.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let since = Instant::now();
        let until = since + self.patience;
        let mut patient_at = Some(since + PATIENCE).filter(|at| *at < until);
        let mut turn = lock(&self.room.0).ask(self.id, more, since);
        while turn == Admission::Waits {
            let next = patient_at.unwrap_or(until);
            let is_told = timeout_at(next, self.notify.notified()).await.is_ok();
            let mut state = lock(&self.room.0);
            if !is_told && patient_at.take().is_some() {
                state.look();
            }
            turn = state.turn(self.id);
            if turn == Admission::Waits && Instant::now() >= until {
                turn = Admission::GivesWay;
            }
        }
        if turn == Admission::GivesWay {
            return Err(REFUSED);
        }
        self.patience = self.patience.saturating_sub(since.elapsed());
        self.bytes = wanted;
        self.stalls_at = Some(Instant::now() + STALL_LIMIT);
        Ok(())
    }

    /// Resolves if this body has to give way to others.
    pub(crate) async fn give_way(&mut self) -> Refusal {
        loop {
            let notify = self.notify.notified();
            match self.stalls_at {
                None => notify.await,
                Some(at) => {
                    if timeout_at(at, notify).await.is_err() {
                        self.stalls_at = None;
                        lock(&self.room.0).look();
                    }
                }
            }
            if lock(&self.room.0).turn(self.id) == Admission::GivesWay {
                return REFUSED;
            }
        }
    }

    /// The body is complete, and does not have to give way any more.
    pub(crate) fn settle(&self) {
        lock(&self.room.0).enter(self.id, BodyState::Whole);
    }
}

impl Drop for BodyReservation<'_> {
    fn drop(&mut self) {
        lock(&self.room.0).end(self.id);
    }
}

impl BudgetState {
    fn begin(&mut self, owner: BudgetOwner, declared: usize, notify: Arc<Notify>) -> u64 {
        let id = self.next;
        self.next += 1;
        let held = BodyUsage {
            owner,
            bytes: 0,
            declared: declared.next_multiple_of(BODY_STEP_BYTES),
            state: BodyState::Arriving,
            moved_at: Instant::now(),
            notify,
        };
        self.bodies.insert(id, held);
        id
    }

    /// Takes memory for a body, or has it wait.
    fn ask(&mut self, id: u64, bytes: usize, now: Instant) -> Admission {
        let held = self.bodies.get(&id);
        let Some(held) = held.filter(|held| held.state != BodyState::Leaving) else {
            return Admission::GivesWay;
        };
        if self.obstacle(held, bytes).is_none() {
            self.take(id, bytes);
            return Admission::Taken;
        }
        // What it has brought already is held without a reservation while it waits.
        if held.bytes == 0 && self.share(held.owner).newcomers >= BODIES_WAITING_OWNER_MAX {
            return Admission::GivesWay;
        }
        self.enter(id, BodyState::Waiting(bytes, now));
        self.look();
        self.turn(id)
    }

    /// The result so far for a body that has asked.
    fn turn(&self, id: u64) -> Admission {
        match self.bodies.get(&id).map(|held| held.state) {
            Some(BodyState::Arriving | BodyState::Whole) => Admission::Taken,
            Some(BodyState::Waiting(..)) => Admission::Waits,
            Some(BodyState::Leaving) | None => Admission::GivesWay,
        }
    }

    /// The limit that more bytes would exceed.
    fn obstacle(&self, body: &BodyUsage, bytes: usize) -> Option<LimitHit> {
        let own = self.share(body.owner);
        // One that has nothing yet waits for its owner's others: half of each would serve nobody.
        let promised = own.promised + bytes.max(body.declared);
        let comes_later = body.bytes == 0 && own.bytes > 0 && promised > BODIES_SHARE_BYTES_MAX;
        if own.bytes + bytes > BODIES_SHARE_BYTES_MAX || comes_later {
            return Some(LimitHit::Share);
        }
        (bytes > self.left).then_some(LimitHit::All)
    }

    /// Gives memory to those that wait, as far as there is some, to those of the owner with the
    /// least first; and has others give way to the rest if there is reason to.
    fn look(&mut self) {
        while self.waiting > 0
            && let Some((id, bytes)) = self.first_of_those_that_can_go_on()
        {
            self.take(id, bytes);
            self.wake(id);
        }
        if self.waiting == 0 {
            return;
        }
        let mut leaving = None;
        for (whose, queue) in self.queues(Instant::now()) {
            if let Some(id) = queue.gives_way()
                // One at a time.
                && (leaving.is_none() || leaving != whose)
            {
                leaving = self.bodies.get(&id).map(|held| held.owner);
                self.enter(id, BodyState::Leaving);
                self.wake(id);
            }
        }
    }

    fn first_of_those_that_can_go_on(&self) -> Option<(u64, usize)> {
        let can_go_on = self.bodies.iter().filter_map(|(id, held)| {
            let BodyState::Waiting(bytes, _) = held.state else {
                return None;
            };
            let obstacle = self.obstacle(held, bytes);
            obstacle
                .is_none()
                .then(|| (self.share(held.owner).bytes, *id, bytes))
        });
        can_go_on.min().map(|(_, id, bytes)| (id, bytes))
    }

    /// Those that wait: for memory that others have, or for their own share.
    fn queues(&self, now: Instant) -> BTreeMap<Option<BudgetOwner>, WaitQueue> {
        let mut queues: BTreeMap<Option<BudgetOwner>, WaitQueue> = BTreeMap::new();
        for held in self.bodies.values() {
            if let BodyState::Waiting(bytes, since) = held.state {
                let is_own = self.obstacle(held, bytes) == Some(LimitHit::Share);
                let queue = queues.entry(is_own.then_some(held.owner)).or_default();
                if since + PATIENCE <= now {
                    let needs = self.share(held.owner).bytes + bytes;
                    queue.needs = Some(queue.needs.map_or(needs, |least| least.min(needs)));
                }
            }
        }
        for (id, held) in self.bodies.iter().filter(|(_, held)| held.bytes > 0) {
            let share = self.share(held.owner).bytes;
            for whose in [None, Some(held.owner)] {
                if let Some(queue) = queues.get_mut(&whose) {
                    queue.see(*id, held, share, now);
                }
            }
        }
        queues
    }

    fn wake(&self, id: u64) {
        if let Some(held) = self.bodies.get(&id) {
            held.notify.notify_one();
        }
    }

    fn take(&mut self, id: u64, bytes: usize) {
        self.enter(id, BodyState::Arriving);
        if let Some(held) = self.bodies.get_mut(&id) {
            let promised = held.promised();
            held.bytes += bytes;
            held.moved_at = Instant::now();
            self.left -= bytes;
            let share = self.shares.entry(held.owner).or_default();
            share.bytes += bytes;
            share.promised = share.promised - promised + held.promised();
        }
    }

    fn enter(&mut self, id: u64, state: BodyState) {
        if let Some(held) = self.bodies.get_mut(&id) {
            let waits = |state| usize::from(matches!(state, BodyState::Waiting(..)));
            let (before, after) = (waits(held.state), waits(state));
            held.state = state;
            self.waiting = self.waiting - before + after;
            if held.bytes == 0 {
                let share = self.shares.entry(held.owner).or_default();
                share.newcomers = share.newcomers - before + after;
            }
        }
    }

    fn end(&mut self, id: u64) {
        self.enter(id, BodyState::Leaving);
        let Some(held) = self.bodies.remove(&id) else {
            return;
        };
        self.left += held.bytes;
        if let Some(share) = self.shares.get_mut(&held.owner) {
            share.bytes -= held.bytes;
            share.promised -= held.promised();
            if *share == OwnerUsage::default() {
                self.shares.remove(&held.owner);
            }
        }
        self.look();
    }

    fn share(&self, owner: BudgetOwner) -> OwnerUsage {
        self.shares.get(&owner).copied().unwrap_or_default()
    }
}

impl BodyUsage {
    /// Its expected length, once it has memory.
    fn promised(&self) -> usize {
        match self.bytes {
            0 => 0,
            bytes => bytes.max(self.declared),
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self {
            needs: None,
            someone_leaves: false,
            all_wait: true,
            slow: None,
            youngest_of_most: None,
        }
    }
}

impl WaitQueue {
    /// Notes a body that has some of the memory that is waited for.
    fn see(&mut self, id: u64, held: &BodyUsage, share: usize, now: Instant) {
        match held.state {
            BodyState::Waiting(..) => {}
            BodyState::Leaving => self.someone_leaves = true,
            BodyState::Whole => self.all_wait = false,
            BodyState::Arriving => {
                self.all_wait = false;
                let stalls = held.moved_at + STALL_LIMIT <= now;
                if stalls || self.needs.is_some_and(|needs| share > needs) {
                    let slow = (stalls, share, Reverse(held.moved_at), id);
                    self.slow = self.slow.max(Some(slow));
                }
            }
        }
        self.youngest_of_most = self.youngest_of_most.max(Some((share, id)));
    }

    fn gives_way(&self) -> Option<u64> {
        // Things change in a moment anyway.
        if self.someone_leaves {
            return None;
        }
        let slow = self.slow.map(|(.., id)| id);
        let youngest = self.youngest_of_most.filter(|_| self.all_wait);
        slow.or_else(|| youngest.map(|(_, id)| id))
    }
}

#[cfg(test)]
mod tests;
