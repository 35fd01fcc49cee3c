//! Copying a store from a file into a database.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use model::contract::Store;
use model::delivery::DeliveryState;
use model::id::{NotificationId, WebhookId};
use model::lease::Lease;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use store::{CopyError, CopyOrder, CopyReport, CopyStep, OpenError};
use tempfile::TempDir;

use crate::databases::TestDatabase;
use crate::house::{furnish, topics};
use crate::interview::{Answers, answers, assert_same};
use crate::sqlite::harness::{
    Given, answered, at, delivered, delivery_id, retry, settlement, wait,
};
use crate::sqlite::unattempted::due;

/// Rows of a batch, so that there are many.
const FEW: usize = 3;

const NOW: i64 = 600;

struct Move {
    folder: TempDir,
    database: TestDatabase,
}

impl Move {
    /// A furnished store that was closed, and an empty database.
    fn new() -> Self {
        Self::of(furnish)
    }

    fn of(fill: impl Fn(&Given)) -> Self {
        let moved = Self {
            folder: tempfile::tempdir().unwrap(),
            database: TestDatabase::new(),
        };
        let given = Given::on(store::open_inline_at(&moved.path()).unwrap());
        fill(&given);
        // So that everything is in tables.
        drop(given.log(WebhookId(1)));
        wait(given.store.close()).unwrap();
        moved
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("willcall.db")
    }

    fn order(id: &str) -> CopyOrder {
        CopyOrder {
            id: id.to_owned(),
            now: at(NOW),
        }
    }

    fn copy_until(
        &self,
        mut watch: impl FnMut(CopyStep) -> Result<(), String> + Send,
    ) -> Result<CopyReport, CopyError> {
        let settings = self.database.settings();
        store::probe::copy_by(
            &self.path(),
            &settings,
            &Self::order("one"),
            FEW,
            &mut watch,
        )
    }

    fn copy(&self) -> Result<CopyReport, CopyError> {
        self.copy_until(|_| Ok(()))
    }

    fn refused(&self) -> String {
        self.copy().map(drop).unwrap_err().to_string()
    }

    /// A copy of the file as it is now, on a path of its own.
    fn twin(&self) -> Twin {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(self.path(), folder.path().join("willcall.db")).unwrap();
        Twin { folder }
    }

    /// What is in the database.
    fn given(&self) -> Given {
        on_database(self.database.open())
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("select count(*) from \"{table}\"");
        self.database.ask(&sql).parse().unwrap()
    }
}

struct Twin {
    folder: TempDir,
}

impl Twin {
    fn open(&self) -> Given {
        let path = self.folder.path().join("willcall.db");
        given_on(store::open_inline_at(&path).unwrap(), Lease::SOLE)
    }
}

fn given_on(store: Arc<dyn Store>, lease: Lease) -> Given {
    let mut given = Given::on(store);
    given.lease = lease;
    given
}

fn on_database(store: Arc<dyn Store>) -> Given {
    let lease = wait(store.claim(at(0))).unwrap();
    given_on(store, lease)
}

fn interview(given: &Given) -> Answers {
    answers(&*given.store, &topics(given, NOW))
}

/// Work that goes on in a store, whichever it is.
fn go_on(given: &Given) {
    let webhook = given.paid_webhook();
    let id = given.notified("afterwards", 700);
    given.settle(settlement(
        delivery_id(id, webhook),
        710,
        answered(500),
        retry(5_000),
    ));
    let known = given.accept(given.new_notification("3", 720));
    assert!(matches!(
        known,
        model::notification::AcceptResult::Duplicate { .. }
    ));
    let log = given.log(WebhookId(1));
    for row in log.iter().filter(|row| row.state == DeliveryState::Pending) {
        given.settle(settlement(row.id, 730, answered(200), delivered()));
    }
    given.disable(WebhookId(7), 740);
    wait(given.store.step_bulk_job(given.epoch(), at(750))).unwrap();
}

#[test]
fn every_question_gets_the_same_answer_after_a_copy_and_after_what_follows() {
    let moved = Move::new();
    let twin = moved.twin();
    let report = moved.copy().unwrap();
    for table in tables() {
        // See below.
        let is_fan_out = ["listing", "audience", "wide"].contains(&table);
        assert_eq!(moved.count(table) == 0, is_fan_out, "{table}");
    }
    let copied: i64 = tables().iter().map(|table| moved.count(table)).sum();
    assert_eq!(report.rows, copied, "{report:?}");
    // Whoever had it open learns that everything is different.
    assert_eq!(moved.database.ask("select version from catalog"), "2");
    let (file, database) = (twin.open(), moved.given());
    let (before, after) = (interview(&file), interview(&database));
    assert!(before.len() > 200, "{}", before.len());
    assert_same(&before, &after);
    go_on(&file);
    go_on(&database);
    assert_same(&interview(&file), &interview(&database));
}

