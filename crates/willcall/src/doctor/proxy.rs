//! Whether the proxies that calls go through are there and know us. No receiver is called.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use engine::{Deadline, ProxyVerdict, Resolver, TlsClient};
use model::proxy::{ProxyKind, ProxyRules};
use prometheus_client::registry::Registry;

use super::finding::{Finding, Verdict};
use crate::assemble;
use crate::config::Config;
use crate::trust::TrustFiles;

const ABOUT: &str = "proxy";

/// A proxy may look for a name that nobody has for as long as a name server that is dead.
const TRY_LIMIT_MS: u32 = 15_000;

/// Whether every call goes to a proxy that looks names up itself.
pub(super) fn are_told_names(proxies: &ProxyRules) -> bool {
    [&proxies.https, &proxies.http].into_iter().all(|proxy| {
        proxy
            .as_ref()
            .is_some_and(|proxy| proxy.kind != ProxyKind::Socks5)
    })
}

/// Nothing if no proxy is named anywhere.
pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(words) = &config.ignored_proxies {
        findings.push(Finding::new(ABOUT, Verdict::Odd, words.clone()));
    }
    // Another finding says what is wrong with the certificates.
    if let Ok(roots) = TrustFiles::new(&config.ca_files).read() {
        let mut meters = Registry::default();
        let tls = Arc::new(TlsClient::new(&roots, &mut meters));
        let resolver = Resolver::of_system(&mut meters);
        let dial = assemble::dial(config, resolver, tls, &mut meters);
        let checks = dial.try_proxies(Deadline::from_here(TRY_LIMIT_MS)).await;
        findings.extend(checks.into_iter().map(|check| {
            let verdict = match check.verdict {
                ProxyVerdict::Works => Verdict::Good,
                ProxyVerdict::Unsure => Verdict::Odd,
                ProxyVerdict::Fails => Verdict::Wrong,
            };
            Finding::new(ABOUT, verdict, format!("{}: {}", check.proxy, check.words))
        }));
    }
    findings.extend(misplaced(config));
    findings
}

/// Whether a proxy would take this machine's own addresses for its own.
fn misplaced(config: &Config) -> Option<Finding> {
    let here = Ipv4Addr::LOCALHOST;
    let is_open = config.private_targets.vet(IpAddr::V4(here)).is_ok();
    let chosen = [true, false]
        .into_iter()
        .find_map(|tls| config.proxies.choose(tls, &here.to_string(), 80))?;
    let is_here = chosen.host == "localhost"
        || chosen
            .host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    (is_open && !is_here).then(|| {
        let words = format!(
            "allow_private_targets opens {here}, and calls there go through {chosen}, which takes \
             that for its own machine; to call receivers on this one add localhost and 127.0.0.0/8 \
             to no_proxy"
        );
        Finding::new(ABOUT, Verdict::Odd, words)
    })
}
