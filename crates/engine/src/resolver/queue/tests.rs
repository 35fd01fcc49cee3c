//! Whose name is looked up when: shares, turns, and names that are waited for together.

use proptest::prelude::*;

use super::*;
use crate::resolver::NameError;

const A: TenantId = TenantId(1);
const B: TenantId = TenantId(2);

/// A queue with what runs, and who was told.
struct World {
    queue: LookupQueue<u32>,
    now: Instant,
    running: Vec<Lookup>,
    told: Vec<u32>,
}

impl World {
    fn new() -> Self {
        Self {
            queue: LookupQueue::default(),
            now: Instant::now(),
            running: Vec::new(),
            told: Vec::new(),
        }
    }

    fn ask(&mut self, tenant: TenantId, name: &str, who: u32) -> Ticket {
        self.ask_by(by(tenant), name, who)
    }

    fn ask_by(&mut self, context: LookupContext, name: &str, who: u32) -> Ticket {
        let (ticket, lookup) = self.queue.join(context, name, who, self.now);
        self.running.extend(lookup);
        ticket
    }

    /// What of all this is being looked up.
    fn runs(&self, name: &str) -> bool {
        self.running.iter().any(|lookup| &*lookup.name == name)
    }

    fn running_of(&self, tenant: TenantId) -> usize {
        self.running
            .iter()
            .filter(|lookup| lookup.tenant == tenant)
            .count()
    }

    /// The system has answered for this name.
    fn end(&mut self, name: &str, found: &LookupResult) {
        let place = self.running.iter().position(|lookup| &*lookup.name == name);
        let lookup = self.running.remove(place.unwrap());
        self.told
            .extend(self.queue.finish(&lookup, found, self.now));
        self.running.extend(self.queue.next(self.now));
    }

    fn learn(&mut self, tenant: TenantId, name: &str, found: &LookupResult) {
        let name = name.into();
        self.queue.cache.put(tenant, &name, found, self.now);
    }
}

fn by(tenant: TenantId) -> LookupContext {
    LookupContext {
        tenant,
        ..LookupContext::INTERNAL
    }
}

fn found() -> LookupResult {
    Ok(vec!["192.0.2.1:0".parse().unwrap()].into())
}

fn dead() -> LookupResult {
    Err(NameError::NoAnswer)
}

#[test]
fn dead_names_of_one_tenant_take_half_of_its_share_and_leave_the_rest_to_good_ones() {
    let mut world = World::new();
    for number in 0..24 {
        world.ask(A, &format!("dead{number}.test"), number);
    }
    assert_eq!(world.running_of(A), LOOKUPS_TENANT_MAX / 2);
    world.learn(A, "good.test", &found());
    world.ask(A, "good.test", 99);
    assert!(world.runs("good.test"));
    // Another tenant does not notice.
    world.ask(B, "other.test", 100);
    assert!(world.runs("other.test"));
}

#[test]
fn names_that_failed_leave_a_place_to_new_ones() {
    let mut world = World::new();
    for number in 0..24 {
        let name = format!("dead{number}.test");
        world.learn(A, &name, &dead());
        world.ask(A, &name, number);
    }
    assert_eq!(world.running_of(A), LOOKUPS_TENANT_MAX / 2 - 1);
    world.ask(A, "new.test", 99);
    assert!(world.runs("new.test"));
    world.ask(A, "newer.test", 100);
    assert!(!world.runs("newer.test"));
    // And are not overtaken by them.
    world.end("dead0.test", &dead());
    assert!(world.runs("newer.test"));
}

#[test]
fn a_new_name_behind_a_thousand_that_nobody_answers_for_has_one_of_the_next_two_turns() {
    let mut world = World::new();
    for number in 0..1_000 {
        world.ask(A, &format!("dead{number}.test"), number);
    }
    world.ask(A, "good.test", 2_000);
    let mut turns = 0;
    while !world.runs("good.test") && turns < 2 {
        let first = world.running[0].name.to_string();
        world.end(&first, &dead());
        turns += 1;
    }
    assert!(world.runs("good.test"));
    // Nor are those kept that came first.
    for number in 4..8 {
        let first = world.running[0].name.to_string();
        world.end(&first, &dead());
        let first = world.running[0].name.to_string();
        world.end(&first, &dead());
        assert!(world.runs(&format!("dead{number}.test")), "{number}");
    }
}

