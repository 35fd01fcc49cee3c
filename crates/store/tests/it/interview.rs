//! Every question that a store answers, asked of a whole store: two stores that hold the same give
//! the same answers.

use model::contract::{DueQuery, RecoveryQuery, Store, StoreError, StoreFuture};
use model::dashboard::{
    AuditQuery, BulkJobKind, FailingQuery, NotificationQuery, TenantQuery, WebhookSearch,
};
use model::delivery_filter::DeliveryFilter;
use model::id::{BulkJobId, DeliveryId, NotificationId, TenantId, WebhookId};
use model::incident::WatchQuery;
use model::lease::Epoch;
use model::query::{DeliveryStatus, LogCursor, LogQuery, WebhookQuery};
use model::statistics::StatisticsPeriod;
use model::tenant::{DialectName, TokenHash};
use model::time::Timestamp;

use crate::sqlite::harness::{at, wait};

/// Of very many things so many are looked at from either end.
const SHOWN_MAX: usize = 20;

/// Pages of a log.
const PAGES_MAX: usize = 30;

/// What is asked about beside tenants, which are found.
pub(crate) struct Topics {
    pub(crate) epoch: Epoch,
    pub(crate) now: Timestamp,
    /// Of tokens, sessions, links, failures and holders of idempotency keys.
    pub(crate) hashes: Vec<TokenHash>,
    pub(crate) idempotency_keys: Vec<String>,
    pub(crate) dialects: Vec<&'static str>,
    pub(crate) bulk_jobs: Vec<BulkJobId>,
}

/// Questions in words with their answers, in the order in which they were asked.
pub(crate) type Answers = Vec<(String, String)>;

struct Interview<'a> {
    store: &'a dyn Store,
    topics: &'a Topics,
    answers: Answers,
}

/// Asks everything. The answers name the same things alike only if both stores count alike.
pub(crate) fn answers(store: &dyn Store, topics: &Topics) -> Answers {
    let mut interview = Interview {
        store,
        topics,
        answers: Vec::new(),
    };
    interview.catalog();
    interview.users();
    for dialect in &topics.dialects {
        let dialect = DialectName::new(dialect);
        for tenant in wait(store.tenants(dialect)).unwrap() {
            interview.tenant(tenant.id);
        }
    }
    interview.outbox();
    interview.answers
}

/// Fails at the first question that is answered otherwise.
pub(crate) fn assert_same(one: &Answers, other: &Answers) {
    for ((question, answer), (other_question, other_answer)) in one.iter().zip(other) {
        assert_eq!(question, other_question);
        assert_eq!(answer, other_answer, "{question}");
    }
    assert_eq!(one.len(), other.len());
}

