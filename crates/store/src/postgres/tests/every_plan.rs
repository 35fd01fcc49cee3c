//! The plans of all statements: none reads a whole table, whatever the server knows of it. More is
//! asked of those of the hot path in `plans.rs`.

use crate::postgres::migrate::migrate;
use crate::postgres::postgres_server::PostgresServer;
use crate::postgres::session::{Committed, Session, TransactionMode};
use crate::postgres::statements::statements;
use crate::postgres::tests::support::open;

/// Tables that grow with what passes, or with the tenants: none is read as a whole.
const LARGE: [&str; 26] = [
    "attempt",
    "audience",
    "audit",
    "delivery",
    "envelope",
    "errand",
    "event",
    "failure",
    "fresh",
    "kept_answer",
    "link",
    "member",
    "notification",
    "own_header",
    "portal",
    "session",
    "signature",
    "standing",
    "statistic",
    "tally",
    "tenant",
    "token",
    "user",
    "webhook",
    "webhook_past",
    "wish",
];

/// Of these each look-up names the tenant, which is what they would be distributed by.
const OF_TENANTS: [&str; 4] = ["attempt", "delivery", "fresh", "notification"];

/// Columns by which a single row of these is found.
const SOUGHT: [&str; 4] = ["id", "key", "notification_id", "webhook_id"];

/// Statements that may read a whole table, and why.
const ALLOWED: [(&str, &str); 6] = [
    (
        "select max(ended_at) from standing",
        "at the start of a store without a heartbeat",
    ),
    (
        "select id from envelope_day where not closed",
        "looks at each tenant before something is removed",
    ),
    (
        "update envelope_day set closed = true",
        "looks at each tenant before something is removed",
    ),
    ("select exists (select 1 from token)", "stops at the first"),
    (
        "select exists (select 1 from \"user\")",
        "stops at the first",
    ),
    ("from \"user\" order by name", "reads a list to show it"),
];

/// Statements with a value of 32 bits that is no id.
const NARROW: [&str; 4] = [
    "insert into willcall (id, version",
    "and number < $",
    "set done = done + $2, stage = $3",
    "insert into kept_answer",
];

/// Rows as of a house that has been in use, in proportion.
const FILL: &str = include_str!("fill.sql");

/// The plan for values that the server does not know, line by line.
fn plan(session: &Session, sql: &str) -> Vec<String> {
    session.batch(&format!("prepare asked as {sql}")).unwrap();
    let count = "select cardinality(parameter_types)::bigint from pg_prepared_statements
        where name = 'asked'";
    let count: i64 = session.query(count, &[]).unwrap()[0].get(0);
    let values = vec!["null"; usize::try_from(count).unwrap()].join(", ");
    let values = match count {
        0 => String::new(),
        _ => format!("({values})"),
    };
    let plan = session.query(&format!("explain (costs off) execute asked{values}"), &[]);
    let plan = plan.unwrap().iter().map(|row| row.get(0)).collect();
    session.batch("deallocate asked").unwrap();
    plan
}

