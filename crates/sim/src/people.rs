//! People and programs that look after webhooks, by the REST resources of both dialects. They
//! repeat what was not answered, and make one change of a webhook after the other.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::history::Version;
use crate::scenario::{Action, Dialect, Tenant, filter};
use crate::world::{Event, World};

impl World {
    /// Makes a request for it, or puts it off.
    pub(crate) fn act(&mut self, number: usize, action: Action) -> Option<Request<Bytes>> {
        let now = self.now;
        let webhook = self.history.webhooks.get_mut(number)?;
        let dialect = self.scenario.tenants.get(webhook.tenant)?.dialect;
        let is_new = webhook.id.is_none();
        match action {
            Action::Create if !is_new => return None,
            Action::Create | Action::Repeat => {}
            Action::Disable
            | Action::Enable
            | Action::ChangeUrl
            | Action::ChangeFilter
            | Action::RetryFailed => {
                if webhook.is_edited || is_new {
                    self.after(5_000, Event::Act(number, action));
                    return None;
                }
            }
        }
        let last = webhook.versions.last()?.clone();
        let draw = &mut self.net.rng;
        let next = match action {
            Action::Create => {
                webhook.versions.clear();
                Some(last)
            }
            Action::Disable if dialect == Dialect::Pretix => Some(Version {
                enabled: false,
                ..last
            }),
            Action::Enable => Some(Version {
                enabled: true,
                ..last
            }),
            Action::Disable | Action::ChangeUrl => Some(Version {
                path: last.path + 1,
                ..last
            }),
            Action::ChangeFilter => {
                let (mut topics, mut shows) = filter(draw);
                if dialect == Dialect::OpenTicket {
                    topics = topics.into_iter().take(1).collect();
                    shows = BTreeSet::new();
                }
                Some(Version {
                    topics,
                    shows,
                    ..last
                })
            }
            Action::RetryFailed | Action::Repeat => None,
        };
        if let Some(next) = next {
            webhook.versions.push(Version {
                from: now,
                known_at: None,
                ..next
            });
            webhook.is_edited = true;
        }
        if action == Action::RetryFailed {
            self.history.replays.push(number);
        }
        self.says(|| format!("w{number}: {action:?}"));
        self.request(number, action == Action::RetryFailed)
    }

    fn request(&self, number: usize, retries: bool) -> Option<Request<Bytes>> {
        let webhook = self.history.webhooks.get(number)?;
        let tenant = self.scenario.tenants.get(webhook.tenant)?;
        let version = webhook.versions.last()?;
        let receiver = &self.receivers.get(webhook.receiver)?.name;
        let url = format!("http://{receiver}/w{number}/v{}", version.path);
        let body = match retries {
            true => json!({}),
            false => fields(tenant, version, &url, webhook.retries),
        };
        let (path, scheme) = path(tenant, webhook.id.as_deref(), retries);
        let method = match webhook.id {
            Some(_) if !retries => Method::PATCH,
            _ => Method::POST,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json")
            .header("Authorization", format!("{scheme} {}", tenant.token));
        if webhook.id.is_none() {
            request = request.header("X-Idempotency-Key", format!("create-{number}"));
        }
        request.body(Bytes::from(body.to_string())).ok()
    }

    /// Somebody has an answer, or none.
    pub(crate) fn acted(&mut self, number: usize, action: Action, answer: Option<(u16, &[u8])>) {
        let now = self.now;
        let Some(webhook) = self.history.webhooks.get_mut(number) else {
            return;
        };
        let status = answer.map_or(0, |(status, _)| status);
        self.trace.line(now, || {
            format!("w{number}: {action:?} is answered {status}")
        });
        let is_edit = action != Action::RetryFailed;
        let repeat = if is_edit { Action::Repeat } else { action };
        match answer {
            Some((200..300, body)) => {
                if !is_edit {
                    return;
                }
                webhook.is_edited = false;
                if let Some(version) = webhook.versions.last_mut() {
                    version.known_at = Some(now);
                }
                if webhook.id.is_none() {
                    webhook.id = id_of(body);
                }
            }
            None | Some((409 | 429 | 503, _)) => {
                let wait_ms = 3_000 + self.net.rng.below(60_000).cast_signed();
                self.after(wait_ms, Event::Act(number, repeat));
            }
            Some((status, body)) => {
                let words = String::from_utf8_lossy(body).into_owned();
                let words = format!("w{number}: {action:?} was answered {status}: {words}");
                self.history.broken.push(("good input is accepted", words));
            }
        }
    }
}

/// By what the resource names a webhook, from its answer.
fn id_of(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match (answer.get("guid"), answer.get("id")) {
        (Some(Value::String(guid)), _) => Some(guid.clone()),
        (_, Some(id)) => Some(id.to_string()),
        _ => None,
    }
}

fn path(tenant: &Tenant, id: Option<&str>, retries: bool) -> (String, &'static str) {
    let key = &tenant.key;
    let pretix = format!("/api/v1/organizers/{key}/webhooks/");
    match (tenant.dialect, id) {
        (Dialect::Pretix, None) => (pretix, "Token"),
        (Dialect::Pretix, Some(id)) if retries => (format!("{pretix}{id}/retry_failed/"), "Token"),
        (Dialect::Pretix, Some(id)) => (format!("{pretix}{id}/"), "Token"),
        (Dialect::OpenTicket, None) => ("/webhook".to_owned(), "Bearer"),
        (Dialect::OpenTicket, Some(id)) if retries => {
            (format!("/webhook/{id}/invocations/retry"), "Bearer")
        }
        (Dialect::OpenTicket, Some(id)) => (format!("/webhook/{id}"), "Bearer"),
    }
}

fn fields(tenant: &Tenant, version: &Version, url: &str, retries: Option<u32>) -> Value {
    let topics = version.topics.iter();
    match tenant.dialect {
        Dialect::Pretix => {
            let types: Vec<&str> = topics.map(|topic| tenant.dialect.topic(*topic).1).collect();
            let shows = version.shows.iter();
            let shows: Vec<String> = shows.map(|show| format!("show{show}")).collect();
            json!({
                "target_url": url,
                "enabled": version.enabled,
                "all_events": shows.is_empty(),
                "limit_events": shows,
                "action_types": types,
            })
        }
        Dialect::OpenTicket => {
            let topic = topics.copied().next().unwrap_or(0);
            let (resource, trigger) = tenant.dialect.topic(topic);
            json!({
                "name": "sim",
                "url": url,
                "resource": resource,
                "trigger": trigger,
                "retries": retries.unwrap_or(3),
                "triggered_by_child_resources": false,
            })
        }
    }
}
