//! Proxies that calls go through: which one, what is asked of it, and who is to blame if there is
//! no way to the receiver.
//!
//! It sees streams that `dial.rs` has opened. What ails the proxy itself is a shortage of ours, for
//! which no receiver pays; a proxy that cannot or may not reach the receiver is a failed attempt.
//! Nothing a proxy says is taken for a receiver's answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::{Failure, FailureKind};
use model::proxy::{Proxy, ProxyKind, ProxyRules};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, timeout_at};

use crate::shortage::no_proxy_words;
use crate::sync::lock;
use crate::transport::{Deadline, Endpoint, Stream};

use self::tunnel::TunnelError;

pub(crate) use self::tunnel::TunnelHost;

mod connect;
mod socks;
mod tunnel;

/// A proxy is near, or near enough: what takes longer than this does not work.
const NEAR_LIMIT_MS: u32 = 10_000;

/// A proxy that does not work is tried by one call in so much time; the others wait without it.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// Within this time after an open tunnel, refused credentials are no reason to keep others from
/// trying: some proxies ask for credentials only where they would not connect.
const WORKED_WITHIN: Duration = Duration::from_secs(10);

/// A name that nobody has (RFC 6761), with which a proxy is tried out.
const NOBODY: &str = "willcall.invalid";

/// Every proxy of the settings, and which calls go through which.
pub struct ProxyClient {
    rules: ProxyRules,
    https: Option<Arc<Upstream>>,
    http: Option<Arc<Upstream>>,
}

/// One proxy, and whether it works.
pub(crate) struct Upstream {
    proxy: Proxy,
    endpoint: Endpoint,
    state: Mutex<UpstreamState>,
    opened: Counter,
    refused: Counter,
    failed: Counter,
}

#[derive(Default)]
struct UpstreamState {
    fault: Option<Fault>,
    /// It has answered as a proxy does, whatever it said.
    has_answered: bool,
    worked_at: Option<Instant>,
}

struct Fault {
    words: String,
    /// Until then somebody else is trying, or has just tried.
    tried_until: Instant,
}

/// What a proxy was found to do when it was tried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyCheck {
    /// Without credentials.
    pub proxy: String,
    pub verdict: ProxyVerdict,
    /// What it does, as the end of a sentence that begins with the proxy.
    pub words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVerdict {
    /// It can be used, as far as that can be known without calling anybody.
    Works,
    /// It is there, and said nothing.
    Unsure,
    Fails,
}

impl ProxyClient {
    pub fn new(rules: ProxyRules, registry: &mut Registry) -> Self {
        let results = Family::<[(&'static str, &'static str); 1], Counter>::default();
        // So that each is there from the start.
        for result in ["opened", "refused", "failed"] {
            drop(results.get_or_create(&[("result", result)]));
        }
        let upstream = |proxy: &Proxy| Arc::new(Upstream::new(proxy.clone(), &results));
        let https = rules.https.as_ref().map(upstream);
        // One proxy for both is one, and works or does not.
        let http = match rules.http == rules.https {
            true => https.clone(),
            false => rules.http.as_ref().map(upstream),
        };
        registry.register(
            "willcall_proxy_tunnels",
            "Connections asked of a proxy, by result. Refused: it did not connect to the receiver. \
             Failed: something is wrong with the proxy or the settings of it",
            results,
        );
        Self { rules, https, http }
    }

    /// The proxy for calls to this endpoint; none if they go out directly.
    pub(crate) fn choose(&self, endpoint: &Endpoint) -> Option<&Upstream> {
        self.rules
            .choose(endpoint.tls, &endpoint.host, endpoint.port)?;
        match endpoint.tls {
            true => self.https.as_deref(),
            false => self.http.as_deref(),
        }
    }

    /// Each proxy once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Upstream> {
        let is_same = self.rules.http == self.rules.https;
        let http = self.http.as_deref().filter(|_| !is_same);
        self.https.as_deref().into_iter().chain(http)
    }
}

