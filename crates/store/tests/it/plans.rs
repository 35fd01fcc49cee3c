//! No statement reads more than it answers: each is explained, and none may scan.

use rusqlite::Connection;

use crate::sqlite::harness::Given;

/// Statements that may read a whole table or sort, and why.
const ALLOWED: [(&str, &str); 6] = [
    ("select exists (select 1 from token)", "stops at the first"),
    (
        "select exists (select 1 from \"user\")",
        "stops at the first",
    ),
    ("from \"user\" order by name", "reads a list to show it"),
    ("order by id desc limit 1", "stops at the first"),
    (
        "order by date_from is null",
        "sorts the shows of one tenant",
    ),
    (
        "from tenant where dialect = ?1 order by key",
        "reads a list to show it",
    ),
];

fn explained(conn: &Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(&format!("explain query plan {sql}")).unwrap();
    let plan = statement.raw_query().mapped(|row| row.get::<_, String>(3));
    plan.map(Result::unwrap).collect()
}

#[test]
fn no_statement_scans_or_sorts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let given = Given::on(store::open_inline_at(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    let statements = store::probe::statements();
    assert!(statements.len() > 90);
    for sql in statements {
        let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.starts_with("pragma") || ALLOWED.iter().any(|(part, _)| words.contains(part)) {
            continue;
        }
        for step in explained(&conn, sql) {
            assert!(!step.contains("SCAN"), "{step}\n{sql}");
            assert!(!step.contains("TEMP B-TREE"), "{step}\n{sql}");
        }
    }
    drop(given);
}

#[test]
fn counting_what_is_owed_and_looking_for_the_next_read_an_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let given = Given::on(store::open_inline_at(&path).unwrap());
    let conn = Connection::open(&path).unwrap();
    let mut count = 0;
    for sql in store::probe::statements() {
        let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let (what, _) = words
            .split_once(" from delivery indexed by delivery_due")
            .unwrap_or_default();
        let columns = what.strip_prefix("select ").unwrap_or_default().split(", ");
        let has = |column: &str| ["1", "webhook_id", "due_at", "notification_id"].contains(&column);
        if what.is_empty() || !columns.clone().all(has) || words.contains("began_at") {
            continue;
        }
        count += 1;
        let plan = explained(&conn, sql).join("; ");
        assert!(plan.contains("USING COVERING INDEX"), "{plan}\n{sql}");
    }
    assert_eq!(count, 6);
    drop(given);
}
