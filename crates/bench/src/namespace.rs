//! Runs our server so that it sees other files of ours in place of some of the system's, in a mount
//! namespace of its own. The network stays the benchmark's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::server;

/// Mounts files over others, in pairs up to `--`, and executes the program that the rest names.
/// What a machine does not have is not replaced.
const ENTER: &str = "while [ \"$1\" != -- ]; do \
                       [ ! -e \"$2\" ] || mount --bind \"$1\" \"$2\" || exit 1; shift 2; \
                     done; shift; exec \"$@\"";

/// Files, and where a program is to see them.
pub(crate) struct MountNamespace(pub(crate) Vec<(PathBuf, &'static str)>);

impl MountNamespace {
    /// # Errors
    /// If this machine does not allow it; the error says why.
    pub(crate) fn try_out(&self) -> Result<()> {
        let output = self.command(Path::new("true")).output();
        let output = output.context("unshare cannot be run")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let words = words.lines().next().unwrap_or_default().to_owned();
            bail!(
                "a mount namespace cannot be made ({}): {words}",
                output.status
            );
        }
        Ok(())
    }

    /// A command that runs a program so that it sees these files. The child's process id is the
    /// program's: neither `unshare` nor the shell forks.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = server::command(Path::new("unshare"));
        command.args(["--map-root-user", "--mount", "sh", "-c", ENTER, "sh"]);
        for (file, place) in &self.0 {
            command.arg(file).arg(place);
        }
        command.arg("--").arg(program);
        command
    }
}