#[test]
fn what_very_many_webhooks_are_still_owed_is_materialized_in_the_database() {
    let moved = Move::of(|given| {
        for _ in 0..3 {
            given.paid_webhook();
        }
        given.notified("1", 10);
        given.notified("2", 20);
    });
    let conn = Connection::open(moved.path()).unwrap();
    // As if the second one had come to its first webhook only.
    conn.execute_batch(
        "insert into listing (id, tenant_id, reached, owed) values (7, 1, 1, 2);
         insert into audience (listing_id, webhooks) values (7, '1 2 3');
         insert into wide (listing_id, notification_id) values (7, 2);
         delete from fresh where notification_id = 2 and webhook_id > 1",
    )
    .unwrap();
    drop(conn);
    moved.copy().unwrap();
    let given = moved.given();
    given.fan_out_in(&moved.database);
    for webhook in 1..=3 {
        let webhook = WebhookId(webhook);
        assert_eq!(due(&given, webhook), [1, 2]);
        assert_eq!(given.log(webhook).len(), 2);
    }
    assert!(given.paid_webhook() > WebhookId(3));
}

fn tables() -> BTreeSet<&'static str> {
    let columns = store::probe::copied_columns();
    columns.into_iter().map(|(table, _)| table).collect()
}

#[test]
fn a_copy_has_every_table_and_every_column_but_those_of_servers() {
    let database = TestDatabase::new();
    wait(database.open().ping()).unwrap();
    let found = database.ask(
        "select table_name || '.' || column_name from information_schema.columns
         where table_schema = 'public' and is_generated = 'NEVER'
           and table_name not in ('willcall', 'lease', 'catalog')",
    );
    let found: BTreeSet<String> = found.lines().map(str::to_owned).collect();
    let copied = store::probe::copied_columns();
    let copied: BTreeSet<String> = copied
        .iter()
        .map(|(table, column)| format!("{table}.{column}"))
        .collect();
    assert_eq!(copied, found);
}

#[test]
fn a_copy_reads_along_keys_on_both_sides_and_sorts_nothing() {
    let moved = Move::of(|given| {
        given.notified("1", 1);
    });
    wait(moved.database.open().ping()).unwrap();
    let conn = Connection::open(moved.path()).unwrap();
    for (table, read, hashes) in store::probe::copy_statements() {
        let mut plan = conn.prepare(&format!("explain query plan {read}")).unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let plan = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3));
        let plan: Vec<String> = plan.unwrap().map(Result::unwrap).collect();
        let plan = plan.join("\n");
        // These two have a row for each day, and for each time that a clock was set back.
        if !["envelope_day", "clock_fall"].contains(&table) {
            assert!(!plan.contains("TEMP B-TREE"), "{read}\n{plan}");
            assert!(plan.contains("SEARCH"), "{read}\n{plan}");
        }
        let plan = moved.database.ask(&format!(
            "set enable_seqscan = off; set enable_bitmapscan = off; explain {hashes}"
        ));
        assert!(!plan.contains("Sort"), "{hashes}\n{plan}");
    }
}

#[test]
fn a_copy_that_ends_between_any_two_batches_goes_on_and_comes_to_the_same() {
    let moved = Move::new();
    let twin = moved.twin();
    let (mut runs, mut goes_on) = (0, 0);
    // Each run ends behind its third batch, or its third check.
    loop {
        let mut steps = 0;
        let ended = moved.copy_until(|step| {
            goes_on += usize::from(step == CopyStep::GoesOn);
            assert_ne!(step, CopyStep::StartsOver);
            steps += match step {
                CopyStep::Copied(table) if !table.is_all => 1,
                CopyStep::GoesOn
                | CopyStep::StartsOver
                | CopyStep::Copied(_)
                | CopyStep::Checked(_) => 0,
            };
            match steps {
                3 => Err("the machine is switched off".to_owned()),
                _ => Ok(()),
            }
        });
        runs += 1;
        match ended {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, CopyError::GivenUp(_)), "{error}"),
        }
        let open = store::open_postgres(&moved.database.settings(), &mut Registry::default());
        let error = open.map(drop).unwrap_err();
        assert!(matches!(error, OpenError::UnfinishedCopy { .. }), "{error}");
    }
    assert!(runs > 20, "{runs}");
    assert_eq!(goes_on, runs - 1);
    assert_same(&interview(&twin.open()), &interview(&moved.given()));
}

