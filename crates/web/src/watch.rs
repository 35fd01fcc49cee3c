//! The watch: looks again and again for what has gone wrong for long, and tells those who asked to
//! be told. What is decided is a plain function (`model/src/incident/review.rs`); here is what it
//! is given and what comes of it.
//!
//! Each round is recorded in one transaction with its alerts, and only if no other round was
//! recorded meanwhile: nothing is told twice, whatever crashes, and of several nodes one tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::attempt::Outcome;
use model::call_limits::CallLimits;
use model::contract::{StoreError, WatchRecord};
use model::id::{DeliveryId, TenantId, WebhookId};
use model::incident::{
    AlertKind, AlertRules, Audience, Audiences, Case, Condition, IncidentKind, Message,
    OldestRound, Review, WatchQuery, Watched, review,
};
use model::limits::{ALERT_WEBHOOKS_MAX, PAGE_ROWS_MAX};
use model::notification::NewNotification;
use model::policy::Policies;
use model::query::WebhookQuery;
use model::target;
use model::tenant::Tenant;
use model::time::{Clock, Timestamp};
use model::webhook::Webhook;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock_notice::clock_words;
use crate::dialect::alerts::{Alert, AlertDialect, AlertWebhook, AlertsAbout};
use crate::dialect::value::{Dialect, Dialects};
use crate::gateway::store::StoreHandle;
use crate::tools::HealthCheck;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(15);

/// A store that does not answer for this long is told of by what watches from outside.
const STORE_LIMIT: Duration = Duration::from_secs(10);

/// So many tenants with something to tell are looked at in a round; the next has others.
const TENANTS_MAX: usize = 200;

/// That a webhook was disabled is told within this time.
const GONE_WITHIN_MS: i64 = 24 * 3_600_000;

/// How many deliveries are owed.
pub type BacklogCount = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Since when what is wrong is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertSettings {
    pub rules: AlertRules,
    /// More deliveries than this are a backlog; `None`: any number is fine.
    pub backlog_above: Option<u64>,
}

pub(crate) struct Watch {
    pub(crate) store: StoreHandle,
    pub(crate) clock: Clock,
    pub(crate) dialects: Arc<Dialects>,
    pub(crate) policies: Policies,
    pub(crate) settings: AlertSettings,
    /// Where this server is reached, without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) health: HealthCheck,
    pub(crate) backlog: BacklogCount,
    pub(crate) metrics: WatchMetrics,
}

pub(crate) struct WatchMetrics {
    incidents: Gauge,
    alerts: Counter,
}

/// Those who are told, with what they are told of.
struct AudienceTenants(BTreeMap<Audience, (Tenant, Vec<Webhook>)>);

impl WatchMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            incidents: Gauge::default(),
            alerts: Counter::default(),
        };
        registry.register(
            "willcall_incidents",
            "Webhooks that fail for long and other things that are wrong, as of the last look",
            metrics.incidents.clone(),
        );
        registry.register(
            "willcall_alerts",
            "Alerts that were handed in, by this process",
            metrics.alerts.clone(),
        );
        metrics
    }
}

