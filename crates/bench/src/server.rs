//! A `willcall serve` as a child process, of this binary or another build: started, watched,
//! stopped, and killed at the latest when it is dropped. Its environment is empty; it is configured
//! by flags.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::process::{self, Memory, ProcessCost};
use crate::stage_store::StageStore;

/// A start takes milliseconds, with a large store a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Longer than running attempts and requests may take.
const STOP_LIMIT: Duration = Duration::from_secs(90);

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Lines of its log that an error quotes.
const LAST_LINES: usize = 10;

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

/// A command with an empty environment and no standard input.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs `willcall apply` with the text `file` on a store.
pub(crate) fn apply(program: &Path, store: &StageStore<'_>, file: &str) -> Result<()> {
    let path = store.beside("toml");
    std::fs::write(&path, file)
        .with_context(|| format!("the file {} cannot be written", path.display()))?;
    let mut command = command(program);
    command.arg("apply").arg(&path);
    let ran = run(command, store);
    std::fs::remove_file(&path)?;
    ran.context("`willcall apply` failed")
}

/// Runs `willcall user add` for an administrator.
pub(crate) fn add_user(
    program: &Path,
    store: &StageStore<'_>,
    (name, password): (&str, &str),
) -> Result<()> {
    let path = store.beside("password");
    std::fs::write(&path, password)
        .with_context(|| format!("the file {} cannot be written", path.display()))?;
    let mut command = command(program);
    command
        .args(["user", "add", name, "--administrator", "--password-stdin"])
        .stdin(File::open(&path)?);
    let ran = run(command, store);
    std::fs::remove_file(&path)?;
    ran.context("`willcall user add` failed")
}

/// Runs a command on a store and waits for it.
fn run(mut command: Command, store: &StageStore<'_>) -> Result<()> {
    store.tell(&mut command);
    let output = command.output();
    let output = output.context("the program cannot be run")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{}: {words}", output.status);
    }
    Ok(())
}

impl Server {
    /// Starts a server on a store, as the node of this number from 0 on; returns when it listens.
    pub(crate) async fn start(program: &Path, store: &StageStore<'_>, node: usize) -> Result<Self> {
        let mut command = command(program);
        command.arg("serve");
        Self::start_by(command, store, node).await
    }

    /// The same, by a command that becomes the program and has the words up to `serve`.
    pub(crate) async fn start_by(
        mut command: Command,
        store: &StageStore<'_>,
        node: usize,
    ) -> Result<Self> {
        let log = match node {
            0 => store.beside("log"),
            node => store.beside(&format!("{node}.log")),
        };
        let cannot = || format!("the log {} cannot be written", log.display());
        let file = File::create(&log).with_context(cannot)?;
        command
            .args(["--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--allow-private-targets", "all"])
            .stdout(file.try_clone().with_context(cannot)?)
            .stderr(file);
        store.tell(&mut command);
        let child = command.spawn().context("a server cannot be started")?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            server.check()?;
            if let Some(address) = server.announced() {
                server.address = address;
                return Ok(server);
            }
            if Instant::now() >= deadline {
                bail!("the server did not start.{}", server.last_words());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn announced(&self) -> Option<SocketAddr> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        log.lines().find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            entry.get("address")?.as_str()?.parse().ok()
        })
    }

    /// Fails, with the end of its log, if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended ({status}).{}", self.last_words()),
        }
    }

    /// Its last log lines, to be appended to an error.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        let last = lines.get(from..).unwrap_or_default().join("\n");
        format!(" The last lines of its log:\n{last}")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu_us(&self) -> Result<u64> {
        process::cpu_us(self.child.id())
    }

    pub(crate) fn effort(&self) -> Result<ProcessCost> {
        process::effort(self.child.id())
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> Result<u64> {
        process::threads(self.child.id())
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.child.id())
    }

    /// Sends SIGTERM and waits until it has ended cleanly.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.ask_to_stop()?;
        self.stopped().await
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_stop(&self) -> Result<()> {
        // The standard library can send only SIGKILL; every shell can send others.
        let pid = self.child.id().to_string();
        let script = ["-c", "kill -TERM \"$0\"", &pid];
        let sent = Command::new("/bin/sh").args(script).status();
        sent.context("SIGTERM cannot be sent: there is no /bin/sh")?;
        Ok(())
    }

    /// Waits until it has ended cleanly.
    pub(crate) async fn stopped(&mut self) -> Result<()> {
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    bail!(
                        "the server did not stop cleanly ({status}).{}",
                        self.last_words()
                    );
                }
                None if Instant::now() >= deadline => {
                    bail!("the server does not stop.{}", self.last_words());
                }
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_is_told_with_its_last_words() {
        let mut log = std::env::temp_dir();
        log.push(format!("willcall-last-words-{}", std::process::id()));
        let lines: Vec<String> = (0..30).map(|line| format!("line {line}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exit 3"])
            .spawn()
            .unwrap();
        child.wait().unwrap();
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: log.clone(),
        };
        let words = server.check().unwrap_err().to_string();
        assert!(words.contains("exit status: 3"), "{words}");
        assert!(words.ends_with("line 28\nline 29"), "{words}");
        assert!(!words.contains("line 19\n"), "{words}");
        std::fs::remove_file(&log).unwrap();
    }
}
