//! PostgreSQL as the benchmark uses it: each stage gets a database of a server of its own, or a
//! schema in the database that `--database-url` names. Nothing else there is read or changed.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use model::rng::SeededRng;
use tokio::time::Instant;

use crate::measure::{Samples, micros};
use crate::postgres_programs::{self, PostgresPrograms};
use crate::postgres_server::{OWNER, PostgresServer};

/// Letters of the password that the server's users have.
const PASSWORD_LETTERS: usize = 32;

/// What a commit writes at least, and how much there is to write to.
const BLOCK: [u8; 8_192] = [0x57; 8_192];
const BLOCKS: usize = 256;

/// Flushes that are timed.
const FLUSHES: usize = 300;

/// Where databases for stages come from.
pub(crate) struct DatabaseSource {
    kind: SourceKind,
    /// The first word of what `show server_version` says.
    pub(crate) version: String,
    /// The median of how long it takes to write and flush 8 kB on its disk, if it is ours.
    pub(crate) flush_us: Option<f64>,
    count: AtomicU32,
}

enum SourceKind {
    Own(PostgresServer),
    Named {
        programs: PostgresPrograms,
        url: String,
        /// What the names of the schemas begin with.
        prefix: String,
    },
}

/// A database, or a schema, of one stage.
#[derive(Debug, Clone)]
pub(crate) struct StageDatabase {
    name: String,
    /// For the servers under test.
    pub(crate) url: String,
}

impl DatabaseSource {
    /// Starts a server in `folder`, which does not exist yet.
    pub(crate) async fn own(folder: &Path, rng: &SeededRng) -> Result<Self> {
        let password = rng.split("postgres").alphanumeric(PASSWORD_LETTERS);
        let server = PostgresServer::start(folder.to_owned(), password).await?;
        let flush_us = flush_us(server.folder())?;
        Self::of(SourceKind::Own(server), Some(flush_us)).await
    }

    /// Uses the database that a URL names.
    pub(crate) async fn named(url: &str, rng: &SeededRng) -> Result<Self> {
        ensure!(
            !url.contains("options="),
            "the URL of --database-url must not have options: the benchmark sets the search_path \
             there"
        );
        let letters = rng.split("schema").alphanumeric(8).to_lowercase();
        let kind = SourceKind::Named {
            programs: PostgresPrograms::of_client()?,
            url: url.to_owned(),
            prefix: format!("willcall_bench_{letters}"),
        };
        let source = Self::of(kind, None).await;
        source.context("the database of --database-url cannot be used")
    }

    async fn of(kind: SourceKind, flush_us: Option<f64>) -> Result<Self> {
        let mut source = Self {
            kind,
            version: String::new(),
            flush_us,
            count: AtomicU32::default(),
        };
        let version = source.admin("show server_version").await?;
        let version = version.split_whitespace().next();
        version.unwrap_or_default().clone_into(&mut source.version);
        Ok(source)
    }

