//! Incidents: what has gone wrong for so long that somebody is told, until it is over; and the
//! rules by which they are told.
//!
//! Whoever is told is an audience: those of one tenant, or those who run the server, who hear of
//! all tenants. Each audience gets at most one alert of a kind in `AlertRules::gap_ms`; what
//! happens meanwhile comes together with the next. So a receiver that comes and goes makes one
//! alert, and an outage of many receivers makes one as well.

mod review;

use std::collections::BTreeMap;

pub use self::review::{Audiences, Case, Message, Review, review};
use crate::id::{TenantId, WebhookId};
use crate::named::named;
use crate::tenant::DialectName;
use crate::time::Timestamp;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncidentKind {
    /// Every call of a webhook fails.
    Failing,
    /// A webhook was disabled because its receiver answered 410 Gone.
    Gone,
    /// The store's disk is nearly full, or something else is to be known of it.
    Disk,
    /// The clock was set.
    Clock,
    /// Deliveries do not flow, or something is short.
    Deliveries,
    /// More deliveries are owed than the operator finds normal.
    Backlog,
}

named!(
    IncidentKind {
        Failing = "failing",
        Gone = "gone",
        Disk = "disk",
        Clock = "clock",
        Deliveries = "deliveries",
        Backlog = "backlog",
    }
);

/// What is told, by the action type of the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    Failing,
    FailingForLong,
    GivingUp,
    Recovered,
    Gone,
    Disk,
    Clock,
    Deliveries,
    Backlog,
    ServerRecovered,
}

named!(
    AlertKind {
        Failing = "willcall.webhook.failing",
        FailingForLong = "willcall.webhook.failing_for_long",
        GivingUp = "willcall.webhook.giving_up",
        Recovered = "willcall.webhook.recovered",
        Gone = "willcall.webhook.disabled",
        Disk = "willcall.server.disk",
        Clock = "willcall.server.clock",
        Deliveries = "willcall.server.deliveries",
        Backlog = "willcall.server.backlog",
        ServerRecovered = "willcall.server.recovered",
    }
);

impl AlertKind {
    /// Whether it is about a webhook of a tenant, and not about the server.
    pub fn is_of_webhook(self) -> bool {
        match self {
            Self::Failing
            | Self::FailingForLong
            | Self::GivingUp
            | Self::Recovered
            | Self::Gone => true,
            Self::Disk | Self::Clock | Self::Deliveries | Self::Backlog | Self::ServerRecovered => {
                false
            }
        }
    }
}

impl IncidentKind {
    /// What is told when it begins, and when it is over.
    fn alerts(self) -> (AlertKind, Option<AlertKind>) {
        match self {
            Self::Failing => (AlertKind::Failing, Some(AlertKind::Recovered)),
            Self::Gone => (AlertKind::Gone, None),
            Self::Disk => (AlertKind::Disk, Some(AlertKind::ServerRecovered)),
            Self::Clock => (AlertKind::Clock, None),
            Self::Deliveries => (AlertKind::Deliveries, Some(AlertKind::ServerRecovered)),
            Self::Backlog => (AlertKind::Backlog, Some(AlertKind::ServerRecovered)),
        }
    }
}

/// Who is told: those of a tenant, or with `None` those who run the server.
pub type Audience = Option<TenantId>;

/// Which kinds of alert an audience was given of one incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToldKinds(u32);

impl ToldKinds {
    /// As it is stored.
    pub fn bits(self) -> u32 {
        self.0
    }

