//! Questions with words that are drawn: filters, pages and where they begin.

use model::contract::{DueCursor, DueQuery, RecoveryQuery};
use model::dashboard::{AuditQuery, NotificationQuery, TenantQuery, WebhookSearch};
use model::delivery_filter::ResponseFilter;
use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
use model::query::{DeliveryStatus, LogCursor, LogQuery, WebhookQuery};

use super::history::{History, Kind};
use super::pair::Side;
use crate::sqlite::harness::{at, wait};

impl History {
    pub(super) fn log_page(&mut self) {
        let (webhook, tenant) = self.webhook();
        let (notification, cursor) = (self.turn_of::<NotificationId>(), self.draw.below(3));
        let of_webhook = self.draw.once_in(2);
        let of_notification = self.draw.once_in(6);
        let since = self.draw.once_in(3).then(|| self.some_time());
        let until = self.draw.once_in(3).then(|| self.some_time());
        let base = LogQuery {
            webhook: None,
            notification: None,
            status: self.draw.of(&[
                None,
                None,
                Some(DeliveryStatus::Pending),
                Some(DeliveryStatus::Retrying),
                Some(DeliveryStatus::Delivered),
                Some(DeliveryStatus::Failed),
                Some(DeliveryStatus::Cancelled),
            ]),
            action_type: self.draw.once_in(4).then(|| "order.paid".to_owned()),
            event: self.draw.once_in(4).then(|| "democon".to_owned()),
            since: since.map(at),
            until: until.map(at),
            response: self.draw.of(&[
                None,
                None,
                Some(ResponseFilter::Status(500)),
                Some(ResponseFilter::Class(5)),
                Some(ResponseFilter::Missing),
            ]),
            text: self.draw.of(&["", "", "k1", "xx"]).to_owned(),
            from: None,
            limit: 1 + self.draw.below(9),
        };
        let query = move |side: &Side| {
            let at = DeliveryId {
                notification: side.made.get(notification),
                webhook: side.webhook(webhook),
            };
            LogQuery {
                webhook: of_webhook.then_some(at.webhook),
                notification: of_notification.then_some(at.notification),
                from: [
                    None,
                    Some(LogCursor::OlderThan(at)),
                    Some(LogCursor::NewerThan(at)),
                ][cursor],
                ..base.clone()
            }
        };
        let what = format!("log {:?}", query(&self.pair.sides[0]));
        self.pair.tell(&what, |side| {
            side.store.log(side.made.get(tenant), query(side))
        });
    }

    pub(super) fn page(&mut self) {
        let (webhook, tenant) = self.webhook();
        let notification = self.turn_of::<NotificationId>();
        let limit = 1 + self.draw.below(6);
        let (text, is) = (
            self.draw.name(4),
            self.draw.of(&[None, Some(true), Some(false)]),
        );
        let (begins, unwanted) = (self.draw.once_in(2), self.draw.once_in(3));
        let offset = self.draw.number(4).unsigned_abs();
        let what = format!("page {limit} from {begins}, {webhook} and {notification}, {text}");
        let own = move |side: &Side| side.made.get::<TenantId>(tenant);
        match self.draw.below(7) {
            0 => self.pair.tell(&format!("tenants: {what}"), |side| {
                side.store.find_tenants(TenantQuery {
                    among: is.map(|_| vec![own(side)]),
                    but_dialect: None,
                    text: text.clone(),
                    after: begins.then(|| own(side)),
                    limit,
                })
            }),
            1 => self.pair.tell(&format!("webhooks: {what}"), |side| {
                let query = WebhookSearch {
                    text: text[..1].to_owned(),
                    older_than: begins.then(|| side.webhook(webhook)),
                    limit,
                };
                side.store.find_webhooks(own(side), query)
            }),
            2 => self
                .pair
                .tell(&format!("list of webhooks: {what} {is:?}"), |side| {
                    let query = WebhookQuery {
                        enabled: is,
                        newest_first: begins,
                        offset,
                        limit,
                    };
                    let all = side.made.all::<TenantId>();
                    side.store.webhooks(all, query)
                }),
            3 => self.pair.tell(&format!("notifications: {what}"), |side| {
                let query = NotificationQuery {
                    unwanted,
                    older_than: begins.then(|| side.made.get(notification)),
                    limit,
                };
                side.store.notifications(own(side), query)
            }),
            4 => self.pair.tell(&format!("matches: {what}"), |side| {
                let after = begins.then(|| side.webhook(webhook));
                let notification = side.made.get(notification);
                side.store
                    .match_explanations(own(side), notification, after, limit)
            }),
            5 => self.pair.tell(&format!("events: {what}"), |side| {
                side.store.event_page(own(side), offset, limit)
            }),
            _ => self.audit(tenant, webhook, limit),
        }
    }

