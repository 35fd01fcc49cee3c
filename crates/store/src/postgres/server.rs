//! What a server says of itself when a session begins, whether it can be used, and how the session
//! is set up.

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryMessage;

use crate::postgres::host_fault::{HostFault, OLDEST};
use crate::postgres::settings::{NetworkSettings, SessionLimits};

/// What is known of the server of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerFacts {
    /// The host and port, or the socket, that were named.
    pub(crate) host: String,
    /// Such as 150018.
    pub(crate) version: u32,
    /// The process that serves this session.
    pub(crate) backend: i32,
    /// Whom the server takes us for.
    pub(crate) user: String,
    /// The schema that tables without one are in.
    pub(crate) schema: String,
    /// Whether tables may be created there.
    pub(crate) may_create: bool,
    /// Whether what is committed survives a crash of the server's machine.
    pub(crate) is_durable: bool,
}

/// Asked before anything is set. As a simple query, which every server and pooler understands.
pub(crate) const QUESTION: &str = "SELECT \
    current_setting('server_version_num') AS version_number, \
    current_setting('server_version') AS version, \
    current_setting('statement_timeout') AS statement_timeout, \
    current_setting('lock_timeout') AS lock_timeout, \
    current_setting('synchronous_commit') AS synchronous_commit, \
    current_setting('fsync') AS fsync, \
    current_setting('transaction_read_only') AS read_only, \
    current_setting('search_path') AS search_path, \
    pg_is_in_recovery() AS is_standby, \
    (SELECT pg_encoding_to_char(encoding) FROM pg_database \
        WHERE datname = current_database()) AS encoding, \
    current_user AS user, \
    current_database() AS database, \
    current_schema() AS schema, \
    has_schema_privilege(current_schema(), 'CREATE') AS may_create, \
    pg_backend_pid() AS backend";

/// Asked after everything was set: both are the same as before and as set, unless somebody in
/// between hands statements of one session to several backends.
pub(crate) const SECOND_QUESTION: &str = "SELECT \
    pg_backend_pid() AS backend, \
    current_setting('default_transaction_read_only') AS read_only";

/// One row by the names of its columns. NULL is missing.
pub(crate) type Said = BTreeMap<String, String>;

pub(crate) fn row(messages: &[SimpleQueryMessage]) -> Said {
    let mut said = Said::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            for (index, column) in row.columns().iter().enumerate() {
                if let Ok(Some(value)) = row.try_get(index) {
                    said.insert(column.name().to_owned(), value.to_owned());
                }
            }
        }
    }
    said
}

/// What the session begins with, in the first message. A pooler that shares sessions cannot keep
/// it, and is found out by that.
pub(crate) fn startup_options(limits: &SessionLimits, given: Option<&str>) -> String {
    let mut options = String::new();
    if let Some(given) = given {
        options.push_str(given);
        options.push(' ');
    }
    options.push_str("-c statement_timeout=");
    options.push_str(&limits.statement.as_millis().to_string());
    options.push_str(" -c lock_timeout=");
    options.push_str(&limits.lock.as_millis().to_string());
    // Warnings have to come: one of them says that a commit is on no standby.
    options.push_str(" -c client_min_messages=warning");
    options
}

/// What the server says of itself, or why it cannot be used.
pub(crate) fn judge(
    host: &str,
    said: &Said,
    limits: &SessionLimits,
) -> Result<ServerFacts, HostFault> {
    let text = |name: &str| said.get(name).map_or("", String::as_str);
    let version = text("version_number").parse().unwrap_or(0);
    if version < OLDEST.0 {
        return Err(HostFault::TooOld {
            found: text("version").to_owned(),
        });
    }
    let has_kept = milliseconds(text("statement_timeout")) == Some(limits.statement.as_millis())
        && milliseconds(text("lock_timeout")) == Some(limits.lock.as_millis());
    if !has_kept {
        return Err(HostFault::Pooler(None));
    }
    if text("encoding") != "UTF8" {
        return Err(HostFault::Encoding {
            dbname: text("database").to_owned(),
            encoding: text("encoding").to_owned(),
        });
    }
    if text("is_standby") != "f" || text("read_only") != "off" {
        return Err(HostFault::ReadOnly);
    }
    let Some(schema) = said.get("schema") else {
        return Err(HostFault::NoSchema(text("search_path").to_owned()));
    };
    Ok(ServerFacts {
        host: host.to_owned(),
        version,
        backend: text("backend").parse().unwrap_or(0),
        user: text("user").to_owned(),
        schema: schema.clone(),
        may_create: text("may_create") == "t",
        is_durable: text("fsync") == "on",
    })
}

/// How every statement is to be planned: along indexes, one row after the other. All have indexes
/// that lead to what they answer; and a plan that is made while a table is empty, as `fresh` often
/// is, is used for as long as the session lasts: reading the whole table costs nothing then.
pub(crate) const PLANS: &str = "\
    SET plan_cache_mode = force_generic_plan; \
    SET enable_seqscan = off; \
    SET enable_bitmapscan = off; \
    SET enable_hashjoin = off; \
    SET enable_mergejoin = off; \
    SET plan_cache_mode = force_generic_plan;";

/// What is set for the rest of the session.
pub(crate) fn setup(said: &Said, limits: &SessionLimits, network: &NetworkSettings) -> String {
    let mut text = format!(
        "{PLANS} \
         SET jit = off; \
         SET client_encoding = 'UTF8'; \
         SET standard_conforming_strings = on; \
         SET TimeZone = 'UTC'; \
         SET DateStyle = 'ISO, YMD'; \
         SET IntervalStyle = 'postgres'; \
         SET default_transaction_isolation = 'read committed'; \
         SET default_transaction_deferrable = off; \
         SET default_transaction_read_only = on; \
         SET idle_in_transaction_session_timeout = {}; \
         SET idle_session_timeout = 0; \
         SET client_connection_check_interval = {}; \
         SET tcp_keepalives_idle = {}; \
         SET tcp_keepalives_interval = {}; \
         SET tcp_keepalives_count = {}; \
         SET tcp_user_timeout = {};",
        limits.idle_in_transaction.as_millis(),
        network.keepalives_idle.as_millis(),
        network.keepalives_idle.as_secs(),
        network.keepalives_interval.as_secs(),
        network.keepalives_count,
        network.tcp_user_timeout.as_millis(),
    );
    // A weaker one loses what was promised. A stronger one is the operator's choice.
    let commits = said.get("synchronous_commit").map_or("", String::as_str);
    if !["on", "remote_apply"].contains(&commits) {
        text.push_str(" SET synchronous_commit = on;");
    }
    text
}

/// Whether the session is still the one that was set up.
pub(crate) fn judge_again(facts: &ServerFacts, said: &Said) -> Result<(), HostFault> {
    let backend = said.get("backend").and_then(|backend| backend.parse().ok());
    let is_set = said.get("read_only").is_some_and(|value| value == "on");
    match backend == Some(facts.backend) && is_set {
        true => Ok(()),
        false => Err(HostFault::Pooler(None)),
    }
}

/// A time as PostgreSQL shows it: in its largest unit that leaves no rest.
fn milliseconds(shown: &str) -> Option<u128> {
    let end = shown.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = shown.split_at(end.unwrap_or(shown.len()));
    let number: u128 = number.parse().ok()?;
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}
