//! `willcall doctor`: checks everything a start depends on and reports problems.
//!
//! It changes nothing, so it may run beside a server. Exit status 0 means that nothing is wrong.

mod clock;
mod database;
mod file;
mod finding;
mod mail;
mod proxy;
mod server;

use std::process::ExitCode;

use anyhow::Result;
use engine::{Deadline, LookupContext, Resolver};
use model::contract::SealedSecret;
use prometheus_client::registry::Registry;

use self::finding::{Finding, Verdict};
use self::server::RunningServer;
pub(crate) use self::server::readiness;
use crate::config::Config;
use crate::descriptors;
use crate::listen_address::{ListenAddress, SocketListener};
use crate::sealed::OpeningReport;
use crate::store_location::StoreLocation;
use crate::trust::TrustFiles;

/// A name that every resolver with a network can look up (RFC 6761 keeps it registered).
const PUBLIC_NAME: &str = "example.org";

/// A working resolver needs milliseconds, or twice its 5 s if its first name server is dead.
const LOOK_UP_LIMIT_MS: u32 = 15_000;

pub(crate) async fn run(config: &Config) -> Result<ExitCode> {
    let mut findings = vec![settings(config)];
    findings.extend(match &config.store {
        StoreLocation::Folder(folder) => file::findings(folder),
        StoreLocation::Database(settings) => database::findings(settings),
    });
    findings.push(secrets(config));
    let running = server::running(config);
    findings.push(look_up(config).await);
    findings.extend(proxy::findings(config).await);
    findings.extend(mail::findings(config).await);
    findings.extend([
        certificates(config),
        open_files(config),
        listening(config, running).await,
    ]);
    findings.extend(running.and_then(|running| server::ready(config, running)));
    let (mut wrong, mut odd) = (0, 0);
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Good => "good ",
            Verdict::Odd => "odd  ",
            Verdict::Wrong => "WRONG",
        };
        wrong += usize::from(matches!(finding.verdict, Verdict::Wrong));
        odd += usize::from(matches!(finding.verdict, Verdict::Odd));
        say!("{mark}  {:<13} {}", finding.about, finding.words);
    }
    if wrong == 0 {
        match odd {
            0 => say!("Nothing is wrong."),
            odd => say!(
                "Nothing is wrong; {odd} of {} checks found something worth knowing.",
                findings.len()
            ),
        }
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{wrong} of {} checks found something wrong.",
        findings.len()
    );
    Ok(ExitCode::FAILURE)
}

/// The settings were read and checked before the doctor was called.
fn settings(config: &Config) -> Finding {
    let is_open = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) => !address.ip().is_loopback(),
        ListenAddress::Socket(_) => false,
    };
    let open = config.listen.iter().any(is_open) && config.allowed_hosts.is_empty();
    if open {
        let words = "valid, but Willcall listens for other machines and answers only to IP addresses \
                     and names without a dot; add its public name to the setting allowed_hosts";
        return Finding::new("settings", Verdict::Odd, words);
    }
    Finding::new("settings", Verdict::Good, "valid")
}

/// Whether the master keys of the settings open every secret of the store.
fn secrets(config: &Config) -> Finding {
    let about = "secrets";
    let mut report = OpeningReport::default();
    let mut note = |secret: SealedSecret| report.note(&config.keyring, &secret);
    let read = match &config.store {
        StoreLocation::Folder(folder) => store::each_sealed(&folder.store_file(), &mut note),
        StoreLocation::Database(settings) => store::each_sealed_in_database(settings, &mut note),
    };
    // Another finding says what is wrong with the store, and what to do.
    if read.is_err() {
        return Finding::new(about, Verdict::Good, "none can be looked at yet");
    }
    match (report.words(), report.count, report.outdated) {
        (Some(words), ..) => {
            let words = format!(
                "{words}. Set the master key that they are sealed with (master_key_file), or remove \
                 and add them again"
            );
            Finding::new(about, Verdict::Wrong, words)
        }
        (None, 0, _) => Finding::new(about, Verdict::Good, "none is stored"),
        (None, count, 0) => {
            let words = format!("{count}, and the first master key opens all of them");
            Finding::new(about, Verdict::Good, words)
        }
        (None, count, outdated) => {
            let words = format!(
                "{count}, of which {outdated} are sealed with a former master key; \
                 `willcall secret rotate-master` seals them with the first"
            );
            Finding::new(about, Verdict::Odd, words)
        }
    }
}

