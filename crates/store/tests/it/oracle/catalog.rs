//! Webhooks, tenants and what belongs to them.

use model::declared_secrets::DeclaredSecrets;
use model::filter::Filter;
use model::id::{TenantId, TokenId};
use model::query::{Declaration, DeclaredToken, DeclaredWebhook, WebhookDefaults};
use model::tenant::{Event, NewToken, Permission, TokenHash, TokenKind};
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};

use super::history::{History, Kind};
use super::pair::Side;
use crate::sqlite::harness::{at, declaration};

impl History {
    pub(super) fn apply(&mut self) {
        let tenant = match self.kind {
            Kind::OneTenant | Kind::Crowd => 0,
            Kind::SeveralTenants => self.draw.below(3),
        };
        let declared = Declaration {
            dialect: Self::dialect(tenant),
            name: Some(self.draw.name(3)),
            events: (0..self.draw.below(3))
                .map(|n| Event {
                    slug: ["democon", "other", ""][n].to_owned(),
                    name: self.draw.name(3),
                    date_from: self.draw.once_in(2).then(|| at(self.draw.number(1_000))),
                })
                .collect(),
            webhooks: (0..self.draw.below(3))
                .map(|n| DeclaredWebhook {
                    key: self.draw.once_in(2).then(|| format!("declared {n}")),
                    target_url: format!("https://a{}.example/", self.draw.below(3)),
                    enabled: self.draw.of(&[None, None, Some(true), Some(false)]),
                    filter: self.draw.filter(),
                    settings: "{}".to_owned(),
                    headers: self.draw.once_in(2).then(Headers::default),
                    retries_max: None,
                    fresh: WebhookDefaults::default(),
                    secrets: DeclaredSecrets::default(),
                    limits: None,
                    cloud_events: None,
                })
                .collect(),
            tokens: (0..self.draw.below(3))
                .map(|n| DeclaredToken {
                    name: format!("n{n}"),
                    hash: self.draw.once_in(4).then(|| self.draw.hash()),
                    fresh: TokenHash([u8::try_from(100 + self.draw.below(100)).unwrap(); 32]),
                    permissions: [Permission::WebhooksRead].into_iter().collect(),
                    active: self.draw.of(&[None, Some(true), Some(false)]),
                    kind: TokenKind::Program,
                    default: false,
                })
                .collect(),
            ..declaration(&format!("tenant {tenant}"))
        };
        let now = self.now;
        let key = declared.key.clone();
        let dialect = declared.dialect.clone();
        self.pair.tell(&format!("apply {declared:?}"), |side| {
            side.store
                .apply(vec![declared.clone()], "file".to_owned(), at(now))
        });
        self.pair.make(
            &format!("tenant {key}"),
            |side| side.store.tenant(dialect.clone(), key.clone()),
            |made, tenant| tenant.iter().for_each(|tenant| made.note(tenant.id)),
        );
        self.note_all();
    }

    pub(super) fn new_webhook(&mut self) -> impl Fn(&Side) -> NewWebhook + use<> {
        let tenant = self.tenant();
        let key = self.draw.once_in(4).then(|| self.draw.name(6));
        let (filter, headers) = (self.draw.filter(), self.draw.headers());
        let retries_max = self.draw.once_in(3).then_some(3);
        let target_url = format!("https://user:pw@h{}.example/hook", self.draw.below(4));
        move |side| NewWebhook {
            tenant: side.made.get(tenant),
            key: key.clone(),
            target_url: target_url.clone(),
            disabled: None,
            filter: filter.clone(),
            settings: "{}".to_owned(),
            headers: headers.clone(),
            retries_max,
        }
    }

    pub(super) fn create_webhook(&mut self) {
        let (new, now) = (self.new_webhook(), self.now);
        let what = format!("create {:?}", new(&self.pair.sides[0]));
        self.pair.make(
            &what,
            |side| {
                side.store
                    .create_webhook(new(side), "anna".to_owned(), at(now))
            },
            |made, webhook| made.note(webhook.id),
        );
    }