impl Interview<'_> {
    fn ask<T: std::fmt::Debug>(&mut self, question: String, answer: StoreFuture<T>) -> Option<T> {
        let answer: Result<T, StoreError> = wait(answer);
        self.answers.push((question, format!("{answer:?}")));
        answer.ok()
    }

    fn catalog(&mut self) {
        let store = self.store;
        for dialect in self.topics.dialects.clone() {
            let name = DialectName::new(dialect);
            let tenants = self.ask(format!("tenants of {dialect}"), store.tenants(name.clone()));
            for tenant in tenants.unwrap() {
                let found = store.tenant(name.clone(), tenant.key.clone());
                self.ask(format!("tenant {}", tenant.key), found);
            }
        }
        self.ask("has tokens".to_owned(), store.has_tokens());
        self.ask("administrators' tokens".to_owned(), store.tokens(None));
        for text in ["", "big", "É"] {
            let query = TenantQuery {
                among: None,
                but_dialect: None,
                text: text.to_owned(),
                after: None,
                limit: 20,
            };
            self.ask(format!("tenants like {text}"), store.find_tenants(query));
        }
        let query = FailingQuery {
            limit: 20,
            ..FailingQuery::default()
        };
        self.ask("failing".to_owned(), store.failing(query));
        self.ask("failing counts".to_owned(), store.failing_counts());
        let query = WatchQuery {
            failing_before: self.topics.now,
            gone_after: Timestamp::EPOCH,
            told_after: Timestamp::EPOCH,
            but_dialect: DialectName::new("alerts"),
        };
        self.ask("watched".to_owned(), store.watched(query));
        for hash in self.topics.hashes.clone() {
            self.ask(format!("grants of {:?}", hash.0[0]), store.grants(hash));
            for key in self.topics.idempotency_keys.clone() {
                let question = format!("response to {key} of {:?}", hash.0[0]);
                self.ask(question, store.stored_response(key, hash));
            }
        }
        let beat = store.last_heartbeat();
        self.answers
            .push(("heartbeat".to_owned(), format!("{beat:?}")));
    }

    fn users(&mut self) {
        let store = self.store;
        self.ask("has users".to_owned(), store.has_users());
        let users = self.ask("users".to_owned(), store.users(None)).unwrap();
        let page = store.users_behind(None, users.first().map(|user| user.id), 9);
        self.ask("users behind the first".to_owned(), page);
        for user in users {
            let name = user.name.to_uppercase();
            self.ask(format!("user {name}"), store.user(name.clone()));
        }
        for hash in self.topics.hashes.clone() {
            let session = store.session(hash, self.topics.now);
            self.ask(format!("session {:?}", hash.0[0]), session);
            let visitor = store.portal_session(hash, self.topics.now);
            self.ask(format!("portal session {:?}", hash.0[0]), visitor);
            let failures = store.failures(hash);
            self.ask(format!("failures {:?}", hash.0[0]), failures);
        }
    }

    fn tenant(&mut self, tenant: TenantId) {
        let store = self.store;
        let of = format!("of {tenant:?}");
        self.ask(format!("settings {of}"), store.tenant_settings(tenant));
        let events = self.ask(format!("events {of}"), store.events(tenant));
        let behind = Some("a".to_owned());
        let page = store.events_behind(tenant, behind.clone(), 9);
        self.ask(format!("events behind {of}"), page);
        let page = store.tokens_behind(Some(tenant), behind, 9);
        self.ask(format!("tokens behind {of}"), page);
        let page = store.users_behind(Some(tenant), None, 9);
        self.ask(format!("users at a page {of}"), page);
        self.ask(
            format!("page of events {of}"),
            store.event_page(tenant, 1, 2),
        );
        for event in events.unwrap() {
            let found = store.event(tenant, event.slug.clone());
            self.ask(format!("event {} {of}", event.slug), found);
        }
        self.ask(format!("tokens {of}"), store.tokens(Some(tenant)));
        self.ask(format!("users {of}"), store.users(Some(tenant)));
        let audit = self.ask(format!("audit {of}"), store.audit(tenant, 500));
        // Deleted webhooks are in no list, but in the audit log.
        let mut webhooks: Vec<WebhookId> = audit
            .unwrap()
            .into_iter()
            .filter_map(|entry| entry.webhook)
            .collect();
        webhooks.sort_unstable();
        webhooks.dedup();
        self.webhook_lists(tenant, &webhooks);
        for webhook in &webhooks {
            self.webhook(tenant, *webhook);
        }
        leave_out_middle(&mut webhooks);
        self.log(tenant, &webhooks);
        self.notifications(tenant);
    }

    fn webhook_lists(&mut self, tenant: TenantId, webhooks: &[WebhookId]) {
        let store = self.store;
        for enabled in [None, Some(true), Some(false)] {
            for newest_first in [false, true] {
                let query = WebhookQuery {
                    enabled,
                    newest_first,
                    offset: 0,
                    limit: 50,
                };
                let question = format!("webhooks of {tenant:?}: {query:?}");
                self.ask(question, store.webhooks(vec![tenant], query));
            }
        }
        for text in ["", "hook", "secret", "2"] {
            let query = WebhookSearch {
                text: text.to_owned(),
                older_than: None,
                limit: 50,
            };
            let question = format!("webhooks of {tenant:?} like {text}");
            self.ask(question, store.find_webhooks(tenant, query));
        }
        let health = store.standings(tenant, webhooks.to_vec(), at(0));
        self.ask(format!("health of webhooks of {tenant:?}"), health);
        self.statistics(tenant, None);
    }

    fn statistics(&mut self, tenant: TenantId, webhook: Option<WebhookId>) {
        for period in StatisticsPeriod::ALL {
            let now = self.topics.now.plus_ms(4_000_000);
            let query = period.query(tenant, webhook, now);
            let question = format!("attempts of {webhook:?} of {tenant:?} in {period:?}");
            self.ask(question, self.store.statistics(query));
        }
    }

    fn webhook(&mut self, tenant: TenantId, webhook: WebhookId) {
        let store = self.store;
        let of = format!("of {webhook:?}");
        let found = self.ask(format!("row {of}"), store.webhook(tenant, webhook));
        self.ask(
            format!("signatures {of}"),
            store.signatures(tenant, webhook),
        );
        self.ask(
            format!("own headers {of}"),
            store.own_headers(tenant, webhook),
        );
        let tls = store.webhook_tls(tenant, webhook);
        self.ask(format!("certificates {of}"), tls);
        self.statistics(tenant, Some(webhook));
        let events = store.cloud_events(tenant, webhook);
        self.ask(format!("CloudEvents {of}"), events);
        let limits = store.call_limits(tenant, webhook);
        self.ask(format!("limits {of}"), limits);
        let published = store.published_signature("a-name".to_owned());
        self.ask(format!("published {of}"), published);
        if let Some(Some(found)) = found
            && let Some(key) = found.key
        {
            let by_key = store.webhook_by_key(vec![tenant], key);
            self.ask(format!("by key {of}"), by_key);
        }
        for what in [BulkJobKind::ReplayUndelivered, BulkJobKind::CancelPending] {
            let count = store.count_bulk_job(tenant, webhook, what, self.topics.now);
            self.ask(format!("{what:?} {of}"), count);
        }
        let filter = DeliveryFilter {
            statuses: DeliveryFilter::REPLAYED.to_vec(),
            action_types: vec!["order.paid".to_owned()],
            ..DeliveryFilter::default()
        };
        let count = store.count_matching(tenant, Some(webhook), filter, self.topics.now);
        self.ask(format!("matching {of}"), count);
        let running = store.running_bulk_jobs(tenant, Some(webhook));
        self.ask(format!("bulk jobs {of}"), running);
        let query = AuditQuery {
            webhook: Some(webhook),
            older_than: None,
            limit: 50,
        };
        // Their numbers are the store's own.
        let page = wait(store.audit_page(tenant, query)).unwrap();
        let entries: Vec<_> = page.into_iter().map(|row| row.entry).collect();
        self.answers
            .push((format!("audit {of}"), format!("{entries:?}")));
    }

    fn log(&mut self, tenant: TenantId, webhooks: &[WebhookId]) {
        let store = self.store;
        let mut deliveries: Vec<DeliveryId> = Vec::new();
        for mut query in log_queries(webhooks) {
            // All pages, and the first again from its end.
            for _ in 0..PAGES_MAX {
                let question = format!("log of {tenant:?}: {query:?}");
                let page = self.ask(question, store.log(tenant, query.clone()));
                let Some(page) = page else {
                    break;
                };
                deliveries.extend(page.rows.iter().map(|row| row.row.id));
                let Some(older) = page.older else {
                    break;
                };
                query.from = Some(LogCursor::OlderThan(older));
            }
            if let Some(LogCursor::OlderThan(last)) = query.from {
                query.from = Some(LogCursor::NewerThan(last));
                let question = format!("log of {tenant:?}: {query:?}");
                self.ask(question, store.log(tenant, query));
            }
        }
        deliveries.sort_unstable();
        deliveries.dedup();
        leave_out_middle(&mut deliveries);
        for delivery in &deliveries {
            let found = store.delivery(tenant, *delivery);
            self.ask(format!("{delivery:?}"), found);
        }
        let rows = store.log_rows(tenant, deliveries);
        self.ask(format!("rows of the log of {tenant:?}"), rows);
    }

    fn notifications(&mut self, tenant: TenantId) {
        let store = self.store;
        let mut ids: Vec<(NotificationId, String)> = Vec::new();
        for unwanted in [false, true] {
            let mut query = NotificationQuery {
                unwanted,
                older_than: None,
                limit: 20,
            };
            loop {
                let question = format!("notifications of {tenant:?}: {query:?}");
                let page = self.ask(question, store.notifications(tenant, query.clone()));
                let page = page.unwrap_or_default();
                ids.extend(page.iter().map(|row| (row.id, row.key.clone())));
                query.older_than = page.last().map(|row| row.id);
                if page.len() < 20 {
                    break;
                }
            }
        }
        leave_out_middle(&mut ids);
        for (id, key) in ids {
            self.ask(format!("{id:?}"), store.notification(tenant, id));
            let by_key = store.notification_by_key(tenant, key.clone());
            self.ask(format!("notification {key:?}"), by_key);
            let explained = store.match_explanations(tenant, id, None, 50);
            self.ask(format!("matches of {id:?}"), explained);
        }
        for id in self.topics.bulk_jobs.clone() {
            let job = store.bulk_job(tenant, id);
            self.ask(format!("{id:?} of {tenant:?}"), job);
        }
    }

    fn outbox(&mut self) {
        let (store, epoch, now) = (self.store, self.topics.epoch, self.topics.now);
        let pending = store.pending_webhooks(epoch, None, 1_000);
        // In an order of the store's own.
        let mut pending = wait(pending).unwrap();
        pending.sort_by_key(|one| one.webhook);
        let words = format!("{pending:?}");
        self.answers.push(("pending webhooks".to_owned(), words));
        let webhooks: Vec<WebhookId> = pending.iter().map(|one| one.webhook).collect();
        let targets = store.webhook_targets(epoch, webhooks.clone());
        self.ask("targets".to_owned(), targets);
        for later in [0, 100_000_000] {
            let queries = webhooks.iter().map(|webhook| DueQuery {
                recovery: Some(RecoveryQuery {
                    tried_by: now,
                    after: None,
                    limit: 5,
                }),
                ..DueQuery::new(*webhook, 20)
            });
            let due = store.due(epoch, queries.collect(), now.plus_ms(later));
            self.ask(format!("due after {later} ms"), due);
        }
        self.ask("backlog".to_owned(), store.backlog(epoch, None));
    }
}

