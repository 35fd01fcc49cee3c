//! The history: what applications and people did and were told, and what receivers saw. It knows
//! nothing of what the product thinks; checkers compare the two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::cluster::history::ClusterHistory;
use model::id::UserId;
use model::limits::{CLOCK_STEP_MS, HEARTBEAT_MS, IDLE_HEARTBEAT_MS};

/// What the schedule of a node may be ahead of another's when it claims slots.
const CLAIM_AHEAD_MS: i64 = HEARTBEAT_MS + 1_000;

/// A store in trouble is asked again after so long at most, and schedule time goes on after that.
const TROUBLE_ENDS_MS: i64 = 15_000;

/// Everything that happened.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) handed_in: Vec<Handed>,
    /// Where each code stands in `handed_in`.
    pub(crate) codes: BTreeMap<String, usize>,
    pub(crate) webhooks: Vec<WebhookHistory>,
    pub(crate) calls: Vec<Call>,
    /// Lives of the node: when each began, when it ended, and how.
    pub(crate) lives: Vec<Life>,
    /// Times in which the node stood still: frozen, or suspended with its steady clock.
    pub(crate) stalls: Vec<Stall>,
    /// Times in which the store was in trouble.
    pub(crate) store_troubles: Vec<(i64, i64)>,
    /// Times in which the network to a receiver was cut.
    pub(crate) partitions: Vec<(usize, i64, i64)>,
    /// By how much the wall clock was ahead of the truth, from each time on.
    pub(crate) clock: Vec<(i64, i64)>,
    pub(crate) people: People,
    /// What somebody had sent again.
    pub(crate) replays: Vec<Replay>,
    /// What somebody wanted sent no more.
    pub(crate) stops: Vec<Stop>,
    /// Webhooks for which somebody sent a test, and when, once for each.
    pub(crate) tests: Vec<(usize, i64)>,
    /// Tenants whose log may be kept for a day only.
    pub(crate) kept_a_day: Vec<usize>,
    /// Tenants whose spare token was revoked: since when that may be so, and for certain.
    pub(crate) revoked: Vec<(usize, i64, Option<i64>)>,
    /// What happened to nodes, if there are several.
    pub(crate) cluster: Option<ClusterHistory>,
    /// When the trouble ended.
    pub(crate) calm_at: Option<i64>,
    /// Promises that were seen broken as it happened.
    pub(crate) broken: Vec<(&'static str, String)>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// A notification, as its application knows it.
pub(crate) struct Handed {
    pub(crate) code: String,
    pub(crate) tenant: usize,
    pub(crate) topic: usize,
    pub(crate) show: usize,
    /// When it was first sent.
    pub(crate) sent_at: i64,
    /// When it was first answered with 2xx.
    pub(crate) accepted_at: Option<i64>,
    /// How often it was sent, each time perhaps as another, if it has neither an id nor a key.
    pub(crate) unnamed_tries: u32,
    /// All that was ever sent of it came with a revoked token.
    pub(crate) is_refused: bool,
}

/// By what the dashboard names a tenant and its spare token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) tenant: i64,
    pub(crate) spare: i64,
}

/// What people know of the dashboard.
#[derive(Default)]
pub(crate) struct People {
    pub(crate) user: Option<UserId>,
    /// For each tenant.
    pub(crate) names: Vec<Names>,
    /// How often the dashboard was visited.
    pub(crate) visits: u64,
}

/// A delivery on a page of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Notification and webhook.
    pub(crate) id: String,
    pub(crate) webhook: String,
    /// The state that the page shows.
    pub(crate) seen: String,
}

/// Deliveries of a webhook that somebody had sent again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replay {
    pub(crate) webhook: usize,
    /// When that was first asked for.
    pub(crate) from: i64,
    /// When it was begun, of all that failed; never of a single one.
    pub(crate) begun_at: Option<i64>,
    /// Also what was cancelled.
    pub(crate) cancelled: bool,
}

/// Deliveries of a webhook that somebody wanted sent no more.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) webhook: usize,
    /// The one, as the log names it, and when it was stopped.
    pub(crate) one: Option<(String, i64)>,
    /// When all that waited was begun to be stopped.
    pub(crate) all_from: Option<i64>,
}

