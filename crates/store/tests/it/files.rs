//! Opening files: new ones, ours, and those that are refused and must stay unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::contract::{DueQuery, Store};
use model::lease::Epoch;
use model::notification::NewNotification;
use model::query::{LogQuery, WebhookQuery};
use model::rng::SeededRng;
use model::tenant::DialectName;
use model::time::{Heartbeat, Moment, TimeBounds};
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use store::OpenError;
use tempfile::TempDir;

use crate::sqlite::harness::{
    Given, answered, at, delivered, delivery_id, retry, settlement, wait,
};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    (folder, path)
}

fn open(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
    store::open(path, &mut Registry::default())
}

/// A closed store with a hundred deliveries, half of them settled.
fn filled(path: &Path) {
    let given = Given::on(store::open_inline_at(path).unwrap());
    let webhook = given.paid_webhook();
    for n in 0..100 {
        let id = delivery_id(given.notified(&n.to_string(), n), webhook);
        if n % 2 == 0 {
            given.settle(settlement(id, n, answered(200), delivered()));
        }
    }
    wait(given.store.close()).unwrap();
}

/// The bytes of every file in a folder, apart from shared memory, which holds no data.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-shm"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

/// Opens what must be refused in every way there is, and checks that nothing was touched.
fn refused(folder: &Path, path: &Path) -> OpenError {
    let before = bytes(folder);
    let error = open(path).map(drop).unwrap_err();
    assert_eq!(bytes(folder), before, "{error}");
    assert!(store::open_inline_at(path).is_err());
    assert!(store::inspect(path).is_err());
    assert_eq!(bytes(folder), before, "{error}");
    let words = error.to_string();
    assert!(
        words.contains(path.file_name().unwrap().to_str().unwrap()),
        "{words}"
    );
    error
}

#[test]
fn a_missing_or_empty_file_becomes_a_store() {
    let (_folder, path) = folder();
    assert!(matches!(store::inspect(&path), Err(OpenError::NoStore(_))));
    assert!(!path.exists());
    let given = Given::on(open(&path).unwrap());
    assert_eq!(given.paid_webhook().0, 1);
    drop(given);
    let (_folder, path) = self::folder();
    fs::write(&path, b"").unwrap();
    wait(open(&path).unwrap().ping()).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_to_a_store_leads_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, link) = (
        elsewhere.path().join("kept.db"),
        folder.path().join("willcall.db"),
    );
    drop(store::open_inline_at(&file).unwrap());
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let given = Given::on(store::open(&link, &mut Registry::default()).unwrap());
    let webhook = given.paid_webhook();
    let id = given.notified("1", 1);
    wait(given.store.close()).unwrap();
    let again = store::open_inline_at(&file).unwrap();
    let lanes = wait(again.pending_webhooks(Epoch::FIRST, None, 10)).unwrap();
    assert_eq!((id, lanes[0].webhook), (1, webhook));
}

#[test]
fn a_missing_folder_is_named() {
    let (_folder, path) = folder();
    let path = path.join("store.db");
    let error = open(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NoFolder(_)), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_folder_is_no_store() {
    let (folder, _) = folder();
    let error = open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
}

#[test]
fn what_was_answered_is_there_after_the_store_was_dropped() {
    let (_folder, path) = folder();
    let given = Given::on(open(&path).unwrap());
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 1_000), webhook);
    given.settle(settlement(id, 1_100, answered(200), delivered()));
    let story = given.story(id);
    let tenant = given.tenant;
    drop(given);
    let store = open(&path).unwrap();
    assert_eq!(wait(store.delivery(tenant, id)).unwrap(), Some(story));
}

#[test]
fn a_crash_at_any_moment_leaves_a_beginning_of_what_was_accepted() {
    let (running, path) = folder();
    let given = Given::on(open(&path).unwrap());
    let webhook = given.paid_webhook();
    for n in 0..30 {
        given.notified(&n.to_string(), n);
    }
    // The files as the disk has them, while the store runs.
    let file = fs::read(&path).unwrap();
    let log = fs::read(running.path().join("willcall.db-wal")).unwrap();
    let ask = || {
        vec![DueQuery {
            webhook,
            limit: 99,
            held: [].into(),
            recovery: None,
        }]
    };
    // Its room is there from the start; what was written of it last may not be.
    let written = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for tenth in 0..=10 {
        let (crashed, path) = folder();
        let mut kept = log.clone();
        kept[32 + (written - 32) * tenth / 10..].fill(0);
        fs::write(&path, &file).unwrap();
        fs::write(crashed.path().join("willcall.db-wal"), kept).unwrap();
        let store = open(&path).unwrap();
        let due = wait(store.due(Epoch::FIRST, ask(), at(99)))
            .unwrap()
            .remove(0);
        let found: Vec<i64> = due
            .deliveries
            .iter()
            .map(|due| due.delivery.id.notification.0)
            .collect();
        let whole = i64::try_from(found.len()).unwrap();
        assert_eq!(found, (1..=whole).collect::<Vec<_>>());
        assert!(tenth < 10 || whole == 30);
    }
}

