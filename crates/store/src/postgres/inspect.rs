//! What a database is like, for `willcall doctor`: the server, its settings, what else it has to
//! do, and the store in it. Changes nothing.
//!
//! Every question is answered on its own: where this user may not look, that part is missing.

pub(crate) mod questions;

use std::net::IpAddr;
use std::time::Duration;

use model::time::{Clock, Timestamp};
use tokio_postgres::Row;

use self::questions::{CLOCK, CONNECTIONS, CONTENTS, FACTS, PREPARED, SLOTS, TABLES, TRANSACTIONS};
use crate::OpenError;
use crate::postgres::apart::apart;
use crate::postgres::hold_ups::LONG;
use crate::postgres::migrate::{self, SchemaVersions};
use crate::postgres::open;
use crate::postgres::pipeline::Params;
use crate::postgres::session::Session;
use crate::postgres::session_error::SessionError;
use crate::postgres::settings::{DatabaseSettings, HostAddress, TlsSettings};

/// What the database's lists call the session.
const ROLE: &str = "willcall doctor";

/// A database and the store in it.
#[derive(Debug, Clone)]
pub struct DatabaseInspection {
    /// The host and port, or the socket, that could be used.
    pub host: String,
    /// The server's version in words.
    pub version: String,
    pub user: String,
    /// The schema that the tables are in, or are to be in.
    pub schema: String,
    pub encryption: Encryption,
    /// The version that the tables have, 0 if there are none, and the one that they would have
    /// after a start; or why it would not start with them.
    pub versions: Result<SchemaVersions, OpenError>,
    /// Of what the schema of this version should have.
    pub tables: TableFaults,
    /// What is in the store, if it can be read.
    pub contents: Option<StoreContents>,
    pub durability: Durability,
    pub connections: ConnectionCount,
    /// How far the database's clock is ahead of the given one, and by how much that may be wrong.
    pub clock_ahead_ms: i64,
    pub clock_error_ms: i64,
    pub vacuum: VacuumState,
}

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// It leaves the machine in no case.
    Local,
    Plain,
    /// The version of TLS, and whether the server's certificate was checked: not at all, against
    /// authorities, or against its name as well.
    Tls {
        version: String,
        check: CertificateCheck,
    },
}

