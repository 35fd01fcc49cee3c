//! Applications: they hand in what happens, singly and in batches, and repeat a request until they
//! have an answer that ends it.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

use crate::dialects::statuses;
use crate::history::Handed;
use crate::requests::{RequestId, Workload};
use crate::scenario::{SHOWS, TOPICS};
use crate::world::{Event, World};

const REVOKED: &str = "nothing comes in with a revoked token";

/// A request, ready to be made.
pub(crate) struct Prepared {
    pub(crate) request: Request<Bytes>,
    /// How long its client waits for the answer.
    pub(crate) patience_ms: i64,
    /// The answer is lost on its way back.
    pub(crate) loses_answer: bool,
}

impl World {
    /// Makes a request of an application, again if need be.
    pub(crate) fn prepare(&mut self, id: RequestId) -> Option<Prepared> {
        let now = self.now;
        let tenants = &self.scenario.tenants;
        let Workload {
            requests,
            rng,
            numbers,
        } = &mut self.workload;
        let hand_in = requests.get_mut(id).filter(|hand_in| !hand_in.is_done)?;
        hand_in.tries += 1;
        let tenant = tenants.get(hand_in.tenant)?;
        if hand_in.notifications.is_empty() {
            for _ in 0..hand_in.count {
                *numbers += 1;
                let handed = Handed {
                    code: format!("N{numbers:06}"),
                    tenant: hand_in.tenant,
                    topic: usize::try_from(rng.below(TOPICS as u64)).unwrap_or(0),
                    show: usize::try_from(rng.below(SHOWS as u64)).unwrap_or(0),
                    sent_at: now,
                    accepted_at: None,
                    unnamed_tries: 0,
                    is_refused: false,
                };
                let place = self.history.handed_in.len();
                self.history.codes.insert(handed.code.clone(), place);
                self.history.handed_in.push(handed);
                hand_in.notifications.push(place);
            }
        }
        hand_in.tried_at = now;
        if hand_in.key.is_none() && !hand_in.has_ids {
            self.history.sent_unnamed(&hand_in.notifications);
        }
        let handed = hand_in.notifications.iter();
        let handed = handed.filter_map(|place| Some((*place, self.history.handed_in.get(*place)?)));
        let has_ids = hand_in.has_ids;
        let bodies: Vec<Value> = handed
            .map(|(place, handed)| {
                tenant
                    .dialect
                    .notification(handed, has_ids.then_some(place))
            })
            .collect();
        let body = match bodies.as_slice() {
            [one] => one.to_string(),
            all => Value::from(all.to_vec()).to_string(),
        };
        let token = if hand_in.uses_spare {
            &tenant.spare
        } else {
            &tenant.token
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(tenant.intake_path())
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json")
            .header(
                "Authorization",
                format!("{} {token}", tenant.dialect.scheme()),
            );
        if let Some(key) = &hand_in.key {
            request = request.header("X-Idempotency-Key", key);
        }
        Some(Prepared {
            request: request.body(Bytes::from(body)).ok()?,
            patience_ms: 30_000,
            loses_answer: !self.is_calm && rng.below(25) == 0,
        })
    }

    /// An application tries while the node is off.
    pub(crate) fn finds_nobody(&mut self, id: RequestId) {
        let request = self.workload.requests.get_mut(id);
        if let Some(request) = request.filter(|request| !request.is_done) {
            request.tries += 1;
            self.answered(id, None);
        }
    }

    /// An application has its answer, or none.
    pub(crate) fn answered(&mut self, id: RequestId, answer: Option<(u16, &[u8])>) {
        let now = self.now;
        let Some(hand_in) = self.workload.requests.get_mut(id) else {
            return;
        };
        let status = answer.map_or(0, |(status, _)| status);
        let revoked = self.history.revoked.iter();
        let mut revoked = revoked.filter(|(tenant, _, _)| *tenant == hand_in.tenant);
        let tried_at = hand_in.tried_at;
        let is_revoked = |known_at: Option<i64>| known_at.is_some_and(|at| at < tried_at);
        let (may_be_off, is_off) = match revoked.next() {
            Some((_, _, known_at)) if hand_in.uses_spare => (true, is_revoked(*known_at)),
            _ => (false, false),
        };
        match answer {
            Some((200..300, _)) if is_off => {
                hand_in.is_done = true;
                let words = format!("request {id} was accepted");
                self.history.broken.push((REVOKED, words));
                return;
            }
            Some((401 | 403, _)) if may_be_off => {
                hand_in.is_done = true;
                for place in &hand_in.notifications {
                    if let Some(handed) = self.history.handed_in.get_mut(*place) {
                        handed.is_refused = hand_in.tries == 1;
                    }
                }
                self.says(|| format!("request {id} is refused: its token was revoked"));
                return;
            }
            Some((200..300, body)) => {
                hand_in.is_done = true;
                let statuses = statuses(hand_in.notifications.len(), status, body);
                for (place, status) in hand_in.notifications.iter().zip(statuses) {
                    let Some(handed) = self.history.handed_in.get_mut(*place) else {
                        continue;
                    };
                    if (200..300).contains(&status) {
                        handed.accepted_at.get_or_insert(now);
                    } else {
                        let words = format!("{} was answered {status}", handed.code);
                        self.history.broken.push(("good input is accepted", words));
                    }
                }
                let count = hand_in.notifications.len();
                self.says(|| format!("request {id} is answered {status}: {count} accepted"));
                return;
            }
            // The same key is being worked on, or there is trouble: later.
            None | Some((409 | 429 | 503, _)) => {}
            Some((status, body)) => {
                hand_in.is_done = true;
                let words = String::from_utf8_lossy(body).into_owned();
                let words = format!("request {id} was answered {status}: {words}");
                self.history.broken.push(("good input is accepted", words));
                return;
            }
        }
        let tries = hand_in.tries;
        self.says(|| format!("request {id} has no answer ({status})"));
        let wait_ms = 1_000_u64 << tries.min(9);
        let wait_ms = (500 + self.workload.rng.below(wait_ms)).cast_signed();
        self.after(wait_ms, Event::HandIn(id));
    }
}
