//! Statistics: attempts counted by webhook and by tenant, merged by the hour, gone after a month.

use model::id::{TenantId, WebhookId};
use model::limits::{TALLIES_FINE_MS, TALLIES_KEPT_MS};
use model::statistics::{
    AttemptClass, AttemptTally, PERIOD_MS, StatisticsPeriod, TallyOwner, TallyRow,
};
use model::time::TimeBounds;

use super::harness::{Given, answered, at, wait};

const HOUR_MS: i64 = 3_600_000;

/// Some hour, long after the beginning of time.
const NOW: i64 = 500_000 * HOUR_MS;

pub(crate) fn tally(count: usize, ms: u32) -> AttemptTally {
    let mut tally = AttemptTally::default();
    for _ in 0..count {
        tally.add(&answered(200), ms);
    }
    tally
}

pub(crate) fn row(owner: TallyOwner, starts_at: i64, part: i64, tally: AttemptTally) -> TallyRow {
    let starts_at = at(starts_at);
    TallyRow {
        owner,
        starts_at,
        part,
        tally,
    }
}

impl Given {
    pub(crate) fn tallied(&self, rows: Vec<TallyRow>) {
        wait(self.store.record_tallies(rows)).unwrap();
    }

    fn steps(
        &self,
        period: StatisticsPeriod,
        webhook: Option<WebhookId>,
        now: i64,
    ) -> Vec<AttemptTally> {
        let query = period.query(self.tenant, webhook, at(now));
        wait(self.store.statistics(query)).unwrap()
    }

