//! SOCKS5 (RFC 1928) with user and password (RFC 1929): a greeting, which says whether the proxy
//! knows us, and the request for one connection.
//!
//! Every message says how long it is, and no more is read than that: what follows is the
//! receiver's.

use std::io;
use std::net::IpAddr;

use model::proxy::ProxyCredentials;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::tunnel::{TunnelError, TunnelHost, is_end, stream_words};
use crate::transport::Stream;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Ways to authenticate.
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xff;

/// The version of what is said about user and password.
const PASSWORD_VERSION: u8 = 1;

/// Says hello, and who we are if the proxy asks for it.
pub(super) async fn greet(
    stream: &mut Box<dyn Stream>,
    credentials: Option<&ProxyCredentials>,
) -> Result<(), TunnelError> {
    let hello: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    let [version, method] = answer(stream, hello)
        .await
        .map_err(|error| broken(&error))?;
    if version != VERSION {
        return Err(no_socks());
    }
    let credentials = match (method, credentials) {
        (NO_AUTHENTICATION, _) => return Ok(()),
        (USER_AND_PASSWORD, Some(credentials)) => credentials,
        (NONE_OF_THEM, Some(_)) => {
            let words = "it wants a way to authenticate that is not user and password";
            return Err(TunnelError::Unknown(words.to_owned()));
        }
        (NONE_OF_THEM, None) => {
            let words = "it wants a user and a password, and none are set";
            return Err(TunnelError::Unknown(words.to_owned()));
        }
        _ => return Err(no_socks()),
    };
    let known = [
        &[PASSWORD_VERSION][..],
        &counted(&credentials.user),
        &counted(&credentials.password),
    ];
    let refused = || TunnelError::Unknown("it refuses the user or the password".to_owned());
    match answer(stream, &known.concat()).await {
        Ok([_, 0]) => Ok(()),
        Ok(_) => Err(refused()),
        // Some close at once, as they may.
        Err(error) if is_end(&error) => Err(refused()),
        Err(error) => Err(broken(&error)),
    }
}

/// Has the proxy connect to `host`.
pub(super) async fn connect(
    stream: &mut Box<dyn Stream>,
    host: TunnelHost<'_>,
    port: u16,
) -> Result<(), TunnelError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host {
        TunnelHost::Address(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        TunnelHost::Address(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        TunnelHost::Name(name) if name.len() > usize::from(u8::MAX) => {
            let words = "the name is longer than SOCKS5 can tell a proxy";
            return Err(TunnelError::Unreached(words.to_owned()));
        }
        TunnelHost::Name(name) => {
            request.push(NAME);
            request.extend(counted(name));
        }
    }
    request.extend(port.to_be_bytes());
    let lost = |error: io::Error| match is_end(&error) {
        true => TunnelError::Closed("the proxy closed the connection without an answer"),
        false => TunnelError::Unreached(stream_words(&error)),
    };
    let [version, reply, _, kind] = answer(stream, &request).await.map_err(lost)?;
    if version != VERSION {
        return Err(no_socks());
    }
    if reply != 0 {
        return Err(judge(reply));
    }
    // From where it connects: of no use, and to be read.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await.map_err(lost)?),
        _ => return Err(no_socks()),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map_err(lost)?;
    Ok(())
}

/// Sends one message, and reads the beginning of what is answered.
async fn answer<const N: usize>(
    stream: &mut Box<dyn Stream>,
    message: &[u8],
) -> io::Result<[u8; N]> {
    // It may have answered and closed already: that is heard below.
    if stream.write_all(message).await.is_ok() {
        stream.flush().await.ok();
    }
    let mut answer = [0; N];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// A text with its length before it. The settings bound user and password.
fn counted(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let bytes = bytes.iter().take(usize::from(length));
    std::iter::once(&length).chain(bytes).copied().collect()
}

/// Who is to blame for a reply that opens no tunnel (RFC 1928, section 6).
fn judge(reply: u8) -> TunnelError {
    let why = match reply {
        1 => "it failed, for no reason that it gave",
        2 => {
            let words = "the proxy does not allow it (SOCKS5 reply 2)";
            return TunnelError::Denied(words.to_owned());
        }
        3 => "no route to the network",
        4 => "no route to the host, or no such name",
        5 => "connection refused",
        6 => "the network gave up waiting",
        7 => {
            let words = "it does not take the command CONNECT (SOCKS5 reply 7)";
            return TunnelError::Broken(words.to_owned());
        }
        8 => "it takes no such kind of address",
        _ => "for no reason that is known here",
    };
    TunnelError::Unreached(format!(
        "the proxy could not connect to it: {why} (SOCKS5 reply {reply})"
    ))
}

fn no_socks() -> TunnelError {
    let words = "it does not speak SOCKS5; see the scheme and the port";
    TunnelError::Broken(words.to_owned())
}

fn broken(error: &io::Error) -> TunnelError {
    TunnelError::Broken(match is_end(error) {
        true => {
            "it closes the connection at once: it does not speak SOCKS5, or not with this machine"
                .to_owned()
        }
        false => stream_words(error),
    })
}
