//! Two stores, one on each engine, that are asked the same.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use model::contract::{Store, StoreError, StoreFuture};
use model::id::{BulkJobId, WebhookId};
use model::lease::Lease;
use model::tenant::TokenHash;

use super::sameness::Made;
use crate::databases::TestDatabase;
use crate::interview::{Topics, answers};
use crate::postgres_server::PostgresServer;
use crate::sqlite::harness::{Heard, Told, at, wait};

pub(super) struct Side {
    /// Of its answers in pairs.
    pub(super) place: usize,
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: Lease,
    pub(super) made: Made,
    /// What the engine would be told.
    heard: Arc<Heard>,
}

pub(super) struct Pair {
    /// SQLite and PostgreSQL.
    pub(super) sides: [Side; 2],
    /// What was done, to be told if answers differ.
    done: Vec<String>,
    seed: u64,
    // Dropped behind its store.
    database: TestDatabase,
}

impl Pair {
    pub(super) fn new(seed: u64) -> Self {
        let database = TestDatabase::new();
        let side = |place, store: Arc<dyn Store>| {
            let heard = Arc::new(Heard::default());
            store.subscribe(heard.clone());
            Side {
                place,
                lease: wait(store.claim(at(0))).unwrap(),
                store,
                made: Made::default(),
                heard,
            }
        };
        Self {
            sides: [
                side(0, store::open_inline().unwrap()),
                side(1, database.open()),
            ],
            done: Vec::new(),
            seed,
            database,
        }
    }

    /// Asks both.
    pub(super) fn tell<T: Debug>(&mut self, what: &str, ask: impl Fn(&Side) -> StoreFuture<T>) {
        drop(self.ask(what, ask));
    }

    /// Asks both. Answers what both said.
    pub(super) fn ask<T: Debug>(
        &mut self,
        what: &str,
        ask: impl Fn(&Side) -> StoreFuture<T>,
    ) -> [Result<T, StoreError>; 2] {
        self.done.push(what.to_owned());
        let [one, other] = &self.sides;
        let answers = [one, other].map(|side| wait(ask(side)));
        self.compare(what, &answers);
        answers
    }

    /// The same of what makes things; `note` notes them before the answers are compared.
    pub(super) fn make<T: Debug>(
        &mut self,
        what: &str,
        ask: impl Fn(&Side) -> StoreFuture<T>,
        note: impl Fn(&mut Made, &T),
    ) {
        self.done.push(what.to_owned());
        let answers = self.sides.each_ref().map(|side| wait(ask(side)));
        for (side, answer) in self.sides.iter_mut().zip(&answers) {
            if let Ok(answer) = answer {
                note(&mut side.made, answer);
            }
        }
        self.compare(what, &answers);
    }

    fn compare<T: Debug>(&self, what: &str, answers: &[Result<T, StoreError>; 2]) {
        let told = self.sides.iter().zip(answers);
        let told: Vec<String> = told
            .map(|(side, answer)| side.made.in_turns(&format!("{answer:?}")))
            .collect();
        if told[0] != told[1] {
            self.fail(what, &told[0], &told[1]);
        }
        let heard = self.sides.each_ref().map(Side::heard);
        if heard[0] != heard[1] {
            self.fail(&format!("the subscriber of: {what}"), &heard[0], &heard[1]);
        }
    }

    /// Compares numbers that both counted over several steps.
    pub(super) fn compare_counts(&self, what: &str, counts: [usize; 2]) {
        if counts[0] != counts[1] {
            self.fail(what, &counts[0].to_string(), &counts[1].to_string());
        }
    }

    pub(super) fn compare_words(&self, what: &str, told: &[String; 2]) {
        if told[0] != told[1] {
            self.fail(what, &told[0], &told[1]);
        }
    }

    fn fail(&self, what: &str, sqlite: &str, postgres: &str) -> ! {
        let latest = self.done.len().saturating_sub(40);
        let log = PostgresServer::shared().folder.join("log");
        let log = std::fs::read_to_string(log).unwrap_or_default();
        let said: Vec<&str> = log.lines().rev().take(5).collect();
        panic!(
            "{what} is answered differently\n  by SQLite:     {sqlite}\n  by PostgreSQL: \
             {postgres}\nwhose server said last {said:?}\nafter the history of seed {}:\n    {}",
            self.seed,
            self.done[latest..].join("\n    ")
        );
    }

    /// Waits until PostgreSQL has materialized everything, which it does in its own time.
    pub(super) fn fan_out(&self) {
        let is_left = "select exists (select 1 from listing)";
        while self.database.ask(is_left) == "t" {
            std::thread::yield_now();
        }
    }

    /// Asks both every question there is.
    pub(super) fn interview(&mut self, now: i64, hashes: &[TokenHash], keys: &[String]) {
        self.done.push(format!("everything is asked at {now}"));
        let told = self.sides.each_ref().map(|side| {
            let topics = Topics {
                epoch: side.lease.epoch,
                now: at(now),
                hashes: hashes.to_vec(),
                idempotency_keys: keys.to_vec(),
                dialects: vec!["pretix", "openticket"],
                bulk_jobs: side.made.all::<BulkJobId>(),
            };
            let told = answers(&*side.store, &topics).into_iter();
            let in_turns = |text: String| side.made.in_turns(&text);
            let told: Vec<(String, String)> = told
                .map(|(question, answer)| (in_turns(question), in_turns(answer)))
                .collect();
            told
        });
        for ((question, one), (other_question, other)) in told[0].iter().zip(&told[1]) {
            assert_eq!(question, other_question);
            if one != other {
                self.fail(question, one, other);
            }
        }
        assert_eq!(told[0].len(), told[1].len());
    }
}

impl Side {
    /// What was heard since this was last asked, whatever came together.
    fn heard(&self) -> String {
        let mut words = BTreeSet::new();
        let mut note = |what: &str, thing: &dyn Debug| {
            words.insert(self.made.in_turns(&format!("{what} {thing:?}")));
        };
        for told in self.heard.take() {
            match told {
                Told::Accepted(all) => all.iter().for_each(|one| note("accepted", one)),
                Told::Asked(all) => all.iter().for_each(|one| note("asked", one)),
                Told::PassedOver(all) => all.iter().for_each(|one| note("passed over", one)),
                Told::Changed(all) => all.iter().for_each(|one| note("changed", one)),
                // It may be told more often.
                Told::ChangedElsewhere => {}
                Told::BulkJobStarted => note("bulk job", &()),
            }
        }
        words.into_iter().collect::<Vec<_>>().join("\n    ")
    }

    pub(super) fn webhook(&self, turn: usize) -> WebhookId {
        self.made.get(turn)
    }
}
