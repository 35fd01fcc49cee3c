//! Whatever comes on a connection: the site is asked the same and the same is answered, whether
//! the fast path reads it first or hyper reads all of it.

use std::net::IpAddr;

use model::address::Networks;

use super::*;
use crate::connections::Connections;
use crate::http1::serve_any;

/// Longer inputs say no more: the fast path takes no request beyond `BYTES_MAX`.
const BYTES_READ_MAX: usize = 24 * 1024;

/// A request as the site got it: its first line, its header lines in order, its body or that it
/// broke off.
type Asked = (String, Vec<(String, Vec<u8>)>, Option<Bytes>);

/// What the site was asked, and the bytes that came back.
type Exchanged = (Vec<Asked>, Vec<u8>);

async fn exchanged(bytes: &[u8], piece: usize, with_fast_path: bool) -> Exchanged {
    let (mut own, other) = duplex(256 * 1024);
    let (_stop, stopped) = never();
    let clock = Clock::new(|| Timestamp::from_millis(784_111_777_999));
    let connections = Arc::new(Connections::new(1, Networks::default()));
    let state = Arc::clone(&connections.admit(IpAddr::from([127, 0, 0, 1])).state);
    let asked = RefCell::new(Vec::new());
    let site = async |request: Request<Body>| {
        let (head, body) = request.into_parts();
        let line = format!("{} {} {:?}", head.method, head.uri, head.version);
        let lines = head.headers.iter();
        let lines = lines.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        // The rest of a body that never comes is waited for by the site alone.
        let body = timeout(IDLE_LIMIT, body.collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
        let length = body.as_ref().map_or(0, Bytes::len).to_string();
        asked.borrow_mut().push((line, lines.collect(), body));
        let answer = Response::builder().header(CONTENT_LENGTH, length.len());
        answer.body(Body::from(length)).unwrap()
    };
    let serving = async {
        let (stream, begun) = match with_fast_path {
            true => match plain(other).serve(stopped.clone(), &site).await {
                Some(left) => left,
                None => return,
            },
            false => (other, Bytes::new()),
        };
        serve_any(stream, begun, stopped, clock, Some(&state), &site).await;
    };
    let mut answers = Vec::new();
    let asking = async {
        let (mut reading, mut writing) = tokio::io::split(&mut own);
        let sending = async {
            for piece in bytes.chunks(piece) {
                // A refused request may not be read to its end.
                writing.write_all(piece).await.ok();
                tokio::task::yield_now().await;
            }
            // The client waits for the server to close: hyper drops requests that it has not begun
            // when a client closes its side, so their number would depend on the pieces.
        };
        let (_, read) = tokio::join!(sending, reading.read_to_end(&mut answers));
        read.unwrap();
    };
    tokio::join!(asking, serving);
    (asked.into_inner(), answers)
}

#[test]
fn with_and_without_the_fast_path_the_same_is_asked_and_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    ::fuzz::run("plain_request", 2_000, |bytes| {
        let bytes = &bytes[..bytes.len().min(BYTES_READ_MAX)];
        // Hyper asks the system for the date. When it refuses a head, and so why, depends on the
        // pieces that it reads; the site refuses nothing here.
        let shown = |answers: &[u8]| {
            let text = answers.escape_ascii().to_string();
            let end = text.find("HTTP/1.1 4").unwrap_or(text.len());
            let lines = text[..end].split_inclusive("\\r\\n");
            let lines = lines.filter(|line| !line.starts_with("date: "));
            (lines.collect::<String>(), end < text.len())
        };
        for piece in [usize::MAX, 1 + bytes.len() % 97] {
            let (asked, answers) = runtime.block_on(exchanged(bytes, piece, false));
            let (fast, came) = runtime.block_on(exchanged(bytes, piece, true));
            assert_eq!(fast, asked, "in pieces of {piece}");
            assert_eq!(shown(&came), shown(&answers), "in pieces of {piece}");
        }
    });
}

#[test]
fn a_plain_request_is_its_beginning_whatever_follows() {
    ::fuzz::run("plain_request", 4_000, |bytes| {
        let shown = |(request, length): (Request<Body>, usize)| {
            (format!("{:?}", request.map(drop)), length)
        };
        let found = parse(bytes).map(shown);
        match &found {
            Ok((_, length)) => {
                assert!(*length <= BYTES_MAX.min(bytes.len()));
                let alone = parse(&bytes[..*length]).map(shown);
                assert_eq!(alone, found);
                // It is whole at its end only, and of another kind nowhere before.
                for end in [1, length / 3, length / 2, length - 1] {
                    let begun = parse(&bytes[..end]).map(|(_, length)| length);
                    assert_eq!(begun, Err(ParseFailure::Incomplete), "{end}");
                }
            }
            Err(ParseFailure::Incomplete) => assert!(bytes.len() < BYTES_MAX),
            Err(ParseFailure::NotEligible) => {}
        }
    });
}
