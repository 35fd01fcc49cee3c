//! A store in a database: whether it can be reached, what is in it, and whether the server keeps
//! what it confirms, has room for us, and can clean up.

use model::limits::CLOCK_STEP_MS;
use store::{
    CertificateCheck, ConnectionCount, DatabaseInspection, DatabaseSettings, Durability,
    Encryption, SchemaVersions, StoreContents, VacuumState,
};

use super::clock;
use super::finding::{Finding, Verdict};
use crate::{assemble, disk};

/// Where PostgreSQL itself begins to worry is 1,600,000,000; at 2,100,000,000 it writes nothing any
/// more.
const ROW_AGE_HIGH: u64 = 1_000_000_000;

pub(super) fn findings(settings: &DatabaseSettings) -> Vec<Finding> {
    let machine = assemble::clock();
    match store::inspect_database(settings, &machine) {
        Ok(found) => vec![
            reached(settings, &found),
            schema(&found),
            durability(&found.durability),
            connections(found.connections),
            vacuum(&found.vacuum),
            self::clock(&found),
        ],
        Err(error) => vec![
            Finding::new("database", Verdict::Wrong, error.to_string()),
            clock::judge(machine.now(), None, false),
        ],
    }
}

fn reached(settings: &DatabaseSettings, found: &DatabaseInspection) -> Finding {
    let words = format!(
        "PostgreSQL {} at {}, as user {}",
        found.version,
        settings.address(),
        found.user
    );
    let (verdict, more) = match &found.encryption {
        Encryption::Local => (Verdict::Good, "on this machine".to_owned()),
        Encryption::Plain => (
            Verdict::Odd,
            "without TLS: whoever is in between can read and change everything. Write \
             sslmode=verify-full into database_url"
                .to_owned(),
        ),
        Encryption::Tls { version, check } => match check {
            CertificateCheck::None => (
                Verdict::Odd,
                format!(
                    "by {version}, but anybody in between can pretend to be it, because its \
                     certificate is not checked. Write sslmode=verify-full into database_url, and \
                     sslrootcert"
                ),
            ),
            CertificateCheck::Authority => (
                Verdict::Odd,
                format!(
                    "by {version}, but whoever has another certificate of the same authority can \
                     pretend to be it. Write sslmode=verify-full into database_url"
                ),
            ),
            CertificateCheck::AuthorityAndName => {
                (Verdict::Good, format!("by {version}, certificate checked"))
            }
        },
    };
    Finding::new("database", verdict, format!("{words}, {more}"))
}

fn schema(found: &DatabaseInspection) -> Finding {
    let (verdict, words) = match &found.versions {
        Err(error) => (Verdict::Wrong, error.to_string()),
        Ok(SchemaVersions { before: 0, .. }) => {
            let schema = &found.schema;
            let words = format!("there is none yet; the first start creates it in schema {schema}");
            (Verdict::Odd, words)
        }
        Ok(SchemaVersions { before, after }) if before < after => (
            Verdict::Odd,
            format!(
                "schema version {before} of {after}; the next start, or `willcall migrate`, \
                 upgrades it"
            ),
        ),
        Ok(SchemaVersions { .. }) => tables(found),
    };
    Finding::new("store", verdict, words)
}

/// A store whose schema has the right version.
fn tables(found: &DatabaseInspection) -> (Verdict, String) {
    let faults = &found.tables;
    let user = &found.user;
    if !faults.missing.is_empty() {
        let words = format!(
            "there is no {} any more: restore a backup",
            faults.missing.join(", ")
        );
        return (Verdict::Wrong, words);
    }
    if !faults.forbidden.is_empty() {
        let words = format!(
            "user {user} may not read and write {}: make it their owner, or grant SELECT, INSERT, \
             UPDATE and DELETE on tables and USAGE on sequences",
            faults.forbidden.join(", ")
        );
        return (Verdict::Wrong, words);
    }
    let contents = found.contents.as_ref().map_or_else(String::new, contents);
    if !faults.of_others.is_empty() {
        let words = format!(
            "{contents}. User {user} does not own {}, so that an upgrade will fail: make it the \
             owner (ALTER TABLE … OWNER TO), or run `willcall migrate` as the owner then",
            faults.of_others.join(", ")
        );
        return (Verdict::Odd, words);
    }
    (Verdict::Good, contents)
}

