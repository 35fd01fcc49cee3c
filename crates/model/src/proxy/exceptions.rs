//! `no_proxy`: which targets are called directly though there is a proxy.
//!
//! Judged by the host in the target URL alone: nothing is looked up for it. Nothing is in the list
//! by itself, not even this machine.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::target::{host_name, split_port};

/// Targets that are called directly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoProxy(Vec<Exception>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// Only with this port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// The name and those below it.
    Name(String),
    /// Those below it, which all end in this: it begins with a dot.
    Below(String),
    Network(IpNet),
}

/// An entry that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a host name such as example.org or .example.org, an address, a network such as \
     10.0.0.0/8, or *, each with or without a port"
)]
pub struct InvalidException(pub String);

impl NoProxy {
    /// Whether this target is called directly.
    pub fn has(&self, host: &str, port: u16) -> bool {
        let address = host
            .parse::<IpAddr>()
            .ok()
            .map(|found| found.to_canonical());
        let host = host.trim_end_matches('.');
        self.0.iter().any(|exception| {
            let is_host = match (&exception.hosts, address) {
                (Hosts::All, _) => true,
                (Hosts::Network(network), Some(address)) => network.contains(&address),
                (Hosts::Network(_), None) | (Hosts::Name(_) | Hosts::Below(_), Some(_)) => false,
                (Hosts::Below(end), None) => host.ends_with(end.as_str()),
                (Hosts::Name(name), None) => {
                    let before = host.strip_suffix(name.as_str());
                    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
                }
            };
            is_host && exception.port.is_none_or(|own| own == port)
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for NoProxy {
    type Err = InvalidException;

    /// Entries with commas or spaces between.
    fn from_str(text: &str) -> Result<Self, InvalidException> {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace());
        let entries = entries.filter(|entry| !entry.is_empty());
        let read = |entry: &str| exception(entry).ok_or_else(|| InvalidException(entry.to_owned()));
        entries.map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn exception(entry: &str) -> Option<Exception> {
    // An IPv6 address without brackets would look like a name with a port.
    if let Some(network) = network(entry) {
        let hosts = Hosts::Network(network);
        return Some(Exception { hosts, port: None });
    }
    let (host, port) = split_port(entry)?;
    let port = match port {
        "" if entry.ends_with(':') => return None,
        "" => None,
        digits => Some(digits.parse().ok().filter(|port| *port != 0)?),
    };
    let name = |text: &str| Some(host_name(text).ok()?.trim_end_matches('.').to_owned());
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let hosts = if host == "*" {
        Hosts::All
    } else if let Some(address) = bare {
        Hosts::Network(network(address)?)
    } else if let Some(network) = network(host) {
        Hosts::Network(network)
    } else if let Some(end) = host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
        Hosts::Below(format!(".{}", name(end)?))
    } else {
        Hosts::Name(name(host)?)
    };
    let is_named = match &hosts {
        Hosts::Name(name) => !name.is_empty(),
        Hosts::Below(end) => end.len() > 1,
        Hosts::All | Hosts::Network(_) => true,
    };
    is_named.then_some(Exception { hosts, port })
}

fn network(text: &str) -> Option<IpNet> {
    let found = text.parse::<IpNet>().ok();
    found.or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(list: &str, host: &str, port: u16) -> bool {
        list.parse::<NoProxy>().unwrap().has(host, port)
    }

    #[test]
    fn a_name_stands_for_itself_and_all_below_it() {
        for host in [
            "example.org",
            "a.example.org",
            "a.b.example.org",
            "example.org.",
        ] {
            assert!(has("example.org", host, 443), "{host}");
        }
        for host in ["anexample.org", "example.org.test", "org", "192.0.2.1"] {
            assert!(!has("example.org", host, 443), "{host}");
        }
        assert!(has("EXAMPLE.org.", "example.org", 443));
        assert!(has("bücher.test", "xn--bcher-kva.test", 443));
    }

    #[test]
    fn a_leading_dot_or_star_stands_for_all_below_alone() {
        for list in [".example.org", "*.example.org"] {
            assert!(has(list, "a.example.org", 443));
            assert!(!has(list, "example.org", 443));
            assert!(!has(list, "anexample.org", 443));
        }
    }

    #[test]
    fn addresses_and_networks_stand_for_addresses_in_urls() {
        let list = "10.0.0.0/8, 192.0.2.1 fd00::/8,[2001:db8::1]:8443";
        for host in ["10.1.2.3", "192.0.2.1", "::ffff:10.0.0.1", "fd00::5"] {
            assert!(has(list, host, 443), "{host}");
        }
        for host in [
            "11.0.0.1",
            "192.0.2.2",
            "fe80::1",
            "ten.test",
            "2001:db8::1",
        ] {
            assert!(!has(list, host, 443), "{host}");
        }
        assert!(has(list, "2001:db8::1", 8443));
    }

    #[test]
    fn a_port_narrows_an_entry() {
        for list in [
            "example.org:8443",
            "*:8443",
            "192.0.2.0/24:8443,example.org:8443",
        ] {
            assert!(has(list, "example.org", 8443), "{list}");
            assert!(!has(list, "example.org", 443), "{list}");
        }
    }

    #[test]
    fn a_star_stands_for_all_and_nothing_for_none() {
        assert!(has("*", "example.org", 443));
        assert!(has("*", "::1", 443));
        for host in ["example.org", "localhost", "127.0.0.1", "::1"] {
            assert!(!has("", host, 443), "{host}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_by_its_name() {
        for entry in [
            "10.0.0.0/99",
            "http://a.test",
            "a.test:",
            "a.test:0",
            "a*b",
            ".",
            "[::1",
        ] {
            let error = format!("ok.test,{entry}").parse::<NoProxy>().unwrap_err();
            assert_eq!(error.0, entry);
        }
    }
}
