//! Plans of the hot path: whatever the planner thinks of the tables, nothing reads more than it
//! answers. A plan may be made while a table is empty and be used for as long as the session lasts.

use crate::postgres::server::PLANS;
use crate::postgres::tests::store_database::StoreDatabase;
use crate::postgres::{
    clock, due, envelopes, health_columns, leases, locks, pending, schedule, settle,
    settle_columns, unattempted,
};
use crate::sql::backlog;

/// Tables that grow, and the column with which all their keys begin: of these each index is asked
/// for a part of it.
const LARGE: [(&str, &str); 8] = [
    ("attempt", "tenant_id"),
    ("delivery", "tenant_id"),
    ("envelope", "day = "),
    ("envelope", "id = "),
    ("fresh", "tenant_id"),
    ("notification", "tenant_id"),
    ("standing", "webhook_id"),
    ("tally", "webhook_id"),
];

/// Statements whose plan reads all of one of these on purpose.
const ALLOWED: [&str; 2] = [
    // At a start without any heartbeat.
    "max(ended_at) from standing",
    // Seeks to the next webhook, from the first on.
    "with recursive walk",
];

fn statements() -> Vec<String> {
    let own = [
        clock::STATEMENTS,
        due::STATEMENTS,
        envelopes::STATEMENTS,
        health_columns::STATEMENTS,
        leases::STATEMENTS,
        pending::STATEMENTS,
        settle::STATEMENTS,
        settle_columns::STATEMENTS,
        unattempted::STATEMENTS,
    ];
    let own = own.into_iter().flatten().map(|sql| (*sql).to_owned());
    let shared = backlog::STATEMENTS.iter().map(|sql| sql.to_postgres());
    let single = [schedule::LATEST, locks::TAKE, locks::TRY, locks::SHARE].map(str::to_owned);
    own.chain(shared).chain(single).collect()
}

/// For each statement the plan that is used for any values.
fn plans(database: &StoreDatabase, statements: &[String]) -> Vec<String> {
    let explained = statements.iter().enumerate().map(|(place, sql)| {
        let count = (1..).take_while(|number| sql.contains(&format!("${number}")));
        let values = match count.count() {
            0 => String::new(),
            count => format!("({})", vec!["null"; count].join(", ")),
        };
        format!(
            "prepare s{place} as {sql}; explain (costs off) execute s{place}{values};
             select '=next=';"
        )
    });
    let script: String = explained.collect();
    let script = format!("{PLANS} set plan_cache_mode = force_generic_plan; {script}");
    let answer = database.ask(&script);
    answer.split("=next=").map(str::to_owned).collect()
}

/// What is wrong with a plan.
fn fault(sql: &str, plan: &str) -> Option<String> {
    if ALLOWED.iter().any(|part| sql.contains(part)) {
        return None;
    }
    // These have a row for each node, or one. Of tenants each is looked at on purpose.
    let small = ["lease", "envelope_day", "clock", "tenant"];
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    lines.iter().enumerate().find_map(|(at, line)| {
        if let Some((_, table)) = line.split_once("Seq Scan on ") {
            let table = table.split(' ').next().unwrap_or_default();
            return (!small.contains(&table)).then(|| format!("it reads all of {table}"));
        }
        let (scan, rest) = line.split_once(" using ")?;
        let (index, table) = rest.split_once(" on ")?;
        let table = table.split(' ').next().unwrap_or_default();
        let asked = lines.get(at + 1).copied().unwrap_or_default();
        let asked = asked.strip_prefix("Index Cond:").unwrap_or_default();
        let mut keys = LARGE.iter().filter(|(large, _)| *large == table).peekable();
        let is_large = keys.peek().is_some();
        let is_part = keys.any(|(_, key)| asked.contains(key));
        (is_large && !is_part).then(|| format!("{scan} of all of {index}"))
    })
}

/// Each statement's plan has no fault.
fn check(database: &StoreDatabase, state: &str) {
    let statements = statements();
    for (sql, plan) in statements.iter().zip(plans(database, &statements)) {
        if let Some(fault) = fault(sql, &plan) {
            panic!("{state}: {fault}\n{plan}\n{sql}");
        }
        // What is due is found in the order in which it is due, not in the whole log.
        if sql.contains("order by due_at") {
            assert!(plan.contains("delivery_due"), "{state}\n{plan}\n{sql}");
            let sorts = plan.lines().any(|line| line.ends_with("Sort"));
            assert!(!sorts, "{state}\n{plan}\n{sql}");
        }
    }
}

#[test]
fn no_statement_of_the_hot_path_reads_a_table_whatever_was_in_it_when_it_was_planned() {
    let database = StoreDatabase::new();
    for (table, _) in LARGE {
        database.ask(&format!(
            "alter table {table} set (autovacuum_enabled = off)"
        ));
    }
    check(&database, "new");
    database.ask("analyze");
    check(&database, "empty");
    database.webhooks(20);
    database.notify(1_000, 20);
    database.ask(
        "insert into delivery
           (tenant_id, webhook_id, notification_id, state, round, attempts, round_start, due_at,
            ended_at, began_at)
         select tenant_id, webhook_id, notification_id,
           case when notification_id % 50 = 0 then 0 else 1 end, 1, 1, 0,
           case when notification_id % 50 = 0 then 5000 end, 1000, 1000
         from fresh where notification_id <= 900;
         insert into envelope (day, hash, url) select 1, n, n::text from generate_series(1, 9999) n;
         insert into attempt
           (tenant_id, notification_id, webhook_id, number, began_at, envelope_id, duration_ms)
         select tenant_id, notification_id, webhook_id, 0, 0, 1, 0 from delivery;
         delete from fresh where notification_id <= 900;",
    );
    check(&database, "full, as if it were empty");
    database.ask("vacuum analyze");
    check(&database, "full");
    database.ask("delete from fresh; delete from delivery; delete from attempt");
    database.ask("vacuum analyze");
    check(&database, "emptied");
}