fn contents(contents: &StoreContents) -> String {
    format!(
        "tenants: {}, webhooks: {} ({} disabled), servers that send: {}, {}",
        contents.tenants,
        contents.webhooks,
        contents.disabled_webhooks,
        contents.nodes,
        disk::mib(contents.bytes)
    )
}

fn durability(durability: &Durability) -> Finding {
    let about = "durability";
    let off: Vec<&str> = [
        ("fsync", durability.fsync),
        ("full_page_writes", durability.full_page_writes),
    ]
    .into_iter()
    .filter_map(|(name, on)| (!on).then_some(name))
    .collect();
    if !off.is_empty() {
        let words = format!(
            "{} of the database is off: a crash of its machine may lose what was accepted, or \
             damage everything. Turn it on",
            off.join(" and ")
        );
        return Finding::new(about, Verdict::Odd, words);
    }
    let words = match durability.synchronous_commit.as_str() {
        "on" | "remote_apply" => "a commit is on disk before it is confirmed".to_owned(),
        other => format!(
            "synchronous_commit of the database is {other}; the sessions of Willcall turn it on, so \
             that a commit is on disk before it is confirmed"
        ),
    };
    Finding::new(about, Verdict::Good, words)
}

fn connections(count: ConnectionCount) -> Finding {
    let about = "connections";
    let ConnectionCount { free, most, own } = count;
    let needed = ConnectionCount::NODE;
    let words = format!("{free} of {most} are free, and a server needs {needed}");
    if free >= needed {
        return Finding::new(about, Verdict::Good, words);
    }
    let words = format!("{words}: raise max_connections of the database, or end others");
    // With some of ours there, a server may run already and have what it needs.
    let verdict = match own {
        0 => Verdict::Wrong,
        _ => Verdict::Odd,
    };
    Finding::new(about, verdict, words)
}

fn vacuum(state: &VacuumState) -> Finding {
    let about = "vacuum";
    let mut odd = Vec::new();
    if !state.autovacuum {
        odd.push(
            "autovacuum of the database is off, so that tables grow and get slow: turn on \
             autovacuum and track_counts"
                .to_owned(),
        );
    }
    let mut held = |what: &str, found: &[String], to_do: &str| {
        if !found.is_empty() {
            odd.push(format!("{what}: {}. {to_do}", found.join(", ")));
        }
    };
    held(
        "transactions have been open for long, so that tables grow and get slow",
        &state.transactions,
        "See what they wait for, or end them (pg_terminate_backend)",
    );
    held(
        "prepared transactions have been open for long, so that tables grow and get slow",
        &state.prepared,
        "End them (COMMIT PREPARED or ROLLBACK PREPARED)",
    );
    held(
        "replication slots have no reader, and WAL is kept for them",
        &state.slots,
        "Start their readers, or drop them (pg_drop_replication_slot)",
    );
    if state.oldest_row_age > ROW_AGE_HIGH {
        odd.push(format!(
            "{} transactions have passed since the oldest row was frozen; at 2,100,000,000 the \
             database takes no changes any more: have VACUUM FREEZE done",
            state.oldest_row_age
        ));
    }
    if !odd.is_empty() {
        return Finding::new(about, Verdict::Odd, odd.join(". "));
    }
    let words = match state.has_hidden {
        true => {
            "autovacuum is on. Whether others hold it back cannot be seen: grant pg_read_all_stats"
        }
        false => "autovacuum is on, and nothing holds it back",
    };
    Finding::new(about, Verdict::Good, words)
}

