//! Calls through proxies: what a proxy is asked, what its answers mean, and who pays for them. In
//! memory, on paused time.

use std::future::Future;
use std::sync::Mutex;

use model::proxy::{Proxy, ProxyRules};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::proxy::ProxyVerdict;
use crate::resolver::{Addresses, LookupReply, NameError};

const HTTP: &str = "http://me:s3cret@proxy.test:3128";
const SOCKS: &str = "socks5h://me:s3cret@proxy.test";

/// Where the proxy is: at an address that webhooks may not call.
const PROXY_ADDRESS: &str = "10.9.9.9";

/// A network on which every address takes connections, and is what the test makes of it.
struct Network {
    dial: NetDial,
    accepted: UnboundedReceiver<(SocketAddr, DuplexStream)>,
}

/// What the resolver says of names. Those that are not here have no answer, ever.
fn names(name: &str) -> Option<Result<Addresses, NameError>> {
    let found = |all: &[&str]| {
        let all = all
            .iter()
            .map(|text| SocketAddr::new(text.parse().unwrap(), 0));
        Some(Ok(all.collect()))
    };
    match name {
        "proxy.test" => found(&[PROXY_ADDRESS]),
        "public.test" => found(&["93.184.216.34", "93.184.216.35"]),
        "private.test" => found(&["10.0.0.1"]),
        "mixed.test" => found(&["10.0.0.1", "93.184.216.34"]),
        "unknown.test" => Some(Err(NameError::NoSuchName)),
        _ => None,
    }
}

fn rules(proxy: &str, no_proxy: &str) -> ProxyRules {
    let proxy = Proxy::parse(proxy).unwrap();
    ProxyRules {
        https: Some(proxy.clone()),
        http: Some(proxy),
        no_proxy: no_proxy.parse().unwrap(),
    }
}

impl Network {
    fn new(proxy: &str) -> Self {
        Self::with(rules(proxy, ""), &[])
    }

    fn with(rules: ProxyRules, extra_ca_pems: &[(String, Vec<u8>)]) -> Self {
        let (tell, accepted) = unbounded_channel();
        let connect = Box::new(move |address| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let taken = tell.send((address, far));
            Box::pin(async move {
                match taken {
                    Ok(()) => Ok(Box::new(near) as Box<dyn Stream>),
                    Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
                }
            }) as BoxFuture<'static, _>
        });
        let kept = Mutex::new(Vec::new());
        let begin = Box::new(move |name: &str, reply: LookupReply| match names(name) {
            Some(found) => reply.answer(&found),
            None => kept.lock().unwrap().push(reply),
        });
        let mut registry = Registry::default();
        let resolver = Resolver::deferred(begin, &mut registry);
        let tls = client(&tls_config(extra_ca_pems).unwrap());
        let dial = NetDial::over(connect, resolver, PrivateTargets::None, tls);
        let dial = dial.through(ProxyClient::new(rules, &mut registry));
        Self { dial, accepted }
    }

    /// Calls this target, while the proxy does what it does with each connection.
    async fn call<F: Future<Output = ()>>(
        &mut self,
        endpoint: &Endpoint,
        proxy: impl Fn(DuplexStream) -> F,
    ) -> Result<Box<dyn Stream>, Failure> {
        let Self { dial, accepted } = self;
        let limit = Deadline::from_here(30_000);
        let calling = dial.dial(endpoint, LookupContext::INTERNAL, limit);
        let answering = async {
            loop {
                let (address, stream) = accepted.recv().await.unwrap();
                let port = address.port();
                assert!(
                    address.ip().to_string() == PROXY_ADDRESS && [3128, 1080, 443].contains(&port)
                );
                proxy(stream).await;
            }
        };
        tokio::select! {
            biased;
            called = calling => called,
            () = answering => unreachable!("it answers for ever"),
        }
    }

    /// The failure of a call to a proxy that answers like this.
    async fn failure(&mut self, answer: &[u8]) -> Failure {
        let endpoint = endpoint(true, "public.test", 443);
        let called = self.call(&endpoint, |stream| says(stream, answer)).await;
        called.err().unwrap()
    }

    /// Where connections went that nobody took meanwhile.
    fn dialled(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.accepted.try_recv().ok())
            .map(|(address, _)| address.to_string())
            .collect()
    }
}