    /// Two pages of the audit log, the second behind the first: their numbers are the store's own.
    fn audit(&mut self, tenant: usize, webhook: usize, limit: usize) {
        let told = self.pair.sides.each_ref().map(|side| {
            let mut entries = Vec::new();
            let mut query = AuditQuery {
                webhook: webhook.is_multiple_of(2).then(|| side.webhook(webhook)),
                older_than: None,
                limit,
            };
            for _ in 0..2 {
                let tenant = side.made.get(tenant);
                let page = wait(side.store.audit_page(tenant, query.clone())).unwrap();
                query.older_than = page.last().map(|row| row.number);
                entries.extend(page.into_iter().map(|row| row.entry));
            }
            side.made.in_turns(&format!("{entries:?}"))
        });
        self.pair
            .compare_words(&format!("audit of {tenant}, of webhook {webhook}"), &told);
    }

    /// What is due of several webhooks, and what may go early, from anywhere on.
    pub(super) fn due_pages(&mut self) {
        if self.kind == Kind::OneTenant {
            self.materialize();
        }
        let turns: Vec<usize> = (0..3).map(|_| self.webhook().0).collect();
        let notification = self.turn_of::<NotificationId>();
        let (now, limit) = (self.schedule, 1 + self.draw.below(8));
        let after = self
            .draw
            .once_in(2)
            .then(|| now + self.draw.number(300_000));
        let tried_by = now - self.draw.number(50_000);
        let mut after: [Vec<Option<DueCursor>>; 2] = self.pair.sides.each_ref().map(|side| {
            let cursor = after.map(|due_at| DueCursor {
                due_at: at(due_at),
                notification: side.made.get(notification),
            });
            vec![cursor; turns.len()]
        });
        // Page by page, each where the one before ended.
        for page in 0..3 {
            let what = format!("due page {page} of {turns:?}, {limit}, early from {after:?}");
            let asked = after.clone();
            let found = self.pair.ask(&what, |side| {
                let turns = turns.iter().zip(&asked[side.place]);
                let queries = turns.map(|(turn, after)| DueQuery {
                    recovery: Some(RecoveryQuery {
                        tried_by: at(tried_by),
                        after: *after,
                        limit: 1,
                    }),
                    ..DueQuery::new(side.webhook(*turn), limit)
                });
                side.store.due(side.lease.epoch, queries.collect(), at(now))
            });
            after = found.map(|pages| {
                let pages = pages.unwrap_or_default().into_iter();
                pages
                    .map(|page| page.recovery.and_then(|early| early.next))
                    .collect()
            });
            for cursors in &mut after {
                cursors.resize(turns.len(), None);
            }
        }
        self.pair
            .tell("backlog", |side| side.store.backlog(side.lease.epoch, None));
        self.pair.tell("targets", |side| {
            let webhooks: Vec<WebhookId> = turns.iter().map(|turn| side.webhook(*turn)).collect();
            side.store.webhook_targets(side.lease.epoch, webhooks)
        });
    }
}
