//! TLS sessions that a receiver lets us resume: a handshake without a certificate to verify, at
//! half of the processor time or less.
//!
//! The library's own store counts by name only, so two ports of a host use up each other's
//! sessions, knows 32 names by default, and drops whichever came first. This one goes by endpoint,
//! drops what was used longest ago, is bounded in bytes, and ends a session a day after its
//! receiver was verified, because a resumed session is not verified again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::limits::{TLS_ENDPOINT_BYTES_MAX, TLS_SESSION_BYTES_MAX, TLS_SESSIONS_BYTES_MAX};
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use crate::sync::lock;
use crate::transport::Endpoint;

/// A receiver that was verified is asked for its certificate again after so long.
const VERIFIED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Of an endpoint: calls that begin together need one session each, and each brings new ones.
const SESSIONS_MAX: usize = 2;

/// What the library takes for a session and the maps for an endpoint, besides the bytes that came
/// from outside.
const SESSION_OVERHEAD: usize = 350;
const ENDPOINT_OVERHEAD: usize = 250;

/// The sessions of all endpoints.
pub(super) struct SessionStore(Mutex<Sessions>);

struct Sessions {
    endpoints: BTreeMap<Arc<Endpoint>, EndpointSessions>,
    /// Endpoints by their latest use.
    by_use: BTreeMap<u64, Arc<Endpoint>>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

/// What is remembered of an endpoint.
struct EndpointSessions {
    used: u64,
    bytes: usize,
    /// The key exchange that it took last.
    group: Option<NamedGroup>,
    /// TLS 1.3: each is used once. The latest is at the back.
    tickets: Vec<Held<Tls13ClientSessionValue>>,
    /// TLS 1.2: used as often as wished.
    session: Option<Box<Held<Tls12ClientSessionValue>>>,
}

struct Held<T> {
    value: T,
    /// When its receiver is to be verified again.
    until: Instant,
    bytes: usize,
}

/// The store as one handshake with one endpoint sees it, and the connection after it.
pub(super) struct EndpointStore {
    sessions: Arc<SessionStore>,
    endpoint: Arc<Endpoint>,
    /// Bytes that came from the receiver so far.
    received: Arc<AtomicU64>,
    progress: Mutex<Progress>,
}

enum Progress {
    Handshake(Handshake),
    Established(Established),
}

/// Some servers send tickets before the handshake has ended, and all do in TLS 1.2.
#[derive(Default)]
struct Handshake {
    /// When the receiver of the session that is offered is to be verified again.
    offered_until: Option<Instant>,
    tickets: Vec<Tls13ClientSessionValue>,
    session: Option<Tls12ClientSessionValue>,
}

struct Established {
    until: Instant,
    /// What each session holds of the receiver's certificates, if they did not come over this
    /// connection.
    chain_bytes: usize,
}

impl Default for SessionStore {
    fn default() -> Self {
        Self::new(TLS_SESSIONS_BYTES_MAX)
    }
}

impl SessionStore {
    fn new(bytes_max: usize) -> Self {
        Self(Mutex::new(Sessions::new(bytes_max)))
    }

    /// Forgets all sessions.
    pub(super) fn clear(&self) {
        let mut sessions = lock(&self.0);
        let empty = Sessions::new(sessions.bytes_max);
        let former = std::mem::replace(&mut *sessions, empty);
        // Taking it apart is left until the lock is given back.
        drop(sessions);
        drop(former);
    }

