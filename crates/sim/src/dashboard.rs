//! What people do on the dashboard: they look at the log, then replay or stop what they saw, or
//! send a test; they change how long logs are kept, and revoke tokens.

use bytes::Bytes;
use http::Request;

use crate::history::{Replay, Stop};
use crate::scenario::{Action, Aim};
use crate::visits::{asks_to_sign_in, form, is_bulk_job, lines, page};
use crate::world::{Event, World};

impl World {
    /// Makes a visit for it.
    pub(crate) fn visit(&mut self, number: usize, action: Action) -> Option<Request<Bytes>> {
        let webhook = self.history.webhooks.get(number)?;
        let place = webhook.tenant;
        let people = &mut self.history.people;
        let names = *people.names.get(place)?;
        people.visits += 1;
        let visit = people.visits;
        let tenant = format!("/t/{}", names.tenant);
        let now = self.now;
        self.says(|| format!("w{number}: {action:?}"));
        match action {
            Action::Look(aim) => {
                let status = self.status_to_look_for(aim);
                page(visit, &format!("{tenant}/log?status={status}"))
            }
            Action::Do(aim) => self.act_on_seen(number, aim, visit, &tenant),
            Action::KeepADay => {
                self.history.kept_a_day.push(place);
                let path = format!("{tenant}/settings/retention");
                form(visit, &path, &[("days", "1"), ("sure", "yes")])
            }
            Action::RevokeSpare => {
                let mut revoked = self.history.revoked.iter();
                if !revoked.any(|(tenant, _, _)| *tenant == place) {
                    self.history.revoked.push((place, now, None));
                }
                let path = format!("{tenant}/settings/tokens/{}/revoke", names.spare);
                form(visit, &path, &[])
            }
            Action::Create
            | Action::Disable
            | Action::Enable
            | Action::ChangeUrl
            | Action::ChangeFilter
            | Action::RetryFailed
            | Action::Repeat => None,
        }
    }

    fn status_to_look_for(&mut self, aim: Aim) -> &'static str {
        let one_of = |rng: &mut model::rng::SeededRng, all: &[&'static str]| {
            let place = usize::try_from(rng.below(all.len() as u64)).unwrap_or(0);
            all.get(place).copied().unwrap_or_default()
        };
        let rng = &mut self.net.rng;
        match aim {
            Aim::StopOne | Aim::StopAll => one_of(rng, &["retrying", "pending"]),
            Aim::ReplayOne => one_of(rng, &["exhausted", "cancelled", "delivered", "retrying"]),
            Aim::ReplayAll => one_of(rng, &["exhausted", "cancelled"]),
            Aim::Test => "",
        }
    }

    /// Does something with the delivery that somebody has seen.
    fn act_on_seen(
        &mut self,
        number: usize,
        aim: Aim,
        visit: u64,
        tenant: &str,
    ) -> Option<Request<Bytes>> {
        let now = self.now;
        let webhook = self.history.webhooks.get(number)?;
        let line = webhook.seen.clone()?;
        let of_webhook = format!("{tenant}/webhooks/{}", line.webhook);
        let of_delivery = format!("{tenant}/deliveries/{}", line.id);
        let replay = Replay {
            webhook: number,
            from: now,
            begun_at: None,
            cancelled: true,
        };
        let stop = Stop {
            webhook: number,
            one: None,
            all_from: None,
        };
        match aim {
            Aim::StopOne => {
                self.history.stops.push(stop);
                form(
                    visit,
                    &format!("{of_delivery}/stop"),
                    &[("seen", &line.seen)],
                )
            }
            Aim::ReplayOne => {
                self.history.replays.push(replay);
                form(
                    visit,
                    &format!("{of_delivery}/again"),
                    &[("seen", &line.seen)],
                )
            }
            Aim::StopAll => {
                self.history.stops.push(stop);
                form(visit, &format!("{of_webhook}/stop"), &[])
            }
            Aim::ReplayAll => {
                self.history.replays.push(replay);
                form(visit, &format!("{of_webhook}/retry"), &[])
            }
            Aim::Test => {
                let dialect = self.scenario.tenants.get(webhook.tenant)?.dialect;
                let topic = webhook.versions.last()?.topics.first().copied();
                let kind = dialect.kind(topic.unwrap_or(0));
                self.history.tests.push((number, self.now));
                form(visit, &format!("{of_webhook}/test"), &[("kind", &kind)])
            }
        }
    }

    /// A page has come, or none.
    pub(crate) fn visited(&mut self, number: usize, action: Action, answer: Option<(u16, &[u8])>) {
        let now = self.now;
        let Some((status, body)) = answer else {
            return self.acts_later(number, action);
        };
        let Some(webhook) = self.history.webhooks.get_mut(number) else {
            return;
        };
        let place = webhook.tenant;
        match (status, action) {
            (409 | 429 | 503, _) => self.acts_again(number, action),
            (303, _) if asks_to_sign_in(body) => self.acts_again(number, action),
            (200, Action::Look(aim)) => {
                let lines = lines(body, number);
                let drawn = self.net.rng.below(lines.len().max(1) as u64);
                webhook.seen = lines.into_iter().nth(usize::try_from(drawn).unwrap_or(0));
                if webhook.seen.is_some() {
                    let wait_ms = 200 + self.net.rng.below(3_000).cast_signed();
                    self.after(wait_ms, Event::Act(number, Action::Do(aim)));
                } else if self.net.rng.below(4) > 0 {
                    self.acts_later(number, action);
                }
            }
            (303, Action::Do(Aim::StopOne)) if body.ends_with(b"said=stopped") => {
                let id = webhook.seen.as_ref().map(|line| line.id.clone());
                let stops = &mut self.history.stops;
                let last = stops.iter_mut().rfind(|stop| stop.webhook == number);
                if let (Some(stop), Some(id)) = (last, id) {
                    stop.one = Some((id, now));
                }
            }
            // Else there was nothing to do.
            (303, Action::Do(Aim::ReplayAll)) if is_bulk_job(body) => self.replay_begun(number),
            (303, Action::Do(Aim::StopAll)) if is_bulk_job(body) => {
                let stops = &mut self.history.stops;
                if let Some(stop) = stops.iter_mut().rfind(|stop| stop.webhook == number) {
                    stop.all_from = Some(now);
                }
            }
            (303, Action::RevokeSpare) => {
                let mut revoked = self.history.revoked.iter_mut();
                if let Some(revoked) = revoked.find(|(tenant, _, _)| *tenant == place) {
                    revoked.2 = Some(now);
                }
            }
            // What was seen is not there any more, or its webhook is disabled.
            (303 | 404 | 422, _) => {}
            (status, _) => {
                let words = format!("w{number}: {action:?} was answered {status}");
                self.history.broken.push(("good input is accepted", words));
            }
        }
    }
}