    /// The attempts of each step that has any, with its place.
    fn counts(
        &self,
        period: StatisticsPeriod,
        webhook: Option<WebhookId>,
        now: i64,
    ) -> Vec<(usize, u64)> {
        let steps = self.steps(period, webhook, now).into_iter().enumerate();
        let counts = steps.map(|(step, tally)| (step, tally.attempts()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Prunes as long as there is more to do. Answers in how many steps.
    fn pruned(&self, now: i64) -> usize {
        let step = || wait(self.prune(0, now)).unwrap();
        1 + (0..100).take_while(|_| step()).count()
    }
}

#[test]
fn attempts_are_counted_for_each_webhook_and_for_its_tenant() {
    let given = Given::kept();
    let (one, two) = (given.paid_webhook(), given.paid_webhook());
    let tenant = TallyOwner::Tenant(given.tenant);
    let period = NOW - 2 * PERIOD_MS;
    given.tallied(vec![
        row(TallyOwner::Webhook(one), period, 1, tally(3, 20)),
        row(TallyOwner::Webhook(two), period, 1, tally(4, 900)),
        row(tenant, period, 1, tally(7, 20)),
    ]);
    // Another node, or the same one after a restart.
    given.tallied(vec![
        row(TallyOwner::Webhook(one), period, -2, tally(1, 30)),
        row(TallyOwner::Webhook(one), NOW - PERIOD_MS, 3, tally(5, 40)),
        row(tenant, period, i64::MIN, tally(1, 30)),
    ]);
    let given = given.reopened();
    let hour = |webhook| given.counts(StatisticsPeriod::Hour, webhook, NOW);
    assert_eq!(hour(Some(one)), [(10, 4), (11, 5)]);
    assert_eq!(hour(Some(two)), [(10, 4)]);
    assert_eq!(hour(None), [(10, 8)]);
    let mut both = tally(3, 20);
    both.merge(&tally(1, 30));
    assert_eq!(
        given.steps(StatisticsPeriod::Hour, Some(one), NOW)[10],
        both
    );
    assert_eq!(both.count(AttemptClass::Delivered), 4);
    for period in StatisticsPeriod::ALL {
        let sum: u64 = given
            .counts(period, Some(one), NOW)
            .iter()
            .map(|own| own.1)
            .sum();
        assert_eq!(sum, 9, "{period:?}");
    }
}

#[test]
fn what_is_written_twice_counts_once() {
    let given = Given::new();
    let webhook = TallyOwner::Webhook(given.paid_webhook());
    for count in [3, 4] {
        given.tallied(vec![row(webhook, NOW - PERIOD_MS, 7, tally(count, 20))]);
    }
    let TallyOwner::Webhook(id) = webhook else {
        unreachable!()
    };
    assert_eq!(
        given.counts(StatisticsPeriod::Hour, Some(id), NOW),
        [(11, 3)]
    );
}

#[test]
fn a_tenant_sees_no_attempts_of_another() {
    let given = Given::new();
    let webhook = given.paid_webhook();
    let other = given.of(given.another_tenant("other"));
    let of_other = other.paid_webhook();
    let owners = [
        TallyOwner::Webhook(webhook),
        TallyOwner::Tenant(given.tenant),
        TallyOwner::Webhook(of_other),
    ];
    let rows = owners.map(|owner| row(owner, NOW - PERIOD_MS, 1, tally(2, 20)));
    given.tallied(rows.to_vec());
    let day = StatisticsPeriod::Day;
    assert_eq!(given.counts(day, Some(webhook), NOW), [(47, 2)]);
    assert_eq!(other.counts(day, Some(of_other), NOW), [(47, 2)]);
    assert_eq!(given.counts(day, Some(of_other), NOW), []);
    assert_eq!(other.counts(day, Some(webhook), NOW), []);
    assert_eq!(other.counts(day, None, NOW), []);
    let unknown = WebhookId(i64::MAX);
    assert_eq!(given.counts(day, Some(unknown), NOW), []);
    assert_eq!(given.of(TenantId(i64::MAX)).counts(day, None, NOW), []);
}

#[test]
fn hours_are_merged_when_no_chart_shows_them_more_finely() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let owners = [
        TallyOwner::Webhook(webhook),
        TallyOwner::Tenant(given.tenant),
    ];
    for place in 0..24 {
        let rows = owners.map(|owner| {
            let ms = u32::try_from(place).unwrap() + 40;
            row(owner, NOW + place * PERIOD_MS, place, tally(2, ms))
        });
        given.tallied(rows.to_vec());
    }
    let rows = "select count(*) from statistic where minutes = ";
    let fine = || given.number(&format!("{rows} 5"));
    let hourly = || given.number(&format!("{rows} 60"));
    let edge = NOW + HOUR_MS + TALLIES_FINE_MS;
    let before = [Some(webhook), None].map(|webhook| {
        let shown = [StatisticsPeriod::Week, StatisticsPeriod::Month];
        shown.map(|period| given.steps(period, webhook, edge))
    });
    given.pruned(edge);
    assert_eq!((fine(), hourly()), (48, 0));
    // The clock may be ahead.
    let doubtful = TimeBounds {
        earliest: at(edge),
        latest: at(edge + 100 * HOUR_MS),
    };
    wait(given.prune_between(0, doubtful)).unwrap();
    assert_eq!((fine(), hourly()), (48, 0));
    given.pruned(edge + 1);
    assert_eq!((fine(), hourly()), (24, 2));
    given.pruned(edge + HOUR_MS + 1);
    assert_eq!((fine(), hourly()), (0, 4));
    let after = [Some(webhook), None].map(|webhook| {
        let shown = [StatisticsPeriod::Week, StatisticsPeriod::Month];
        shown.map(|period| given.steps(period, webhook, edge))
    });
    assert_eq!(before, after);
    assert_eq!(given.counts(StatisticsPeriod::Month, None, edge).len(), 1);
    // What comes late is merged into what was merged before.
    given.tallied(vec![row(owners[0], NOW, 99, tally(1, 50))]);
    given.pruned(edge + HOUR_MS + 1);
    assert_eq!((fine(), hourly()), (0, 5));
    let sum = given.counts(StatisticsPeriod::Month, Some(webhook), edge);
    assert_eq!(sum[0].1, 49);
}

#[test]
fn what_is_older_than_any_chart_goes_with_its_webhook_or_without() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let owner = TallyOwner::Webhook(webhook);
    given.tallied(vec![
        row(owner, NOW, 1, tally(1, 20)),
        row(owner, NOW + HOUR_MS, 1, tally(1, 20)),
    ]);
    let rows = || given.number("select count(*) from statistic");
    given.pruned(NOW + TALLIES_KEPT_MS);
    assert_eq!(rows(), 2);
    given.pruned(NOW + TALLIES_KEPT_MS + 1);
    assert_eq!(rows(), 1);
    given.pruned(NOW + TALLIES_KEPT_MS + HOUR_MS + 1);
    assert_eq!(rows(), 0);
}

#[test]
fn very_many_tallies_are_merged_and_removed_in_steps_that_lose_none() {
    let given = Given::kept();
    let webhooks = 400;
    for place in 0..6 {
        let rows = (1..=webhooks).map(|webhook| {
            let owner = TallyOwner::Webhook(WebhookId(webhook));
            row(owner, NOW + place * PERIOD_MS, webhook, tally(1, 20))
        });
        given.tallied(rows.collect());
    }
    let count = |minutes| {
        given.number(&format!(
            "select count(*) from statistic where minutes = {minutes}"
        ))
    };
    assert_eq!(count(5), 6 * webhooks);
    let edge = NOW + HOUR_MS + TALLIES_FINE_MS + 1;
    assert!(wait(given.prune(0, edge)).unwrap());
    assert!(count(5) >= 5 * webhooks - 1_000);
    let steps = given.pruned(edge);
    assert!(steps > 1, "{steps}");
    assert_eq!((count(5), count(60)), (0, webhooks));
    // Each has what it had in all periods: one count more would need another byte.
    let lengths = given.numbers("select distinct length(tally) from statistic");
    assert_eq!(lengths, [7]);
    given.pruned(NOW + TALLIES_KEPT_MS + HOUR_MS);
    assert_eq!((count(5), count(60)), (0, 0));
}

#[test]
fn a_tally_that_cannot_be_read_keeps_nothing_else_from_being_shown_or_merged() {
    let given = Given::kept();
    let webhook = given.paid_webhook();
    let owner = TallyOwner::Webhook(webhook);
    for part in [1, 2] {
        given.tallied(vec![row(owner, NOW, part, tally(3, 20))]);
    }
    let nothing = if super::harness::is_postgres() {
        "''"
    } else {
        "x''"
    };
    given.execute(&format!(
        "update statistic set tally = {nothing} where part = 1"
    ));
    let day = |now| given.counts(StatisticsPeriod::Day, Some(webhook), now);
    assert_eq!(day(NOW + PERIOD_MS), [(47, 3)]);
    let edge = NOW + HOUR_MS + TALLIES_FINE_MS + 1;
    given.pruned(edge);
    let week = given.counts(StatisticsPeriod::Week, Some(webhook), edge);
    assert_eq!(week.len(), 1);
    assert_eq!(week[0].1, 3);
}