fn clock(found: &DatabaseInspection) -> Finding {
    let now = assemble::clock().now();
    let contents = found.contents.as_ref();
    let last = contents.and_then(|contents| contents.last_written_at);
    let is_running = contents.is_some_and(|contents| contents.nodes > 0);
    let finding = clock::judge(now, last, is_running);
    let ahead_ms = found.clock_ahead_ms;
    let differs = ahead_ms.abs() >= CLOCK_STEP_MS.saturating_add(found.clock_error_ms);
    match finding.verdict {
        Verdict::Good if differs => {
            let place = match ahead_ms > 0 {
                true => "ahead",
                false => "behind",
            };
            let words = format!(
                "{}, and the database's clock is {} ms {place}: set the wrong one. Servers on one \
                 database should agree, because the log shows their times side by side",
                finding.words,
                ahead_ms.abs()
            );
            Finding::new("clock", Verdict::Odd, words)
        }
        Verdict::Good | Verdict::Odd | Verdict::Wrong => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_odd(finding: &Finding) -> bool {
        matches!(finding.verdict, Verdict::Odd)
    }

    #[test]
    fn too_few_connections_are_wrong_unless_a_server_may_have_them_already() {
        let count = |free, own| ConnectionCount {
            free,
            own,
            most: 97,
        };
        let verdict = |free, own| connections(count(free, own)).verdict;
        assert!(matches!(verdict(ConnectionCount::NODE, 0), Verdict::Good));
        assert!(matches!(
            verdict(ConnectionCount::NODE - 1, 0),
            Verdict::Wrong
        ));
        assert!(matches!(verdict(0, ConnectionCount::NODE), Verdict::Odd));
        let words = connections(count(-2, 0)).words;
        assert!(words.contains("raise max_connections"), "{words}");
    }

    #[test]
    fn what_holds_vacuum_back_is_said_with_what_to_do() {
        let good = VacuumState {
            autovacuum: true,
            ..VacuumState::default()
        };
        assert!(matches!(vacuum(&good).verdict, Verdict::Good));
        let hidden = VacuumState {
            has_hidden: true,
            ..good.clone()
        };
        assert!(matches!(vacuum(&hidden).verdict, Verdict::Good));
        assert!(vacuum(&hidden).words.contains("pg_read_all_stats"));
        let one = || vec!["process 1".to_owned()];
        for (state, to_do) in [
            (VacuumState::default(), "turn on autovacuum"),
            (
                VacuumState {
                    transactions: one(),
                    ..good.clone()
                },
                "process 1. See what they wait for, or end them (pg_terminate_backend)",
            ),
            (
                VacuumState {
                    prepared: one(),
                    ..good.clone()
                },
                "process 1. End them (COMMIT PREPARED or ROLLBACK PREPARED)",
            ),
            (
                VacuumState {
                    slots: one(),
                    ..good.clone()
                },
                "process 1. Start their readers, or drop them (pg_drop_replication_slot)",
            ),
            (
                VacuumState {
                    oldest_row_age: ROW_AGE_HIGH + 1,
                    ..good
                },
                "have VACUUM FREEZE done",
            ),
        ] {
            let finding = vacuum(&state);
            assert!(is_odd(&finding), "{}", finding.words);
            assert!(finding.words.contains(to_do), "{}", finding.words);
        }
    }

    #[test]
    fn a_server_that_may_lose_what_it_confirmed_is_odd() {
        let found = |fsync, full_page_writes, synchronous_commit: &str| {
            durability(&Durability {
                fsync,
                full_page_writes,
                synchronous_commit: synchronous_commit.to_owned(),
            })
        };
        assert!(is_odd(&found(false, true, "on")));
        assert!(is_odd(&found(true, false, "on")));
        let words = found(false, false, "on").words;
        assert!(
            words.starts_with("fsync and full_page_writes of"),
            "{words}"
        );
        // Our own sessions ask for more.
        let weak = found(true, true, "off");
        assert!(!is_odd(&weak) && weak.words.contains("turn it on"));
        assert!(!is_odd(&found(true, true, "remote_apply")));
    }
}