impl Upstream {
    fn new(proxy: Proxy, results: &Family<[(&'static str, &'static str); 1], Counter>) -> Self {
        let counter = |result| results.get_or_create_owned(&[("result", result)]);
        Self {
            endpoint: Endpoint {
                tls: proxy.kind == ProxyKind::Https,
                host: proxy.host.clone(),
                port: proxy.port,
                own: None,
            },
            proxy,
            state: Mutex::default(),
            opened: counter("opened"),
            refused: counter("refused"),
            failed: counter("failed"),
        }
    }

    /// Where the proxy itself listens.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is told addresses only, which were looked up and vetted here.
    pub(crate) fn takes_addresses(&self) -> bool {
        self.proxy.kind == ProxyKind::Socks5
    }

    /// By when it has to be reached.
    pub(crate) fn near(limit: Deadline) -> Deadline {
        limit.at_most(NEAR_LIMIT_MS)
    }

    /// Whether to try it now. While it does not work, only now and then somebody tries.
    pub(crate) fn admit(&self) -> Result<(), Failure> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let Some(fault) = &mut state.fault else {
            return Ok(());
        };
        if now < fault.tried_until {
            return Err(short(&fault.words));
        }
        fault.tried_until = now + Duration::from_millis(u64::from(NEAR_LIMIT_MS));
        Ok(())
    }

    /// It takes connections. Whoever tries it may now wait for a receiver, and others need not.
    fn reached(&self) {
        if let Some(fault) = &mut lock(&self.state).fault {
            fault.tried_until = Instant::now() + TRIED_EVERY;
        }
    }

    /// It could not be reached.
    pub(crate) fn unreachable(&self, failure: Failure) -> Failure {
        // This machine lacks something else, and says what.
        if failure.kind == FailureKind::Short {
            return failure;
        }
        self.broken(&unreachable_words(&failure))
    }

    /// Has the proxy open a tunnel over `stream`, on which the next byte is the receiver's.
    pub(crate) async fn open(
        &self,
        mut stream: Box<dyn Stream>,
        host: TunnelHost<'_>,
        port: u16,
        near: Deadline,
        limit: Deadline,
    ) -> Result<Box<dyn Stream>, Failure> {
        let asked = self.ask(&mut stream, host, port, near, limit).await;
        match asked {
            Ok(()) => {
                self.opened.inc();
                self.works(true);
                Ok(stream)
            }
            Err(error) => Err(self.failure(error, limit)),
        }
    }

    async fn ask(
        &self,
        stream: &mut Box<dyn Stream>,
        host: TunnelHost<'_>,
        port: u16,
        near: Deadline,
        limit: Deadline,
    ) -> Result<(), TunnelError> {
        self.reached();
        let credentials = self.proxy.credentials.as_ref();
        if self.is_socks() {
            let greeting = timeout_at(near.deadline(), socks::greet(stream, credentials));
            let late = |_| TunnelError::Broken(near.missed("its answer to a greeting").detail);
            greeting.await.map_err(late)??;
        }
        let asking = async {
            match self.is_socks() {
                true => socks::connect(stream, host, port).await,
                false => connect::connect(stream, host, port, credentials).await,
            }
        };
        let asked = timeout_at(limit.deadline(), asking).await;
        asked.unwrap_or(Err(TunnelError::Late))
    }

    fn is_socks(&self) -> bool {
        match self.proxy.kind {
            ProxyKind::Http | ProxyKind::Https => false,
            ProxyKind::Socks5 | ProxyKind::Socks5h => true,
        }
    }

    fn failure(&self, error: TunnelError, limit: Deadline) -> Failure {
        let failure = match error {
            TunnelError::Broken(words) => return self.broken(&words),
            TunnelError::Unknown(words) => return self.unknown(&words),
            TunnelError::Unreached(words) => Failure::new(FailureKind::Connect, words),
            // Some proxies close where they cannot connect. So does what is none.
            TunnelError::Closed(words) => match self.is_socks() || self.has_answered() {
                true => Failure::new(FailureKind::Connect, words),
                false => {
                    let words = "it has ended every connection without an answer; see the scheme \
                                 and the port";
                    return self.broken(words);
                }
            },
            TunnelError::Denied(words) => Failure::new(FailureKind::Forbidden, words),
            TunnelError::Late => {
                self.refused.inc();
                return limit.missed("the proxy to connect to the receiver");
            }
        };
        self.refused.inc();
        self.works(false);
        failure
    }

    /// It does not work; the next calls do not try it at once.
    fn broken(&self, why: &str) -> Failure {
        self.failed.inc();
        let words = format!("{}: {why}", self.proxy);
        let failure = short(&words);
        lock(&self.state).fault = Some(Fault {
            words,
            tried_until: Instant::now() + TRIED_EVERY,
        });
        failure
    }

    /// It refuses our credentials: for all, or where it would not connect.
    fn unknown(&self, why: &str) -> Failure {
        let now = Instant::now();
        let worked_at = lock(&self.state).worked_at;
        match worked_at {
            Some(at) if now < at + WORKED_WITHIN => {
                self.failed.inc();
                short(&format!("{}: {why}", self.proxy))
            }
            Some(_) | None => self.broken(why),
        }
    }

    fn has_answered(&self) -> bool {
        lock(&self.state).has_answered
    }

    fn works(&self, opened: bool) {
        let mut state = lock(&self.state);
        state.fault = None;
        state.has_answered = true;
        if opened {
            state.worked_at = Some(Instant::now());
        }
    }

    /// Tries the proxy at the other end of `stream` with a name that nobody has.
    pub(crate) async fn try_out(
        &self,
        reached: Result<Box<dyn Stream>, Failure>,
        limit: Deadline,
    ) -> ProxyCheck {
        let host = match self.takes_addresses() {
            // Nobody has that either (RFC 5737).
            true => TunnelHost::Address(IpAddr::from([192, 0, 2, 1])),
            false => TunnelHost::Name(NOBODY),
        };
        let (verdict, words) = match reached {
            Ok(mut stream) => {
                let near = Self::near(limit);
                judge(self.ask(&mut stream, host, 443, near, limit).await)
            }
            Err(failure) => (ProxyVerdict::Fails, unreachable_words(&failure)),
        };
        ProxyCheck {
            proxy: self.proxy.to_string(),
            verdict,
            words,
        }
    }
}

