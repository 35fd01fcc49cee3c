//! Who finds room for a body, who waits, and who gives way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::Frame;
use model::limits::{INTAKE_BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::transport::body::{self, Body, BodyAdmission, BodyObserver};

const MIB: usize = 1024 * 1024;
const LONGEST: usize = INTAKE_BODY_BYTES_MAX;

/// A body that comes as it is fed.
struct Fed(mpsc::UnboundedReceiver<usize>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let come = self.0.poll_recv(context);
        come.map(|come| come.map(|bytes| Ok(Frame::data(vec![b' '; bytes].into()))))
    }
}

/// A request whose body is being read; what is made of it takes until it is answered.
struct Sending {
    feed: Option<mpsc::UnboundedSender<usize>>,
    answer: mpsc::UnboundedSender<()>,
    read: JoinHandle<Result<usize, Refusal>>,
    seen: Arc<Seen>,
}

/// What is seen of a request from outside.
#[derive(Default)]
struct Seen {
    polls: AtomicUsize,
    /// As its connection notes it.
    waits: AtomicBool,
    waits_for_room: AtomicBool,
}

impl BodyObserver for Seen {
    fn waits(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    fn works(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }
}

impl Sending {
    fn begin(room: &Arc<BodyBudget>, owner: BudgetOwner, declared: Option<usize>) -> Self {
        let (feed, fed) = mpsc::unbounded_channel();
        let (answer, mut answered) = mpsc::unbounded_channel();
        let room = Arc::clone(room);
        let headers = declared.map(|bytes| (CONTENT_LENGTH, bytes.into()));
        let headers = HeaderMap::from_iter(headers);
        let seen: Arc<Seen> = Arc::default();
        let watch = Arc::clone(&seen);
        let read = async move {
            let body = Body::watched(Fed(fed), Arc::clone(&watch) as _);
            let space = BodyAdmission {
                room: &room,
                owner,
                waits: &watch.waits_for_room,
            };
            let (whole, _taken) = body::read(&headers, body, LONGEST, space).await?;
            answered.recv().await;
            Ok(whole.len())
        };
        let (counted, mut read) = (Arc::clone(&seen), Box::pin(read));
        let read = poll_fn(move |context| {
            counted.polls.fetch_add(1, Ordering::Relaxed);
            read.as_mut().poll(context)
        });
        Self {
            feed: Some(feed),
            answer,
            #[expect(clippy::disallowed_methods, reason = "a request of a test's own")]
            read: tokio::spawn(read),
            seen,
        }
    }

    /// One that finds no room beside a longest one of its own.
    async fn waiting(room: &Arc<BodyBudget>, owner: BudgetOwner) -> Self {
        let mut sending = Self::begin(room, owner, None);
        sending.feed(SMALL_BODY_BYTES_MAX + 1).await;
        sending.end().await;
        sending
    }

    fn polls(&self) -> usize {
        self.seen.polls.load(Ordering::Relaxed)
    }

    /// Whether it waits, as its connection notes it and as its request does.
    fn waits(&self) -> (bool, bool) {
        let Seen {
            waits,
            waits_for_room,
            ..
        } = &*self.seen;
        let [all, room] = [waits, waits_for_room].map(|flag| flag.load(Ordering::Relaxed));
        (all, room)
    }

    /// One that says how long it becomes, and of which so much has come.
    async fn longest(room: &Arc<BodyBudget>, owner: BudgetOwner, bytes: usize) -> Self {
        let sending = Self::begin(room, owner, Some(LONGEST));
        sending.feed(bytes).await;
        sending
    }

    async fn piece(&self, bytes: usize) {
        if let Some(feed) = &self.feed {
            feed.send(bytes).ok();
        }
        settle().await;
    }

    /// In pieces, as a connection gives them.
    async fn feed(&self, bytes: usize) {
        const PIECE_BYTES: usize = 32 * 1024;
        for at in (0..bytes).step_by(PIECE_BYTES) {
            if let Some(feed) = &self.feed {
                feed.send(PIECE_BYTES.min(bytes - at)).ok();
            }
        }
        settle().await;
    }

    async fn end(&mut self) {
        self.feed = None;
        settle().await;
    }

    /// Sends so much, to the end, and has it answered.
    async fn whole(
        room: &Arc<BodyBudget>,
        owner: BudgetOwner,
        bytes: usize,
    ) -> Result<usize, Refusal> {
        let mut sending = Self::begin(room, owner, Some(bytes));
        sending.feed(bytes).await;
        sending.end().await;
        sending.answered().await
    }

    async fn answered(self) -> Result<usize, Refusal> {
        drop(self.answer);
        self.read.await.unwrap()
    }

