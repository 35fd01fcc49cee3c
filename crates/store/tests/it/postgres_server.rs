//! A PostgreSQL server of its own for the tests of one process: made in a temporary folder, on a
//! free port of the loopback, ended and removed with the process, even if that is killed. No other
//! server is touched.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The user that owns the databases, with no more rights than an operator would give.
pub(crate) const USER: &str = "willcall";

/// The user that may do anything.
pub(crate) const SUPERUSER: &str = "postgres";

/// Ends the server and removes the folder when nobody holds the other end of its input any more.
/// The process is only ended if it is this folder's server.
const WATCH: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
ours() { [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1/data"; }
if ours "$1"; then
    kill -QUIT "$pid"
    while ours "$1"; do sleep 0.02; done
fi
rm -rf "$1"
"#;

pub(crate) struct PostgresServer {
    /// Has the folder `data`, the socket and `log`.
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    watch: Child,
}

impl PostgresServer {
    /// One for all tests that have no special wishes. It does not wait for its disk.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start(&[
                ("fsync", "off"),
                ("full_page_writes", "off"),
                ("max_connections", "300"),
            ])
        })
    }

    /// A server with these settings, for one test alone.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let server = Self::start_from(settings, |server| {
            let mut made = server.program("initdb");
            made.args(["--no-sync", "--auth=trust", "--encoding=UTF8"])
                .args(["--locale=C.UTF-8", "--username", SUPERUSER, "--pgdata"])
                .arg(server.data());
            made
        });
        server.run_sql(SUPERUSER, &format!("CREATE ROLE {USER} LOGIN"));
        server
    }

    /// A server whose data a program makes.
    pub(crate) fn start_from(
        settings: &[(&str, &str)],
        made_by: impl FnOnce(&Self) -> Command,
    ) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("willcall-postgres-")
            .tempdir_in("/tmp")
            .unwrap()
            .keep();
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh", &folder.display().to_string()])
            .stdin(Stdio::piped())
            // What ends the tests from a terminal does not end it before it has cleaned up.
            .process_group(0)
            .spawn()
            .unwrap();
        if let Some((_, uid)) = other_user() {
            std::os::unix::fs::chown(&folder, Some(uid), None).unwrap();
        }
        let mut server = Self {
            folder,
            port: 0,
            watch,
        };
        run(made_by(&server));
        server.configure(settings);
        server.begin_on_free_port();
        server
    }

    /// A new, empty database that belongs to `USER`, and its URL.
    pub(crate) fn create_database(&self) -> String {
        self.create_database_like("template1")
    }

    /// A copy of a database to which nobody is connected.
    pub(crate) fn create_database_like(&self, template: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.run_sql(
            SUPERUSER,
            &format!("CREATE DATABASE {name} OWNER {USER} TEMPLATE {template}"),
        );
        self.url(&name)
    }

    /// The URL of a database for `USER`, without TLS.
    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://{USER}@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// What psql answers as the superuser, in the superuser's database or another.
    pub(crate) fn run_sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d"])
            .args([database, "-p", &self.port.to_string(), "-c", sql, "-h"])
            .arg(&self.folder);
        run(psql).trim_end().to_owned()
    }

    /// Adds settings. Those that are read at the start only count from the next one on.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        let file = self.data().join("postgresql.auto.conf");
        let mut text = std::fs::read_to_string(&file).unwrap_or_default();
        for (name, value) in settings {
            text.extend([name, " = '", &value.replace('\'', "''"), "'\n"]);
        }
        std::fs::write(file, text).unwrap();
    }

    /// Starts it where it was before, and waits until it can be used.
    pub(crate) fn begin(&self) {
        let begun = self.begin_on(self.port);
        assert!(begun, "it starts: {}", self.log());
    }

    /// Ends it, and waits for that: `smart`, `fast` or `immediate`.
    pub(crate) fn end(&self, mode: &str) {
        let mut ended = self.program("pg_ctl");
        ended
            .args(["stop", "-w", "-m", mode, "-D"])
            .arg(self.data());
        run(ended);
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A program of PostgreSQL as the user that the server runs as: as root it refuses to run.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = as_server_user(programs().join(name));
        command.current_dir(&self.folder);
        command
    }

    fn begin_on_free_port(&mut self) {
        for _ in 0..20 {
            // Free now, and most likely still free in a moment.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            self.port = free.local_addr().unwrap().port();
            drop(free);
            if self.begin_on(self.port) {
                return;
            }
        }
        panic!("PostgreSQL does not start: {}", self.log());
    }

    fn begin_on(&self, port: u16) -> bool {
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}",
            self.folder.display()
        );
        let mut begun = self.program("pg_ctl");
        begun.args(["start", "-w", "-s", "-o", &options, "-l"]);
        begun
            .arg(self.folder.join("log"))
            .arg("-D")
            .arg(self.data());
        // Its output goes nowhere: the server would keep it open.
        let begun = begun.stdin(Stdio::null()).stdout(Stdio::null());
        begun.stderr(Stdio::null()).status().unwrap().success()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        drop(self.watch.wait());
    }
}

/// Where the newest PostgreSQL of this machine has its programs.
pub(crate) fn programs() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL is installed: test.sh sees to that");
        let newest = versions.filter_map(|version| {
            let version = version.unwrap().path();
            let number: u32 = version.file_name()?.to_str()?.parse().ok()?;
            Some((number, version.join("bin")))
        });
        newest.max().expect("some version is installed").1
    })
}

/// A program as the user that the server runs as.
pub(crate) fn as_server_user(program: impl AsRef<OsStr>) -> Command {
    let Some((user, _)) = other_user() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--init-groups"]);
    command.arg(program);
    command
}

/// Whom the server runs as if we are root: the user of Debian's package, or nobody.
fn other_user() -> Option<(String, u32)> {
    let ids = std::fs::read_to_string("/proc/self/status").unwrap();
    let uid = ids.lines().find_map(|line| line.strip_prefix("Uid:"));
    if uid.unwrap().split_whitespace().next() != Some("0") {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    ["postgres", "nobody"].iter().find_map(|wanted| {
        let mut fields = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(wanted)).then_some(fields)
        })?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some(((*wanted).to_owned(), uid))
    })
}

/// What a program says, if it succeeds.
pub(crate) fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?} failed: {told}");
    String::from_utf8(output.stdout).unwrap()
}