    pub fn of_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub fn has(self, kind: AlertKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    #[must_use]
    pub fn with(self, kind: AlertKind) -> Self {
        Self(self.0 | Self::bit(kind))
    }

    /// The numbers are stored, so they stay.
    fn bit(kind: AlertKind) -> u32 {
        match kind {
            AlertKind::Failing => 1,
            AlertKind::FailingForLong => 1 << 1,
            AlertKind::GivingUp => 1 << 2,
            AlertKind::Recovered => 1 << 3,
            AlertKind::Gone => 1 << 4,
            AlertKind::Disk => 1 << 5,
            AlertKind::Clock => 1 << 6,
            AlertKind::Deliveries => 1 << 7,
            AlertKind::Backlog => 1 << 8,
            AlertKind::ServerRecovered => 1 << 9,
        }
    }
}

/// Something that has gone wrong and is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// `None`: it is not written down yet.
    pub id: Option<i64>,
    pub kind: IncidentKind,
    /// Whose webhook, and which; `None` if it is the server's.
    pub about: Option<(TenantId, WebhookId)>,
    pub began_at: Timestamp,
    /// Since when nothing has been wrong any more.
    pub quiet_since: Option<Timestamp>,
    /// What those of the tenant were told.
    pub told_tenant: ToldKinds,
    /// What those who run the server were told.
    pub told_server: ToldKinds,
}

impl Incident {
    /// What this audience was told of it.
    pub fn told(&self, audience: Audience) -> ToldKinds {
        match audience {
            Some(_) => self.told_tenant,
            None => self.told_server,
        }
    }
}

/// The oldest delivery of a webhook that waits for a retry, and by what it is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestRound {
    /// When its first attempt began.
    pub began_at: Timestamp,
    pub dialect: DialectName,
    /// The webhook's.
    pub retries_max: Option<u32>,
    /// The name of the webhook's schedule, if it has one of the operator's.
    pub schedule: Option<String>,
}

/// How a webhook with an open incident stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookState {
    pub enabled: bool,
    /// Somebody paused it: nothing is told of it, and nothing ends.
    pub is_held: bool,
    pub failing_since: Option<Timestamp>,
    pub oldest: Option<OldestRound>,
}

/// A webhook of which every call has failed for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingState {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub since: Timestamp,
    pub oldest: Option<OldestRound>,
}

/// A webhook that its receiver disabled, of which nobody was told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoneState {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    pub at: Timestamp,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchQuery {
    /// Webhooks that have failed since then, or for longer.
    pub failing_before: Timestamp,
    /// Webhooks that were disabled later than this.
    pub gone_after: Timestamp,
    /// Who was told something later than this.
    pub told_after: Timestamp,
    /// But for webhooks of this dialect, to which alerts themselves go.
    pub but_dialect: DialectName,
}

/// What a store has about incidents. Bounded by `limits::INCIDENTS_MAX` in each part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// Counts what was recorded: `record_incidents` is refused with another one.
    pub version: i64,
    /// Of the latest that began to fail those that are neither disabled nor paused by somebody, the
    /// latest first. Those that have failed for longer are open incidents.
    pub failing: Vec<FailingState>,
    pub gone: Vec<GoneState>,
    /// Each with its webhook, as far as it is there.
    pub open: Vec<(Incident, WebhookState)>,
    /// When an audience was last given an alert of this kind.
    pub told: BTreeMap<(Audience, AlertKind), Timestamp>,
}

/// What becomes of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentChange {
    /// As it is from now on; one without an id begins.
    pub incident: Incident,
    pub ends: bool,
}

/// Since when what is wrong is told, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertRules {
    /// A webhook has to fail for this long.
    pub failing_after_ms: i64,
    /// And once more after this long.
    pub failing_for_long_after_ms: i64,
    /// This long before the oldest delivery is given up.
    pub giving_up_before_ms: i64,
    /// It is over when nothing was wrong for this long.
    pub quiet_ms: i64,
    /// What is wrong with the server has to be so for this long.
    pub server_after_ms: i64,
    /// An audience gets no alert of the same kind sooner than this.
    pub gap_ms: i64,
}

impl Default for AlertRules {
    fn default() -> Self {
        const MINUTE: i64 = 60_000;
        Self {
            failing_after_ms: 5 * MINUTE,
            failing_for_long_after_ms: 6 * 60 * MINUTE,
            giving_up_before_ms: 12 * 60 * MINUTE,
            quiet_ms: 10 * MINUTE,
            server_after_ms: MINUTE / 2,
            gap_ms: 5 * MINUTE,
        }
    }
}

/// Something that is wrong with the server at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: IncidentKind,
    /// Sentences for whoever runs it.
    pub words: String,
}
