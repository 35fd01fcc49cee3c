//! Migrations on a real server: what they make, and what they leave alone.

use crate::OpenError;
use crate::postgres::host_fault::HostFault;
use crate::postgres::migrate::{Migration, SchemaVersions, migrate, migrate_by};
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::tests::support;
use crate::postgres::tests::support::open;

const FIRST: &str = "
create table willcall (
  id smallint primary key check (id = 1),
  version integer not null,
  oldest integer not null
);
create table thing (id bigint);";
const SECOND: &str = "
create table other (id bigint);
alter table thing add column more text;";

/// Migrations, each with the oldest version whose programs work on what it makes.
fn steps<const N: usize>(steps: [(&'static str, u32); N]) -> [Migration; N] {
    steps.map(|(sql, oldest)| Migration { sql, oldest })
}

fn database() -> String {
    PostgresServer::shared().create_database()
}

fn name_of(url: &str) -> &str {
    let (_, name) = url.split_once("/test_").unwrap();
    name.split('?').next().unwrap()
}

/// What the superuser reads or does in a database.
fn asked(url: &str, sql: &str) -> String {
    PostgresServer::shared().run_sql(&format!("test_{}", name_of(url)), sql)
}

const TABLES: &str = "
    select string_agg(relname, ' ' order by relname) from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r'";

fn versions(before: u32, after: u32) -> SchemaVersions {
    SchemaVersions { before, after }
}

#[test]
fn an_empty_database_gets_all_tables_and_keeps_them() {
    let url = database();
    let migrated = migrate(&open(&url)).unwrap();
    assert_eq!(migrated, versions(0, migrated.after));
    assert!(migrated.after > 0);
    let tables = asked(&url, TABLES);
    assert!(tables.contains("notification"), "{tables}");
    let again = migrate(&open(&url)).unwrap();
    assert_eq!(again, versions(migrated.after, migrated.after));
    assert_eq!(asked(&url, TABLES), tables);
}

#[test]
fn only_what_is_missing_is_run() {
    let url = database();
    assert_eq!(
        migrate_by(&open(&url), &steps([(FIRST, 1)])).unwrap(),
        versions(0, 1)
    );
    assert_eq!(
        migrate_by(&open(&url), &steps([(FIRST, 1), (SECOND, 1)])).unwrap(),
        versions(1, 2)
    );
    assert_eq!(asked(&url, TABLES), "other thing willcall");
}

#[test]
fn nodes_that_start_at_once_migrate_once() {
    let url = database();
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            support::spawn(move || migrate(&open(&url)).unwrap())
        })
        .collect();
    let migrated: Vec<_> = nodes.into_iter().map(|node| node.join().unwrap()).collect();
    let did = |versions: &&SchemaVersions| versions.before < versions.after;
    assert_eq!(migrated.iter().filter(did).count(), 1, "{migrated:?}");
}

#[test]
fn tables_of_another_application_are_no_matter_unless_they_have_our_names() {
    let url = database();
    asked(
        &url,
        "create table orders (id bigint); create view shows as select 1",
    );
    migrate(&open(&url)).unwrap();
    for theirs in [
        "create table event (id bigint); create table session (id bigint)",
        "create view event as select 1; create sequence session",
        "create type event as enum ('a'); create domain session as text",
        "create table willcall (id smallint, version integer, name text)",
        "create table willcall (id smallint, version integer, oldest integer);
         grant select on willcall to willcall",
    ] {
        let url = database();
        asked(&url, theirs);
        let tables = asked(&url, TABLES);
        let error = migrate(&open(&url)).unwrap_err();
        let OpenError::ForeignSchema { schema, names } = &error else {
            panic!("{error}");
        };
        assert_eq!(schema, "public");
        let is_mark = theirs.contains("willcall");
        let wanted: &[&str] = match is_mark {
            true => &["willcall"],
            false => &["event", "session"],
        };
        assert_eq!(names, wanted, "{theirs}");
        assert_eq!(asked(&url, TABLES), tables);
        assert!(error.to_string().contains(wanted[0]), "{error}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let url = database();
    migrate_by(&open(&url), &steps([(FIRST, 1), (SECOND, 2)])).unwrap();
    let error = migrate_by(&open(&url), &steps([(FIRST, 1)])).unwrap_err();
    assert!(
        matches!(&error, OpenError::NewerSchema { schema, found: 2, known: 1 } if schema == "public"),
        "{error}"
    );
    assert!(error.to_string().contains("start the newer program"));
    assert_eq!(asked(&url, "select version from willcall"), "2");
}

#[test]
fn a_newer_schema_that_this_program_works_on_is_taken_as_it_is() {
    let url = database();
    let newer = steps([(FIRST, 1), (SECOND, 1)]);
    migrate_by(&open(&url), &newer).unwrap();
    let older = migrate_by(&open(&url), &steps([(FIRST, 1)]));
    assert_eq!(older.unwrap(), versions(2, 2));
    assert_eq!(asked(&url, "select version, oldest from willcall"), "2|1");
}

#[test]
fn of_a_migration_that_fails_nothing_stays() {
    let url = database();
    let broken = "create table late (id bigint);\nselect 1 / 0;";
    let error = migrate_by(&open(&url), &steps([(FIRST, 1), (broken, 1)])).unwrap_err();
    assert!(matches!(&error, OpenError::Migration { .. }), "{error}");
    assert_eq!(asked(&url, TABLES), "");
}

#[test]
fn whoever_may_make_no_tables_is_told_so() {
    let url = database();
    asked(
        &url,
        "alter schema public owner to postgres; revoke create on schema public from willcall, public",
    );
    let error = migrate(&open(&url)).unwrap_err();
    let OpenError::NoHost(failures) = &error else {
        panic!("{error}");
    };
    let is_it = matches!(
        &failures[0].fault,
        HostFault::NoCreateRight { user, schema } if user == "willcall" && schema == "public"
    );
    assert!(is_it, "{error}");
}

#[test]
fn tables_are_made_in_the_schema_that_is_named_first() {
    let url = database();
    asked(&url, "create schema house authorization willcall");
    let url = format!("{url}&options=-csearch_path%3Dhouse");
    migrate(&open(&url)).unwrap();
    assert_eq!(asked(&url, TABLES), "");
    assert_eq!(asked(&url, "select count(*) from house.notification"), "0");
    let again = migrate(&open(&url)).unwrap();
    assert_eq!(again.before, again.after);
}
