//! A connection beyond the setting, while all others are being answered. It gets one request: an
//! operator's tools are answered, anybody else is told to come again (503).

use std::time::Duration;

use bytes::Bytes;
use model::time::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use web::{Site, within};

use crate::http1::{linger, serve_any};

/// Time for the first line of the request to arrive.
const LINE_LIMIT: Duration = Duration::from_secs(2);

/// Time for everything.
const ALL_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes that are read to find the first line.
const LINE_BYTES_MAX: usize = 1_024;

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 45\r\n\r\n\
    All connections are in use. Try again later.\n";

/// Serves one request.
pub(crate) async fn serve<S>(mut stream: S, site: Site, stop: watch::Receiver<bool>, clock: Clock)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let begun = within(LINE_LIMIT, first_line(&mut stream)).await;
    let Some(Some(begun)) = begun else {
        return;
    };
    let work = async {
        if is_for_tools(&begun) {
            let answer = |request| site.clone().answer(request);
            serve_any(stream, begun, stop, clock, None, answer).await;
        } else {
            refuse(stream, stop).await;
        }
    };
    within(ALL_LIMIT, work).await;
}

async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, stop: watch::Receiver<bool>) {
    // A client that is gone needs no response.
    if stream.write_all(BUSY).await.is_ok() && stream.shutdown().await.is_ok() {
        linger(stream, stop).await;
    }
}

/// Reads until there is a whole line; returns everything read.
async fn first_line(stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let mut begun = Vec::with_capacity(LINE_BYTES_MAX);
    while !begun.contains(&b'\n') && begun.len() < LINE_BYTES_MAX {
        if stream.read_buf(&mut begun).await.ok()? == 0 {
            return None;
        }
    }
    Some(begun.into())
}

/// Whether the first line is a request of an operator's tools, such as `GET /livez`.
fn is_for_tools(begun: &[u8]) -> bool {
    let line = begun.split(|byte| *byte == b'\n').next();
    let line = line.and_then(|line| str::from_utf8(line).ok());
    let mut words = line.unwrap_or_default().split(' ');
    let method = words.next();
    let path = words.next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    matches!(method, Some("GET" | "HEAD")) && Site::is_for_tools(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tools_ask_for_is_answered() {
        for line in [
            "GET /livez HTTP/1.1\r\n",
            "HEAD /readyz?a HTTP/1.0\r\nX",
            "GET /metrics \n",
        ] {
            assert!(is_for_tools(line.as_bytes()), "{line}");
        }
        for line in [
            "GET / HTTP/1.1\r\n",
            "POST /livez HTTP/1.1\r\n",
            "GET",
            "\n",
            "\u{e9}",
        ] {
            assert!(!is_for_tools(line.as_bytes()), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_come_again_is_told_so_after_all_that_is_sent() {
        let (_stop, stopped) = watch::channel(false);
        let (mut own, mut other) = tokio::io::duplex(LINE_BYTES_MAX);
        let asking = async move {
            let sent = [
                b"POST / HTTP/1.1\r\n".as_slice(),
                &[b'x'; 8 * LINE_BYTES_MAX],
            ];
            own.write_all(&sent.concat()).await.unwrap();
            let mut answer = Vec::new();
            own.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let serving = async {
            first_line(&mut other).await.unwrap();
            refuse(other, stopped).await;
        };
        let (answer, ()) = tokio::join!(asking, serving);
        assert_eq!(answer, BUSY);
    }

    #[test]
    fn the_answer_says_how_long_it_is() {
        let text = str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
    }
}
