//! Addresses: which ones may be called (protection against SSRF).
//!
//! Judged after the look-up, on the very address that is then dialled, so that no name can lead
//! somewhere else between the two. What counts as private: the IANA special-purpose registries
//! (RFC 6890 and its updates), multicast, and IPv6 forms that carry an IPv4 address inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::mutation::{Mutation, is_on};

/// Which private addresses an operator has opened. Public ones are always open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PrivateTargets {
    #[default]
    None,
    Nets(Vec<IpNet>),
    All,
}

impl PrivateTargets {
    /// `Ok` if `address` may be called, else what kind of address it is.
    pub fn vet(&self, address: IpAddr) -> Result<(), &'static str> {
        let kind = private_kind(address).filter(|_| !is_on(Mutation::SkipVetting));
        let Some(kind) = kind else {
            return Ok(());
        };
        // ::ffff:10.0.0.1 reaches the host that 10.0.0.1 reaches, so a net for one opens both.
        let plain = address.to_canonical();
        match self {
            Self::None => Err(kind),
            Self::Nets(nets) if nets.iter().any(|net| net.contains(&plain)) => Ok(()),
            Self::Nets(_) => Err(kind),
            Self::All => Ok(()),
        }
    }
}

/// Some networks, such as `10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    pub fn contains(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        self.0.iter().any(|net| net.contains(&plain))
    }
}

impl std::str::FromStr for Networks {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(part: &str) -> Result<IpNet, InvalidNetwork> {
    let part = part.trim();
    part.parse::<IpNet>()
        .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| InvalidNetwork(part.to_owned()))
}

/// What was given is neither `none`, `all`, nor networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a network such as 10.0.0.0/8; write \"none\", \"all\", or networks with commas between"
)]
pub struct InvalidNetwork(pub String);

impl std::str::FromStr for PrivateTargets {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        match text.trim() {
            "" | "none" => return Ok(Self::None),
            "all" => return Ok(Self::All),
            _ => {}
        }
        text.split(',')
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self::Nets)
    }
}

impl std::fmt::Display for PrivateTargets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::All => f.write_str("all"),
            Self::Nets(nets) => {
                let texts: Vec<String> = nets.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
        }
    }
}

fn private_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => private_v4(v4),
        IpAddr::V6(v6) => private_v6(v6),
    }
}

fn private_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        (0, ..) => "an address of \"this network\"",
        (127, ..) => "a loopback address",
        (10, ..) | (192, 168, _) | (172, 16..=31, _) => "a private address",
        (169, 254, _) => "a link-local address",
        (100, 64..=127, _) => "a carrier's shared address",
        (192, 0, 0) => "an address for protocol assignments",
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => "an address for documentation",
        (192, 88, 99) => "a deprecated relay address",
        (198, 18..=19, _) => "an address for benchmarks",
        (224..=239, ..) => "a multicast address",
        (240..=255, ..) => "a reserved address",
        _ => return None,
    })
}

fn private_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = embedded_v4(address) {
        return private_v4(inner);
    }
    let [first, second, third, ..] = address.segments();
    Some(match (first, second) {
        _ if address.is_unspecified() => "the unspecified address",
        _ if address.is_loopback() => "a loopback address",
        (0xfe80..=0xfebf, _) => "a link-local address",
        (0xfec0..=0xfeff, _) => "a site-local address",
        (0xfc00..=0xfdff, _) => "a private address",
        (0xff00..=0xffff, _) => "a multicast address",
        (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff) => "an address for documentation",
        (0x2001, 0..=0x01ff) => "an address for protocol assignments",
        (0x0100, 0) => "a discard-only address",
        // Where in it an IPv4 address stands, each network decides (RFC 8215).
        (0x0064, 0xff9b) if third == 1 => "an address for local translation",
        (0x5f00, _) => "an address for segment routing",
        // What IANA has not handed out for the public internet is outside 2000::/3 (RFC 4291).
        (first, _) if !(0x2000..=0x3fff).contains(&first) => "a reserved address",
        _ => return None,
    })
}

/// The IPv4 address that a mapped (RFC 4291), compatible, NAT64 (RFC 6052), 6to4
/// (RFC 3056) form leads to. Teredo (`2001::/32`) is refused as a whole.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let low = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) => Some(low(g, h)),
        (0, 0, 0, 0, 0xffff, 0) => Some(low(g, h)),
        (0, 0, 0, 0, 0, 0) if (g, h) > (0, 1) => Some(low(g, h)),
        (0x0064, 0xff9b, 0, 0, 0, 0) => Some(low(g, h)),
        (0x2002, ..) => Some(low(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vet(targets: &str, address: &str) -> Result<(), &'static str> {
        targets
            .parse::<PrivateTargets>()
            .unwrap()
            .vet(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_may_be_called() {
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2002:0101:0101::1",
            "64:ff9b::808:808",
        ] {
            assert_eq!(vet("none", address), Ok(()), "{address}");
        }
    }

    #[test]
    fn private_addresses_may_not_be_called_in_any_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.9",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "64:ff9b:1::808:808",
            "64:ff9b:1:fffe:8:808:800:0",
            "2002:0a00:0001::",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "3fff::1",
            "5f00::1",
            "4000::1",
            "::ffff:0:10.0.0.1",
        ] {
            assert!(vet("none", address).is_err(), "{address}");
            assert_eq!(vet("all", address), Ok(()), "{address}");
        }
    }

    #[test]
    fn networks_open_what_is_in_them_and_nothing_else() {
        let targets = "10.0.0.0/8, 127.0.0.1, fd00::/8";
        for address in ["10.9.9.9", "127.0.0.1", "::ffff:10.0.0.1", "fd12::1"] {
            assert_eq!(vet(targets, address), Ok(()), "{address}");
        }
        for address in ["192.168.1.1", "127.0.0.2", "::1", "169.254.169.254"] {
            assert!(vet(targets, address).is_err(), "{address}");
        }
    }

    #[test]
    fn what_is_not_a_network_is_refused_by_name() {
        let refused = "10.0.0.0/8,nonsense".parse::<PrivateTargets>();
        assert_eq!(refused, Err(InvalidNetwork("nonsense".to_owned())));
        assert!("10.0.0.0/33".parse::<PrivateTargets>().is_err());
    }
}