    /// So many webhooks want the same that rows for a batch of it are too many for one step.
    pub(super) fn create_many(&mut self) {
        let now = self.now;
        for number in 0..70 {
            self.pair.make(
                &format!("create webhook {number} of many"),
                |side| {
                    let new = NewWebhook {
                        tenant: side.made.get(0),
                        key: None,
                        target_url: format!("https://m{number}.example/hook"),
                        disabled: None,
                        filter: Filter::of("paid", None),
                        settings: "{}".to_owned(),
                        headers: Headers::default(),
                        retries_max: None,
                    };
                    side.store.create_webhook(new, "anna".to_owned(), at(now))
                },
                |made, webhook| made.note(webhook.id),
            );
        }
    }

    pub(super) fn save_webhook(&mut self) {
        let (turn, tenant) = self.webhook();
        let found = self.pair.ask(&format!("webhook {turn}"), |side| {
            side.store
                .webhook(side.made.get(tenant), side.webhook(turn))
        });
        let [Ok(Some(one)), Ok(Some(other))] = found else {
            return;
        };
        let stored = [one, other];
        let change = self.draw.below(8);
        let filter = self.draw.filter();
        let cause = match self.draw.once_in(5) {
            true => DisableCause::Deleted,
            false => DisableCause::Requested,
        };
        let (now, key) = (self.now, self.draw.name(6));
        let is_stale = self.draw.once_in(10);
        let changed = |webhook: &Webhook| {
            let mut webhook = webhook.clone();
            match change {
                0..=1 => webhook.filter = filter.clone(),
                2..=3 => webhook.disabled = Some(Disablement { at: at(now), cause }),
                4..=5 => webhook.disabled = None,
                6 => webhook.key = Some(key.clone()),
                _ => webhook.settings = format!("{{\"a\": {now}}}"),
            }
            webhook.version -= i64::from(is_stale);
            webhook
        };
        let what = format!("save webhook {turn}: {:?}", changed(&stored[0]));
        let asked = stored.each_ref().map(changed);
        self.pair.tell(&what, |side| {
            let own = asked[side.place].clone();
            side.store.save_webhook(own, "anna".to_owned(), at(now))
        });
    }

    pub(super) fn retention(&mut self) {
        let (tenant, now) = (self.tenant(), self.now);
        let kept = self.draw.of(&[None, Some(60_000), Some(86_400_000)]);
        self.pair
            .tell(&format!("retention {kept:?} of {tenant}"), |side| {
                side.store
                    .set_retention(side.made.get(tenant), kept, "anna".to_owned(), at(now))
            });
    }

    pub(super) fn tokens(&mut self) {
        let (tenant, now) = (self.tenant(), self.now);
        let (name, hash) = (self.draw.name(5), self.draw.hash());
        let (is_active, turn) = (self.draw.once_in(2), self.turn_of::<TokenId>());
        let of_tenant = !self.draw.once_in(5);
        let whose = move |side: &Side| of_tenant.then(|| side.made.get::<TenantId>(tenant));
        match self.draw.below(3) {
            0 => self
                .pair
                .tell(&format!("revoke token {turn} of {tenant}"), |side| {
                    let id = side.made.get(turn);
                    side.store
                        .revoke_token(whose(side), id, "anna".to_owned(), at(now))
                }),
            1 => self.pair.tell("token used", |side| {
                side.store.note_uses(vec![(hash, at(now))])
            }),
            _ => self
                .pair
                .tell(&format!("create token {name} {:?}", hash.0[0]), |side| {
                    let new = NewToken {
                        tenant: whose(side),
                        name: name.clone(),
                        hash,
                        kind: TokenKind::Program,
                        permissions: [Permission::WebhooksRead].into_iter().collect(),
                        active: is_active,
                        default: is_active,
                    };
                    side.store.create_token(new, "anna".to_owned(), at(now))
                }),
        }
        self.note_all();
    }
}
