//! Users, and what is done once.

use model::contract::{ReplayRequest, ReplayScope};
use model::id::UserId;
use model::idempotency::{IdempotencyKey, IdempotentOperation, IdempotentResult};
use model::notification::AcceptResult;
use model::query::StoredResponse;
use model::tenant::TokenHash;
use model::users::{NewUser, PasswordHash, Role, UserChange};

use super::deliveries::note_accepted;
use super::history::History;
use super::pair::Side;
use crate::sqlite::harness::at;

impl History {
    pub(super) fn people(&mut self) {
        let (now, user, tenant) = (self.now, self.turn_of::<UserId>(), self.tenant());
        let (name, hash, other) = (self.draw.name(5), self.draw.hash(), self.draw.hash());
        let until = at(now + self.draw.number(500_000));
        let is = self.draw.of(&[None, Some(true), Some(false)]);
        let role = self.draw.of(&[None, Some(Role::Look), Some(Role::Edit)]);
        match self.draw.below(8) {
            0..=1 => {
                let new = NewUser {
                    password: PasswordHash(format!("hash of {name}")),
                    administrator: is == Some(true),
                    name,
                };
                self.pair.make(
                    &format!("create user {:?}", new.name),
                    |side| side.store.create_user(new.clone(), at(now)),
                    |made, user| made.note(user.id),
                );
            }
            2 => {
                let change = UserChange {
                    active: is,
                    administrator: is.filter(|_| role.is_some()),
                    password: role.map(|_| PasswordHash("another".to_owned())),
                };
                self.pair
                    .tell(&format!("change user {user}: {is:?}"), |side| {
                        let id = side.made.get(user);
                        side.store.change_user(id, change.clone(), at(now))
                    });
            }
            3 => {
                let what = format!("role {role:?} of user {user} at {tenant}");
                self.pair.tell(&what, |side| {
                    let (tenant, user) = (side.made.get(tenant), side.made.get(user));
                    side.store
                        .set_role(tenant, user, role, "anna".to_owned(), at(now))
                });
            }
            4 => {
                let verified = is.map(|_| PasswordHash(format!("hash of {name}")));
                let what = format!("session {:?} of user {user} until {until:?}", hash.0[0]);
                self.pair.tell(&what, |side| {
                    let user = side.made.get(user);
                    let verified = verified.clone();
                    let counted = Some(other);
                    side.store
                        .begin_session(hash, user, verified, counted, until, at(now))
                });
            }
            5 => {
                self.pair
                    .tell("end of a session", |side| side.store.end_session(hash));
                self.pair.tell(&format!("link of user {user}"), |side| {
                    side.store.create_link(other, side.made.get(user), until)
                });
            }
            6 => {
                self.pair
                    .tell("use of a link", |side| side.store.use_link(hash, at(now)));
            }
            _ => {
                self.pair.tell("try to sign in", |side| {
                    side.store.try_sign_in(hash, at(now))
                });
            }
        }
    }

    pub(super) fn idempotent(&mut self) {
        let key = IdempotencyKey {
            key: format!("n{}", self.draw.below(6)),
            holder: self.draw.hash(),
            request: TokenHash([u8::try_from(self.draw.below(2)).unwrap(); 32]),
        };
        let (now, turn) = (self.now, self.webhook());
        let new = self.new_notification();
        let webhook = self.new_webhook();
        let part = u32::try_from(self.draw.below(2)).unwrap();
        let kind = self.draw.below(3);
        let operation = |side: &Side| match kind {
            0 => IdempotentOperation::Accept {
                batch: vec![new(side)],
                part,
            },
            1 => IdempotentOperation::CreateWebhook {
                webhook: webhook(side),
                actor: "anna".to_owned(),
            },
            _ => IdempotentOperation::Replay {
                ask: ReplayRequest {
                    tenant: side.made.get(turn.1),
                    webhook: side.webhook(turn.0),
                    which: ReplayScope::Undelivered { began_at: at(now) },
                    actor: "anna".to_owned(),
                },
                counted: 2,
            },
        };
        let what = format!("under {key:?} {:?}", operation(&self.pair.sides[0]));
        self.pair.make(
            &what,
            |side| {
                let operation = operation(side);
                side.store.run_idempotent(key.clone(), operation, at(now))
            },
            |made, result| match result {
                IdempotentResult::Accepted(all) => {
                    let results: Vec<AcceptResult> =
                        all.iter().map(|(_, one)| one.clone()).collect();
                    note_accepted(made, &results);
                }
                IdempotentResult::Created(webhook) | IdempotentResult::Saved(webhook) => {
                    made.note(webhook.id);
                }
                IdempotentResult::Replayed(_) => {}
            },
        );
    }

    pub(super) fn response(&mut self) {
        let response = StoredResponse {
            key: format!("n{}", self.draw.below(6)),
            holder: self.draw.hash(),
            request: TokenHash([u8::try_from(self.draw.below(2)).unwrap(); 32]),
            status: self.draw.of(&[200, 201, 409]),
            headers: self.draw.headers(),
            body: self.draw.body(),
        };
        let now = self.now;
        self.pair.tell(&format!("keep {response:?}"), |side| {
            side.store.store_response(response.clone(), at(now))
        });
    }
}