fn words(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is wrong with a plan.
fn faults(sql: &str, plan: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, step) in plan.iter().enumerate() {
        let read = step.trim_start_matches([' ', '-', '>']);
        if let Some(rest) = read.strip_prefix("Seq Scan on ") {
            let table = rest.split(' ').next().unwrap().trim_matches('"');
            if LARGE.contains(&table) {
                faults.push(format!("reads all of {table}"));
            }
        }
        let on = read
            .split(" on ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let Some(table) = on.map(|table| table.trim_matches('"')) else {
            continue;
        };
        if !read.starts_with("Index") || !LARGE.contains(&table) {
            continue;
        }
        // Other indexes of deliveries are not for finding one, though their conditions fit.
        let details = plan.iter().skip(at + 1).take(2);
        let by_id = details
            .take_while(|line| !line.contains("->"))
            .any(|line| line.contains("notification_id = "));
        let is_other = ["delivery_due", "delivery_state"]
            .iter()
            .any(|name| read.contains(name));
        if is_other && by_id {
            faults.push(format!("looks through {read} for single ones"));
        }
        // What could be sought and is compared instead costs as much as the tenant has.
        let filter = plan.iter().skip(at + 2).map(|line| line.trim_start());
        let filter = filter
            .take(1)
            .find_map(|line| line.strip_prefix("Filter: "));
        let is_compared =
            |column: &&&str| filter.is_some_and(|filter| filter.contains(&format!("({column} = ")));
        if OF_TENANTS.contains(&table)
            && let Some(column) = SOUGHT.iter().find(is_compared)
        {
            faults.push(format!("looks through {table} for a {column}"));
        }
        let asked = plan.get(at + 1).map_or("", |line| line.trim_start());
        match asked.strip_prefix("Index Cond: ") {
            None => faults.push(format!("reads all of {table}, in order")),
            Some(asked) if OF_TENANTS.contains(&table) && !asked.contains("tenant_id") => {
                faults.push(format!("does not name the tenant of {table}"));
            }
            Some(_) => {}
        }
    }
    faults.retain(|_| !ALLOWED.iter().any(|(part, _)| words(sql).contains(part)));
    faults
}

fn check(url: &str, what: &str) {
    let session = open(url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session
        .batch("set local plan_cache_mode = force_generic_plan")
        .unwrap();
    let mut all = Vec::new();
    for sql in statements() {
        let plan = plan(&session, &sql);
        let faults = faults(&sql, &plan);
        if !faults.is_empty() {
            all.push(format!("{}\n{sql}\n{}", faults.join("; "), plan.join("\n")));
        }
    }
    assert!(
        all.is_empty(),
        "{what}: {} statements\n{}",
        all.len(),
        all.join("\n\n")
    );
}

fn database() -> String {
    let url = PostgresServer::shared().create_database();
    migrate(&open(&url)).unwrap();
    url
}

#[test]
fn every_statement_has_an_index_in_an_empty_database() {
    check(&database(), "empty");
}

#[test]
fn every_statement_has_an_index_in_a_full_one_of_which_the_server_knows_nothing() {
    let url = database();
    fill(&url);
    check(&url, "full");
}

#[test]
fn every_statement_has_an_index_in_a_full_one_of_which_the_server_knows_all() {
    let url = database();
    fill(&url);
    analyze(&url);
    check(&url, "analyzed");
}

fn analyze(url: &str) {
    let session = open(url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.batch("analyze").unwrap();
    assert_eq!(session.commit().unwrap(), Committed::Durable);
}

fn fill(url: &str) {
    let session = open(url);
    session.begin(TransactionMode::ReadWrite).unwrap();
    session.batch(FILL).unwrap();
    assert_eq!(session.commit().unwrap(), Committed::Durable);
}

/// Ids are 64 bits wide wherever they are named, also of columns that hold less: what is asked for
/// may be any number.
#[test]
fn no_id_is_asked_for_by_less_than_64_bits() {
    let session = open(&database());
    session.begin(TransactionMode::ReadWrite).unwrap();
    let mut narrow = Vec::new();
    for sql in statements() {
        session.batch(&format!("prepare asked as {sql}")).unwrap();
        let types = "select array_to_string(parameter_types, ' ') from pg_prepared_statements
            where name = 'asked'";
        let types: String = session.query(types, &[]).unwrap()[0].get(0);
        session.batch("deallocate asked").unwrap();
        for (place, kind) in (1..).zip(types.split(' ')) {
            let is_other = NARROW.iter().any(|part| words(&sql).contains(part));
            if kind == "integer" && !is_other {
                narrow.push(format!("${place} {kind}\n{sql}"));
            }
        }
    }
    assert!(
        narrow.is_empty(),
        "{} statements\n{}",
        narrow.len(),
        narrow.join("\n\n")
    );
}
