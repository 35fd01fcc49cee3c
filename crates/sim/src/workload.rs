//! Applications: they hand in what happens, singly and in batches, and repeat a request until they
//! have an answer that ends it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::history::Handed;
use crate::requests::{RequestId, Workload};
use crate::scenario::{Dialect, SHOWS, TOPICS, Tenant};
use crate::world::{Event, World};

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
                };
                let place = self.history.handed_in.len();
                self.history.codes.insert(handed.code.clone(), place);
                self.history.handed_in.push(handed);
                hand_in.notifications.push(place);
            }
        }
        let handed = hand_in.notifications.iter();
        let handed = handed.filter_map(|place| Some((*place, self.history.handed_in.get(*place)?)));
        let keyed = hand_in.key.is_some();
        let bodies: Vec<Value> = handed
            .map(|(place, handed)| body(tenant, handed, (!keyed).then_some(place)))
            .collect();
        let body = match bodies.as_slice() {
            [one] => one.to_string(),
            all => Value::from(all.to_vec()).to_string(),
        };
        let (path, scheme) = match tenant.dialect {
            Dialect::Pretix => {
                let key = &tenant.key;
                (format!("/api/v1/organizers/{key}/notifications/"), "Token")
            }
            Dialect::OpenTicket => ("/trigger".to_owned(), "Bearer"),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json")
            .header("Authorization", format!("{scheme} {}", tenant.token));
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
        match answer {
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

/// The status of each notification of a request.
fn statuses(count: usize, status: u16, body: &[u8]) -> Vec<u16> {
    if count == 1 {
        return vec![status];
    }
    let all: Vec<BTreeMap<String, Value>> = serde_json::from_slice(body).unwrap_or_default();
    let status = |one: &BTreeMap<String, Value>| {
        let status = one.get("status").and_then(Value::as_u64);
        status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(0)
    };
    let mut statuses: Vec<u16> = all.iter().map(status).collect();
    statuses.resize(count, 0);
    statuses
}

fn body(tenant: &Tenant, handed: &Handed, place: Option<usize>) -> Value {
    let code = &handed.code;
    match tenant.dialect {
        Dialect::Pretix => {
            let mut body = json!({
                "event": format!("show{}", handed.show),
                "code": code,
                "action": tenant.dialect.topic(handed.topic).1,
            });
            if let (Some(place), Some(body)) = (place, body.as_object_mut()) {
                body.insert("notification_id".to_owned(), json!(place + 1));
            }
            body
        }
        Dialect::OpenTicket => {
            let (resource, trigger) = tenant.dialect.topic(handed.topic);
            let mut body = json!({
                "resource": resource,
                "trigger": trigger,
                "guid": "f1c0a370-cd43-11ed-9c9c-bbcffde24a48",
                "data": {"code": code},
            });
            if let (Some(place), Some(body)) = (place, body.as_object_mut()) {
                let id = format!("{place:08x}-cd43-11ed-9c9c-bbcffde24a48");
                body.insert("id".to_owned(), json!(id));
            }
            body
        }
    }
}
