//! What servers tell of themselves: their metrics, and whether each of several nodes on one
//! database sends for its share of the slots.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::sender::{BenchConnection, Peer};
use crate::server::Server;

/// A node that begins has its share after some renewals of all, which take seconds.
const SHARE_LIMIT: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All parts that webhooks are in.
const SLOTS: usize = 256;

/// Gets a public path of a server.
pub(crate) async fn look(peer: &Peer, path: &'static str) -> Result<String> {
    BenchConnection::open(peer).await?.look(path).await
}

/// The value of a metric with exactly this name, labels included.
pub(crate) fn metric(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

/// The sum of a metric over all of its labels.
pub(crate) fn sum(metrics: &str, name: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let labels = line.strip_prefix(name)?.strip_prefix('{')?;
        let (_, value) = labels.split_once("} ")?;
        value.trim().parse::<f64>().ok()
    });
    values.sum()
}

/// Waits until each of several servers sends for an even share.
pub(crate) async fn shared(servers: &mut [Server], token: &str) -> Result<()> {
    if servers.len() < 2 {
        return Ok(());
    }
    let deadline = Instant::now() + SHARE_LIMIT;
    loop {
        let mut shares = Vec::new();
        for server in &mut *servers {
            server.check()?;
            let peer = Peer {
                address: server.address,
                token: token.to_owned(),
            };
            shares.push(owned(&peer).await?);
        }
        if is_even(&shares) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!(
                "after {} s the nodes have {shares:?} of {SLOTS} slots, not even shares",
                SHARE_LIMIT.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How many slots a server sends for.
pub(crate) async fn owned(peer: &Peer) -> Result<usize> {
    let metrics = look(peer, "/metrics").await?;
    let slots = metric(&metrics, "willcall_slots_owned").unwrap_or(0.0);
    // Small, and whole.
    Ok(format!("{slots:.0}").parse()?)
}

fn is_even(shares: &[usize]) -> bool {
    let least = SLOTS / shares.len().max(1);
    let most = SLOTS.div_ceil(shares.len().max(1));
    let is_share = |share: &usize| (least..=most).contains(share);
    shares.iter().all(is_share) && shares.iter().sum::<usize>() == SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_if_nobody_has_one_more_than_another_and_all_slots_are_taken() {
        for (shares, even) in [
            (vec![256], true),
            (vec![128, 128], true),
            (vec![129, 127], false),
            (vec![86, 85, 85], true),
            (vec![85, 85, 85], false),
            (vec![256, 0], false),
        ] {
            assert_eq!(is_even(&shares), even, "{shares:?}");
        }
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name_and_added_up_over_its_labels() {
        let metrics = "# HELP a_total words\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\na 5.5\nab 6\n";
        assert_eq!(metric(metrics, "a"), Some(5.5));
        assert_eq!(metric(metrics, "b"), None);
        assert!((sum(metrics, "a_total") - 7.0).abs() < f64::EPSILON);
    }
}