    /// Its client hangs up.
    async fn hangs_up(self) {
        self.read.abort();
        settle().await;
    }

    fn is_over(&self) -> bool {
        self.read.is_finished()
    }
}

/// All that can happen without time going by happens.
async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

async fn after(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    settle().await;
}

fn tenant(id: i64) -> BudgetOwner {
    BudgetOwner::Tenant(TenantId(id))
}

fn token(name: &str) -> BudgetOwner {
    BudgetOwner::Token(TokenHash::of(name))
}

fn left(room: &BodyBudget) -> usize {
    lock(&room.0).left
}

#[tokio::test(start_paused = true)]
async fn two_slow_bodies_of_one_tenant_leave_room_for_a_large_one_of_another() {
    let room = Arc::new(BodyBudget::default());
    let one = Sending::longest(&room, tenant(1), LONGEST - 1).await;
    let other = Sending::longest(&room, tenant(1), LONGEST - 1).await;
    assert!(!one.is_over());
    let began = Instant::now();
    assert_eq!(Sending::whole(&room, tenant(2), LONGEST).await, Ok(LONGEST));
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop((one, other));
}

#[tokio::test(start_paused = true)]
async fn many_slow_bodies_of_one_token_leave_room_for_others() {
    let room = Arc::new(BodyBudget::default());
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(Sending::longest(&room, token("one"), MIB).await);
    }
    assert_eq!(left(&room), BODIES_BYTES_MAX - MIB);
    for owner in [token("other"), tenant(1)] {
        assert_eq!(Sending::whole(&room, owner, LONGEST).await, Ok(LONGEST));
    }
    // Without a length they take what they send, and no more than a share.
    let room = Arc::new(BodyBudget::default());
    for _ in 0..100 {
        let sending = Sending::begin(&room, token("one"), None);
        sending.feed(MIB).await;
        slow.push(sending);
    }
    assert_eq!(left(&room), BODIES_BYTES_MAX - BODIES_SHARE_BYTES_MAX);
    assert_eq!(
        Sending::whole(&room, token("other"), LONGEST).await,
        Ok(LONGEST)
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_say_how_long_they_become_have_no_more_than_a_share() {
    let room = Arc::new(BodyBudget::default());
    let one = Sending::begin(&room, tenant(1), None);
    let other = Sending::begin(&room, tenant(1), None);
    for sending in [&one, &other] {
        sending.feed(8 * MIB).await;
    }
    one.feed(8 * MIB).await;
    assert_eq!(left(&room), BODIES_BYTES_MAX - BODIES_SHARE_BYTES_MAX);
    assert_eq!(Sending::whole(&room, tenant(2), LONGEST).await, Ok(LONGEST));
    after(STALL_LIMIT.as_secs()).await;
    assert!(!one.is_over());
    assert_eq!(other.answered().await, Err(REFUSED));
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_of_many_give_way_to_one_that_comes() {
    let room = Arc::new(BodyBudget::default());
    let mut slow = Vec::new();
    for id in 1..=2 {
        slow.push(Sending::longest(&room, tenant(id), LONGEST - 1).await);
    }
    assert_eq!(left(&room), 0);
    after(STALL_LIMIT.as_secs()).await;
    let began = Instant::now();
    assert_eq!(Sending::whole(&room, tenant(3), LONGEST).await, Ok(LONGEST));
    assert_eq!(began.elapsed(), Duration::ZERO);
    let (gave_way, mut others): (Vec<_>, Vec<_>) = slow.into_iter().partition(Sending::is_over);
    for sending in gave_way {
        assert_eq!(sending.answered().await, Err(REFUSED));
    }
    // The other may go on: nobody needs its room.
    let mut other = others.remove(0);
    assert!(others.is_empty());
    other.feed(1).await;
    other.end().await;
    assert_eq!(other.answered().await, Ok(LONGEST));
    assert_eq!(left(&room), BODIES_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_few_bytes_at_times_are_no_progress() {
    let room = Arc::new(BodyBudget::default());
    let mut slow = Vec::new();
    for id in 1..=2 {
        slow.push(Sending::longest(&room, tenant(id), LONGEST - MIB - 9).await);
        slow.push(Sending::longest(&room, tenant(id + 2), MIB - 9).await);
    }
    for _ in 0..STALL_LIMIT.as_secs() {
        after(1).await;
        for sending in &slow {
            sending.feed(1).await;
        }
    }
    let began = Instant::now();
    assert_eq!(Sending::whole(&room, tenant(9), LONGEST).await, Ok(LONGEST));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_more_gives_way_in_the_end_though_it_makes_progress() {
    let room = Arc::new(BodyBudget::default());
    let mut first = Sending::longest(&room, tenant(1), LONGEST).await;
    first.end().await;
    let slow = Sending::longest(&room, tenant(2), LONGEST - MIB).await;
    let late = Sending::begin(&room, tenant(3), None);
    late.piece(2 * MIB).await;
    for _ in 1..PATIENCE.as_secs() {
        after(1).await;
        slow.feed(BODY_STEP_BYTES).await;
        assert!(!slow.is_over());
    }
    after(1).await;
    assert!(slow.is_over() && !late.is_over() && !first.is_over());
    assert_eq!(left(&room), LONGEST - 2 * MIB);
    assert_eq!(slow.answered().await, Err(REFUSED));
}

#[tokio::test(start_paused = true)]
async fn a_longest_body_fits_and_beside_it_one_of_another() {
    let room = Arc::new(BodyBudget::default());
    let mut both = Vec::new();
    for id in 1..=2 {
        let mut sending = Sending::longest(&room, tenant(id), LONGEST).await;
        sending.end().await;
        both.push(sending);
    }
    assert_eq!(left(&room), 0);
    for sending in both {
        assert_eq!(sending.answered().await, Ok(LONGEST));
    }
    assert_eq!(left(&room), BODIES_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_announced_takes_nothing_and_one_that_is_small_never_does() {
    let room = Arc::new(BodyBudget::default());
    let announced = Sending::longest(&room, tenant(1), 0).await;
    let begun = Sending::longest(&room, tenant(1), SMALL_BODY_BYTES_MAX).await;
    assert_eq!(left(&room), BODIES_BYTES_MAX);
    begun.feed(1).await;
    assert_eq!(left(&room), BODIES_BYTES_MAX - 2 * BODY_STEP_BYTES);
    // However full it is.
    lock(&room.0).left = 0;
    let small = SMALL_BODY_BYTES_MAX;
    assert_eq!(Sending::whole(&room, tenant(2), small).await, Ok(small));
    assert!(!announced.is_over());
}

#[tokio::test(start_paused = true)]
async fn of_those_that_wait_for_one_another_the_youngest_gives_way_at_once() {
    let room = Arc::new(BodyBudget::default());
    let began = Instant::now();
    let mut all = Vec::new();
    for id in [1, 1, 2, 2] {
        let sending = Sending::begin(&room, tenant(id), None);
        sending.feed(8 * MIB).await;
        all.push(sending);
    }
    assert_eq!(left(&room), 0);
    for sending in &mut all {
        sending.feed(8 * MIB).await;
        sending.end().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let gave_way: Vec<bool> = all.iter().map(Sending::is_over).collect();
    assert_eq!(gave_way, [false, true, false, true]);
    // The same if all have shares left, and there is no room.
    let room = Arc::new(BodyBudget::default());
    let mut all = Vec::new();
    for id in 1..=4 {
        let sending = Sending::begin(&room, tenant(id), None);
        sending.feed(8 * MIB).await;
        all.push(sending);
    }
    assert_eq!(left(&room), 0);
    for sending in &mut all {
        sending.feed(MIB).await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let gave_way: Vec<bool> = all.iter().map(Sending::is_over).collect();
    assert_eq!(gave_way, [false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn bodies_of_one_tenant_that_do_not_fit_beside_one_another_come_one_after_the_other() {
    let room = Arc::new(BodyBudget::default());
    let began = Instant::now();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(Sending::longest(&room, tenant(1), MIB).await);
    }
    assert_eq!(left(&room), BODIES_BYTES_MAX - MIB);
    for mut sending in all {
        sending.feed(LONGEST - MIB).await;
        sending.end().await;
        assert_eq!(sending.answered().await, Ok(LONGEST));
        settle().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_being_worked_on_keeps_its_room_and_who_waits_is_asked_to_come_again() {
    let room = Arc::new(BodyBudget::default());
    let mut both = Vec::new();
    for id in 1..=2 {
        let mut sending = Sending::longest(&room, tenant(id), LONGEST).await;
        sending.end().await;
        both.push(sending);
    }
    let mut late = Sending::begin(&room, tenant(3), None);
    let mut later = Sending::begin(&room, tenant(4), None);
    late.feed(MIB).await;
    late.end().await;
    after(WAIT_LIMIT.as_secs() - 1).await;
    assert!(!late.is_over());
    later.feed(MIB).await;
    later.end().await;
    after(1).await;
    assert!(late.is_over() && !later.is_over());
    assert_eq!(late.answered().await, Err(REFUSED));
    let first = both.remove(0);
    assert_eq!(first.answered().await, Ok(LONGEST));
    assert_eq!(later.answered().await, Ok(MIB));
    assert_eq!(left(&room), BODIES_BYTES_MAX - LONGEST);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_less_goes_first() {
    let room = Arc::new(BodyBudget::default());
    let mut all = Vec::new();
    for (id, mib) in [(1, 4), (2, 12), (3, 12), (4, 4)] {
        let sending = Sending::begin(&room, tenant(id), None);
        sending.feed(mib * MIB).await;
        all.push(sending);
    }
    assert_eq!(left(&room), 0);
    let mut first = all.remove(0);
    first.end().await;
    for sending in &all {
        sending.piece(4 * MIB).await;
    }
    assert_eq!(first.answered().await, Ok(4 * MIB));
    settle().await;
    let shares = [2, 3, 4].map(|id| lock(&room.0).share(tenant(id)).bytes);
    assert_eq!(shares, [12 * MIB, 12 * MIB, 8 * MIB]);
    assert!(all.iter().all(|sending| !sending.is_over()));
}

#[tokio::test(start_paused = true)]
async fn so_many_of_a_tenant_wait_and_those_beyond_are_refused_at_once() {
    let room = Arc::new(BodyBudget::default());
    let slow = Sending::longest(&room, tenant(1), LONGEST - 1).await;
    let mut waiting = Vec::new();
    for _ in 0..BODIES_WAITING_OWNER_MAX {
        waiting.push(Sending::waiting(&room, tenant(1)).await);
    }
    let beyond = Sending::waiting(&room, tenant(1)).await;
    assert!(beyond.is_over() && waiting.iter().all(|sending| !sending.is_over()));
    assert_eq!(beyond.answered().await, Err(REFUSED));
    // One that leaves makes place for another.
    waiting.remove(0).hangs_up().await;
    let next = Sending::waiting(&room, tenant(1)).await;
    assert!(!next.is_over());
    // That of one is no other's business, and who has room already may wait for more.
    let other = Sending::waiting(&room, tenant(2)).await;
    assert_eq!(other.answered().await, Ok(SMALL_BODY_BYTES_MAX + 1));
    slow.hangs_up().await;
    for sending in waiting {
        assert_eq!(sending.answered().await, Ok(SMALL_BODY_BYTES_MAX + 1));
    }
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_have_room_wait_for_more_however_many_they_are() {
    let room = Arc::new(BodyBudget::default());
    let mut all = Vec::new();
    let each = BODIES_SHARE_BYTES_MAX / (2 * BODIES_WAITING_OWNER_MAX);
    for _ in 0..2 * BODIES_WAITING_OWNER_MAX {
        let sending = Sending::begin(&room, tenant(1), None);
        sending.feed(each).await;
        all.push(sending);
    }
    // The last one arrives still: else they would wait for one another.
    let last = all.pop().unwrap();
    for sending in &all {
        sending.piece(1).await;
    }
    assert!(all.iter().all(|sending| !sending.is_over()));
    drop(last);
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_only_those_it_concerns() {
    let room = Arc::new(BodyBudget::default());
    let slow = Sending::longest(&room, tenant(1), LONGEST - 1).await;
    let mut waiting = Vec::new();
    for _ in 0..BODIES_WAITING_OWNER_MAX {
        waiting.push(Sending::waiting(&room, tenant(1)).await);
    }
    let polls = || waiting.iter().map(Sending::polls).sum::<usize>();
    let before = polls();
    assert_eq!(Sending::whole(&room, tenant(2), LONGEST).await, Ok(LONGEST));
    let beyond = Sending::waiting(&room, tenant(1)).await;
    assert!(beyond.is_over());
    assert_eq!(polls(), before);
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_while_others_wait_gives_way_at_that_moment() {
    let room = Arc::new(BodyBudget::default());
    let mut slow = Vec::new();
    for id in 1..=2 {
        slow.push(Sending::longest(&room, tenant(id), LONGEST - 1).await);
    }
    let waiting = Sending::waiting(&room, tenant(3)).await;
    after(STALL_LIMIT.as_secs() - 1).await;
    assert!(!waiting.is_over() && slow.iter().all(|sending| !sending.is_over()));
    after(1).await;
    assert!(slow.iter().any(Sending::is_over));
    assert_eq!(waiting.answered().await, Ok(SMALL_BODY_BYTES_MAX + 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_waits_for_room_is_seen_to_wait_until_it_has_some() {
    let room = Arc::new(BodyBudget::default());
    let slow = Sending::longest(&room, tenant(1), LONGEST - 1).await;
    assert_eq!(slow.waits(), (true, false));
    let waiting = Sending::waiting(&room, tenant(1)).await;
    assert_eq!(waiting.waits(), (true, true));
    slow.hangs_up().await;
    assert_eq!(waiting.waits(), (false, false));
    assert!(!waiting.is_over());
}