#[test]
fn a_copy_of_a_file_that_was_used_in_between_starts_over() {
    let moved = Move::new();
    let mut batches = 0;
    let ended = moved.copy_until(|_| {
        batches += 1;
        (batches < 60).then_some(()).ok_or_else(String::new)
    });
    assert!(matches!(ended, Err(CopyError::GivenUp(_))));
    let given = given_on(store::open_inline_at(&moved.path()).unwrap(), Lease::SOLE);
    let webhook = given.paid_webhook();
    let id = given.notified("in between", 650);
    drop(given.log(webhook));
    wait(given.store.close()).unwrap();
    drop(given);
    let twin = moved.twin();
    let mut first = None;
    moved
        .copy_until(|step| {
            first.get_or_insert(step);
            Ok(())
        })
        .unwrap();
    assert_eq!(first, Some(CopyStep::StartsOver));
    let database = moved.given();
    assert_eq!(database.log(webhook)[0].id, delivery_id(id, webhook));
    assert_same(&interview(&twin.open()), &interview(&database));
}

#[test]
fn a_file_that_is_put_back_as_it_was_before_is_not_taken_for_what_was_copied() {
    let moved = Move::new();
    let stop = |moved: &Move, id: &str| {
        let mut batches = 0;
        let settings = moved.database.settings();
        let stopped =
            store::probe::copy_by(&moved.path(), &settings, &Move::order(id), FEW, &mut |_| {
                batches += 1;
                (batches < 20).then_some(()).ok_or_else(String::new)
            });
        assert!(matches!(stopped, Err(CopyError::GivenUp(_))));
    };
    stop(&moved, "one");
    let before = std::fs::read(moved.path()).unwrap();
    drop(store::open_inline_at(&moved.path()).unwrap());
    stop(&moved, "two");
    let after = std::fs::read(moved.path()).unwrap();
    std::fs::write(moved.path(), before).unwrap();
    let words = moved.refused();
    assert!(words.contains("knows nothing of"), "{words}");
    std::fs::write(moved.path(), after).unwrap();
    moved.copy().unwrap();
}

#[test]
fn a_moved_file_is_not_opened_until_the_move_is_undone() {
    let moved = Move::new();
    moved.copy().unwrap();
    let bytes = std::fs::read(moved.path()).unwrap();
    let open = || store::open_inline_at(&moved.path()).map(drop);
    let words = open().unwrap_err().to_string();
    assert!(
        words.contains("was moved to the database 127.0.0.1"),
        "{words}"
    );
    assert!(words.contains("willcall copy --undo"), "{words}");
    let found = store::inspect(&moved.path()).unwrap();
    assert_eq!(found.moved.unwrap().at, at(NOW));
    assert_eq!(std::fs::read(moved.path()).unwrap(), bytes);
    // Neither to the same database nor to another.
    let words = moved.refused();
    assert!(words.contains("was moved to the database"), "{words}");
    let other = Move {
        folder: tempfile::tempdir().unwrap(),
        database: TestDatabase::new(),
    };
    std::fs::copy(moved.path(), other.path()).unwrap();
    let words = other.refused();
    assert!(words.contains("was moved to the database"), "{words}");

    assert!(store::undo_copy(&moved.path()).unwrap().is_some());
    open().unwrap();
    assert_eq!(store::undo_copy(&moved.path()).unwrap(), None);
}

#[test]
fn what_lacks_only_the_last_step_is_finished_by_another_run() {
    let moved = Move::new();
    let twin = moved.twin();
    // The file says that it was moved, and the process ended.
    moved
        .copy_until(|step| match step {
            CopyStep::Checked(table) if table.place == table.of && table.is_all => {
                Err("the machine is switched off".to_owned())
            }
            CopyStep::GoesOn
            | CopyStep::StartsOver
            | CopyStep::Copied(_)
            | CopyStep::Checked(_) => Ok(()),
        })
        .unwrap_err();
    let conn = Connection::open(moved.path()).unwrap();
    conn.execute("update moved set ended_at = 5", []).unwrap();
    drop(conn);
    let report = moved.copy().unwrap();
    assert!(report.rows > 100, "{report:?}");
    assert_same(&interview(&twin.open()), &interview(&moved.given()));
}

