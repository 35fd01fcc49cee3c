//! A PostgreSQL server of the benchmark's own, as it is after its installation: made in a folder of
//! its own on a free port of the loopback. A shell watches over it and ends it with this process,
//! however that ends. No other server is touched.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::postgres_programs::{self, OtherUser, PostgresPrograms};
use crate::{process, tasks};

/// Whom the databases belong to, with no more rights than an operator would give.
pub(crate) const OWNER: &str = "willcall";

/// Who may do anything.
const SUPERUSER: &str = "postgres";

/// A start takes less than a second.
const START_LIMIT: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Ports that are tried: one that was free a moment ago may be taken.
const TRIES: u32 = 20;

/// Lines of its log that an error quotes.
const LAST_LINES: usize = 10;

/// Runs the server that the rest of the arguments starts. Ends it when nobody holds the other end
/// of the input any more: at once, since nothing in it is needed. Then removes the folder.
const WATCH: &str = r#"
trap '' INT TERM HUP
folder=$1
shift
"$@" </dev/null &
pid=$!
cat >/dev/null
if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$folder"; then
    kill -QUIT "$pid"
fi
wait "$pid"
rm -rf "$folder"
"#;

/// A server that is ended and removed when this is dropped.
pub(crate) struct PostgresServer {
    folder: PathBuf,
    programs: PostgresPrograms,
    user: Option<OtherUser>,
    password: String,
    port: u16,
    watch: Option<Child>,
}

impl PostgresServer {
    /// Makes a server in `folder`, which does not exist yet, and starts it. Its users log in with
    /// `password`.
    pub(crate) async fn start(folder: PathBuf, password: String) -> Result<Self> {
        let programs = PostgresPrograms::of_server()?;
        let parent = folder.parent().unwrap_or_else(|| Path::new("/"));
        let user = postgres_programs::server_user(parent)?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
        let mut server = Self {
            folder,
            programs,
            user,
            password,
            port: 0,
            watch: None,
        };
        let made = server.make().await;
        made.context("PostgreSQL cannot be set up")?;
        server.begin().await?;
        let role = format!("create role {OWNER} login password '{}'", server.password);
        server.sql("postgres", &role).await?;
        Ok(server)
    }

    async fn make(&self) -> Result<()> {
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(&self.folder, Some(user.uid), None)?;
        }
        let password = self.folder.join("password");
        std::fs::write(&password, &self.password)?;
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(&password, Some(user.uid), None)?;
        }
        let mut initdb = self.programs.command_as(self.user.as_ref(), "initdb");
        initdb
            .current_dir(&self.folder)
            // Only its own files; the server waits for its disk.
            .args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--username", SUPERUSER, "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(self.data());
        postgres_programs::run(initdb, None).await?;
        Ok(std::fs::remove_file(&password)?)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    async fn begin(&mut self) -> Result<()> {
        for _ in 0..TRIES {
            let free = tasks::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
            self.port = free.local_addr()?.port();
            drop(free);
            self.watch = Some(self.watched()?);
            if self.is_up().await? {
                return Ok(());
            }
            self.end(Watching::Port);
        }
        bail!("PostgreSQL found no free port")
    }

    /// The server, below a shell that watches over it.
    fn watched(&self) -> Result<Child> {
        let log = File::create(self.folder.join("log"))?;
        let server = self.programs.command_as(self.user.as_ref(), "postgres");
        Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(&self.folder)
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1", "-c"])
            .args(["unix_socket_directories=", "-p", &self.port.to_string()])
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // What a terminal sends to this process does not end it before its time.
            .process_group(0)
            .spawn()
            .context("there is no shell that could watch over PostgreSQL")
    }

    /// Waits until it can be used. False if its port was taken.
    async fn is_up(&self) -> Result<bool> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self.pid() {
                Some(_) if self.sql("postgres", "select 1").await.is_ok() => return Ok(true),
                Some(_) => {}
                None if self.log().contains("could not bind") => return Ok(false),
                None => {}
            }
            if Instant::now() >= deadline || self.log().contains("FATAL:  could not") {
                bail!("PostgreSQL does not start.{}", self.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The server's process, once it is ready.
    fn pid(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let mut lines = file.lines();
        let pid = lines.next()?.parse().ok()?;
        let is_ready = lines.any(|line| line.trim_end() == "ready");
        is_ready.then_some(pid)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Its last log lines, to be appended to an error.
    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        let last = lines.get(from..).unwrap_or_default().join("\n");
        format!(" The last lines of its log:\n{last}")
    }

    /// What psql answers the superuser: a line for each row, with a bar between columns.
    pub(crate) async fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.programs.command("psql");
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
            .args(["-p", &self.port.to_string(), "-U", SUPERUSER])
            .args(["-d", database, "-c", sql])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "10");
        let said = postgres_programs::run(psql, None).await;
        Ok(said?.trim_end().to_owned())
    }

    /// The URL of a database, for its owner.
    pub(crate) fn url(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// User and system time of all its processes so far, those that have ended included.
    pub(crate) fn cpu_us(&self) -> Result<u64> {
        let pid = self.pid().context("PostgreSQL has ended")?;
        process::tree_cpu_us(pid)
    }

    /// Where it has its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn end(&mut self, why: Watching) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        match why {
            Watching::Port => {
                // The server has ended; its folder is still needed.
                watch.kill().ok();
            }
            Watching::Over => drop(watch.stdin.take()),
        }
        watch.wait().ok();
    }
}

/// Why a shell need not watch any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watching {
    /// The server did not start, because its port was taken.
    Port,
    /// The server is not needed any more.
    Over,
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.end(Watching::Over);
        // There is nothing left to remove unless it never began.
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder that everybody may enter, or nobody else.
    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::Builder::new()
            .prefix("willcall-bench-")
            .tempdir_in("/tmp")
            .unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        folder
    }

    #[tokio::test]
    async fn a_server_is_as_it_is_after_its_installation_and_leaves_nothing_behind() {
        let folder = folder(0o755);
        let own = folder.path().join("postgres");
        let server = PostgresServer::start(own, "secret".to_owned())
            .await
            .unwrap();
        let sql = async |sql: &str| server.sql("postgres", sql).await.unwrap();
        for (setting, value) in [
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            ("shared_buffers", "128MB"),
            ("max_connections", "100"),
        ] {
            assert_eq!(sql(&format!("show {setting}")).await, value, "{setting}");
        }
        let rights = "select rolsuper, rolcreatedb from pg_roles where rolname = 'willcall'";
        assert_eq!(sql(rights).await, "f|f");
        assert!(
            server
                .url("it")
                .starts_with("postgres://willcall:secret@127.0.0.1:")
        );
        let refused = server.sql("postgres", "select 1/0").await.unwrap_err();
        assert!(
            refused.to_string().contains("division by zero"),
            "{refused}"
        );
        // What ended sessions have used counts.
        let before = server.cpu_us().unwrap();
        sql("select count(md5(n::text)) from generate_series(1, 300000) n").await;
        let used = server.cpu_us().unwrap() - before;
        assert!(used >= 30_000, "{used}");
        let port = server.port;
        drop(server);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[tokio::test]
    async fn a_folder_that_the_server_cannot_enter_is_told() {
        let folder = folder(0o700);
        let own = folder.path().join("postgres");
        match PostgresServer::start(own, "secret".to_owned()).await {
            // Whoever is not root runs it as the same user.
            Ok(server) => assert!(server.user.is_none()),
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains("cannot enter the folder"), "{words}");
                assert!(words.contains("--folder"), "{words}");
            }
        }
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