#[test]
fn a_show_that_was_registered_before_the_start_is_known() {
    let (_folder, path) = folder();
    let notify = |given: &Given, key: &str| {
        let event = Some("democon".to_owned());
        let new = given.new_notification(key, 1_000);
        given.accept(NewNotification { event, ..new });
        given.store.version()
    };
    let given = Given::on(open(&path).unwrap());
    notify(&given, "1");
    wait(given.store.close()).unwrap();
    let given = Given::on(open(&path).unwrap());
    let version = given.store.version();
    assert_eq!(notify(&given, "2"), version);
}

#[test]
fn a_closed_store_leaves_one_file() {
    let (folder, path) = folder();
    for _ in 0..20 {
        let given = Given::on(open(&path).unwrap());
        given.paid_webhook();
        drop(given.store.has_tokens());
        wait(given.store.close()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let given = Given::on(open(&path).unwrap());
    wait(given.store.close()).unwrap();
    wait(given.store.close()).unwrap();
    assert!(wait(given.store.ping()).is_err());
    assert!(wait(given.store.has_tokens()).is_err());
}

#[test]
fn a_text_file_is_left_alone() {
    let (folder, path) = folder();
    for text in ["x", "This is the diary of a ticket inspector.\n"] {
        fs::write(&path, text.repeat(200)).unwrap();
        let error = refused(folder.path(), &path);
        assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
    }
}

#[test]
fn a_foreign_sqlite_file_is_left_alone() {
    for mode in ["delete", "wal"] {
        let (folder, path) = folder();
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "journal_mode", mode).unwrap();
        other
            .execute_batch("create table t (x); insert into t values (1)")
            .unwrap();
        // In this mode the log still holds the table while the other program runs.
        let error = refused(folder.path(), &path);
        assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
        drop(other);
        let error = refused(folder.path(), &path);
        assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
    }
}

#[test]
fn a_file_that_only_claims_to_be_ours_is_left_alone() {
    let (folder, path) = folder();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("pragma application_id = 1466526828; create table tenant (x)")
        .unwrap();
    drop(other);
    let error = refused(folder.path(), &path);
    assert!(matches!(error, OpenError::NotAStore(_)), "{error}");
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 2).unwrap();
    drop(other);
    let error = refused(folder.path(), &path);
    assert!(matches!(error, OpenError::Damaged(..)), "{error}");
}

#[test]
fn a_newer_store_is_left_alone() {
    let (folder, path) = folder();
    filled(&path);
    let newer = Connection::open(&path).unwrap();
    newer
        .pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .unwrap();
    newer.pragma_update(None, "user_version", 77).unwrap();
    // Its version is in the WAL only, which must not be checkpointed.
    assert!(bytes(folder.path()).len() > 1);
    let error = refused(folder.path(), &path);
    assert!(
        matches!(error, OpenError::Newer { found: 77, .. }),
        "{error}"
    );
    // The same after a crash: nobody else has the file open.
    let (crashed, copy) = self::folder();
    for suffix in ["", "-wal"] {
        let name = format!("willcall.db{suffix}");
        fs::copy(folder.path().join(&name), crashed.path().join(&name)).unwrap();
    }
    let error = refused(crashed.path(), &copy);
    assert!(
        matches!(error, OpenError::Newer { found: 77, .. }),
        "{error}"
    );
    drop(newer);
    let error = refused(folder.path(), &path);
    assert!(error.to_string().contains("newer Willcall"), "{error}");
}

#[test]
fn a_truncated_file_is_left_alone() {
    let (folder, path) = folder();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let mut lengths = vec![1, 15, 16, 99, 100, 511, 512, 4_095, 4_096, 4_097];
    lengths.extend((1..10).map(|tenth| whole.len() * tenth / 10));
    lengths.push(whole.len() - 1);
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refused(folder.path(), &path);
        let kind = matches!(error, OpenError::NotAStore(_) | OpenError::Damaged(..));
        assert!(kind, "{length}: {error}");
    }
}

