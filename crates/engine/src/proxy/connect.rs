//! The method CONNECT (RFC 9110, 9.3.6): a tunnel through an HTTP proxy.
//!
//! The answer is read byte by byte up to the end of its head: what follows is the receiver's, and
//! nothing of it is read here.

use model::proxy::{ProxyCredentials, authority};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::tunnel::{TunnelError, TunnelHost, stream_words};
use crate::transport::Stream;

/// Proxies add some lines to their answers, never pages: what is longer is no answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

const LINE_BYTES_MAX: usize = 1024;

/// Reason phrases are shown to whoever looks at an attempt.
const REASON_CHARS_MAX: usize = 60;

/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";

const CLOSED: &str = "the proxy closed the connection without an answer";

/// Has the proxy at the other end connect to `host`.
pub(super) async fn connect(
    stream: &mut Box<dyn Stream>,
    host: TunnelHost<'_>,
    port: u16,
    credentials: Option<&ProxyCredentials>,
) -> Result<(), TunnelError> {
    let request = request(host, port, credentials);
    // It may have answered and closed already: that is heard below.
    if stream.write_all(request.as_bytes()).await.is_ok() {
        stream.flush().await.ok();
    }
    let mut room = HEAD_BYTES_MAX;
    loop {
        let line = line(stream, VERSION, &mut room).await?;
        let line = line.ok_or(TunnelError::Closed(CLOSED))?;
        let (status, reason) = status_line(&line).ok_or_else(no_http)?;
        if status >= 300 {
            return Err(judge(status, &reason, credentials.is_some()));
        }
        while has_line(stream, &mut room).await? {}
        // 1xx announces another answer.
        if status >= 200 {
            return Ok(());
        }
    }
}

fn request(host: TunnelHost<'_>, port: u16, credentials: Option<&ProxyCredentials>) -> String {
    let target = match host {
        TunnelHost::Name(name) => authority(name, port),
        TunnelHost::Address(address) => authority(&address.to_string(), port),
    };
    let credentials = credentials.map_or_else(String::new, |credentials| {
        format!("Proxy-Authorization: {}\r\n", credentials.basic())
    });
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n")
}

/// One line that begins like this, without its end; none if the connection ends before its first
/// byte.
async fn line(
    stream: &mut Box<dyn Stream>,
    beginning: &[u8],
    room: &mut usize,
) -> Result<Option<Vec<u8>>, TunnelError> {
    let mut line = Vec::new();
    loop {
        let byte = match stream.read_u8().await {
            Ok(byte) => byte,
            Err(_) if line.is_empty() => return Ok(None),
            Err(error) => return Err(TunnelError::Unreached(stream_words(&error))),
        };
        if beginning.get(line.len()).is_some_and(|due| *due != byte) {
            return Err(no_http());
        }
        if byte == b'\n' {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
        *room = room.saturating_sub(1);
        if *room == 0 {
            let words = format!("the head of its answer is longer than {HEAD_BYTES_MAX} bytes");
            return Err(TunnelError::Broken(words));
        }
        // The rest of a long line says nothing that is used.
        if line.len() < LINE_BYTES_MAX {
            line.push(byte);
        }
    }
}

/// Whether there is a line behind the first one, or the head ends.
async fn has_line(stream: &mut Box<dyn Stream>, room: &mut usize) -> Result<bool, TunnelError> {
    let line = line(stream, b"", room).await?;
    let line = line.ok_or(TunnelError::Closed(
        "the proxy closed the connection within its answer",
    ))?;
    Ok(!line.is_empty())
}

/// The status, and what may be shown of the reason.
fn status_line(line: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(line);
    let (_, rest) = text.strip_prefix("HTTP/1.")?.split_once(' ')?;
    let rest = rest.trim_start();
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status = is_status.then(|| status.parse().ok()).flatten()?;
    let shown = |c: &char| c.is_ascii_graphic() || *c == ' ';
    let reason = reason.chars().filter(shown).take(REASON_CHARS_MAX);
    (100..=599)
        .contains(&status)
        .then(|| (status, reason.collect()))
}

/// Who is to blame for an answer that opens no tunnel.
fn judge(status: u16, reason: &str, has_credentials: bool) -> TunnelError {
    let status_words = match reason.trim() {
        "" => status.to_string(),
        reason => format!("{status} {reason}"),
    };
    match status {
        // 401 is what tinyproxy 1.11 says of a wrong password, after 407 where there is none.
        401 | 407 if has_credentials => TunnelError::Unknown(format!(
            "it refuses the user or the password ({status_words})"
        )),
        401 | 407 => TunnelError::Unknown(format!(
            "it wants a user and a password, and none are set ({status_words})"
        )),
        405 | 501 | 505 => TunnelError::Broken(format!(
            "it answers the method CONNECT with {status_words}, so it is no proxy for this"
        )),
        403 | 451 => TunnelError::Denied(format!(
            "the proxy does not allow it, and answered {status_words}"
        )),
        _ => TunnelError::Unreached(format!(
            "the proxy could not connect to it, and answered {status_words}"
        )),
    }
}

fn no_http() -> TunnelError {
    let words = "it does not answer as an HTTP proxy does; see the scheme and the port";
    TunnelError::Broken(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_as_proxies_write_it() {
        for (line, status, reason) in [
            (
                "HTTP/1.0 200 Connection established",
                200,
                "Connection established",
            ),
            ("HTTP/1.1 200", 200, ""),
            ("HTTP/1.1 200 ", 200, ""),
            ("HTTP/1.1  502 Bad Gateway", 502, "Bad Gateway"),
            ("HTTP/1.1 403 No\u{7f}\u{1b}[1m \u{e4}", 403, "No[1m "),
        ] {
            let read = status_line(line.as_bytes()).unwrap();
            assert_eq!(read, (status, reason.to_owned()), "{line}");
        }
        let long = format!("HTTP/1.1 500 {}", "x".repeat(1_000));
        assert_eq!(
            status_line(long.as_bytes()).unwrap().1.len(),
            REASON_CHARS_MAX
        );
        for line in [
            "",
            "SSH-2.0-OpenSSH_9.2",
            "\u{5}\u{ff}",
            "HTTP/2 200",
            "HTTP/1.1 20",
            "HTTP/1.1 2000",
            "HTTP/1.1 600 x",
            "HTTP/1.1",
            "ICY 200 OK",
            "HTTP/1.1 +20 x",
        ] {
            assert_eq!(status_line(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn addresses_of_ipv6_stand_in_brackets() {
        let address = TunnelHost::Address("2001:db8::1".parse().unwrap());
        let request = request(address, 443, None);
        let expected = "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n";
        assert_eq!(request, expected);
    }
}
