//! People and programs that look after webhooks, by the REST resources of both dialects. They
//! repeat what was not answered, and make one change of a webhook after the other. What they do on
//! the dashboard is in `dashboard.rs`.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;

use crate::dialects::{WebhookRequest, id_of};
use crate::history::{Replay, Version};
use crate::scenario::{Action, filter};
use crate::world::{Event, World};

impl World {
    /// Makes a request for it, or puts it off.
    pub(crate) fn act(&mut self, number: usize, action: Action) -> Option<Request<Bytes>> {
        let webhook = self.history.webhooks.get_mut(number)?;
        let is_new = webhook.id.is_none();
        match action {
            Action::Create if !is_new => return None,
            Action::Create | Action::Repeat => {}
            Action::Look(_) | Action::Do(_) | Action::KeepADay | Action::RevokeSpare => {
                return self.visit(number, action);
            }
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
        self.edit(number, action)?;
        let mut asked = WebhookRequest::Save;
        if action == Action::RetryFailed {
            asked = WebhookRequest::RetryFailed;
            self.wants_again(number);
        }
        self.says(|| format!("w{number}: {action:?}"));
        self.request(number, asked)
    }

    /// Notes what the webhook will be like.
    fn edit(&mut self, number: usize, action: Action) -> Option<()> {
        let now = self.now;
        let webhook = self.history.webhooks.get_mut(number)?;
        let dialect = self.scenario.tenants.get(webhook.tenant)?.dialect;
        let last = webhook.versions.last()?.clone();
        let next = match action {
            Action::Create => {
                webhook.versions.clear();
                last
            }
            Action::Disable if dialect.disables() => Version {
                enabled: false,
                ..last
            },
            Action::Enable => Version {
                enabled: true,
                ..last
            },
            Action::Disable | Action::ChangeUrl => Version {
                path: last.path + 1,
                ..last
            },
            Action::ChangeFilter => {
                let (mut topics, mut shows) = filter(&mut self.net.rng);
                if !dialect.filters() {
                    topics = topics.into_iter().take(1).collect();
                    shows = BTreeSet::new();
                }
                Version {
                    topics,
                    shows,
                    ..last
                }
            }
            Action::RetryFailed
            | Action::Repeat
            | Action::Look(_)
            | Action::Do(_)
            | Action::KeepADay
            | Action::RevokeSpare => return Some(()),
        };
        webhook.versions.push(Version {
            from: now,
            known_at: None,
            ..next
        });
        webhook.is_edited = true;
        Some(())
    }

    /// Notes that what failed is wanted again.
    fn wants_again(&mut self, number: usize) {
        let webhook = self.history.webhooks.get(number);
        let tenant = webhook.and_then(|webhook| self.scenario.tenants.get(webhook.tenant));
        self.history.replays.push(Replay {
            webhook: number,
            from: self.now,
            begun_at: None,
            cancelled: tenant.is_some_and(|tenant| tenant.dialect.replays_cancelled()),
        });
    }

    fn request(&self, number: usize, asked: WebhookRequest) -> Option<Request<Bytes>> {
        let webhook = self.history.webhooks.get(number)?;
        let tenant = self.scenario.tenants.get(webhook.tenant)?;
        let version = webhook.versions.last()?;
        let receiver = &self.receivers.get(webhook.receiver)?.name;
        let url = format!("http://{receiver}/w{number}/v{}", version.path);
        let (is_save, is_new) = (asked == WebhookRequest::Save, webhook.id.is_none());
        let body = match is_save {
            true => tenant.dialect.webhook(version, &url, webhook.retries),
            false => json!({}),
        };
        let mut request = Request::builder()
            .method(if is_save && !is_new {
                Method::PATCH
            } else {
                Method::POST
            })
            .uri(tenant.webhook_path(webhook.id.as_deref(), asked))
            .header("Host", "127.0.0.1")
            .header("Content-Type", "application/json")
            .header(
                "Authorization",
                format!("{} {}", tenant.dialect.scheme(), tenant.token),
            );
        if is_new {
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
        let repeat = match action {
            Action::Look(_) | Action::Do(_) | Action::KeepADay | Action::RevokeSpare => {
                return self.visited(number, action, answer);
            }
            Action::RetryFailed => action,
            Action::Create
            | Action::Disable
            | Action::Enable
            | Action::ChangeUrl
            | Action::ChangeFilter
            | Action::Repeat => Action::Repeat,
        };
        match answer {
            Some((200..300, _)) if action == Action::RetryFailed => self.replay_begun(number),
            Some((200..300, body)) => {
                webhook.is_edited = false;
                if let Some(version) = webhook.versions.last_mut() {
                    version.known_at = Some(now);
                }
                if webhook.id.is_none() {
                    webhook.id = id_of(body);
                }
            }
            None => self.acts_later(number, repeat),
            Some((409 | 429 | 503, _)) => self.acts_again(number, repeat),
            Some((status, body)) => {
                let words = String::from_utf8_lossy(body).into_owned();
                let words = format!("w{number}: {action:?} was answered {status}: {words}");
                self.history.broken.push(("good input is accepted", words));
            }
        }
    }

    /// What was asked for last was not done, as far as anybody knows.
    pub(crate) fn acts_again(&mut self, number: usize, action: Action) {
        let wait_ms = 3_000 + self.net.rng.below(60_000).cast_signed();
        self.after(wait_ms, Event::Act(number, action));
    }

    /// Nobody answered, or there is nothing to be seen yet.
    pub(crate) fn acts_later(&mut self, number: usize, action: Action) {
        let wait_ms = 3_000 + self.net.rng.below(300_000).cast_signed();
        self.after(wait_ms, Event::Act(number, action));
    }

    /// All that failed of a webhook is on its way again.
    pub(crate) fn replay_begun(&mut self, number: usize) {
        let now = self.now;
        let mut replays = self.history.replays.iter_mut();
        let last = replays.rfind(|replay| replay.webhook == number);
        if let Some(last) = last {
            last.begun_at = Some(now);
        }
    }
}
