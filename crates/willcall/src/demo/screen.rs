//! What the demo prints. Times are seconds since the first webhook was made.

use std::net::SocketAddr;
use std::path::Path;

use model::query::DeliveryStatus;

use super::attempt_line::seconds;
use super::receivers::name;
use super::watch::{Watch, WatchedWebhook};

pub(crate) fn open(address: SocketAddr, folder: &Path, haste: i64, exchange_limit_ms: u32) {
    say!(
        "Willcall {} at http://{address}, on a fresh store in {}.",
        env!("CARGO_PKG_VERSION"),
        folder.display()
    );
    say!(
        "For this show waits are {haste} times shorter than in earnest, and an exchange may take {} s instead of 30.",
        exchange_limit_ms / 1_000
    );
    say!();
}

pub(crate) fn dashboard(address: SocketAddr, secret: &str) {
    say!("See it in a browser. This link signs you in once, within 15 minutes:");
    say!();
    say!("    http://{address}/link/{secret}");
    say!();
}

pub(crate) fn receiver(name: &str, manner: &str, url: &str) {
    say!("  webhook {name:<11} {url:<34} {manner}");
}

pub(crate) fn handing_in(title: &str) {
    say!();
    say!("{title}: handing in a sale. What becomes of it, as it happens:");
    say!();
}

pub(crate) fn switching_off(name: &str) {
    say!();
    say!(
        "The receiver \"{name}\" would be tried for long. Its webhook is switched off over the API."
    );
}

/// Prints where everything stands; answers whether that is how it must be.
pub(crate) fn summary(watch: &Watch, once: bool) -> bool {
    say!();
    say!("After {}:", seconds(watch.elapsed_ms()));
    let mut as_it_must = true;
    for watched in watch.webhooks.values() {
        let good = watched.as_it_must(once);
        as_it_must &= good;
        let mark = if good {
            "as it must be"
        } else {
            "NOT as it must be"
        };
        say!(
            "  {:<11} {} ({mark})",
            name(watched.character),
            standing(watched)
        );
    }
    say!();
    as_it_must
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
            model::webhook::DisableCause::Gone => "disabled because of its 410".to_owned(),
            model::webhook::DisableCause::Requested => "disabled as asked".to_owned(),
            model::webhook::DisableCause::Deleted => "deleted".to_owned(),
        });
    }
    if watched.deleted {
        parts.push("webhook deleted as asked".to_owned());
    }
    parts.join(", ")
}

pub(crate) fn verdict(as_it_must: bool) {
    if as_it_must {
        say!("Everything is as it must be.");
    } else {
        say!("Something is not as it must be. Please report this output.");
    }
}

pub(crate) fn hints(hints: &[(String, String)]) {
    say!();
    say!("Willcall goes on serving until you press Ctrl-C. Try in another terminal:");
    for (what, command) in hints {
        say!();
        say!("  # {what}");
        say!("  {command}");
    }
}