impl Watch {
    /// Looks until the server stops.
    pub(crate) async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            match self.round().await {
                Ok(_) => failing = false,
                Err(error) => {
                    // The store itself says these, once for all who ask.
                    let is_said = matches!(error, StoreError::Disk(_) | StoreError::Ended);
                    if !failing && !is_said {
                        tracing::warn!(%error, "nobody can be told of what fails; will try again");
                    }
                    failing = true;
                }
            }
            tokio::select! {
                biased;
                // Also if the sender is gone.
                _ = stopping.wait_for(|stops| *stops) => return,
                () = sleep(EVERY) => {}
            }
        }
    }

    /// One look; answers how many alerts came of it.
    pub(crate) async fn round(&self) -> Result<usize, StoreError> {
        let Some((dialect, alerts)) = self.dialects.of_alerts() else {
            return Ok(0);
        };
        let (now, rules) = (self.clock.now(), &self.settings.rules);
        let query = WatchQuery {
            failing_before: now.plus_ms(-rules.failing_after_ms),
            gone_after: now.plus_ms(-GONE_WITHIN_MS),
            told_after: now.plus_ms(-rules.gap_ms),
            but_dialect: dialect.name.clone(),
        };
        let watched = self
            .store
            .try_ask(|store| store.watched(query.clone()))
            .await?;
        let conditions = self.conditions().await;
        let gives_up_at = |oldest: &OldestRound| self.gives_up_at(oldest);
        let cases = review(&watched, &conditions, rules, now, gives_up_at);
        self.metrics
            .incidents
            .set(i64::try_from(cases.len()).unwrap_or(i64::MAX));
        let audiences = self.audiences(&dialect, alerts, &cases).await?;
        let wanted = audiences.wanted(alerts);
        let (review, cases) = Review::of(cases, &wanted, &watched, rules, now);
        if review == Review::default() {
            return Ok(0);
        }
        let key = |message: &Message| format!("{}-{}", message.kind.as_str(), watched.version);
        let mut notifications: Vec<NewNotification> = Vec::new();
        for message in &review.messages {
            let Some((audience, webhooks)) = audiences.0.get(&message.audience) else {
                continue;
            };
            let alert = self.alert(message, &cases, now).await?;
            let key = key(message);
            notifications.extend((alerts.render)(&alert, audience, webhooks, &key));
        }
        self.record(&watched, review, notifications, now).await
    }

    async fn record(
        &self,
        watched: &Watched,
        review: Review,
        alerts: Vec<NewNotification>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let count = alerts.len();
        let told = review.messages.iter();
        let round = WatchRecord {
            version: watched.version,
            changes: review.changes,
            told: told
                .map(|message| (message.audience, message.kind))
                .collect(),
            alerts,
        };
        // Asked again after a lost answer, it is another round's and does nothing.
        let recorded = self
            .store
            .try_ask(|store| store.record_incidents(round.clone(), now));
        match recorded.await? {
            true => {
                self.metrics
                    .alerts
                    .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
                Ok(count)
            }
            false => Ok(0),
        }
    }

    /// What is wrong with the server.
    async fn conditions(&self) -> Vec<Condition> {
        let mut found = Vec::new();
        let mut is_wrong = |kind, words| found.push(Condition { kind, words });
        let pulse = timeout(STORE_LIMIT, self.store.get().ping()).await;
        if let Ok(Ok(notes)) = pulse
            && !notes.is_empty()
        {
            is_wrong(IncidentKind::Disk, notes.join("\n"));
        }
        if let Some(words) = clock_words(&self.clock) {
            is_wrong(IncidentKind::Clock, words);
        }
        match (self.health)() {
            Err(words) => is_wrong(IncidentKind::Deliveries, words),
            Ok(notes) if !notes.is_empty() => is_wrong(IncidentKind::Deliveries, notes.join("\n")),
            Ok(_) => {}
        }
        let owed = (self.backlog)();
        if let Some(above) = self.settings.backlog_above.filter(|above| owed > *above) {
            let words = format!("{owed} deliveries are owed, which is more than {above}.");
            is_wrong(IncidentKind::Backlog, words);
        }
        found
    }

    fn gives_up_at(&self, oldest: &OldestRound) -> Option<Timestamp> {
        let policy = self.policies.get(&oldest.dialect)?;
        let limits = CallLimits {
            schedule: oldest.schedule.clone(),
            ..CallLimits::default()
        };
        let own = policy.limited(&limits);
        let schedule = own.as_ref().map_or(&policy.schedule, |own| &own.schedule);
        Some(schedule.gives_up_at(oldest.began_at, oldest.retries_max))
    }

    /// Those who may have something to hear, with their webhooks.
    async fn audiences(
        &self,
        dialect: &Dialect,
        alerts: AlertDialect,
        cases: &[Case],
    ) -> Result<AudienceTenants, StoreError> {
        let mut found: BTreeMap<Audience, Option<(Tenant, Vec<Webhook>)>> = BTreeMap::new();
        for case in cases {
            for audience in case.audiences() {
                let is_full = found.len() >= TENANTS_MAX;
                if is_full || found.contains_key(&audience) || !case.may_be_news(audience) {
                    continue;
                }
                let own = self.audience(dialect, alerts, audience).await?;
                found.insert(audience, own);
            }
        }
        let known = found.into_iter();
        let known = known.filter_map(|(audience, own)| Some((audience, own?)));
        Ok(AudienceTenants(known.collect()))
    }

    async fn audience(
        &self,
        dialect: &Dialect,
        alerts: AlertDialect,
        audience: Audience,
    ) -> Result<Option<(Tenant, Vec<Webhook>)>, StoreError> {
        let about = match audience {
            None => AlertsAbout::Server,
            Some(tenant) => match self.tenant(tenant).await? {
                Some(tenant) => AlertsAbout::Tenant(tenant.dialect, tenant.key),
                None => return Ok(None),
            },
        };
        let (name, key) = (dialect.name.clone(), (alerts.key)(&about));
        let found = self
            .store
            .try_ask(|store| store.tenant(name.clone(), key.clone()));
        let Some(tenant) = found.await? else {
            return Ok(None);
        };
        let query = WebhookQuery {
            enabled: Some(true),
            newest_first: false,
            offset: 0,
            limit: PAGE_ROWS_MAX,
        };
        let page = self
            .store
            .try_ask(|store| store.webhooks(vec![tenant.id], query));
        let webhooks = page.await?.webhooks;
        Ok(Some((tenant, webhooks)))
    }

    async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let found = self
            .store
            .try_ask(|store| store.tenant_settings(id))
            .await?;
        Ok(found.map(|settings| settings.tenant))
    }

    /// The alert with everything that it names.
    async fn alert(
        &self,
        message: &Message,
        cases: &[Case],
        now: Timestamp,
    ) -> Result<Alert, StoreError> {
        let found: Vec<&Case> = message
            .cases
            .iter()
            .filter_map(|at| cases.get(*at))
            .collect();
        let mut webhooks = Vec::new();
        for case in found.iter().take(ALERT_WEBHOOKS_MAX) {
            if let Some((tenant, webhook)) = case.incident.about {
                webhooks.extend(self.webhook(tenant, webhook, case, now).await?);
            }
        }
        let count = found
            .iter()
            .filter(|case| case.incident.about.is_some())
            .count();
        let words: Vec<&str> = found
            .iter()
            .filter_map(|case| case.words.as_deref())
            .collect();
        let mut tenants: Vec<TenantId> = webhooks.iter().map(|own| own.tenant.id).collect();
        tenants.dedup();
        let only = match (message.audience, tenants.as_slice()) {
            (Some(tenant), _) => Some(tenant),
            (None, [tenant]) => Some(*tenant),
            (None, _) => None,
        };
        let page = match (webhooks.as_slice(), only) {
            ([one], _) if count == 1 => one.page.clone(),
            (_, Some(tenant)) => format!("{}/failing?tenant={tenant}", self.public_url),
            (_, None) => format!("{}/failing", self.public_url),
        };
        let named = webhooks.first().filter(|_| only.is_some());
        Ok(Alert {
            kind: message.kind,
            at: now,
            tenant: named.map(|own| own.tenant.name.clone()),
            server: host_of(&self.public_url),
            more: count.saturating_sub(webhooks.len()),
            words: (!words.is_empty()).then(|| words.join("\n")),
            webhooks,
            page,
        })
    }

    /// What the receiver answered to the latest attempt at this delivery.
    async fn said(&self, tenant: TenantId, id: DeliveryId) -> Result<Option<String>, StoreError> {
        let detail = self
            .store
            .try_ask(|store| store.delivery(tenant, id))
            .await?;
        let latest = detail.and_then(|detail| detail.attempts.into_iter().next_back());
        Ok(latest.and_then(|past| said(&past.attempt.outcome)))
    }

    async fn webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        case: &Case,
        now: Timestamp,
    ) -> Result<Option<AlertWebhook>, StoreError> {
        let webhook = self
            .store
            .try_ask(|store| store.webhook(tenant, id))
            .await?;
        let (Some(webhook), Some(tenant)) = (webhook, self.tenant(tenant).await?) else {
            return Ok(None);
        };
        let health = self
            .store
            .try_ask(|store| store.standings(tenant.id, vec![id], now));
        let health = health.await?.into_iter().next();
        let dialect = self.dialects.named(&tenant.dialect);
        let name = dialect.and_then(|own| (own.dashboard.describe)(&webhook).name);
        let name = name.filter(|name| !name.trim().is_empty());
        let latest = health.as_ref().and_then(|own| own.latest.as_ref());
        let said = match latest {
            Some(latest) if !latest.success => self.said(tenant.id, latest.delivery).await?,
            Some(_) | None => None,
        };
        let is_over = matches!(case.holds.first(), Some(AlertKind::Recovered));
        Ok(Some(AlertWebhook {
            id,
            name: name.unwrap_or_else(|| format!("Webhook {id}")),
            target_url: target::masked(&webhook.target_url),
            since: case.incident.began_at,
            waiting: health.as_ref().map(|own| own.waiting).unwrap_or_default(),
            oldest_waiting_at: health.as_ref().and_then(|own| own.oldest_waiting_at),
            gives_up_at: case.gives_up_at.filter(|_| !is_over),
            last: latest.map(|latest| latest.words.clone()),
            said,
            page: format!("{}/t/{}/webhooks/{id}", self.public_url, tenant.id),
            tenant,
        }))
    }
}