    /// A new database, which is empty.
    pub(crate) async fn create(&self) -> Result<StageDatabase> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        Ok(match &self.kind {
            SourceKind::Own(server) => {
                let name = format!("bench_{number}");
                self.admin(&format!("create database {name} owner {OWNER}"))
                    .await?;
                let url = server.url(&name);
                StageDatabase { name, url }
            }
            SourceKind::Named { url, prefix, .. } => {
                let name = format!("{prefix}_{number}");
                self.admin(&format!("create schema {name}")).await?;
                StageDatabase {
                    url: in_schema(url, &name),
                    name,
                }
            }
        })
    }

    /// Removes a database with all that is in it.
    pub(crate) async fn remove(&self, database: &StageDatabase) -> Result<()> {
        let name = &database.name;
        let removed = match &self.kind {
            SourceKind::Own(_) => format!("drop database {name} with (force)"),
            SourceKind::Named { .. } => format!("drop schema {name} cascade"),
        };
        self.admin(&removed).await.map(drop)
    }

    /// Removes what stages that broke off have left where others have their data.
    pub(crate) async fn end(&self) -> Result<()> {
        let SourceKind::Named { prefix, .. } = &self.kind else {
            return Ok(());
        };
        for number in 0..self.count.load(Ordering::Relaxed) {
            let removed = format!("drop schema if exists {prefix}_{number} cascade");
            self.admin(&removed).await?;
        }
        Ok(())
    }

    /// Runs statements of the benchmark's own, not in a stage's database.
    async fn admin(&self, sql: &str) -> Result<String> {
        match &self.kind {
            SourceKind::Own(server) => server.sql("postgres", sql).await,
            SourceKind::Named { programs, url, .. } => psql(programs, url, sql).await,
        }
    }

    /// Runs statements in a stage's database: as the server's superuser, if it is ours. Answers a
    /// line for each row.
    pub(crate) async fn sql(&self, database: &StageDatabase, sql: &str) -> Result<String> {
        match &self.kind {
            SourceKind::Own(server) => server.sql(&database.name, sql).await,
            SourceKind::Named { programs, .. } => psql(programs, &database.url, sql).await,
        }
    }

    /// CPU time of the whole server so far, if it is ours.
    pub(crate) fn cpu_us(&self) -> Result<Option<u64>> {
        match &self.kind {
            SourceKind::Own(server) => server.cpu_us().map(Some),
            SourceKind::Named { .. } => Ok(None),
        }
    }

    /// Bytes of WAL that the server has written so far, whoever asked it to.
    pub(crate) async fn wal_bytes(&self) -> Result<u64> {
        let bytes = self.admin("select pg_current_wal_lsn() - '0/0'::pg_lsn");
        let bytes = bytes.await?;
        let bytes = bytes.parse();
        bytes.context("PostgreSQL does not say how much WAL it has written")
    }

    /// Bytes of a stage's tables and indexes.
    pub(crate) async fn bytes(&self, database: &StageDatabase) -> Result<u64> {
        let sizes = "select sum(pg_total_relation_size(oid)) from pg_class where relkind in ('r', \
                     'S') and relnamespace = current_schema()::regnamespace";
        let bytes = self.sql(database, sizes).await?;
        bytes
            .parse()
            .context("PostgreSQL does not say how large it is")
    }
}

async fn psql(programs: &PostgresPrograms, url: &str, sql: &str) -> Result<String> {
    let mut psql = programs.command("psql");
    psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .env("PGCONNECT_TIMEOUT", "10");
    let said = postgres_programs::run(psql, None).await;
    Ok(said?.trim_end().to_owned())
}

/// The URL of a database so that its sessions find everything in a schema.
fn in_schema(url: &str, schema: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-c%20search_path%3D{schema}")
}

/// The median time to write 8 kB over what is there already and flush it, as a commit does.
fn flush_us(folder: &Path) -> Result<f64> {
    let path = folder.join("flushed");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("the file {} cannot be written", path.display()))?;
    for _ in 0..BLOCKS {
        file.write_all(&BLOCK)?;
    }
    file.sync_all()?;
    let mut took = Vec::with_capacity(FLUSHES);
    for number in 0..FLUSHES {
        if number % BLOCKS == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        let began = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        took.push(micros(began.elapsed()));
    }
    std::fs::remove_file(&path)?;
    Ok(Samples::of(took).median())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_asked_for_by_the_url() {
        assert_eq!(
            in_schema("postgres://u@h/d", "s_1"),
            "postgres://u@h/d?options=-c%20search_path%3Ds_1"
        );
        assert_eq!(
            in_schema("postgres://u@h/d?sslmode=disable", "s_1"),
            "postgres://u@h/d?sslmode=disable&options=-c%20search_path%3Ds_1"
        );
    }

    #[test]
    fn a_flush_takes_time_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(flush_us(folder.path()).unwrap() > 0.0);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