#[test]
fn a_damaged_file_is_left_alone_or_still_works() {
    let (folder, path) = folder();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let seed = [23; 32];
    let mut rng = SeededRng::from_seed(seed);
    let mut refusals = 0;
    for round in 0..60 {
        let mut damaged = whole.clone();
        let bound = u64::try_from(whole.len() - 200).unwrap();
        let mut at = usize::try_from(rng.below(bound)).unwrap();
        if round % 2 == 0 {
            // The beginning of a page, where its order is written.
            at -= at % 4_096;
        }
        for byte in &mut damaged[at..at + 200] {
            *byte = u8::try_from(rng.below(256)).unwrap();
        }
        fs::write(&path, &damaged).unwrap();
        let before = bytes(folder.path());
        match store::open_inline_at(&path) {
            Err(error) => {
                assert_eq!(bytes(folder.path()), before, "at {at}: {error}");
                refusals += 1;
            }
            Ok(store) => look_around(&store),
        }
        for file in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    // Every damaged beginning of a page is found, and some of the rest.
    assert!(refusals >= 30, "{refusals}");
}

/// Asks all sorts of things: whatever the answers are, nothing may panic.
fn look_around(store: &Arc<dyn Store>) {
    let (tenant, webhook) = (model::id::TenantId(1), model::id::WebhookId(1));
    let limit = 50;
    let query = WebhookQuery {
        enabled: None,
        newest_first: false,
        offset: 0,
        limit,
    };
    drop(wait(store.webhooks(vec![tenant], query)));
    let query = LogQuery {
        webhook: Some(webhook),
        limit,
        ..LogQuery::default()
    };
    drop(wait(store.log(tenant, query)));
    for notification in 1..=100 {
        drop(wait(
            store.delivery(tenant, delivery_id(notification, webhook)),
        ));
    }
    drop(wait(store.pending_webhooks(Epoch::FIRST, None, 10)));
    let before = [(DialectName::new("pretix"), at(50))];
    drop(wait(store.prune(
        Epoch::FIRST,
        before.into(),
        TimeBounds::exactly(at(0)),
    )));
}

#[test]
fn a_log_without_its_file_is_left_alone() {
    let (folder, path) = folder();
    let log = folder.path().join("willcall.db-wal");
    fs::write(&log, b"what was accepted last").unwrap();
    for with_file in [false, true] {
        if with_file {
            fs::write(&path, b"").unwrap();
        }
        let error = open(&path).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(..)), "{error}");
        assert_eq!(fs::read(&log).unwrap(), b"what was accepted last");
    }
}

