//! One lookup as this machine makes it, with `getaddrinfo`, and what can come of it.
//!
//! It blocks for as long as the system's resolver tries. Sources other than DNS count too, and the
//! order of what was found is kept within each address family.

use std::net::SocketAddr;
use std::sync::Arc;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

/// Where a name leads; the ports are 0. Cheap to clone.
pub type Addresses = Arc<[SocketAddr]>;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// What `getaddrinfo` of glibc says of a name that has only addresses of another family.
const EAI_ADDRFAMILY: i32 = -9;

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Nobody has it.
    NoSuchName,
    /// Somebody has it, but it leads to no machine.
    NoAddress,
    /// The resolver did not answer, or could not find out for now.
    NoAnswer,
    /// It will not be looked up, in the words of the system.
    Refused(String),
    /// This machine is short of something that a look-up needs; nothing was learnt of the name.
    Ours(String),
}

impl NameError {
    /// In plain words, as the end of a sentence.
    pub fn words(&self, name: &str) -> String {
        match self {
            Self::NoSuchName => format!("there is no such name ({name})"),
            Self::NoAddress => format!("the name has no address ({name})"),
            Self::NoAnswer => format!("the resolver did not answer, or failed itself ({name})"),
            Self::Refused(words) => format!("the resolver says \"{words}\" ({name})"),
            Self::Ours(words) => format!("this machine could not ask for it: {words} ({name})"),
        }
    }
}

/// Looks a name up as every other program of this machine does.
pub(super) fn look_up(name: &str) -> Result<Addresses, NameError> {
    // Without the flag for configured families: it takes 127.0.0.1 of a hosts file from a machine
    // that has IPv6 only, and ::1 from one that has none. What cannot be reached is sorted last
    // (RFC 6724), and fails at once.
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| reason(&error))?;
    let found: Vec<SocketAddr> = found.flatten().map(|info| info.sockaddr).collect();
    match found.is_empty() {
        true => Err(NameError::NoAddress),
        false => Ok(mixed(&found).into()),
    }
}

fn reason(error: &LookupError) -> NameError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other kinds say best themselves what they are"
    )]
    match error.kind() {
        LookupErrorKind::NoName => NameError::NoSuchName,
        LookupErrorKind::NoData => NameError::NoAddress,
        LookupErrorKind::Again => NameError::NoAnswer,
        LookupErrorKind::Memory | LookupErrorKind::System => NameError::Ours(words(error)),
        LookupErrorKind::IO if error.error_num() == EAI_ADDRFAMILY => NameError::NoAddress,
        _ => NameError::Refused(words(error)),
    }
}

/// The system's own words, without what every one of them begins with.
fn words(error: &LookupError) -> String {
    let words = error.to_string();
    let words = words.rsplit_once("information: ").map_or(&*words, |w| w.1);
    words.to_owned()
}

/// Both families in turn, beginning with that of the first, so that one of them that leads nowhere
/// does not take all tries (RFC 8305, section 4). Cut to what is tried.
fn mixed(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let begins_with_ipv6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let family = |is_ipv6| found.iter().filter(move |found| found.is_ipv6() == is_ipv6);
    let (mut first, mut second) = (family(begins_with_ipv6), family(!begins_with_ipv6));
    let mut mixed: Vec<SocketAddr> = Vec::with_capacity(ADDRESSES_MAX);
    loop {
        let before = mixed.len();
        for address in [first.next(), second.next()].into_iter().flatten() {
            if mixed.len() < ADDRESSES_MAX {
                mixed.push(*address);
            }
        }
        if mixed.len() == before {
            return mixed;
        }
    }
}

#[cfg(test)]
mod tests;