/// A webhook, as people know it.
pub(crate) struct WebhookHistory {
    pub(crate) tenant: usize,
    pub(crate) receiver: usize,
    /// By what the REST resource names it, once it was created.
    pub(crate) id: Option<String>,
    pub(crate) retries: Option<u32>,
    pub(crate) versions: Vec<Version>,
    /// When its receiver answered 410.
    pub(crate) gone: Vec<i64>,
    /// An edit is under way.
    pub(crate) is_edited: bool,
    /// What somebody saw on a page and is about to do something with.
    pub(crate) seen: Option<Line>,
}

/// A webhook's settings, and when they held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// When the request was first sent: from here on they may hold.
    pub(crate) from: i64,
    /// When it was answered: from here on they hold.
    pub(crate) known_at: Option<i64>,
    pub(crate) enabled: bool,
    pub(crate) topics: BTreeSet<usize>,
    /// All shows if there are none.
    pub(crate) shows: BTreeSet<usize>,
    /// The number in the URL's path.
    pub(crate) path: u32,
}

/// A request that a receiver read.
pub(crate) struct Call {
    /// When the node wrote it.
    pub(crate) sent_at: i64,
    pub(crate) receiver: usize,
    pub(crate) webhook: usize,
    pub(crate) path: u32,
    pub(crate) code: String,
    /// What the receiver answered, if it did.
    pub(crate) status: Option<u16>,
    /// For how long it asked to be left alone.
    pub(crate) retry_after_ms: Option<i64>,
    /// When the node read the status line.
    pub(crate) heard_at: Option<i64>,
    /// When the node gave up before that.
    pub(crate) left_at: Option<i64>,
    pub(crate) life: usize,
}

/// A life of the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    pub(crate) began_at: i64,
    pub(crate) ended_at: Option<i64>,
    /// It was killed, instead of stopped.
    pub(crate) killed: bool,
}

/// A time in which the node stood still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// The steady clock stood still as well.
    pub(crate) suspended: bool,
}

