//! A history: operations of the contract in an order that is drawn, each done to both stores.
//!
//! In a file times rise over all tenants, in a database within each. So the clock is set back only
//! where there is one tenant.

use model::id::{TenantId, TokenId, WebhookId};
use model::query::{LogQuery, WebhookQuery};
use model::tenant::{DialectName, TokenHash};

use super::draw::{Draw, HASHES};
use super::pair::Pair;
use super::sameness::Made;
use crate::sqlite::harness::wait;

/// Operations between two times at which everything is asked.
const BETWEEN_INTERVIEWS: usize = 80;

/// Steps in which anything has come to its end.
pub(super) const STEPS_MAX: usize = 1_000;

pub(super) struct History {
    pub(super) pair: Pair,
    pub(super) draw: Draw,
    /// What the wall clock says, and the schedule.
    pub(super) now: i64,
    pub(super) schedule: i64,
    pub(super) kind: Kind,
    /// Times at which something was accepted.
    pub(super) times: Vec<i64>,
}

/// What a history is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of one tenant, whose clock is set back.
    OneTenant,
    SeveralTenants,
    /// Of one tenant, with so many webhooks that what they are owed is materialized in steps.
    Crowd,
}

/// Runs a history of so many operations.
pub(super) fn run(seed: u64, operations: usize) {
    let mut history = History {
        pair: Pair::new(seed),
        draw: Draw::new(seed),
        now: 1_000_000,
        schedule: 1_000_000,
        kind: [Kind::OneTenant, Kind::SeveralTenants, Kind::Crowd]
            [usize::try_from(seed % 3).unwrap()],
        times: vec![0],
    };
    history.apply();
    if history.kind == Kind::Crowd {
        history.create_many();
    }
    for number in 1..=operations {
        history.pass_time();
        history.step();
        if number % BETWEEN_INTERVIEWS == 0 {
            history.interview();
        }
    }
    history.interview();
}

impl History {
    fn pass_time(&mut self) {
        let passed = match self.draw.once_in(20) {
            true => self.draw.number(2_000_000),
            false => self.draw.number(20_000),
        };
        self.now += passed;
        self.schedule += passed;
        if self.kind == Kind::OneTenant && self.draw.once_in(25) {
            // By more than is waited for.
            self.now -= 2_000 + self.draw.number(300_000);
        }
    }

    fn step(&mut self) {
        match self.draw.below(50) {
            0..=8 => self.accept(),
            9..=18 => self.settle(),
            19..=20 => self.create_webhook(),
            21..=23 => self.save_webhook(),
            24 => self.apply(),
            25..=26 => self.replay(),
            27 => self.cancel_deliveries(),
            28 => self.cancel_pending(),
            29..=30 => self.bulk_job(),
            31 => self.prune(),
            32 => self.beat(),
            33..=34 => self.people(),
            35 => self.tokens(),
            36..=37 => self.idempotent(),
            38 => self.response(),
            39..=43 => self.log_page(),
            44..=46 => self.page(),
            47..=48 => self.due_pages(),
            _ => self.retention(),
        }
    }

    /// A time at which, or after which, something may have been accepted.
    pub(super) fn some_time(&mut self) -> i64 {
        match self.draw.once_in(2) {
            true => self.now - self.draw.number(600_000),
            false => {
                let times = self.times.clone();
                self.draw.of(&times)
            }
        }
    }

    fn interview(&mut self) {
        let hashes: Vec<TokenHash> = (0..HASHES).map(|n| TokenHash([n; 32])).collect();
        let keys: Vec<String> = (0..6).map(|n| format!("n{n}")).collect();
        self.pair.interview(self.now, &hashes, &keys);
    }

    pub(super) fn made(&self) -> &Made {
        &self.pair.sides[0].made
    }

    pub(super) fn turn_of<T: super::sameness::Given>(&mut self) -> usize {
        let count = self.made().count::<T>();
        // Sometimes one that there is not.
        match self.draw.once_in(15) {
            true => count,
            false => self.draw.below(count.max(1)),
        }
    }

    pub(super) fn tenant(&mut self) -> usize {
        let count = self.made().count::<TenantId>();
        self.draw.below(count)
    }

    /// A webhook's turn, and the turn of its tenant.
    pub(super) fn webhook(&mut self) -> (usize, usize) {
        let turn = self.turn_of::<WebhookId>();
        let tenants = self.made().count::<TenantId>();
        for tenant in 0..tenants {
            let side = &self.pair.sides[0];
            let id: TenantId = side.made.get(tenant);
            let found = wait(side.store.webhook(id, side.webhook(turn))).unwrap();
            if found.is_some() {
                return (turn, tenant);
            }
        }
        (turn, self.draw.below(tenants))
    }

    pub(super) fn dialect(tenant: usize) -> DialectName {
        DialectName::new(["pretix", "openticket"][tenant % 2])
    }

    /// SQLite gives rows to all deliveries, as it does whenever somebody looks at a log.
    pub(super) fn materialize(&mut self) {
        let query = LogQuery {
            limit: 3,
            ..LogQuery::default()
        };
        self.pair.tell("log of tenant 0", |side| {
            side.store.log(side.made.get(0), query.clone())
        });
    }

    /// Notes webhooks and tokens that were made on the side.
    pub(super) fn note_all(&mut self) {
        for turn in 0..self.made().count::<TenantId>() {
            let query = WebhookQuery {
                enabled: None,
                newest_first: false,
                offset: 0,
                limit: 500,
            };
            self.pair.make(
                &format!("webhooks of tenant {turn}"),
                |side| side.store.webhooks(vec![side.made.get(turn)], query),
                |made, page| page.webhooks.iter().for_each(|one| made.note(one.id)),
            );
            self.pair.make(
                &format!("tokens of tenant {turn}"),
                |side| side.store.tokens(Some(side.made.get(turn))),
                |made, tokens| {
                    let mut ids: Vec<TokenId> = tokens.iter().map(|one| one.id).collect();
                    ids.sort_unstable();
                    ids.into_iter().for_each(|id| made.note(id));
                },
            );
        }
    }
}