#[test]
fn who_asks_anew_does_not_wait_behind_names_that_failed() {
    let anew = |world: &World| LookupContext {
        since: Some(world.now + std::time::Duration::from_secs(1)),
        ..by(A)
    };
    let mut world = World::new();
    for number in 0..24 {
        let name = format!("dead{number}.test");
        world.learn(A, &name, &dead());
        world.ask(A, &name, number);
    }
    assert!(!world.runs("dead23.test"));
    world.ask_by(anew(&world), "dead23.test", 99);
    assert!(world.runs("dead23.test"));
    world.end("dead23.test", &found());
    // Both who waited for it hear of it.
    assert_eq!(world.told, [23, 99]);
}

#[test]
fn no_tenant_has_more_than_its_share_whatever_is_known_of_its_names() {
    let mut world = World::new();
    for number in 0..50 {
        let name = format!("good{number}.test");
        world.learn(A, &name, &found());
        world.ask(A, &name, number);
    }
    assert_eq!(world.running_of(A), LOOKUPS_TENANT_MAX);
    for number in 0..50 {
        world.end(&format!("good{number}.test"), &found());
    }
    assert_eq!(world.told, (0..50).collect::<Vec<_>>());
    assert_eq!(world.queue.counts(), (0, 0));
    assert!(world.queue.tenants.is_empty() && world.queue.turns.is_empty());
}

#[test]
fn forty_tenants_with_dead_names_leave_threads_to_those_whose_names_are_found() {
    let mut world = World::new();
    for tenant in 1..=40 {
        for number in 0..30 {
            let name = format!("dead{number}.of{tenant}.test");
            world.ask(TenantId(tenant), &name, 0);
        }
    }
    let half = LOOKUPS_TENANT_MAX / 2;
    assert_eq!(world.running.len(), 40 * half);
    // Not even a name that nobody knows has to wait.
    world.ask(TenantId(41), "new.test", 1);
    assert!(world.runs("new.test"));
    // Any number of such tenants leaves a quarter to names that were found.
    for tenant in 100..400 {
        for number in 0..5 {
            let name = format!("dead{number}.of{tenant}.test");
            world.ask(TenantId(tenant), &name, 0);
        }
    }
    assert_eq!(world.running.len(), LOOKUPS_MAX / 4 * 3);
    for tenant in 500..508 {
        let tenant = TenantId(tenant);
        for number in 0..LOOKUPS_TENANT_MAX {
            let name = format!("good{number}.of{tenant}.test");
            world.learn(tenant, &name, &found());
            world.ask(tenant, &name, 2);
        }
    }
    assert_eq!(world.running.len(), LOOKUPS_MAX);
}

#[test]
fn a_place_is_held_until_the_system_returns_though_everybody_gave_up() {
    let mut world = World::new();
    let tickets: Vec<Ticket> = (0..4)
        .map(|number| world.ask(A, &format!("dead{number}.test"), number))
        .collect();
    for ticket in &tickets {
        assert_eq!(world.queue.leave(ticket), Some(LookupWait::Answer));
        assert_eq!(world.queue.leave(ticket), None);
    }
    let late = world.ask(A, "late.test", 9);
    assert!(!world.runs("late.test"));
    assert_eq!(world.queue.leave(&late), Some(LookupWait::TenantThreads));
    world.end("dead0.test", &dead());
    assert!(world.told.is_empty());
    // It had its turn all the same, so that what came is known to the next attempt.
    assert!(world.runs("late.test"));
    world.end("late.test", &found());
    assert_eq!(world.queue.counts(), (3, 0));
    assert_eq!(
        world.queue.cache.priority(by(A), "late.test"),
        LookupPriority::Found
    );
    assert_eq!(
        world.queue.cache.priority(by(A), "dead0.test"),
        LookupPriority::Failed
    );
}

#[test]
fn a_name_is_looked_up_once_for_all_who_wait_for_it_in_whatever_tenant() {
    let mut world = World::new();
    world.ask(A, "shared.test", 1);
    world.ask(A, "shared.test", 2);
    world.ask(B, "shared.test", 3);
    assert_eq!(world.running.len(), 1);
    world.end("shared.test", &found());
    assert_eq!(world.told, [1, 2, 3]);
    for tenant in [A, B] {
        assert_eq!(
            world.queue.cache.priority(by(tenant), "shared.test"),
            LookupPriority::Found
        );
    }
    assert_eq!(
        world.queue.cache.priority(by(TenantId(3)), "shared.test"),
        LookupPriority::New
    );
}

