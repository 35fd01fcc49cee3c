//! Applications and people: what they ask for is drawn, and each answer goes into the ledger. One
//! thread for each, which ends when the server is gone or the round is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::rng::SeededRng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ledger::{Keyed, Ledger, edit};
use crate::harness::{Client, spawn};

pub(crate) const TENANTS: &[&str] = &["bigevents", "smallevents"];

const CLIENTS_PER_TENANT: usize = 2;

const ACTIONS: [&str; 3] = [
    "pretix.event.order.paid",
    "pretix.event.order.canceled",
    "pretix.event.checkin",
];

/// Which of them each webhook of a tenant wants.
pub(crate) const WEBHOOKS: &[&[&str]] = &[
    &ACTIONS,
    &[ACTIONS[0]],
    &[ACTIONS[1], ACTIONS[0]],
    &[ACTIONS[2]],
];

/// After a refusal an application waits for so long.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

type Shared<T> = Arc<Mutex<T>>;
type Answer = Result<(u16, Value), String>;

/// A server, as its tenants see it.
#[derive(Clone)]
pub(crate) struct Site {
    address: SocketAddr,
}

/// Those who ask, during one round.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// A message for each answer; ends with the last of them.
    answers: Inbox<()>,
}

/// One of those who ask.
struct Application {
    site: Site,
    tenant: usize,
    number: usize,
    rng: SeededRng,
    ledger: Shared<Ledger>,
    ids: Arc<AtomicU64>,
}

/// The file that sets the tenants up.
pub(crate) fn tenants() -> String {
    let one = |slug: &&str| {
        format!(
            "[[organizer]]\nslug = \"{slug}\"\nname = \"{slug}\"\n[[organizer.event]]\n\
             slug = \"democon\"\nname = \"Demo Con\"\n[[organizer.token]]\nname = \"tests\"\n\
             token = \"{}\"\n\
             permissions = [\"webhooks:read\", \"webhooks:write\", \"notifications:write\"]\n",
            token(slug)
        )
    };
    TENANTS.iter().map(one).collect()
}

fn token(slug: &str) -> String {
    format!("a-token-of-some-length-for-{slug}")
}

/// A notification; its id decides the rest of it.
pub(crate) fn notification(id: u64) -> Value {
    let filling = usize::try_from(id % 7).unwrap_or(0) * 300;
    json!({
        "notification_id": id,
        "event": "democon",
        "action": ACTIONS[usize::try_from(id % 3).unwrap_or(0)],
        "code": format!("A{id}"),
        "filling": "x".repeat(filling),
    })
}

impl Site {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    fn client(&self, tenant: usize) -> Client {
        Client {
            address: self.address,
            authorization: format!("Token {}", token(TENANTS[tenant])),
        }
    }

    pub(crate) fn call(&self, tenant: usize, method: &str, path: &str, body: &str) -> Answer {
        let path = path_of(tenant, path);
        let answer = self.client(tenant).call(method, &path, body);
        answer.map_err(|error| format!("{method} {path}: {error}"))
    }

    pub(crate) fn get(&self, tenant: usize, path: &str) -> Answer {
        self.call(tenant, "GET", path, "")
    }

    pub(crate) fn hand_in(&self, tenant: usize, body: &str) -> Answer {
        self.call(tenant, "POST", "notifications/", body)
    }

    /// The same with an idempotency key.
    pub(crate) fn keyed(&self, tenant: usize, path: &str, key: &str, body: &str) -> Answer {
        let line = format!("X-Idempotency-Key: {key}\r\n");
        let path = path_of(tenant, path);
        let answer = self
            .client(tenant)
            .exchange_with("POST", &path, &line, body);
        let answer = answer.map_err(|error| error.to_string())?;
        let parts = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
        let status = parts.0.split(' ').nth(1).and_then(|text| text.parse().ok());
        let value = serde_json::from_str(parts.1).map_err(|error| error.to_string())?;
        Ok((status.ok_or("no status")?, value))
    }
}

fn path_of(tenant: usize, path: &str) -> String {
    format!("/api/v1/organizers/{}/{path}", TENANTS[tenant])
}