/// Takes what it is told, answers this, and closes.
async fn says(mut stream: DuplexStream, answer: &[u8]) {
    let mut told = [0; 1024];
    assert!(stream.read(&mut told).await.unwrap() > 0);
    stream.write_all(answer).await.unwrap();
}

/// Answers this as soon as it has been told exactly that, step by step; then stays.
async fn dialogue(stream: &mut DuplexStream, steps: &[(&[u8], &[u8])]) {
    for (told, answer) in steps {
        let mut heard = vec![0; told.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&heard),
            String::from_utf8_lossy(told)
        );
        stream.write_all(answer).await.unwrap();
    }
}

const GREETING: (&[u8], &[u8]) = (&[5, 2, 0, 2], &[5, 2]);
const KNOWN: (&[u8], &[u8]) = (b"\x01\x02me\x06s3cret", &[1, 0]);
const CONNECT: &[u8] = b"CONNECT public.test:80 HTTP/1.1\r\nHost: public.test:80\r\n\
                         Proxy-Authorization: Basic bWU6czNjcmV0\r\n\r\n";

/// Reads what comes out of a tunnel.
async fn out_of(stream: Result<Box<dyn Stream>, Failure>) -> String {
    let mut out = String::new();
    let mut stream = stream.unwrap_or_else(|failure| panic!("{failure:?}"));
    stream.read_to_string(&mut out).await.unwrap();
    out
}