impl Encryption {
    /// Of a session with this version of TLS, which is empty without.
    pub(crate) fn of(version: String, tls: &TlsSettings, is_local: bool) -> Self {
        match (version.is_empty(), is_local) {
            (_, true) => Self::Local,
            (true, false) => Self::Plain,
            (false, false) => Self::Tls {
                version,
                check: match (&tls.roots, tls.verifies_name) {
                    (None, _) => CertificateCheck::None,
                    (Some(_), false) => CertificateCheck::Authority,
                    (Some(_), true) => CertificateCheck::AuthorityAndName,
                },
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateCheck {
    None,
    Authority,
    AuthorityAndName,
}

/// Names of tables and sequences, in three lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFaults {
    pub missing: Vec<String>,
    /// This user may not read and write them.
    pub forbidden: Vec<String>,
    /// They belong to somebody else, so that this user cannot upgrade them.
    pub of_others: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreContents {
    pub tenants: u64,
    pub webhooks: u64,
    pub disabled_webhooks: u64,
    /// Nodes whose lease has not ended.
    pub nodes: u64,
    /// When it was last written, by the clock of a node.
    pub last_written_at: Option<Timestamp>,
    /// Of the whole database.
    pub bytes: u64,
}

/// Settings of the server without which a crash loses what was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    pub fsync: bool,
    pub full_page_writes: bool,
    /// What sessions have that do not ask for more, as the store's do.
    pub synchronous_commit: String,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCount {
    /// That this user can still open.
    pub free: i64,
    /// Of the server, without those kept for superusers.
    pub most: i64,
    /// Of this user to this database already.
    pub own: i64,
}

impl ConnectionCount {
    /// That one node needs: one for each thread of its executor.
    pub const NODE: i64 = 11;
}

/// What keeps the database from removing dead rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VacuumState {
    pub autovacuum: bool,
    /// Transactions that have been open for long, in words; the oldest first.
    pub transactions: Vec<String>,
    /// Prepared transactions that nobody has ended for long, likewise.
    pub prepared: Vec<String>,
    /// Replication slots that nobody reads, likewise.
    pub slots: Vec<String>,
    /// Whether there are sessions of others that this user may not look into.
    pub has_hidden: bool,
    /// How many transactions ago the oldest row was frozen.
    pub oldest_row_age: u64,
}

/// Inspects a database without changing anything.
pub fn inspect_database(
    settings: &DatabaseSettings,
    clock: &Clock,
) -> Result<DatabaseInspection, OpenError> {
    apart(|| inspect(settings, clock, LONG))
}

/// A row. What is missing is none.
struct Answer(Option<Row>);

impl Answer {
    fn text(&self, name: &str) -> String {
        let found = self.0.as_ref().map(|row| row.try_get(name));
        found.and_then(Result::ok).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0.as_ref()?.try_get(name).ok()
    }

    fn count(&self, name: &str) -> u64 {
        let number = self.number(name).unwrap_or(0);
        u64::try_from(number).unwrap_or(0)
    }

    fn is(&self, name: &str) -> bool {
        let found = self.0.as_ref().map(|row| row.try_get(name));
        matches!(found, Some(Ok(true)))
    }
}

/// Asks one question after another on one session.
struct Inspector<'a> {
    settings: &'a DatabaseSettings,
    session: Session,
}

impl Inspector<'_> {
    /// All rows of the answer. None where the server refuses to answer.
    fn ask(&self, question: &str) -> Result<Vec<Answer>, OpenError> {
        self.ask_about(question, &[])
    }

    fn ask_about(&self, question: &str, params: Params<'_>) -> Result<Vec<Answer>, OpenError> {
        match self.session.query(question, params) {
            Ok(rows) => Ok(rows.into_iter().map(|row| Answer(Some(row))).collect()),
            Err(SessionError::Refused(refused)) => {
                tracing::debug!(%refused, "the database does not say");
                Ok(Vec::new())
            }
            Err(error) => Err(migrate::failure(&self.session, open::broken(error))),
        }
    }

    fn ask_one(&self, question: &str) -> Result<Answer, OpenError> {
        let mut answers = self.ask(question)?;
        Ok(answers.pop().unwrap_or(Answer(None)))
    }

    fn texts(&self, question: &str, params: Params<'_>) -> Result<Vec<String>, OpenError> {
        let answers = self.ask_about(question, params)?;
        Ok(answers.iter().map(|answer| answer.text("words")).collect())
    }

    fn tables(&self) -> Result<TableFaults, OpenError> {
        let mut faults = TableFaults::default();
        let tables: Vec<&str> = migrate::tables().collect();
        let sequences: Vec<&str> = migrate::sequences().collect();
        for answer in self.ask_about(TABLES, &[&tables, &sequences])? {
            let name = answer.text("name");
            match (answer.is("missing"), answer.is("forbidden")) {
                (true, _) => faults.missing.push(name),
                (false, true) => faults.forbidden.push(name),
                (false, false) if answer.is("of_others") => faults.of_others.push(name),
                (false, false) => {}
            }
        }
        Ok(faults)
    }

    fn contents(&self) -> Result<Option<StoreContents>, OpenError> {
        let answers = self.ask(CONTENTS)?;
        Ok(answers.first().map(|found| StoreContents {
            tenants: found.count("tenants"),
            webhooks: found.count("webhooks"),
            disabled_webhooks: found.count("disabled_webhooks"),
            nodes: found.count("nodes"),
            last_written_at: found.number("wall_at").map(Timestamp::from_millis),
            bytes: found.count("bytes"),
        }))
    }

    /// How far the database's clock is ahead, and by how much that may be wrong: half of what the
    /// answer took.
    fn clock_ahead(&self, clock: &Clock) -> Result<(i64, i64), OpenError> {
        let before = clock.now();
        let found = self.ask_one(CLOCK)?.number("at").unwrap_or(0);
        let after = clock.now();
        let half = after.ms_since(before) / 2;
        let between = before.plus_ms(half);
        Ok((Timestamp::from_millis(found).ms_since(between), half.max(1)))
    }

    /// Whether what is said leaves this machine in no case.
    fn is_local(&self) -> bool {
        let used = &self.session.facts().host;
        let host = self
            .settings
            .hosts
            .iter()
            .find(|host| host.to_string() == *used);
        match host.map(|host| &host.address) {
            Some(HostAddress::Socket(_)) => true,
            Some(HostAddress::Name(_, Some(address))) => address.is_loopback(),
            Some(HostAddress::Name(name, None)) => {
                let address: Option<IpAddr> = name.parse().ok();
                name == "localhost" || address.is_some_and(|address| address.is_loopback())
            }
            None => false,
        }
    }

    fn vacuum(&self, facts: &Answer, long: Duration) -> Result<VacuumState, OpenError> {
        let long = long.as_secs_f64();
        Ok(VacuumState {
            autovacuum: facts.text("autovacuum") == "on" && facts.text("track_counts") == "on",
            transactions: self.texts(TRANSACTIONS, &[&long])?,
            prepared: self.texts(PREPARED, &[&long])?,
            slots: self.texts(SLOTS, &[])?,
            has_hidden: facts.is("has_hidden"),
            oldest_row_age: facts.count("oldest_row_age"),
        })
    }
}

/// The same on this thread, with another idea of how long a transaction is open for long.
pub(crate) fn inspect(
    settings: &DatabaseSettings,
    clock: &Clock,
    long: Duration,
) -> Result<DatabaseInspection, OpenError> {
    let session = Session::open(settings, ROLE)?;
    let begun = session.facts().clone();
    let inspector = Inspector { settings, session };
    let facts = inspector.ask_one(FACTS)?;
    let connections = inspector.ask_one(CONNECTIONS)?;
    let versions = migrate::preview(&inspector.session);
    let is_current = matches!(&versions, Ok(found) if found.before == found.after);
    let (tables, contents) = match is_current {
        true => (inspector.tables()?, inspector.contents()?),
        false => (TableFaults::default(), None),
    };
    let (clock_ahead_ms, clock_error_ms) = inspector.clock_ahead(clock)?;
    Ok(DatabaseInspection {
        host: begun.host,
        version: facts.text("version"),
        user: facts.text("user"),
        schema: begun.schema,
        encryption: Encryption::of(facts.text("tls"), &settings.tls, inspector.is_local()),
        versions,
        tables,
        contents,
        durability: Durability {
            fsync: facts.text("fsync") == "on",
            full_page_writes: facts.text("full_page_writes") == "on",
            synchronous_commit: facts.text("synchronous_commit"),
        },
        connections: ConnectionCount {
            free: connections.number("free").unwrap_or(0),
            most: connections.number("most").unwrap_or(0),
            own: connections.number("own").unwrap_or(0),
        },
        clock_ahead_ms,
        clock_error_ms,
        vacuum: inspector.vacuum(&facts, long)?,
    })
}
