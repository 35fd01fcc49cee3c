//! What a proxy is told of a receiver, and what may keep it from a connection there.
//!
//! Each protocol of proxies makes these of its own answers; `proxy.rs` says who pays.

use std::io;
use std::net::IpAddr;

use crate::transport::io_words;

/// Where a tunnel leads, as the proxy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunnelHost<'a> {
    Name(&'a str),
    Address(IpAddr),
}

/// Why there is no tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TunnelError {
    /// Something is wrong with the proxy, or with how it is used: the same for every receiver.
    Broken(String),
    /// It refuses our credentials, or wants some.
    Unknown(String),
    /// It could not connect to the receiver, or did not say why not.
    Unreached(String),
    /// It does not let us call this receiver.
    Denied(String),
    /// It ended the connection instead of an answer.
    Closed(&'static str),
    /// It took the connection, and waits for the receiver's.
    Late,
}

/// Whether the proxy ended the connection, in whichever way.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

/// An error of the connection to the proxy in plain words.
pub(super) fn stream_words(error: &io::Error) -> String {
    io_words(error).replace("the receiver", "the proxy")
}
