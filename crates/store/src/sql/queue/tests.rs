//! The queues: which jobs fit, and which are next.

use super::*;

/// A job with its shares.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    shares: Vec<(TenantId, usize)>,
    weight: usize,
    class: JobClass,
}

impl QueuedJob for Job {
    fn shares(&self) -> &[(TenantId, usize)] {
        &self.shares
    }

    fn class(&self) -> JobClass {
        self.class
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn commit_delay(&self) -> Option<Duration> {
        None
    }
}

fn of(tenant: i64, weight: usize) -> Job {
    of_some(&[(tenant, weight)])
}

fn of_some(shares: &[(i64, usize)]) -> Job {
    let shares = shares.iter();
    let shares: Vec<_> = shares.map(|(id, own)| (TenantId(*id), *own)).collect();
    Job {
        weight: shares.iter().map(|(_, own)| own).sum(),
        shares,
        class: JobClass::Intake,
    }
}

fn nobodys(class: JobClass) -> Job {
    Job {
        shares: Vec::new(),
        weight: 1,
        class,
    }
}

/// The jobs of the next group; none if it is the turn of what is done between groups.
fn group(queue: &JobQueue<Job>, waits: bool) -> Vec<Job> {
    match queue.take_group(waits) {
        NextWork::Group(jobs) => jobs,
        NextWork::BetweenGroups | NextWork::Nothing | NextWork::Closed => Vec::new(),
    }
}

#[test]
fn whoever_floods_the_queue_finds_it_full_before_others_do() {
    let queue = JobQueue::default();
    let mut put = 0;
    while queue.put(of(1, 100)).is_ok() {
        put += 100;
    }
    assert_eq!(put, limits::WRITER_QUEUE_MAX / 4 * 3);
    for tenant in 2..20 {
        assert!(queue.put(of(tenant, 100)).is_ok(), "{tenant}");
    }
    assert!(queue.put(of(1, 100)).is_err());
    // Taking jobs makes room again.
    while !group(&queue, false).is_empty() {
        if queue.put(of(1, 100)).is_ok() {
            return;
        }
    }
    panic!("it stays full");
}

#[test]
fn what_is_of_several_tenants_counts_for_each_its_part() {
    let queue = JobQueue::default();
    let mut put = 0;
    // Whichever is named beside it, it is the second that floods.
    while queue.put(of_some(&[(100 + put, 1), (2, 99)])).is_ok() {
        put += 1;
    }
    assert!(queue.put(of(3, 100)).is_ok());
    assert!(queue.put(of(2, 100)).is_err());
    assert!(queue.put(of_some(&[(3, 1), (2, 99)])).is_err());
    assert!(queue.put(of(100, 100)).is_ok());
    // Taking jobs makes room for each of them again.
    while !group(&queue, false).is_empty() {
        if queue.put(of(2, 100)).is_ok() {
            return;
        }
    }
    panic!("it stays full");
}

#[test]
fn a_heavy_job_is_taken_from_whoever_has_nothing_waiting() {
    let queue = JobQueue::default();
    assert!(queue.put(of(1, 2 * limits::WRITER_QUEUE_MAX)).is_ok());
    assert!(queue.put(of(2, 1)).is_err(), "there is no room at all");
    assert_eq!(group(&queue, false).len(), 1);
    assert!(queue.put(of(1, 1_000)).is_ok());
    assert!(queue.put(of(2, limits::WRITER_QUEUE_MAX)).is_ok());
}

#[test]
fn more_than_a_group_takes_is_taken_by_turns() {
    let queue = JobQueue::default();
    for _ in 0..60 {
        queue.put(of(1, 100)).unwrap();
    }
    queue.put(of(2, 1)).unwrap();
    queue.put(nobodys(JobClass::Work)).unwrap();
    let first = group(&queue, false);
    let weight: usize = first.iter().map(|job| job.weight).sum();
    assert!(weight <= GROUP_WEIGHT_MAX, "{weight}");
    assert!(first.contains(&of(2, 1)) && first.contains(&nobodys(JobClass::Work)));
    queue.put(of(2, 1)).unwrap();
    assert!(group(&queue, false).contains(&of(2, 1)));
}

#[test]
fn many_with_heavy_jobs_have_their_turn_one_after_another() {
    let queue = JobQueue::default();
    for tenant in 1..=3 {
        for _ in 0..2 {
            queue.put(of(tenant, GROUP_WEIGHT_MAX / 2 + 1)).unwrap();
        }
    }
    let mut served = Vec::new();
    for _ in 0..3 {
        let jobs = group(&queue, false);
        served.push(jobs.iter().map(|job| job.shares[0].0).collect::<Vec<_>>());
    }
    let tenants = |ids: [i64; 2]| ids.map(TenantId).to_vec();
    assert_eq!(served, [tenants([1, 2]), tenants([1, 3]), tenants([2, 3])]);
}

#[test]
fn work_between_groups_and_bulk_work_have_turns_beside_a_flood() {
    let queue = JobQueue::default();
    let (mut turns, mut sweeps) = (0, 0);
    for _ in 0..60 {
        queue.put(of(1, 1)).unwrap();
        if queue.put(nobodys(JobClass::Bulk)).is_err() {
            unreachable!("there is room");
        }
        match queue.take_group(true) {
            NextWork::BetweenGroups => turns += 1,
            NextWork::Group(jobs) if jobs[0].shares.is_empty() => sweeps += 1,
            NextWork::Group(_) => {}
            NextWork::Nothing | NextWork::Closed => unreachable!("there is something"),
        }
    }
    assert_eq!((turns, sweeps), (6, 6));
}

#[test]
fn what_is_done_between_groups_does_not_hold_up_the_end() {
    let queue = JobQueue::default();
    queue.put(of(1, 1)).unwrap();
    queue.close();
    assert_eq!(group(&queue, true).len(), 1);
    assert!(matches!(queue.take_group(true), NextWork::Closed));
}

#[test]
fn who_gathers_waits_for_so_many_more_but_not_for_a_queue_that_is_full_or_closed() {
    const FOREVER: Duration = Duration::from_secs(3_600);
    let queue = JobQueue::default();
    queue.gather(1_000, Duration::ZERO);
    std::thread::scope(|scope| {
        let gathers = scope.spawn(|| queue.gather(3, FOREVER));
        let mut puts = 0;
        while !gathers.is_finished() {
            puts += usize::from(puts < 1_000 && queue.put(of(1, 1)).is_ok());
            std::thread::yield_now();
        }
        assert!(puts >= 3);
    });
    assert!(queue.put(of(2, GROUP_WEIGHT_MAX)).is_ok());
    queue.gather(1_000, FOREVER);
    while !group(&queue, false).is_empty() && queue.len() > 0 {}
    std::thread::scope(|scope| {
        let gathers = scope.spawn(|| queue.gather(3, FOREVER));
        queue.close();
        gathers.join().unwrap();
    });
}
