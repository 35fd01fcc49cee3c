//! Whether a server runs already, and what it says of itself.

use std::io::Error;
use std::time::Duration;

use super::finding::{Finding, Verdict};
use crate::config::Config;
use crate::listen_address::ListenAddress;
use crate::store_location::StoreLocation;

/// A server that is ready answers within 2 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What every line of our metrics begins with.
const METRIC: &str = "willcall_";

/// By what a running server is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunningServer {
    /// It holds the lock of the data folder.
    OnFolder,
    /// It has our metrics, at the address of the setting `listen`.
    AtAddress,
}

/// The server on this machine that runs on the same store or, with a database, at the same address.
pub(super) fn running(config: &Config) -> Option<RunningServer> {
    match &config.store {
        StoreLocation::Folder(folder) => folder.is_running().then_some(RunningServer::OnFolder),
        StoreLocation::Database(_) => {
            let metrics = ask(&reached(config)?, "/metrics");
            let is_ours = metrics.is_ok_and(|(_, words)| words.contains(METRIC));
            is_ours.then_some(RunningServer::AtAddress)
        }
    }
}

/// What it says at `/readyz`, if the settings say where that is.
pub(super) fn ready(config: &Config, running: RunningServer) -> Option<Finding> {
    let about = "server";
    let address = reached(config)?;
    Some(match ask(&address, "/readyz") {
        Ok((200, words)) => match words.trim().strip_prefix("ok").unwrap_or(&words).trim() {
            "" => Finding::new(about, Verdict::Good, format!("ready at {address}")),
            notes => Finding::new(
                about,
                Verdict::Odd,
                format!("ready, but: {}", notes.replace('\n', " ")),
            ),
        },
        Ok((_, words)) => Finding::new(about, Verdict::Wrong, words.trim().to_owned()),
        Err(error) => {
            let place = match running {
                RunningServer::OnFolder => "on this folder",
                RunningServer::AtAddress => "here",
            };
            let words = format!("a server runs {place}, but does not answer at {address}: {error}");
            Finding::new(about, Verdict::Wrong, words)
        }
    })
}

/// The status and the words of the server's answer at `/readyz`, or why there is none.
pub(crate) fn readiness(config: &Config) -> Result<(u16, String), String> {
    let Some(address) = reached(config) else {
        return Err("the port of the setting listen is 0, so nobody knows where to ask".to_owned());
    };
    let answer = ask(&address, "/readyz");
    answer.map_err(|error| format!("no server answers at {address}: {error}"))
}

/// Where this machine reaches a server that has these settings.
fn reached(config: &Config) -> Option<ListenAddress> {
    config.listen.iter().find_map(ListenAddress::reached)
}

fn ask(address: &ListenAddress, path: &str) -> std::io::Result<(u16, String)> {
    let answer = address.exchange(path, ANSWER_LIMIT)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other("the answer is not HTTP"))?;
    Ok((status, body.to_owned()))
}