#[tokio::test(start_paused = true)]
async fn an_http_proxy_is_asked_by_name_and_what_follows_its_answer_is_the_receivers() {
    for answer in [
        &b"HTTP/1.1 200 Connection established\r\n\r\nhello"[..],
        b"HTTP/1.0 200\n\nhello",
        b"HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\nContent-Length: 7\r\n\r\nhello",
        b"HTTP/1.1 102 Wait\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let mut network = Network::new(HTTP);
        let target = endpoint(false, "public.test", 80);
        let called = network.call(&target, async |mut stream| {
            dialogue(&mut stream, &[(CONNECT, answer)]).await;
        });
        assert_eq!(out_of(called.await).await, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_the_same_answer() {
    let mut network = Network::new(HTTP);
    let target = endpoint(false, "public.test", 80);
    let called = network.call(&target, async |mut stream| {
        dialogue(&mut stream, &[(CONNECT, b"")]).await;
        for byte in b"HTTP/1.1 200 Connection established\r\nA: b\r\n\r\nhello" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    // The tunnel is open before its last bytes are written.
    assert!(called.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn tls_goes_through_a_tunnel_from_end_to_end_and_to_a_proxy_that_wants_it() {
    let authority = Authority::new();
    let receiver = authority.sign(&["public.test"], |_| {});
    let at_proxy = authority.sign(&["proxy.test"], |_| {});
    let rules = rules("https://proxy.test", "");
    let Network { dial, mut accepted } = Network::with(rules, &[authority.pem()]);
    let answering = async {
        let (_, stream) = accepted.recv().await.unwrap();
        let mut stream = at_proxy.accept(stream).await.unwrap();
        let asked = b"CONNECT public.test:443 HTTP/1.1\r\nHost: public.test:443\r\n\r\n";
        let mut heard = vec![0; asked.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, asked);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut inner = receiver.accept(stream).await.unwrap();
        inner.write_all(b"hello").await.unwrap();
        inner.shutdown().await.unwrap();
        inner
    };
    let target = endpoint(true, "public.test", 443);
    let limit = Deadline::from_here(LIMIT_MS);
    let calling = async { out_of(dial.dial(&target, LookupContext::INTERNAL, limit).await).await };
    let (out, _open) = tokio::join!(calling, answering);
    assert_eq!(out, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_behind_a_tunnel_is_the_receivers_matter_and_that_of_the_proxy_is_ours() {
    let stranger = Authority::named("a stranger").sign(&["public.test", "proxy.test"], |_| {});
    let target = endpoint(true, "public.test", 443);
    let mut network = Network::new(HTTP);
    let called = network.call(&target, async |mut stream| {
        let mut heard = [0; 1024];
        assert!(stream.read(&mut heard).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stranger.accept(stream).await.ok();
    });
    assert_eq!(called.await.err().unwrap().kind, FailureKind::Tls);
    let mut network = Network::new("https://proxy.test");
    let called = network.call(&target, async |stream| {
        stranger.accept(stream).await.ok();
    });
    let failure = called.await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Short);
    let words = "a proxy that works (https://proxy.test:443: TLS with it failed: the \
                 certificate's issuer is not trusted here";
    assert!(failure.detail.starts_with(words), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socks_proxy_is_told_who_calls_and_the_name() {
    let asked = b"\x05\x01\x00\x03\x0bpublic.test\x00\x50";
    for reply in [
        &b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38hello"[..],
        b"\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x04\x38hello",
        b"\x05\x00\x00\x03\x04here\x04\x38hello",
    ] {
        let mut network = Network::new(SOCKS);
        let target = endpoint(false, "public.test", 80);
        let called = network.call(&target, async |mut stream| {
            dialogue(&mut stream, &[GREETING, KNOWN, (asked, reply)]).await;
        });
        assert_eq!(out_of(called.await).await, "hello");
    }
    // One that does not want to know who calls is not told.
    let mut network = Network::new(SOCKS);
    let target = endpoint(false, "2606:4700::1", 80);
    let asked =
        b"\x05\x01\x00\x04\x26\x06\x47\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50";
    let reply = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00hello";
    let called = network.call(&target, async |mut stream| {
        dialogue(&mut stream, &[(GREETING.0, &[5, 0]), (asked, reply)]).await;
    });
    assert_eq!(out_of(called.await).await, "hello");
}

#[tokio::test(start_paused = true)]
async fn socks5_is_told_vetted_addresses_one_after_the_other() {
    let ask = |last: u8| [5, 1, 0, 1, 93, 184, 216, last, 0, 80];
    let mut network = Network::new("socks5://proxy.test");
    let target = endpoint(false, "public.test", 80);
    let tries = AtomicUsize::new(0);
    let called = network.call(&target, async |mut stream| {
        let (last, reply) = match tries.fetch_add(1, Ordering::Relaxed) {
            0 => (34, &b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"[..]),
            _ => (35, &b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00hello"[..]),
        };
        let greeting = (&[5, 1, 0][..], &[5, 0][..]);
        dialogue(&mut stream, &[greeting, (&ask(last), reply)]).await;
    });
    assert_eq!(out_of(called.await).await, "hello");
    // Of a name that leads to others, too, those are left out.
    let mut network = Network::new("socks5://proxy.test");
    let target = endpoint(false, "mixed.test", 80);
    let called = network.call(&target, async |mut stream| {
        let greeting = (&[5, 1, 0][..], &[5, 0][..]);
        let refused = &b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"[..];
        dialogue(&mut stream, &[greeting, (&ask(34), refused)]).await;
    });
    let failure = called.await.err().unwrap();
    assert_eq!(failure.kind, FailureKind::Connect);
    assert_eq!(
        failure.detail,
        "the proxy could not connect to it: no route to the host, or no such name (SOCKS5 reply 4) \
         (93.184.216.34:80)"
    );
    let mut network = Network::new("socks5://proxy.test");
    let unknown = endpoint(false, "unknown.test", 80);
    let failure = failure_of(&network.dial, &unknown).await;
    assert_eq!(failure.kind, FailureKind::LookUp);
    assert!(network.dialled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_says_of_a_receiver_is_the_receivers_failure() {
    use FailureKind::{Connect, Forbidden};
    for (answer, kind, words) in [
        (
            &b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..],
            Connect,
            "the proxy could not connect to it, and answered 502 Bad Gateway",
        ),
        (
            b"HTTP/1.1 503 \r\n\r\n",
            Connect,
            "the proxy could not connect to it, and answered 503",
        ),
        (
            b"HTTP/1.1 504 T\r\n\r\n",
            Connect,
            "the proxy could not connect to it, and answered 504 T",
        ),
        (
            b"HTTP/1.1 400 B\r\n\r\n",
            Connect,
            "the proxy could not connect to it, and answered 400 B",
        ),
        (
            b"HTTP/1.1 302 F\r\n\r\n",
            Connect,
            "the proxy could not connect to it, and answered 302 F",
        ),
        (
            b"HTTP/1.1 403 No\r\n\r\n",
            Forbidden,
            "the proxy does not allow it, and answered 403 No",
        ),
        (
            b"HTTP/1.1 20",
            Connect,
            "the proxy closed the connection half-way",
        ),
    ] {
        let mut network = Network::new(HTTP);
        let failure = network.failure(answer).await;
        assert_eq!(failure, Failure::new(kind, words));
        // The next call asks the proxy again at once.
        assert_eq!(network.failure(answer).await, failure);
        // What has answered once is a proxy, and some close where they cannot connect.
        for (answer, words) in [
            (
                &b""[..],
                "the proxy closed the connection without an answer",
            ),
            (
                b"HTTP/1.1 200 OK\r\n",
                "the proxy closed the connection within its answer",
            ),
        ] {
            let failure = network.failure(answer).await;
            assert_eq!(failure, Failure::new(Connect, words));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_ails_the_proxy_itself_is_no_receivers_failure() {
    let long = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 20_000]].concat();
    for (answer, words) in [
        (
            &b"HTTP/1.1 407 Who?\r\n\r\n"[..],
            "it refuses the user or the password (407 Who?)",
        ),
        (
            b"HTTP/1.0 401 Unauthorized\r\n\r\n",
            "it refuses the user or the password (401 Unauthorized)",
        ),
        (
            b"HTTP/1.1 405 No\r\n\r\n",
            "it answers the method CONNECT with 405 No, so it is no proxy for this",
        ),
        (
            &[5, 0xff],
            "it does not answer as an HTTP proxy does; see the scheme and the port",
        ),
        (
            b"",
            "it has ended every connection without an answer; see the scheme and the port",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "it does not answer as an HTTP proxy does; see the scheme and the port",
        ),
        (&long, "the head of its answer is longer than 16384 bytes"),
    ] {
        let mut network = Network::new(HTTP);
        let failure = network.failure(answer).await;
        let words = format!("a proxy that works (http://proxy.test:3128: {words})");
        assert_eq!(failure, Failure::new(FailureKind::Short, words));
    }
    let mut network = Network::new("http://proxy.test:3128");
    let failure = network.failure(b"HTTP/1.1 407 Who?\r\n\r\n").await;
    assert!(
        failure
            .detail
            .contains("it wants a user and a password, and none are set")
    );
    for (answer, words) in [
        (
            &[5, 0xff][..],
            "it wants a way to authenticate that is not user and password",
        ),
        (
            b"HTTP/1.1 400 Bad Request",
            "it does not speak SOCKS5; see the scheme and the port",
        ),
        (&[5, 2, 1, 1], "it refuses the user or the password"),
        (&[5, 2], "it refuses the user or the password"),
        (
            b"",
            "it closes the connection at once: it does not speak SOCKS5, or not with this machine",
        ),
        (
            &[5, 0, 5, 7, 0, 1],
            "it does not take the command CONNECT (SOCKS5 reply 7)",
        ),
    ] {
        let mut network = Network::new(SOCKS);
        let failure = network.failure(answer).await;
        let words = format!("a proxy that works (socks5h://proxy.test:1080: {words})");
        assert_eq!(failure, Failure::new(FailureKind::Short, words));
    }
}

#[tokio::test(start_paused = true)]
async fn socks_replies_say_who_is_to_blame() {
    use FailureKind::{Connect, Forbidden};
    for (reply, kind, word) in [
        (1, Connect, "no reason"),
        (2, Forbidden, "does not allow it"),
        (3, Connect, "no route to the network"),
        (4, Connect, "no route to the host"),
        (5, Connect, "connection refused"),
        (6, Connect, "gave up waiting"),
        (8, Connect, "kind of address"),
        (99, Connect, "known here"),
    ] {
        let mut network = Network::new(SOCKS);
        let failure = network.failure(&[5, 0, 5, reply, 0, 1]).await;
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.detail.contains(word), "{failure:?}");
    }
    let mut network = Network::new(SOCKS);
    let failure = network.failure(&[5, 0]).await;
    let words = "the proxy closed the connection without an answer";
    assert_eq!(failure, Failure::new(Connect, words));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_does_not_work_is_tried_by_one_call_a_second() {
    const UNKNOWN: &[u8] = b"HTTP/1.1 407 Who?\r\n\r\n";
    let mut network = Network::new(HTTP);
    let first = network.failure(UNKNOWN).await;
    for _ in 0..100 {
        let failure = failure_of(&network.dial, &endpoint(true, "public.test", 443)).await;
        assert_eq!(failure, first);
    }
    assert!(network.dialled().is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(network.failure(UNKNOWN).await, first);
    tokio::time::advance(Duration::from_secs(1)).await;
    // Whatever it says of a receiver, it works again, for all and at once.
    for _ in 0..2 {
        let failure = network.failure(b"HTTP/1.1 502 Bad\r\n\r\n").await;
        assert_eq!(failure.kind, FailureKind::Connect);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_wants_credentials_for_some_receivers_works_for_the_others() {
    let mut network = Network::new(HTTP);
    let target = endpoint(false, "public.test", 80);
    for _ in 0..2 {
        let opened = network.call(&target, async |stream| {
            says(stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
        });
        assert!(opened.await.is_ok());
        let failure = network.failure(b"HTTP/1.1 407 Who?\r\n\r\n").await;
        assert_eq!(failure.kind, FailureKind::Short);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_silent_is_waited_for_no_longer_than_an_attempt() {
    let target = endpoint(true, "public.test", 443);
    let silent = async |_stream: DuplexStream| std::future::pending().await;
    for (proxy, kind, seconds, words) in [
        // It took the request, and may wait for the receiver.
        (
            HTTP,
            FailureKind::TimeLimit,
            30,
            "timed out after 30 s, waiting for the proxy to connect to the receiver",
        ),
        (
            SOCKS,
            FailureKind::Short,
            10,
            "a proxy that works (socks5h://proxy.test:1080: timed out after 10 s, waiting for its \
             answer to a greeting)",
        ),
        (
            "https://proxy.test",
            FailureKind::Short,
            10,
            "a proxy that works (https://proxy.test:443: timed out after 10 s, waiting for the TLS \
             handshake)",
        ),
    ] {
        let began = Instant::now();
        let mut network = Network::new(proxy);
        let failure = network.call(&target, silent).await.err().unwrap();
        assert_eq!(failure, Failure::new(kind, words));
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_not_there_is_no_receivers_failure() {
    let target = endpoint(true, "public.test", 443);
    let mut network = Network::new(HTTP);
    network.accepted.close();
    let failure = failure_of(&network.dial, &target).await;
    let words = "a proxy that works (http://proxy.test:3128: connection refused (10.9.9.9:3128))";
    assert_eq!(failure, Failure::new(FailureKind::Short, words));
    let network = Network::new("http://unknown.test:3128");
    let failure = failure_of(&network.dial, &target).await;
    let words = "a proxy that works (http://unknown.test:3128: its name could not be looked up: \
                 there is no such name (unknown.test))";
    assert_eq!(failure, Failure::new(FailureKind::Short, words));
}

#[tokio::test(start_paused = true)]
async fn no_forbidden_address_is_told_to_a_proxy() {
    for proxy in [HTTP, SOCKS, "socks5://proxy.test"] {
        let mut network = Network::new(proxy);
        for host in ["10.0.0.1", "127.0.0.1", "::1", "private.test"] {
            let failure = failure_of(&network.dial, &endpoint(true, host, 443)).await;
            assert_eq!(failure.kind, FailureKind::Forbidden, "{proxy} {host}");
        }
        assert!(network.dialled().is_empty());
    }
    // Which address a proxy takes that is told the name, nobody knows.
    for proxy in [HTTP, SOCKS] {
        let mut network = Network::new(proxy);
        let failure = failure_of(&network.dial, &endpoint(true, "mixed.test", 443)).await;
        assert_eq!(failure.kind, FailureKind::Forbidden, "{proxy}");
        assert!(network.dialled().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_only_the_proxy_knows_goes_there_and_costs_a_second_at_most() {
    for (host, seconds) in [("unknown.test", 0), ("silent.test", 1)] {
        let mut network = Network::new("http://10.9.9.9:3128");
        let target = endpoint(false, host, 80);
        let asked = format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n");
        let began = Instant::now();
        let called = network.call(&target, async |mut stream| {
            let answer = b"HTTP/1.1 200 OK\r\n\r\nhello";
            dialogue(&mut stream, &[(asked.as_bytes(), answer)]).await;
        });
        assert_eq!(out_of(called.await).await, "hello");
        assert_eq!(began.elapsed().as_secs(), seconds, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn exceptions_and_schemes_without_a_proxy_are_called_directly_and_vetted() {
    let mut network = Network::with(rules(HTTP, "public.test,private.test"), &[]);
    let limit = Deadline::from_here(LIMIT_MS);
    let target = endpoint(false, "public.test", 80);
    let called = network.dial.dial(&target, LookupContext::INTERNAL, limit);
    assert!(called.await.is_ok());
    assert_eq!(network.dialled(), ["93.184.216.34:80"]);
    let failure = failure_of(&network.dial, &endpoint(false, "private.test", 80)).await;
    assert_eq!(failure.kind, FailureKind::Forbidden);
    let https_only = ProxyRules {
        http: None,
        ..rules(HTTP, "")
    };
    let mut network = Network::with(https_only, &[]);
    let called = network.dial.dial(&target, LookupContext::INTERNAL, limit);
    assert!(called.await.is_ok());
    assert_eq!(network.dialled(), ["93.184.216.34:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_tried_out_with_a_name_that_nobody_has() {
    let asked = b"CONNECT willcall.invalid:443 HTTP/1.1\r\nHost: willcall.invalid:443\r\n\
                  Proxy-Authorization: Basic bWU6czNjcmV0\r\n\r\n";
    for (answer, verdict, words) in [
        (
            &b"HTTP/1.1 503 Unavailable\r\n\r\n"[..],
            ProxyVerdict::Works,
            "works; asked for a receiver that is nowhere, the proxy could not connect to it, and \
             answered 503 Unavailable",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\n", ProxyVerdict::Works, "works"),
        (
            b"",
            ProxyVerdict::Unsure,
            "asked for a receiver that is nowhere, the proxy closed the connection without an answer",
        ),
        (
            b"HTTP/1.1 407 Who?\r\n\r\n",
            ProxyVerdict::Fails,
            "it refuses the user or the password (407 Who?)",
        ),
    ] {
        let Network { dial, mut accepted } = Network::new(HTTP);
        let answering = async {
            let (_, mut stream) = accepted.recv().await.unwrap();
            dialogue(&mut stream, &[(asked, answer)]).await;
        };
        let trying = dial.try_proxies(Deadline::from_here(LIMIT_MS));
        let (checks, ()) = tokio::join!(trying, answering);
        let expected = ProxyCheck {
            proxy: "http://proxy.test:3128".to_owned(),
            verdict,
            words: words.to_owned(),
        };
        assert_eq!(checks, [expected]);
    }
}