impl Load {
    pub(crate) fn begin(
        site: &Site,
        ledger: &Shared<Ledger>,
        ids: &Arc<AtomicU64>,
        rng: &SeededRng,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, answers) = channel();
        for client in 0..CLIENTS_PER_TENANT * TENANTS.len() {
            let mut application = Application {
                site: site.clone(),
                tenant: client / CLIENTS_PER_TENANT,
                number: client,
                rng: rng.split(&format!("client {client}")),
                ledger: Arc::clone(ledger),
                ids: Arc::clone(ids),
            };
            let (stop, told) = (Arc::clone(&stop), told.clone());
            spawn(move || application.ask_until(&stop, &told));
        }
        Self { stop, answers }
    }

    /// Until so many requests were answered, or for so long.
    pub(crate) fn wait_for(&self, count: u64, longest: Duration) {
        let end = Instant::now() + longest;
        for _ in 0..count {
            let left = end.saturating_duration_since(Instant::now());
            if self.answers.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Ends them all; each has written down what it got by then.
    pub(crate) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.answers.recv().is_ok() {}
    }
}

impl Application {
    fn ask_until(&mut self, stop: &AtomicBool, told: &Sender<()>) {
        while !stop.load(Ordering::Relaxed) {
            match self.ask() {
                Ok(status) if status >= 500 => {
                    self.ledger.lock().unwrap().tally.refusals += 1;
                    std::thread::park_timeout(REFUSED_PAUSE);
                }
                Ok(_) => drop(told.send(())),
                Err(_) => return,
            }
        }
    }

    /// Asks for something; returns the status, or an error if no answer came.
    fn ask(&mut self) -> Result<u16, String> {
        match self.rng.below(100) {
            0..50 => self.hand_in(1),
            50..66 => {
                let count = 2 + self.rng.below(30);
                self.hand_in(count)
            }
            66..80 => self.hand_in_keyed(),
            80..86 => self.repeat(),
            86..90 => self.repeat_keyed(),
            90..95 => self.edit(),
            95..97 => self.retry_failed(),
            _ => self.replay(),
        }
    }

    fn hand_in(&mut self, count: u64) -> Result<u16, String> {
        let from = self.ids.fetch_add(count, Ordering::Relaxed);
        let all = (from..from + count).map(|id| (self.tenant, id));
        self.ledger.lock().unwrap().unanswered.extend(all.clone());
        let bodies: Vec<Value> = (from..from + count).map(notification).collect();
        let body = match bodies.as_slice() {
            [one] => one.to_string(),
            many => json!(many).to_string(),
        };
        let (status, answer) = self.site.hand_in(self.tenant, &body)?;
        let mut ledger = self.ledger.lock().unwrap();
        let one = || vec![&answer];
        let results = answer
            .as_array()
            .map_or_else(one, |all| all.iter().collect());
        for (one, result) in all.zip(results) {
            let of_one = result["status"].as_u64().unwrap_or_else(|| status.into());
            match result["deliveries"].as_u64() {
                Some(deliveries) if of_one == 201 => {
                    ledger.unanswered.remove(&one);
                    ledger.accepted.insert(one, deliveries);
                }
                _ if of_one >= 500 => {}
                _ => ledger.wrong.push(format!("{one:?}: {status} {result}")),
            }
        }
        Ok(status)
    }

