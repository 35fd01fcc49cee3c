//! `willcall doctor`: checks everything a start depends on and reports problems.
//!
//! It changes nothing, so it may run beside a server. Exit status 0 means that nothing is wrong.

mod environment;
mod finding;

use std::process::ExitCode;

use anyhow::Result;
use engine::{Deadline, LookupContext, Resolver};
use model::limits::{CLOCK_FAR_MS, CLOCK_STEP_MS};
use model::time::Timestamp;
use prometheus_client::registry::Registry;

use self::finding::{Finding, Verdict};
use crate::assemble;
use crate::config::Config;

/// A clock before this is certainly wrong: 2026-01-01T00:00:00Z.
const CLOCK_EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A name that every resolver with a network can look up (RFC 6761 keeps it registered).
const PUBLIC_NAME: &str = "example.org";

/// A working resolver needs milliseconds, or twice its 5 s if its first name server is dead.
const LOOK_UP_LIMIT_MS: u32 = 15_000;

pub(crate) async fn run(config: &Config) -> Result<ExitCode> {
    let mut findings = vec![
        settings(config),
        environment::folder(config),
        environment::files(config),
        inspect(config),
        environment::disk(config),
        clock(config),
        look_up().await,
        certificates(config),
        environment::open_files(config),
        listening(config).await,
    ];
    findings.extend(environment::ready(config));
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
    let open = !config.listen.ip().is_loopback() && config.allowed_hosts.is_empty();
    if open {
        let words = "valid, but Willcall listens for other machines and answers only to IP addresses \
                     and names without a dot; add its public name to the setting allowed_hosts";
        return Finding::new("settings", Verdict::Odd, words);
    }
    Finding::new("settings", Verdict::Good, "valid")
}

fn inspect(config: &Config) -> Finding {
    let file = assemble::store_file(&config.data_dir);
    let shown = file.display();
    match file.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            let words = format!("{shown} does not exist yet; the first start creates it");
            return Finding::new("store", Verdict::Odd, words);
        }
        // The finding about files says why, and what to do.
        Err(error) => {
            let words = format!("{shown} cannot be examined: {error}");
            return Finding::new("store", Verdict::Wrong, words);
        }
    }
    match store::inspect(&file) {
        // `environment::files` checks whether it can be written.
        Ok(found) => Finding::new("store", Verdict::Good, store_words(&found)),
        Err(error) => Finding::new("store", Verdict::Wrong, error.to_string()),
    }
}

fn store_words(found: &store::Inspection) -> String {
    let age = if found.schema_version < found.known_version {
        format!(
            ", schema version {} of {}; the next start upgrades it",
            found.schema_version, found.known_version
        )
    } else {
        String::new()
    };
    format!(
        "intact{age}; tenants: {}, webhooks: {} ({} disabled), {} KiB",
        found.tenants,
        found.webhooks,
        found.disabled_webhooks,
        (found.file_bytes + found.log_bytes) / 1024
    )
}

fn clock(config: &Config) -> Finding {
    let now = assemble::clock().now();
    if now < CLOCK_EARLIEST {
        let words = format!(
            "the clock says {now}, which is in the past; set it, because due times depend on it"
        );
        return Finding::new("clock", Verdict::Wrong, words);
    }
    let file = assemble::store_file(&config.data_dir);
    let found = store::inspect(&file).ok();
    let Some(last) = found.and_then(|found| found.last_written_at) else {
        return Finding::new("clock", Verdict::Good, format!("{now}"));
    };
    let ahead_ms = now.ms_since(last);
    if ahead_ms <= -CLOCK_STEP_MS {
        let words = format!(
            "the clock says {now}, but the store was last written at {last}: the clock is behind, or \
             was ahead then. Set it. Pending deliveries keep their waits, and nothing is removed for \
             an hour"
        );
        return Finding::new("clock", Verdict::Wrong, words);
    }
    if ahead_ms < CLOCK_FAR_MS {
        return Finding::new("clock", Verdict::Good, format!("{now}"));
    }
    match assemble::is_running(&config.data_dir) {
        true => {
            let words = format!(
                "the clock says {now}, but the running server last wrote at {last}: the clock was set \
                 ahead just now, or the server cannot write"
            );
            Finding::new("clock", Verdict::Wrong, words)
        }
        false => {
            let words = format!(
                "the clock says {now}, and Willcall last ran at {last}. If it ran later than that, the \
                 clock is ahead: set it before the start. Waits go on where they were"
            );
            Finding::new("clock", Verdict::Odd, words)
        }
    }
}

/// Looks a name up as the server does, and reports failures in the words of its log.
async fn look_up() -> Finding {
    let about = "name lookup";
    let resolver = Resolver::of_system(&mut Registry::default());
    let limit = Deadline::from_here(LOOK_UP_LIMIT_MS);
    match resolver
        .look_up(LookupContext::INTERNAL, PUBLIC_NAME, limit)
        .await
    {
        Ok(_) => Finding::new(about, Verdict::Good, format!("{PUBLIC_NAME} is found")),
        Err(failure) => {
            let words = format!(
                "{}. Without a network and a name server in /etc/resolv.conf that answers, receivers \
                 on the internet cannot be called",
                failure.detail
            );
            Finding::new(about, Verdict::Odd, words)
        }
    }
}

fn certificates(config: &Config) -> Finding {
    let about = "certificates";
    let files = match assemble::ca_files(config) {
        Ok(files) => files,
        Err(error) => return Finding::new(about, Verdict::Wrong, format!("{error:#}")),
    };
    match engine::tls_config(&files) {
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
        Err(error) => Finding::new(about, Verdict::Wrong, error.to_string()),
    }
}

async fn listening(config: &Config) -> Finding {
    let (about, address) = ("address", config.listen);
    match crate::listen::bind(address).await {
        Ok(_) => Finding::new(about, Verdict::Good, format!("{address} is free")),
        Err(_) if assemble::is_running(&config.data_dir) => {
            let words =
                format!("{address} is in use by the Willcall that runs on this data folder");
            Finding::new(about, Verdict::Good, words)
        }
        Err(_) => {
            let words = format!("{address} is in use by another program; see the setting listen");
            Finding::new(about, Verdict::Wrong, words)
        }
    }
}
