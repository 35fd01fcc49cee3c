//! The client's address: that of the connection, or what a proxy named by the operator says. It
//! grants nothing; it tells those who guess passwords from those whose passwords are guessed.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use model::address::Networks;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The network of the client: who has an address of IPv6 has 2^64 of them.
pub(crate) fn network(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    proxies: &Networks,
) -> Option<IpAddr> {
    Some(match address(peer, headers, proxies)? {
        IpAddr::V6(own) => Ipv6Addr::from_bits(own.to_bits() & !0 << 64).into(),
        own @ IpAddr::V4(_) => own,
    })
}

/// The address of the client. Each proxy appends the address that it was called from, so everything
/// before the entry of an unknown proxy may be made up.
pub(crate) fn address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    proxies: &Networks,
) -> Option<IpAddr> {
    let mut client = peer?;
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    while proxies.contains(client) {
        match entries.next().and_then(parsed) {
            Some(before) => client = before,
            None => break,
        }
    }
    Some(client.to_canonical())
}

/// An address; some proxies add a port.
fn parsed(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let with_port = || entry.parse().ok().map(|own: std::net::SocketAddr| own.ip());
    entry.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, lines: &[&str]) -> String {
        let pair = |line: &&str| (FORWARDED_FOR.parse().unwrap(), line.parse().unwrap());
        let headers: HeaderMap = lines.iter().map(pair).collect();
        let proxies = "10.0.0.0/8, ::1".parse().unwrap();
        let peer = Some(peer.parse().unwrap());
        network(peer, &headers, &proxies).unwrap().to_string()
    }

    #[test]
    fn only_proxies_that_are_named_are_believed_and_only_what_they_have_seen() {
        assert_eq!(seen("192.0.2.1", &["192.0.2.9"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.9"]), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 192.0.2.9"]), "192.0.2.9");
        assert_eq!(
            seen("10.0.0.1", &["1.1.1.1", "192.0.2.9, 10.2.2.2"]),
            "192.0.2.9"
        );
        assert_eq!(seen("::1", &["192.0.2.9:443"]), "192.0.2.9");
        for nonsense in [&[][..], &["unknown"], &["192.0.2.9, _x"], &[""]] {
            assert_eq!(seen("10.0.0.1", nonsense), "10.0.0.1");
        }
    }

    #[test]
    fn all_addresses_of_a_network_are_one_client() {
        assert_eq!(seen("2001:db8:0:1:2::3", &[]), "2001:db8:0:1::");
        assert_eq!(seen("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }
}