    fn hand_in_keyed(&mut self) -> Result<u16, String> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let one = (self.tenant, id);
        let key = format!("key of {} for {id}", self.number);
        let keyed = Keyed {
            tenant: self.tenant,
            path: "notifications/".to_owned(),
            body: notification(id).to_string(),
            answer: None,
        };
        {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.unanswered.insert(one);
            ledger.keyed.insert(key.clone(), keyed.clone());
        }
        let (status, answer) = self.site.keyed(one.0, &keyed.path, &key, &keyed.body)?;
        let mut ledger = self.ledger.lock().unwrap();
        match answer["deliveries"].as_u64() {
            Some(deliveries) if status == 201 => {
                ledger.unanswered.remove(&one);
                ledger.accepted.insert(one, deliveries);
                ledger.keyed.insert(
                    key,
                    Keyed {
                        answer: Some(answer),
                        ..keyed
                    },
                );
            }
            _ if status >= 500 => {}
            _ => ledger.wrong.push(format!("{key}: {status} {answer}")),
        }
        Ok(status)
    }

    /// Hands in again what was accepted.
    fn repeat(&mut self) -> Result<u16, String> {
        let at = self.ids.load(Ordering::Relaxed);
        let at = (self.tenant, self.rng.below(at + 1));
        let known = self.ledger.lock().unwrap();
        let found = known.accepted.range(at..(self.tenant + 1, 0)).next();
        let Some((one, deliveries)) = found.map(|(one, deliveries)| (*one, *deliveries)) else {
            return Ok(200);
        };
        drop(known);
        let body = notification(one.1).to_string();
        let (status, answer) = self.site.hand_in(one.0, &body)?;
        if status < 500 && (status != 200 || answer["deliveries"] != deliveries) {
            let wrong = format!("{one:?} with {deliveries} again: {status} {answer}");
            self.ledger.lock().unwrap().wrong.push(wrong);
        }
        Ok(status)
    }

    fn repeat_keyed(&mut self) -> Result<u16, String> {
        let from = format!("key of {} for ", self.number);
        let known = self.ledger.lock().unwrap();
        let mine = known.keyed.range(from.clone()..);
        let mut mine = mine.take_while(|(key, _)| key.starts_with(&from));
        let found = mine.nth(usize::try_from(self.rng.below(20)).unwrap_or(0));
        let Some((key, keyed)) = found.map(|(key, keyed)| (key.clone(), keyed.clone())) else {
            return Ok(200);
        };
        drop(known);
        let (status, answer) = self
            .site
            .keyed(keyed.tenant, &keyed.path, &key, &keyed.body)?;
        if status < 500 {
            let mut ledger = self.ledger.lock().unwrap();
            match keyed.answer {
                Some(first) if first != answer => {
                    ledger
                        .wrong
                        .push(format!("{key} gave {first}, then {answer}"));
                }
                _ => {}
            }
        }
        Ok(status)
    }

    /// The webhooks of a tenant are shared out, so that each is edited by one.
    fn webhook(&mut self) -> usize {
        let own = self.number % CLIENTS_PER_TENANT;
        let count = WEBHOOKS.len() / CLIENTS_PER_TENANT;
        let drawn = usize::try_from(self.rng.below(count as u64)).unwrap_or(0);
        self.tenant * WEBHOOKS.len() + own + drawn * CLIENTS_PER_TENANT
    }

    fn edit(&mut self) -> Result<u16, String> {
        let (webhook, enabled) = (self.webhook(), self.rng.below(3) > 0);
        let mut ledger = self.ledger.lock().unwrap();
        let edited = &mut ledger.webhooks[webhook];
        edited.ask(enabled);
        let number = edited.asked.len() - 1;
        let path = format!("webhooks/{}/", edited.id);
        drop(ledger);
        let body = edit(number, enabled);
        let (status, answer) = self.site.call(self.tenant, "PATCH", &path, &body)?;
        let mut ledger = self.ledger.lock().unwrap();
        match status {
            200 => ledger.webhooks[webhook].saved = number,
            500.. => {}
            _ => ledger.wrong.push(format!("an edit: {status} {answer}")),
        }
        Ok(status)
    }

    fn retry_failed(&mut self) -> Result<u16, String> {
        let webhook = self.webhook();
        let mut ledger = self.ledger.lock().unwrap();
        let asked = &mut ledger.webhooks[webhook];
        asked.disturbed += 1;
        let path = format!("webhooks/{}/retry_failed/", asked.id);
        drop(ledger);
        let (status, answer) = self.site.call(self.tenant, "POST", &path, "")?;
        // A disabled webhook is sent nothing.
        if ![202, 400, 409].contains(&status) && status < 500 {
            let wrong = format!("a replay of what failed: {status} {answer}");
            self.ledger.lock().unwrap().wrong.push(wrong);
        }
        Ok(status)
    }

    /// Replays one of the newest deliveries of a webhook, whatever became of it.
    fn replay(&mut self) -> Result<u16, String> {
        let webhook = self.webhook();
        let ledger = self.ledger.lock().unwrap();
        let (index, id) = (ledger.webhooks[webhook].index, ledger.webhooks[webhook].id);
        drop(ledger);
        let path = format!("webhooks/{id}/deliveries/?page_size=10");
        let (status, page) = self.site.get(self.tenant, &path)?;
        let drawn = usize::try_from(self.rng.below(10)).unwrap_or(0);
        let row = &page["results"][drawn];
        let (Some(delivery), Some(id)) = (row["id"].as_str(), row["notification_id"].as_u64())
        else {
            return Ok(status);
        };
        let called = (self.tenant, index, id);
        *self
            .ledger
            .lock()
            .unwrap()
            .replays
            .entry(called)
            .or_default() += 1;
        let path = format!("deliveries/{delivery}/retry/");
        let (status, answer) = self.site.call(self.tenant, "POST", &path, "")?;
        if ![202, 400, 409].contains(&status) && status < 500 {
            let wrong = format!("a replay of {delivery}: {status} {answer}");
            self.ledger.lock().unwrap().wrong.push(wrong);
        }
        Ok(status)
    }
}