#[test]
fn a_target_with_anything_in_it_is_refused_and_unchanged() {
    let moved = Move::new();
    Given::unheard(moved.database.open());
    let words = moved.refused();
    assert!(
        words.contains("is not empty: it has rows in tenant"),
        "{words}"
    );
    assert_eq!(moved.count("tenant"), 1);
    assert_eq!(moved.count("notification"), 0);
    // The file is used as before.
    drop(store::open_inline_at(&moved.path()).unwrap());
}

#[test]
fn a_target_that_servers_use_is_refused() {
    let moved = Move::new();
    let server = moved.database.open();
    wait(server.claim(at(0))).unwrap();
    let words = moved.refused();
    assert!(words.contains("is in use by a server"), "{words}");
}

#[test]
fn an_unfinished_copy_of_another_file_is_left_alone() {
    let moved = Move::new();
    let given_up = moved.copy_until(|_| Err("enough".to_owned()));
    given_up.unwrap_err();
    let other = Move::of(|given| {
        given.paid_webhook();
    });
    let settings = moved.database.settings();
    let order = &Move::order("other");
    let copied = store::probe::copy_by(&other.path(), &settings, order, FEW, &mut |_| Ok(()));
    let words = copied.map(drop).unwrap_err().to_string();
    let first = std::fs::canonicalize(moved.path()).unwrap();
    assert!(words.contains(&first.display().to_string()), "{words}");
    assert!(words.contains("knows nothing of"), "{words}");
    moved.copy().unwrap();
}

#[test]
fn a_file_that_is_in_use_is_not_copied() {
    let moved = Move::new();
    let server = store::open(&moved.path(), &mut Registry::default()).unwrap();
    let words = moved.refused();
    assert!(words.contains("is locked by another program"), "{words}");
    assert_eq!(
        moved
            .database
            .ask("select count(*) from pg_tables where tablename = 'willcall_copy'"),
        "0"
    );
    wait(server.ping()).unwrap();
    wait(server.close()).unwrap();
    // While it is copied nobody else opens it.
    moved
        .copy_until(|_| {
            let opened = store::open_inline_at(&moved.path()).map(drop);
            match opened {
                Err(OpenError::InUse(_)) => Err("seen".to_owned()),
                other => panic!("{other:?}"),
            }
        })
        .unwrap_err();
}

#[test]
fn a_copy_that_is_not_what_was_copied_is_not_used() {
    for (change, words) in [
        ("delete from tally", "0 rows in the database"),
        (
            "update notification set body = 'x' where key = '3'",
            "with other values",
        ),
    ] {
        let moved = Move::new();
        let mut changed = false;
        let copied = moved.copy_until(|step| {
            if matches!(step, CopyStep::Checked(_)) && !changed {
                changed = true;
                moved.database.ask(change);
            }
            Ok(())
        });
        let error = copied.map(drop).unwrap_err();
        assert!(matches!(error, CopyError::Differs { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        let open = store::open_postgres(&moved.database.settings(), &mut Registry::default());
        assert!(matches!(open, Err(OpenError::UnfinishedCopy { .. })));
        drop(store::open_inline_at(&moved.path()).unwrap());
    }
}

#[test]
fn new_ids_are_above_all_that_were_ever_given() {
    let moved = Move::of(|given| {
        given.paid_webhook();
        given.notified("1", 10);
    });
    let conn = Connection::open(moved.path()).unwrap();
    conn.execute_batch(
        "update sqlite_sequence set seq = 40 where name = 'webhook';
         insert into counted (what, latest) values ('notification', 50)
           on conflict (what) do update set latest = 50",
    )
    .unwrap();
    drop(conn);
    moved.copy().unwrap();
    let given = moved.given();
    assert_eq!(given.paid_webhook().0, 41);
    assert_eq!(given.notified("2", 20), 51);
}

#[test]
fn the_state_of_a_webhook_is_that_of_its_tenants_notifications_after_a_copy() {
    let moved = Move::of(|given| {
        let webhook = given.paid_webhook();
        given.notified("1", 10);
        let other = given.of(given.another_tenant("other"));
        other.notified("2", 20);
        other.notified("3", 30);
        given.disable(webhook, 40);
    });
    moved.copy().unwrap();
    let given = moved.given();
    let webhook = WebhookId(1);
    given.enable(webhook, 50);
    let explained = |id| {
        let all = given
            .store
            .match_explanations(given.tenant, NotificationId(id), None, 5);
        wait(all).unwrap().remove(0).then.unwrap().disabled
    };
    assert_eq!(explained(1), None);
}
