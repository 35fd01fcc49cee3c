//! PostgreSQL's programs on this machine: where they are, as whom they run, and how one is run
//! without blocking. PostgreSQL refuses to run as root, so root runs them as another user.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Where Debian has a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Users that root runs the programs as: that of Debian's package, or one that is everywhere.
const USERS: [&str; 2] = ["postgres", "nobody"];

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The programs of one version.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPrograms {
    /// Without it they are found by their names.
    folder: Option<PathBuf>,
}

/// The user that a server runs as, if not as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
}

impl PostgresPrograms {
    /// Those of a server.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of_server() -> Result<Self> {
        Self::with("initdb", Path::new(VERSIONS)).context(
            "there is no PostgreSQL on this machine: install Debian's package `postgresql`, or name \
             a database with --database-url",
        )
    }

    /// Those that ask a server.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn of_client() -> Result<Self> {
        Self::with("psql", Path::new(VERSIONS)).context(
            "there is no `psql` on this machine: install Debian's package `postgresql-client`",
        )
    }

    /// Those among which this one is: by its name, or of the newest version.
    fn with(program: &str, versions: &Path) -> Option<Self> {
        let by_name = Self { folder: None };
        let tried = by_name.command(program).arg("--version").output();
        if tried.is_ok_and(|tried| tried.status.success()) {
            return Some(by_name);
        }
        let versions = std::fs::read_dir(versions).ok()?;
        let newest = versions.filter_map(|version| {
            let folder = version.ok()?.path();
            let number: u32 = folder.file_name()?.to_str()?.parse().ok()?;
            let folder = folder.join("bin");
            folder.join(program).exists().then_some((number, folder))
        });
        let (_, folder) = newest.max()?;
        Some(Self {
            folder: Some(folder),
        })
    }

    fn path(&self, program: &str) -> OsString {
        match &self.folder {
            Some(folder) => folder.join(program).into_os_string(),
            None => program.into(),
        }
    }

    /// A program as our own user.
    pub(crate) fn command(&self, program: &str) -> Command {
        quiet(Command::new(self.path(program)))
    }

    /// A program as the user that the server runs as.
    pub(crate) fn command_as(&self, user: Option<&OtherUser>, program: &str) -> Command {
        let Some(user) = user else {
            return self.command(program);
        };
        let mut command = as_user(user);
        command.arg(self.path(program));
        command
    }
}

/// What becomes the program named by the rest of its arguments, as this user.
fn as_user(user: &OtherUser) -> Command {
    let mut command = quiet(Command::new("setpriv"));
    command.args([
        "--reuid",
        &user.name,
        "--regid",
        &user.name,
        "--init-groups",
    ]);
    command
}

/// Without input, and without variables that say where a server is.
fn quiet(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // Errors are quoted, in the language of everything else.
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Whom the server runs as: nobody else, unless we are root.
///
/// # Errors
/// If there is no user for it, or it cannot enter `folder`.
pub(crate) fn server_user(folder: &Path) -> Result<Option<OtherUser>> {
    let own = std::fs::read_to_string("/proc/self/status")?;
    let uids = own.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = uids.and_then(|uids| uids.split_whitespace().nth(1));
    if effective != Some("0") {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let found = USERS.iter().find_map(|name| user(&users, name));
    let user = found.context("PostgreSQL does not run as root, and there is no user for it")?;
    let entered = as_user(&user).args(["test", "-x"]).arg(folder).status();
    let entered = entered.context("setpriv cannot be run; it is in Debian's package util-linux")?;
    if !entered.success() {
        bail!(
            "PostgreSQL does not run as root, and the user {} cannot enter the folder {}: choose \
             another with --folder",
            user.name,
            folder.display()
        );
    }
    Ok(Some(user))
}

/// A line of `/etc/passwd`.
fn user(users: &str, name: &str) -> Option<OtherUser> {
    let line = users.lines().find_map(|line| {
        let (found, rest) = line.split_once(':')?;
        (found == name).then_some(rest)
    })?;
    let uid = line.split(':').nth(1)?.parse().ok()?;
    Some(OtherUser {
        name: name.to_owned(),
        uid,
    })
}

/// A process group of its own that is killed if nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // What it has started, too: initdb runs a server for a moment.
        let group = self.0.id().to_string();
        let script = ["-c", "kill -KILL -- \"-$0\"", &group];
        Command::new("/bin/sh").args(script).status().ok();
        // Both fail only if it has already ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a program with `input`, in a file, and returns what it says. Lets the runtime do other work
/// meanwhile; if that is over, the program is killed.
///
/// # Errors
/// If it fails; the error has the first lines of what it said.
pub(crate) async fn run(mut command: Command, input: Option<&Path>) -> Result<String> {
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input)?);
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = Running(child.with_context(|| format!("{name} cannot be run"))?);
    // What is said fits into a pipe.
    let status = loop {
        match running.0.try_wait()? {
            Some(status) => break status,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    let mut said = [String::new(), String::new()];
    let [output, errors] = &mut said;
    let (stdout, stderr) = (running.0.stdout.take(), running.0.stderr.take());
    for (pipe, text) in [
        (stdout.map(readable), output),
        (stderr.map(readable), errors),
    ] {
        if let Some(mut pipe) = pipe {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes)?;
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    let [output, errors] = said;
    if !status.success() {
        let words: Vec<&str> = errors.lines().take(5).collect();
        bail!("{status}: {}", words.join(" "));
    }
    Ok(output)
}

fn readable<'p>(pipe: impl std::io::Read + 'p) -> Box<dyn std::io::Read + 'p> {
    Box::new(pipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_those_of_the_newest_version_that_has_them() {
        let versions = tempfile::tempdir().unwrap();
        for (version, program) in [("9", "only-here"), ("15", "only-here"), ("16", "elsewhere")] {
            let folder = versions.path().join(version).join("bin");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(program), "").unwrap();
        }
        let found = PostgresPrograms::with("only-here", versions.path()).unwrap();
        assert_eq!(found.folder, Some(versions.path().join("15").join("bin")));
        assert!(PostgresPrograms::with("nowhere-at-all", versions.path()).is_none());
        assert!(PostgresPrograms::with("only-here", &versions.path().join("none")).is_none());
        let by_name = PostgresPrograms::with("sh", versions.path());
        assert!(by_name.is_none_or(|found| found.folder.is_none()));
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "postgres2:x:7:7::/:/bin/sh\npostgres:x:105:114:a,b:/var:/bin/bash\n";
        let postgres = OtherUser {
            name: "postgres".to_owned(),
            uid: 105,
        };
        assert_eq!(user(users, "postgres"), Some(postgres));
        assert_eq!(user(users, "post"), None);
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_with_its_words() {
        let command = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdin(Stdio::null());
            command
        };
        assert_eq!(run(command("echo it"), None).await.unwrap(), "it\n");
        let failed = run(command("echo no; echo why >&2; exit 3"), None).await;
        assert_eq!(failed.unwrap_err().to_string(), "exit status: 3: why");
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        std::fs::write(&input, "from a file").unwrap();
        assert_eq!(
            run(command("cat"), Some(&input)).await.unwrap(),
            "from a file"
        );
    }
}
