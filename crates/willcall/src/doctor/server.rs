//! Whether a server runs already, and what it says of itself.

use std::io::{Error, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::finding::{Finding, Verdict};
use crate::config::Config;
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
        StoreLocation::Database(_) if config.listen.port() == 0 => None,
        StoreLocation::Database(_) => {
            let metrics = ask(reached(config.listen), "/metrics");
            let is_ours = metrics.is_ok_and(|(_, words)| words.contains(METRIC));
            is_ours.then_some(RunningServer::AtAddress)
        }
    }
}

/// What it says at `/readyz`, if the settings say where that is.
pub(super) fn ready(config: &Config, running: RunningServer) -> Option<Finding> {
    let about = "server";
    if config.listen.port() == 0 {
        return None;
    }
    let address = reached(config.listen);
    Some(match ask(address, "/readyz") {
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

/// The status and the words of the server's answer at `/readyz`.
pub(crate) fn readiness(listen: SocketAddr) -> std::io::Result<(u16, String)> {
    ask(reached(listen), "/readyz")
}

/// The address at which this machine reaches a server that listens on `listen`.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other("the answer is not HTTP"))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_for_every_address_is_asked_on_this_machine() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