/// What it means that a proxy was asked for a receiver that is nowhere.
fn judge(asked: Result<(), TunnelError>) -> (ProxyVerdict, String) {
    let nowhere = |words: &str| format!("asked for a receiver that is nowhere, {words}");
    match asked {
        Ok(()) => (ProxyVerdict::Works, "works".to_owned()),
        Err(TunnelError::Broken(words) | TunnelError::Unknown(words)) => {
            (ProxyVerdict::Fails, words)
        }
        Err(TunnelError::Unreached(words) | TunnelError::Denied(words)) => {
            (ProxyVerdict::Works, format!("works; {}", nowhere(&words)))
        }
        Err(TunnelError::Closed(words)) => (ProxyVerdict::Unsure, nowhere(words)),
        Err(TunnelError::Late) => (
            ProxyVerdict::Unsure,
            nowhere("it gave no answer in time, as it may"),
        ),
    }
}

/// What is wrong with a proxy that could not be reached.
fn unreachable_words(failure: &Failure) -> String {
    // The words of networks and TLS are about receivers.
    let why = failure.detail.replace("the receiver", "the proxy");
    match failure.kind {
        FailureKind::Tls => format!("TLS with it failed: {why}"),
        FailureKind::LookUp => format!("its name could not be looked up: {why}"),
        FailureKind::BadTarget
        | FailureKind::Short
        | FailureKind::Forbidden
        | FailureKind::Connect
        | FailureKind::TimeLimit
        | FailureKind::Closed
        | FailureKind::Garbled
        | FailureKind::Stale
        | FailureKind::Unsigned
        | FailureKind::SealedHeader
        | FailureKind::TlsSettings
        | FailureKind::Handshake => why,
    }
}

fn short(words: &str) -> Failure {
    Failure::new(FailureKind::Short, no_proxy_words(words))
}
