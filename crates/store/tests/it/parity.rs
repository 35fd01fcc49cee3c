//! Both engines have the same tables with the same columns, but for what is listed here.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::databases::TestDatabase;
use crate::sqlite::harness::wait;

/// What only SQLite has, and why.
const SQLITE_ONLY: [(&str, &str); 4] = [
    (
        "counted",
        "ids come from a sequence, and nothing is listed later",
    ),
    ("moved", "a file is moved to a database, and none back"),
    ("notification.wanted_by", "what is owed has rows of its own"),
    ("webhook.slot null", "a virtual column may be null"),
];

/// What only PostgreSQL has, and why.
const POSTGRES_ONLY: [(&str, &str); 8] = [
    (
        "willcall",
        "SQLite has the version of its schema in the header",
    ),
    ("lease", "one process has the file to itself"),
    ("catalog", "one process knows its own changes"),
    ("envelope_day", "several threads write envelopes"),
    ("attempt.tenant_id", "keys begin with the tenant"),
    ("delivery.tenant_id", "keys begin with the tenant"),
    ("fresh.tenant_id", "keys begin with the tenant"),
    ("clock_fall.tenant_id", "ids rise within a tenant"),
];

/// Columns that may be null in SQLite only: versions that did not know them wrote rows.
const ADDED_LATER: [&str; 4] = [
    "clock.earliest_at",
    "clock.latest_at",
    "clock.reached_at",
    "clock_fall.after_at",
];

/// A type as both engines can be compared: `number`, `text` or `bytes`; and whether it may be null.
type Column = (&'static str, bool);

/// Columns by `table.column`.
type Columns = BTreeMap<String, Column>;

fn kind(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        // SQLite has numbers for booleans.
        "integer" | "bigint" | "smallint" | "boolean" => "number",
        "text" => "text",
        "blob" | "bytea" => "bytes",
        "any" => "any",
        other => panic!("{other} is not known"),
    }
}

fn of_sqlite() -> Columns {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    drop(store::open_inline_at(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    let sql = "
        select t.name || '.' || c.name, c.type, c.\"notnull\" = 0 and c.pk = 0
        from pragma_table_list t, pragma_table_xinfo(t.name) c
        where t.schema = 'main' and t.type = 'table' and t.name not like 'sqlite%'";
    let mut statement = conn.prepare(sql).unwrap();
    let found = statement.query_map([], |row| {
        let kind = kind(&row.get::<_, String>(1)?);
        Ok((row.get(0)?, (kind, row.get(2)?)))
    });
    found.unwrap().map(Result::unwrap).collect()
}

fn of_postgres() -> Columns {
    let database = TestDatabase::new();
    let store = database.open();
    wait(store.ping()).unwrap();
    let found = database.ask(
        "select c.table_name || '.' || c.column_name, c.data_type, c.is_nullable = 'YES'
         from information_schema.columns c
         where c.table_schema = 'public'",
    );
    let column = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let column = (kind(fields[1]), fields[2] == "t");
        (fields[0].to_owned(), column)
    };
    found.lines().map(column).collect()
}

/// Without what only this engine has: whole tables and single columns.
fn shared(mut columns: Columns, only: &[(&str, &str)]) -> Columns {
    for (name, _) in only {
        let before = columns.len();
        columns.retain(|column, _| {
            let (table, _) = column.split_once('.').unwrap();
            column != name && table != *name
        });
        assert!(
            columns.len() < before || name.contains(' '),
            "{name} is gone"
        );
    }
    columns
}

#[test]
fn both_engines_have_the_same_tables_and_columns() {
    let mut sqlite = shared(of_sqlite(), &SQLITE_ONLY);
    let postgres = shared(of_postgres(), &POSTGRES_ONLY);
    for name in ADDED_LATER {
        sqlite.get_mut(name).unwrap().1 = false;
    }
    let names = |columns: &Columns| columns.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sqlite), names(&postgres));
    for (name, column) in &sqlite {
        assert_eq!(column, &postgres[name], "{name}");
    }
}

#[test]
fn both_engines_have_the_same_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    drop(store::open_inline_at(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    let sql = "select name from sqlite_schema where type = 'index' and sql is not null
        order by name";
    let mut statement = conn.prepare(sql).unwrap();
    let found = statement.query_map([], |row| row.get::<_, String>(0));
    let sqlite: Vec<String> = found.unwrap().map(Result::unwrap).collect();
    let database = TestDatabase::new();
    wait(database.open().ping()).unwrap();
    let mut postgres: Vec<String> = database
        .ask(
            "select relname from pg_class c join pg_index i on i.indexrelid = c.oid
             where relnamespace = 'public'::regnamespace
               and not exists (select 1 from pg_constraint where conindid = c.oid)",
        )
        .lines()
        .map(str::to_owned)
        .collect();
    // In SQLite the column itself is unique.
    postgres.retain(|name| name != "user_name");
    postgres.sort();
    assert_eq!(sqlite, postgres);
}
