//! What the demo prints. Times are seconds since the first webhook was made.

use std::net::SocketAddr;
use std::path::Path;

use model::query::DeliveryStatus;

use super::attempt_line::seconds;
use super::receivers::name;
use super::watch::{Watch, WatchedWebhook};

pub(crate) fn open(address: SocketAddr, folder: &Path, haste: i64, exchange_limit_ms: u32) {
    say!(
        "Willcall {} at http://{address}, with a temporary store in {}.",
        env!("CARGO_PKG_VERSION"),
        folder.display()
    );
    say!(
        "For this demo retries wait {haste} times shorter than usual, and an attempt may take {} s \
         instead of 30 s.",
        exchange_limit_ms / 1_000
    );
    say!();
}

pub(crate) fn dashboard(address: SocketAddr, secret: &str) {
    say!("The dashboard. This link signs you in once, within 15 minutes:");
    say!();
    say!("    http://{address}/link/{secret}");
    say!();
}

pub(crate) fn receiver(name: &str, manner: &str, url: &str) {
    say!("  webhook {name:<11} {url:<34} {manner}");
}

pub(crate) fn handing_in(title: &str) {
    say!();
    say!("{title}: sending the notifications of a sale. Every attempt, as it happens:");
    say!();
}

pub(crate) fn switching_off(name: &str) {
    say!();
    say!(
        "Retries to the receiver \"{name}\" would go on for days. Disabling its webhook over the API."
    );
}

/// Prints the state of every webhook; returns whether all are as expected.
pub(crate) fn summary(watch: &Watch, once: bool) -> bool {
    say!();
    say!("After {}:", seconds(watch.elapsed_ms()));
    let mut as_expected = true;
    for watched in watch.webhooks.values() {
        let good = watched.as_expected(once);
        as_expected &= good;
        let mark = if good {
            "as expected"
        } else {
            "NOT as expected"
        };
        say!(
            "  {:<11} {} ({mark})",
            name(watched.character),
            standing(watched)
        );
    }
    say!();
    as_expected
}

fn standing(watched: &WatchedWebhook) -> String {
    let mut parts: Vec<String> = DeliveryStatus::ALL
        .into_iter()
        .map(|status| (status, watched.count(status)))
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {}", status.as_str()))
        .collect();
    if let Some(disabled) = watched.disabled {
        parts.push(match disabled.cause {
            model::webhook::DisableCause::Gone => "disabled by its 410".to_owned(),
            model::webhook::DisableCause::Requested => "disabled over the API".to_owned(),
            model::webhook::DisableCause::Deleted => "deleted".to_owned(),
        });
    }
    if watched.deleted {
        parts.push("webhook deleted over the API".to_owned());
    }
    parts.join(", ")
}

pub(crate) fn verdict(as_expected: bool) {
    if as_expected {
        say!("Everything ended as expected.");
    } else {
        say!("Something did not end as expected. Please report this output.");
    }
}

pub(crate) fn hints(hints: &[(String, String)]) {
    say!();
    say!("Willcall runs until you press Ctrl-C. Try in another terminal:");
    for (what, command) in hints {
        say!();
        say!("  # {what}");
        say!("  {command}");
    }
}