#[test]
fn a_name_that_waits_for_the_share_of_one_tenant_is_looked_up_in_that_of_another() {
    let mut world = World::new();
    for number in 0..24 {
        world.ask(A, &format!("dead{number}.test"), number);
    }
    world.ask(A, "shared.test", 98);
    assert!(!world.runs("shared.test"));
    world.ask(B, "shared.test", 99);
    assert!(world.runs("shared.test"));
    assert_eq!(world.running_of(B), 1);
    world.end("shared.test", &found());
    assert_eq!(world.told, [98, 99]);
    // It does not wait in A's queue any more.
    assert_eq!(world.queue.counts(), (4, 20));
}

#[test]
fn tenants_that_wait_for_a_place_take_turns() {
    let mut world = World::new();
    for tenant in 1..=100 {
        for number in 0..4 {
            let name = format!("dead{number}.of{tenant}.test");
            world.ask(TenantId(tenant), &name, 0);
        }
    }
    assert_eq!(world.running.len(), LOOKUPS_MAX / 4 * 3);
    let (x, y) = (TenantId(201), TenantId(202));
    let late: Vec<Ticket> = (0..3)
        .flat_map(|number| {
            [x, y].map(|tenant| world.ask(tenant, &format!("new{number}.of{tenant}.test"), 0))
        })
        .collect();
    assert_eq!(world.queue.leave(&late[5]), Some(LookupWait::Threads));
    for tenant in 1..=52 {
        world.end(&format!("dead0.of{tenant}.test"), &dead());
    }
    // 52 tenants were before them; now each of the two has one.
    for _ in 0..2 {
        let first = world.running[0].name.to_string();
        world.end(&first, &dead());
    }
    assert_eq!((world.running_of(x), world.running_of(y)), (1, 1));
}

#[test]
fn of_more_names_than_are_remembered_those_that_nobody_waits_for_have_no_turn() {
    let mut world = World::new();
    let count = NAMES_CACHED_TENANT_MAX + 100;
    let ask = |number| world.ask(A, &format!("dead{number}.test"), 0);
    let tickets: Vec<Ticket> = (0..count).map(ask).collect();
    assert_eq!(world.queue.counts(), (4, count - 4));
    for ticket in &tickets {
        world.queue.leave(ticket);
    }
    assert_eq!(world.queue.counts(), (4, NAMES_CACHED_TENANT_MAX));
}

/// Something that happens: who asks for what, gives up, or is answered.
#[derive(Debug, Clone)]
enum Step {
    Ask(u8, u8, bool),
    Leave(usize),
    End(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..6, 0_u8..40, any::<bool>()).prop_map(|(t, n, hand)| Step::Ask(t, n, hand)),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, good)| Step::End(which, good)),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn whatever_happens_nothing_that_may_begin_waits_and_everybody_is_told_once(steps in steps()) {
        let mut world = World::new();
        let mut tickets: Vec<(u32, Ticket)> = Vec::new();
        let (mut asked, mut left) = (0, 0);
        for step in steps {
            match step {
                Step::Ask(tenant, name, by_hand) => {
                    let tenant = TenantId(i64::from(tenant));
                    let name = format!("n{name}.test");
                    let since = by_hand.then_some(world.now);
                    let context = LookupContext { since, succeeded: by_hand, tenant };
                    tickets.push((asked, world.ask_by(context, &name, asked)));
                    asked += 1;
                }
                Step::Leave(which) if !tickets.is_empty() => {
                    let which = which % tickets.len();
                    let (_, ticket) = tickets.swap_remove(which);
                    left += usize::from(world.queue.leave(&ticket).is_some());
                }
                Step::End(which, good) if !world.running.is_empty() => {
                    let which = which % world.running.len();
                    let name = world.running[which].name.to_string();
                    world.end(&name, &if good { found() } else { dead() });
                }
                Step::Leave(_) | Step::End(..) => {}
            }
            prop_assert_eq!(world.queue.next(world.now), None);
            prop_assert_eq!(world.queue.counts().0, world.running.len());
            for tenant in (0..6).map(TenantId) {
                prop_assert!(world.running_of(tenant) <= LOOKUPS_TENANT_MAX);
            }
            let mut names: Vec<_> = world.running.iter().map(|lookup| &lookup.name).collect();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), world.running.len());
        }
        while let Some(lookup) = world.running.first() {
            let name = lookup.name.to_string();
            world.end(&name, &found());
        }
        world.told.sort_unstable();
        let before = world.told.len();
        world.told.dedup();
        prop_assert_eq!(world.told.len(), before);
        prop_assert_eq!(before + left, usize::try_from(asked).unwrap());
        prop_assert_eq!(world.queue.counts(), (0, 0));
        prop_assert!(world.queue.tenants.is_empty() && world.queue.turns.is_empty());
    }
}