fn leave_out_middle<T>(things: &mut Vec<T>) {
    let middle = SHOWN_MAX..things.len().saturating_sub(SHOWN_MAX);
    if !middle.is_empty() {
        things.drain(middle);
    }
}

/// What to ask a log for.
fn log_queries(webhooks: &[WebhookId]) -> Vec<LogQuery> {
    let all = || LogQuery {
        limit: 7,
        ..LogQuery::default()
    };
    let mut queries = vec![all()];
    queries.extend(webhooks.iter().map(|webhook| LogQuery {
        webhook: Some(*webhook),
        ..all()
    }));
    for status in [
        DeliveryStatus::Pending,
        DeliveryStatus::Retrying,
        DeliveryStatus::Delivered,
        DeliveryStatus::Failed,
        DeliveryStatus::Cancelled,
    ] {
        queries.push(LogQuery {
            status: Some(status),
            ..all()
        });
    }
    for query in [
        LogQuery {
            action_type: Some("order.paid".to_owned()),
            ..all()
        },
        LogQuery {
            event: Some("democon".to_owned()),
            ..all()
        },
        LogQuery {
            since: Some(at(20)),
            until: Some(at(60)),
            ..all()
        },
        // Across a time at which a clock was set back.
        LogQuery {
            since: Some(at(401)),
            ..all()
        },
        LogQuery {
            until: Some(at(401)),
            ..all()
        },
        LogQuery {
            text: "1".to_owned(),
            ..all()
        },
    ] {
        queries.push(query);
    }
    queries
}