#[test]
fn a_store_of_an_earlier_version_is_brought_up_to_date_with_all_it_has() {
    let (_folder, path) = folder();
    filled(&path);
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "drop table wide; drop table audience; drop table listing;
        drop table clock; drop table clock_fall; drop table moved; drop table signature;
        drop table own_header; drop table webhook_tls; drop table statistic; drop table portal;
        drop index standing_failing;
        drop table incident; drop table alert_told; drop table watch_round;
        drop index webhook_gone;
        alter table webhook drop column cloud_events;
        alter table webhook drop column calls_at_a_time;
        alter table webhook drop column calls_in_million_s;
        alter table webhook drop column time_limit_ms;
        alter table webhook drop column schedule;
        alter table webhook drop column handshake_since;
        alter table webhook drop column handshake_at;
        alter table webhook drop column handshake_url;
        alter table webhook drop column handshake_origin;
        alter table webhook drop column handshake_rate;
        alter table webhook drop column handshake_refused;
        alter table webhook drop column held_at;
        alter table webhook drop column held_from;
        alter table webhook drop column held_by;
        alter table webhook drop column holds;
        alter table webhook drop column drain_in_million_s;
        alter table webhook drop column drain_since;
        drop index errand_next; drop index errand_one; drop index errand_running;
        alter table errand drop column filter;
        alter table errand drop column of_tenant;
        alter table errand drop column since;
        alter table errand drop column stepped_at;
        create index errand_next on errand (id) where ended_at is null;
        create unique index errand_one on errand (webhook_id, kind) where ended_at is null;
        alter table delivery drop column tried_at; pragma user_version = 1",
    )
    .unwrap();
    drop(conn);
    assert_eq!(store::inspect(&path).unwrap().schema_version, 1);
    let given = Given::on(open(&path).unwrap());
    assert_eq!(given.notified("later", 200), 101);
    let found = store::inspect(&path).unwrap();
    assert_eq!(found.schema_version, found.known_version);
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_anew() {
    let (folder, path) = folder();
    let journal = folder.path().join("willcall.db-journal");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("begin immediate").unwrap();
    conn.execute_batch(include_str!("../../migrations/sqlite/0001_init.sql"))
        .unwrap();
    conn.execute_batch("pragma user_version = 1; pragma application_id = 1466526828")
        .unwrap();
    let mut journal_bytes = fs::read(&journal).unwrap();
    // SQLite writes these, and that no page is to be put back, just before it writes the file.
    journal_bytes[..8].copy_from_slice(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    journal_bytes[8..12].fill(0);
    conn.execute_batch("commit").unwrap();
    drop(conn);
    // As if the power had failed after the last page and before the journal went.
    let whole = fs::read(&path).unwrap();
    for length in [whole.len(), 4_096, 3 * 4_096] {
        fs::write(&path, &whole[..length]).unwrap();
        fs::write(&journal, &journal_bytes).unwrap();
        let given = Given::on(open(&path).unwrap());
        given.paid_webhook();
        wait(given.store.close()).unwrap();
        assert!(!journal.exists());
    }
}

#[test]
fn another_programs_journal_is_left_alone() {
    let (folder, path) = folder();
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("create table t (x); insert into t values (1)")
        .unwrap();
    other
        .execute_batch("begin immediate; update t set x = 2")
        .unwrap();
    let journal = folder.path().join("willcall.db-journal");
    let mut journal_bytes = fs::read(&journal).unwrap();
    journal_bytes[..8].copy_from_slice(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    other.execute_batch("commit").unwrap();
    drop(other);
    fs::write(&journal, journal_bytes).unwrap();
    let before = bytes(folder.path());
    assert_eq!(before.len(), 2);
    let error = open(&path).map(drop).unwrap_err();
    assert!(
        matches!(error, OpenError::NotAStore(_) | OpenError::Broken(..)),
        "{error}"
    );
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn inspecting_changes_nothing_and_sees_what_is_there() {
    let (folder, path) = folder();
    filled(&path);
    let before = bytes(folder.path());
    let found = store::inspect(&path).unwrap();
    assert_eq!(found.schema_version, found.known_version);
    assert_eq!((found.tenants, found.webhooks, found.tokens), (1, 1, 0));
    assert_eq!((found.disabled_webhooks, found.log_bytes), (0, 0));
    assert_eq!(found.oldest_notification.unwrap().as_millis(), 0);
    assert_eq!(found.latest_notification.unwrap().as_millis(), 99);
    assert_eq!(found.file_bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(bytes(folder.path()), before);
    // Beside a running store, what is in the WAL counts as well.
    let given = Given::on(open(&path).unwrap());
    given.webhook(&[]);
    let found = store::inspect(&path).unwrap();
    assert_eq!(found.webhooks, 2);
    assert!(found.log_bytes > 0);
    wait(given.store.ping()).unwrap();
}

#[test]
fn a_file_that_another_program_holds_is_said_to_be_in_use() {
    let (_folder, path) = folder();
    filled(&path);
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("pragma locking_mode = exclusive; begin exclusive; select * from tenant")
        .unwrap();
    let error = open(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
}

#[test]
fn many_may_make_the_same_store_at_once() {
    let (_folder, path) = folder();
    std::thread::scope(|scope| {
        let opened: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| open(&path).map(|store| wait(store.ping()))))
            .collect();
        for opened in opened {
            opened.join().unwrap().unwrap().unwrap();
        }
    });
    let found = store::inspect(&path).unwrap();
    assert_eq!(found.schema_version, found.known_version);
}

#[test]
fn an_older_store_goes_on_from_the_newest_time_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(include_str!("../../migrations/sqlite/0001_init.sql"))
        .unwrap();
    conn.execute_batch("pragma user_version = 1; pragma application_id = 1466526828")
        .unwrap();
    drop(conn);
    let given = Given::on(store::open_inline_at(&path).unwrap());
    let webhook = given.paid_webhook();
    let id = delivery_id(given.notified("1", 4_000), webhook);
    given.settle(settlement(id, 7_000, answered(500), retry(12_000)));
    drop(given);
    let again = store::open_inline_at(&path).unwrap();
    assert_eq!(
        again.last_heartbeat(),
        Some(Heartbeat::certain(Moment::same(at(7_000))))
    );
}