/// Looks a name up as the server does, and reports failures in the words of its log.
async fn look_up(config: &Config) -> Finding {
    let about = "name lookup";
    let resolver = Resolver::of_system(&mut Registry::default());
    let limit = Deadline::from_here(LOOK_UP_LIMIT_MS);
    match resolver
        .look_up(LookupContext::INTERNAL, PUBLIC_NAME, limit)
        .await
    {
        Ok(_) => Finding::new(about, Verdict::Good, format!("{PUBLIC_NAME} is found")),
        Err(failure) => {
            let then = match proxy::are_told_names(&config.proxies) {
                true => {
                    "The proxy looks names up, and only that can refuse those that lead to private \
                     addresses"
                }
                false => {
                    "Without a network and a name server in /etc/resolv.conf that answers, receivers \
                     on the internet cannot be called"
                }
            };
            let words = format!("{}. {then}", failure.detail);
            Finding::new(about, Verdict::Odd, words)
        }
    }
}

fn certificates(config: &Config) -> Finding {
    let about = "certificates";
    match TrustFiles::new(&config.ca_files).read() {
        Ok(roots) if roots.system_roots + roots.extra_roots == 0 => {
            let words = "no certificate authority is known, so receivers with https cannot be \
                         called; install the package ca-certificates";
            Finding::new(about, Verdict::Wrong, words)
        }
        Ok(roots) => {
            let words = format!(
                "{} authorities from the system, {} certificates from ca_files",
                roots.system_roots, roots.extra_roots
            );
            Finding::new(about, Verdict::Good, words)
        }
        Err(error) => Finding::new(about, Verdict::Wrong, format!("{error:#}")),
    }
}

fn open_files(config: &Config) -> Finding {
    let about = "open files";
    let needed = descriptors::needed(config);
    match descriptors::raise() {
        Some(limit) if limit < needed => {
            let words = format!(
                "the limit is {limit}, and the settings need {needed}; the server starts with smaller \
                 settings. Raise `LimitNOFILE` in its unit, or `ulimit -n`"
            );
            Finding::new(about, Verdict::Odd, words)
        }
        Some(limit) => Finding::new(
            about,
            Verdict::Good,
            format!("the limit is {limit}, at most {needed} are needed"),
        ),
        None => Finding::new(about, Verdict::Good, "there is no limit"),
    }
}

async fn listening(config: &Config, running: Option<RunningServer>) -> Finding {
    let mut words = Vec::new();
    for address in &config.listen {
        match listening_on(address, running).await {
            Ok(own) => words.push(own),
            Err(finding) => return finding,
        }
    }
    Finding::new("address", Verdict::Good, words.join("; "))
}

/// Whether a server could listen there. Changes nothing: no socket is made in the file system.
async fn listening_on(
    address: &ListenAddress,
    running: Option<RunningServer>,
) -> Result<String, Finding> {
    let free = match address {
        ListenAddress::Tcp(address) => crate::listen::bind(*address).await.map(drop),
        ListenAddress::Socket(path) => SocketListener::judge(path).map(drop),
    };
    match (free, running) {
        (Ok(()), _) => Ok(format!("{address} is free")),
        (Err(_), Some(RunningServer::OnFolder)) => Ok(format!(
            "{address} is in use by the Willcall that runs on this data folder"
        )),
        (Err(_), Some(RunningServer::AtAddress)) => Ok(format!(
            "{address} is in use by a Willcall that runs already"
        )),
        (Err(error), None) => {
            let words = match address {
                ListenAddress::Tcp(_) => {
                    format!("{address} is in use by another program; see the setting listen")
                }
                ListenAddress::Socket(_) => format!("{error:#}"),
            };
            Err(Finding::new("address", Verdict::Wrong, words))
        }
    }
}