/// The most characters of an answer in an alert.
const SAID_CHARS_MAX: usize = 160;

/// The beginning of a receiver's answer on one line: where it redirects to, when it wants to be
/// called again, and its body as far as that is text.
fn said(outcome: &Outcome) -> Option<String> {
    let Outcome::Answered(answer) = outcome else {
        return None;
    };
    let line = |name: &str| {
        let value = answer.headers.get(name)?;
        Some(format!("{name}: {}", String::from_utf8_lossy(value)))
    };
    let body = std::str::from_utf8(&answer.body).ok().map(str::to_owned);
    let parts = [line("Location"), line("Retry-After"), body];
    let all: Vec<String> = parts.into_iter().flatten().collect();
    let text = all.join("  ");
    let seen = text.chars().map(|letter| match letter.is_control() {
        true => ' ',
        false => letter,
    });
    let seen: String = seen.take(SAID_CHARS_MAX + 1).collect();
    let cut = seen.chars().count() > SAID_CHARS_MAX;
    let seen: String = seen.chars().take(SAID_CHARS_MAX).collect();
    let seen = seen.trim();
    (!seen.is_empty()).then(|| {
        if cut {
            format!("{seen}\u{2026}")
        } else {
            seen.to_owned()
        }
    })
}

impl AudienceTenants {
    /// Which kinds of alert each wants.
    fn wanted(&self, alerts: AlertDialect) -> Audiences {
        let kinds = |webhooks: &[Webhook]| {
            let all = webhooks.iter().flat_map(|webhook| (alerts.kinds)(webhook));
            let mut kinds: Vec<AlertKind> = all.collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        let all = self.0.iter();
        all.map(|(audience, (_, webhooks))| (*audience, kinds(webhooks)))
            .collect()
    }
}

/// The host that a URL names.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    Some(host.to_owned())
}