impl Call {
    /// Reads what matters of a request. The path names the webhook and its version, the body has
    /// the notification's code.
    pub(crate) fn read(request: &str, receiver: usize, sent_at: i64) -> Self {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let mut parts = path.trim_start_matches('/').split('/');
        let mut number = || parts.next().and_then(|part| part.get(1..)?.parse().ok());
        let (webhook, version): (Option<u32>, Option<u32>) = (number(), number());
        Self {
            sent_at,
            receiver,
            webhook: webhook.map_or(usize::MAX, |webhook| webhook as usize),
            path: version.unwrap_or(u32::MAX),
            code: code_in(request).to_owned(),
            status: None,
            retry_after_ms: None,
            heard_at: None,
            left_at: None,
            life: 0,
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// The code of a notification, from the body that was made of it.
pub(crate) fn code_in(body: &str) -> &str {
    let code = body.split_once("\"code\"").and_then(|(_, rest)| {
        let rest = rest.trim_start_matches([':', ' ']).strip_prefix('"')?;
        rest.split('"').next()
    });
    code.unwrap_or_default()
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call w{}/v{} {}", self.webhook, self.path, self.code)
    }
}

impl WebhookHistory {
    /// The versions that may have held at some moment of this time.
    pub(crate) fn held(&self, from: i64, until: i64) -> impl Iterator<Item = &Version> {
        // The last one that is known to have held before. Of two things in one millisecond
        // nobody knows which came first.
        let first = self
            .versions
            .iter()
            .rposition(|version| version.known_at.is_some_and(|known_at| known_at < from));
        let versions = self.versions.get(first.unwrap_or(0)..).unwrap_or_default();
        versions.iter().filter(move |version| version.from <= until)
    }

    /// Whether it existed for certain at that time.
    pub(crate) fn existed(&self, at: i64) -> bool {
        let first = self.versions.first().and_then(|version| version.known_at);
        first.is_some_and(|known_at| known_at <= at)
    }

    /// Whether its receiver may have switched it off by then, and nobody on again since.
    pub(crate) fn may_be_gone(&self, at: i64) -> bool {
        let last = self.gone.iter().rev().find(|gone| **gone <= at);
        last.is_some_and(|gone| {
            let mut since = self.versions.iter().filter(|version| version.from > *gone);
            !since.any(|version| version.known_at.is_some_and(|known| known <= at))
        })
    }
}

impl Version {
    pub(crate) fn wants(&self, handed: &Handed) -> bool {
        let show = self.shows.is_empty() || self.shows.contains(&handed.show);
        self.enabled && self.topics.contains(&handed.topic) && show
    }
}

impl History {
    /// When the attempt of a call may have begun at the earliest: a look-up and a connection come
    /// before, and take as long as an exchange may.
    pub(crate) fn begun_after(&self, call: &Call) -> i64 {
        let mut begun_after = call.sent_at - 31_000;
        for stall in self.stalls.iter().rev() {
            if stall.from < call.sent_at && stall.until > begun_after {
                begun_after -= stall.until.min(call.sent_at) - stall.from;
            }
        }
        begun_after
    }

    pub(crate) fn called(&mut self, call: Call) -> usize {
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// An application sends these, and nothing tells one try from the next.
    pub(crate) fn sent_unnamed(&mut self, places: &[usize]) {
        for place in places {
            if let Some(handed) = self.handed_in.get_mut(*place) {
                handed.unnamed_tries += 1;
            }
        }
    }

    /// A receiver has answered a call, and may have asked to be left alone for so long.
    pub(crate) fn answered(&mut self, call: usize, status: u16, retry_after_ms: Option<i64>) {
        if let Some(call) = self.calls.get_mut(call) {
            call.status = Some(status);
            call.retry_after_ms = retry_after_ms;
        }
    }

    /// The node has left the connection over which this call was made last.
    pub(crate) fn left(&mut self, call: Option<usize>, at: i64) {
        let call = call.and_then(|call| self.calls.get_mut(call));
        if let Some(call) = call.filter(|call| call.heard_at.is_none()) {
            call.left_at = Some(at);
        }
    }

    /// The node has read the status line.
    pub(crate) fn heard(&mut self, call: usize, at: i64) {
        let Some(call) = self.calls.get_mut(call) else {
            return;
        };
        call.heard_at = Some(at);
        if call.status == Some(410)
            && let Some(webhook) = self.webhooks.get_mut(call.webhook)
        {
            webhook.gone.push(at);
        }
    }

    /// The node tried to connect to an address that it may not call.
    pub(crate) fn forbidden(&mut self, at: i64, address: SocketAddr) {
        let words = format!("a connection to {address} at {at}");
        self.broken
            .push(("nothing reaches a forbidden address", words));
    }

    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// How long the schedule went on at most between these times: while the node ran, and as long
    /// after it was seen last as it may have run on.
    pub(crate) fn schedule_ms(&self, from: i64, until: i64) -> i64 {
        if let Some(cluster) = &self.cluster {
            // Nodes stand still at different times, and each that comes goes on where another was.
            let claims = cluster.claims.iter().filter(|at| **at < until).count();
            let ahead_ms = CLAIM_AHEAD_MS * i64::try_from(claims).unwrap_or(0);
            let troubles = self
                .store_troubles
                .iter()
                .filter(|(began, _)| *began < until);
            let stood_ms: i64 = troubles.map(|(a, b)| b - a + TROUBLE_ENDS_MS).sum();
            return until - from + ahead_ms + stood_ms;
        }
        let ends = self.lives.windows(2).filter_map(|pair| match pair {
            [before, after] => Some((before.ended_at?, after.began_at)),
            _ => None,
        });
        let credited = ends.map(|(ended, began)| {
            // It may have slept since it was seen last.
            let asleep = self.stalls.iter().filter(|stall| stall.suspended);
            let asleep =
                asleep.filter(|stall| (ended - IDLE_HEARTBEAT_MS..=ended).contains(&stall.until));
            let slept: i64 = asleep.map(|stall| stall.until - stall.from).sum();
            // The node asks its wall clock how long it was off. What is written of that may be off
            // by a jitter, so that times which are shown do not tremble.
            let off_ms = began - ended + slept + CLOCK_STEP_MS / 3;
            let was_set = self
                .clock
                .iter()
                .any(|(at, _)| (ended - IDLE_HEARTBEAT_MS..=began).contains(at));
            let credited = match was_set {
                true => HEARTBEAT_MS,
                false => off_ms.min(HEARTBEAT_MS),
            };
            if ended < until && began > from {
                credited
            } else {
                0
            }
        });
        self.uptime(from, until) + credited.sum::<i64>()
    }

    /// How long the node ran, and could do something, between these times.
    pub(crate) fn uptime(&self, from: i64, until: i64) -> i64 {
        let overlap = |a: i64, b: i64| (b.min(until) - a.max(from)).max(0);
        let lived: i64 = self
            .lives
            .iter()
            .map(|life| overlap(life.began_at, life.ended_at.unwrap_or(i64::MAX)))
            .sum();
        let suspended = self.stalls.iter().filter(|stall| stall.suspended);
        lived
            - suspended
                .map(|stall| overlap(stall.from, stall.until))
                .sum::<i64>()
    }

    /// Until when at the latest it ran between these times, if it did at all.
    pub(crate) fn ran_until(&self, from: i64, until: i64) -> Option<i64> {
        let lives = self.lives.iter();
        let ends = lives.filter(|life| life.began_at < until);
        let ends = ends.map(|life| life.ended_at.unwrap_or(i64::MAX).min(until));
        ends.filter(|end| *end > from).max()
    }

    /// How long the schedule went on at least between these times. It stands still with the node,
    /// and while the store takes nothing; and a start knows only what was written down.
    pub(crate) fn least_schedule_ms(&self, from: i64, until: i64) -> i64 {
        if self.cluster.is_some() {
            // Whoever sends may have stood still for as long.
            return 0;
        }
        let overlap = |a: i64, b: i64| (b.min(until) - a.max(from)).max(0);
        let frozen = self.stalls.iter().filter(|stall| !stall.suspended);
        let frozen: i64 = frozen.map(|stall| overlap(stall.from, stall.until)).sum();
        let troubles = self.store_troubles.iter();
        let refused: i64 = troubles
            .map(|(a, b)| overlap(*a, *b + TROUBLE_ENDS_MS))
            .sum();
        let ends = self.lives.iter().filter_map(|life| life.ended_at);
        let lost = ends.filter(|at| (from..until).contains(at)).count();
        let lost_ms = IDLE_HEARTBEAT_MS * i64::try_from(lost).unwrap_or(i64::MAX);
        self.uptime(from, until) - frozen - refused - lost_ms
    }

    /// How long it was between these times but for those in which the node stood still.
    pub(crate) fn awake_ms(&self, from: i64, until: i64) -> i64 {
        let overlap = |stall: &Stall| (stall.until.min(until) - stall.from.max(from)).max(0);
        until - from - self.stalls.iter().map(overlap).sum::<i64>()
    }

    /// A node or the store of several was in trouble, from when until when.
    pub(crate) fn disturbed(&mut self, from: i64, until: i64) {
        self.store_troubles.push((from, until + TROUBLE_ENDS_MS));
    }

    /// Whether the node ran through this time, undisturbed but for its receivers.
    pub(crate) fn is_quiet(&self, from: i64, until: i64) -> bool {
        let apart = |a: i64, b: i64| b < from || a > until;
        let is_cluster = self.cluster.is_some();
        let lives = self.lives.iter().any(|life| {
            life.began_at <= from && life.ended_at.is_none_or(|ended_at| ended_at > until)
        }) || is_cluster;
        let stalls = self
            .stalls
            .iter()
            .all(|stall| apart(stall.from, stall.until));
        let store = self.store_troubles.iter().all(|(a, b)| apart(*a, *b));
        lives && stalls && store
    }

    /// By how much the wall clock may have been ahead of the truth at some time between these.
    pub(crate) fn leads(&self, from: i64, until: i64) -> Vec<i64> {
        if let Some(cluster) = &self.cluster {
            return cluster.leads(from, until);
        }
        let first = self.clock.partition_point(|(at, _)| *at <= from);
        let end = self.clock.partition_point(|(at, _)| *at <= until);
        let clock = self.clock.get(first.saturating_sub(1)..end);
        let clock = clock.unwrap_or_default().iter();
        clock.map(|(_, lead)| *lead).collect()
    }
}