    /// How many endpoints are remembered, and the bytes that their sessions are counted with.
    pub(super) fn size(&self) -> (usize, usize) {
        let sessions = lock(&self.0);
        (sessions.endpoints.len(), sessions.bytes)
    }
}

impl Sessions {
    fn new(bytes_max: usize) -> Self {
        Self {
            endpoints: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// The sessions of an endpoint, which is in use now.
    fn touch(&mut self, endpoint: &Arc<Endpoint>) -> &mut EndpointSessions {
        self.uses += 1;
        let uses = self.uses;
        let known = self.endpoints.get_key_value(endpoint);
        let endpoint = Arc::clone(known.map_or(endpoint, |(known, _)| known));
        let entry = self
            .endpoints
            .entry(Arc::clone(&endpoint))
            .or_insert_with(|| {
                let bytes = ENDPOINT_OVERHEAD + endpoint.host.len();
                self.bytes += bytes;
                EndpointSessions::new(bytes)
            });
        self.by_use.remove(&entry.used);
        entry.used = uses;
        self.by_use.insert(uses, endpoint);
        entry
    }

    /// Changes the sessions of an endpoint, and drops what there is no room for any more: the
    /// sessions of those that were used longest ago.
    fn edit(&mut self, endpoint: &Arc<Endpoint>, change: impl FnOnce(&mut EndpointSessions)) {
        let entry = self.touch(endpoint);
        let before = entry.bytes;
        change(entry);
        let after = entry.bytes;
        self.bytes = (self.bytes + after).saturating_sub(before);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                return;
            };
            let dropped = self.endpoints.remove(&oldest);
            let bytes = dropped.map_or(0, |dropped| dropped.bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

impl EndpointSessions {
    fn new(bytes: usize) -> Self {
        Self {
            used: 0,
            bytes,
            group: None,
            tickets: Vec::new(),
            session: None,
        }
    }

    /// A second one is kept only if both are small.
    fn add_ticket(&mut self, ticket: Held<Tls13ClientSessionValue>) {
        if ticket.bytes > TLS_SESSION_BYTES_MAX {
            return;
        }
        while self.tickets.len() >= SESSIONS_MAX
            || (!self.tickets.is_empty() && self.bytes + ticket.bytes > TLS_ENDPOINT_BYTES_MAX)
        {
            let oldest = self.tickets.remove(0);
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
        self.bytes += ticket.bytes;
        self.tickets.reserve_exact(1);
        self.tickets.push(ticket);
    }

    /// The latest ticket that still counts. Those before it are no better.
    fn take_ticket(&mut self, now: Instant) -> Option<Held<Tls13ClientSessionValue>> {
        let ticket = self.tickets.pop()?;
        self.bytes = self.bytes.saturating_sub(ticket.bytes);
        if now < ticket.until {
            return Some(ticket);
        }
        let bytes: usize = self.tickets.drain(..).map(|ticket| ticket.bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        None
    }

    fn set_session(&mut self, session: Option<Held<Tls12ClientSessionValue>>) {
        let session = session.filter(|session| session.bytes <= TLS_SESSION_BYTES_MAX);
        let former = self.session.take().map_or(0, |former| former.bytes);
        let bytes = session.as_ref().map_or(0, |session| session.bytes);
        self.bytes = (self.bytes + bytes).saturating_sub(former);
        self.session = session.map(Box::new);
    }
}

impl Established {
    /// The most that a session can take which comes now, when so much has been received: all of it
    /// is in that.
    fn session_bytes(&self, received: u64) -> usize {
        let received = usize::try_from(received).unwrap_or(usize::MAX);
        received
            .saturating_add(self.chain_bytes)
            .saturating_add(SESSION_OVERHEAD)
    }
}

impl EndpointStore {
    /// `received` counts what comes from the receiver on this connection.
    pub(super) fn new(
        sessions: Arc<SessionStore>,
        endpoint: Arc<Endpoint>,
        received: Arc<AtomicU64>,
    ) -> Self {
        Self {
            sessions,
            endpoint,
            received,
            progress: Mutex::new(Progress::Handshake(Handshake::default())),
        }
    }

    /// The handshake has ended. `chain_bytes` is the size of the receiver's certificates,
    /// `valid_for` how long its own is still valid.
    pub(super) fn established(
        &self,
        is_resumed: bool,
        chain_bytes: usize,
        valid_for: Option<Duration>,
    ) {
        let now = Instant::now();
        let mut progress = lock(&self.progress);
        let Progress::Handshake(handshake) = &mut *progress else {
            return;
        };
        let handshake = std::mem::take(handshake);
        // What was resumed was not verified: it ends with what it was resumed from.
        let until = match (is_resumed, handshake.offered_until) {
            (true, Some(until)) => until,
            _ => now + valid_for.map_or(VERIFIED_FOR, |valid| valid.min(VERIFIED_FOR)),
        };
        let established = Established {
            until,
            chain_bytes: match is_resumed {
                true => chain_bytes,
                false => 0,
            },
        };
        let bytes = match handshake.tickets.is_empty() && handshake.session.is_none() {
            true => 0,
            false => established.session_bytes(self.received()),
        };
        *progress = Progress::Established(established);
        drop(progress);
        if handshake.tickets.is_empty() && handshake.session.is_none() {
            return;
        }
        lock(&self.sessions.0).edit(&self.endpoint, |entry| {
            for value in handshake.tickets {
                entry.add_ticket(Held {
                    value,
                    until,
                    bytes,
                });
            }
            if let Some(value) = handshake.session {
                entry.set_session(Some(Held {
                    value,
                    until,
                    bytes,
                }));
            }
        });
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A session of this receiver is offered to it.
    fn offer(&self, until: Instant) {
        if let Progress::Handshake(handshake) = &mut *lock(&self.progress) {
            handshake.offered_until = Some(until);
        }
    }
}

impl ClientSessionStore for EndpointStore {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        let mut sessions = lock(&self.sessions.0);
        sessions.edit(&self.endpoint, |entry| entry.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.sessions.0).endpoints.get(&self.endpoint)?.group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        if let Progress::Handshake(handshake) = &mut *lock(&self.progress) {
            handshake.session = Some(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let now = Instant::now();
        let mut sessions = lock(&self.sessions.0);
        let session = sessions.endpoints.get(&self.endpoint)?.session.as_ref()?;
        let (value, until) = (session.value.clone(), session.until);
        if until <= now {
            sessions.edit(&self.endpoint, |entry| entry.set_session(None));
            return None;
        }
        drop(sessions);
        self.offer(until);
        Some(value)
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        let mut sessions = lock(&self.sessions.0);
        if sessions.endpoints.contains_key(&self.endpoint) {
            sessions.edit(&self.endpoint, |entry| entry.set_session(None));
        }
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let received = self.received();
        let (until, bytes) = match &mut *lock(&self.progress) {
            Progress::Handshake(handshake) => {
                if handshake.tickets.len() < SESSIONS_MAX {
                    handshake.tickets.push(value);
                }
                return;
            }
            Progress::Established(established) => {
                (established.until, established.session_bytes(received))
            }
        };
        let mut sessions = lock(&self.sessions.0);
        sessions.edit(&self.endpoint, |entry| {
            entry.add_ticket(Held {
                value,
                until,
                bytes,
            });
        });
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let now = Instant::now();
        let mut sessions = lock(&self.sessions.0);
        if !sessions.endpoints.contains_key(&self.endpoint) {
            return None;
        }
        let mut taken = None;
        sessions.edit(&self.endpoint, |entry| taken = entry.take_ticket(now));
        drop(sessions);
        let taken = taken?;
        self.offer(taken.until);
        Some(taken.value)
    }
}

impl fmt::Debug for EndpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        write!(f, "the sessions of {}:{}", endpoint.host, endpoint.port)
    }
}

#[cfg(test)]
mod tests;
