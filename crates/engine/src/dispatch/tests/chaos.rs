//! Everything at once, drawn from a seed: the store answers late, refuses, forgets to answer;
//! people switch webhooks off and on, edit them, have deliveries sent again; receivers fail, hang
//! and ask to be left alone. Then calm. What was sent and what is written down must agree, call
//! by call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::Outcome;
use model::contract::{Intake as _, Outbox as _, ReplayRequest, ReplayScope};
use model::delivery::DeliveryState;
use model::id::{NotificationId, WebhookId};
use model::lease::Epoch;
use model::rng::SeededRng;

use super::id;
use super::world::{Call, Does, World, seconds};

const SEEDS: u8 = 8;
const ACTIONS: usize = 250;

struct Chaos {
    world: World,
    rng: SeededRng,
    webhooks: Vec<WebhookId>,
    handed_in: Vec<(NotificationId, WebhookId)>,
    /// How often each was asked to be sent again.
    again: BTreeMap<(NotificationId, WebhookId), usize>,
    disabled: BTreeMap<WebhookId, bool>,
}

fn host(webhook: usize) -> String {
    format!("r{webhook}.test")
}

impl Chaos {
    async fn begin(seed: u8) -> Self {
        let mut rng = SeededRng::from_seed([seed; 32]);
        let mut world = World::new().await;
        world.settings.max_in_flight = 4 + usize::try_from(rng.below(12)).unwrap();
        world.settings.max_concurrency_per_webhook = 1 + usize::try_from(rng.below(6)).unwrap();
        world.policy.retry_after_max_ms = Some(5_000);
        let mut webhooks = Vec::new();
        for number in 0..4 {
            let url = format!("http://{}/", host(number));
            webhooks.push(world.webhook(&url, &format!("topic-{number}")).await);
            let moods = Arc::new(Mutex::new(rng.split(&host(number))));
            let (clock, began_at) = (world.clock.clone(), world.clock.now());
            world.net.at(&host(number), move |_: &Call, _| {
                let mut moods = moods.lock().unwrap();
                // The first two are out for 45 seconds of every 90.
                let second = clock.now().ms_since(began_at) / 1_000;
                if number < 2 && second % 90 >= 45 {
                    return Does::Answers(500);
                }
                let wait = Duration::from_millis(moods.below(3_000));
                match moods.below(100) {
                    0..60 => Does::Answers(200),
                    60..75 => Does::AnswersAfter(200, wait),
                    75..85 => Does::Answers(500),
                    85..92 => Does::AnswersAfter(503, wait),
                    92..95 => Does::Busy(503, "7"),
                    95..98 => Does::Hangs,
                    _ => Does::Answers(302),
                }
            });
        }
        let chaos = rng.split("store");
        world.store.plan(|plan| plan.chaos = Some(chaos));
        world.start();
        Self {
            world,
            rng,
            webhooks,
            handed_in: Vec::new(),
            again: BTreeMap::new(),
            disabled: BTreeMap::new(),
        }
    }

    fn draw(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.below(u64::try_from(end).unwrap())).unwrap()
    }

    async fn act(&mut self) {
        let number = self.draw(self.webhooks.len());
        let webhook = self.webhooks[number];
        match self.draw(100) {
            0..70 => self.hand_in(number).await,
            70..80 => self.send_one_again().await,
            80..83 => self.send_failed_again(webhook).await,
            83..90 => self.switch(webhook).await,
            90..95 => {
                let change = |webhook: &mut model::webhook::Webhook| {
                    webhook.target_url.push('x');
                };
                self.world.change(webhook, change).await;
            }
            _ => self.world.store.change_elsewhere(),
        }
        let wait = self.rng.below(1_500);
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    async fn hand_in(&mut self, number: usize) {
        let (webhook, count) = (self.webhooks[number], 1 + self.draw(12));
        if self.disabled.get(&webhook) == Some(&true) {
            return;
        }
        let known = self.handed_in.len();
        let topic = format!("topic-{number}");
        let body = |index: usize| format!("{webhook}-{}", known + index);
        let tenant = self.world.tenant;
        let ids = self.world.hand_in_with(tenant, &topic, count, body).await;
        self.handed_in
            .extend(ids.into_iter().map(|id| (id, webhook)));
    }

    async fn send_one_again(&mut self) {
        if self.handed_in.is_empty() {
            return;
        }
        let index = self.draw(self.handed_in.len());
        let (notification, webhook) = self.handed_in[index];
        *self.again.entry((notification, webhook)).or_default() += 1;
        let which = ReplayScope::One(id(notification, webhook));
        self.replay(webhook, which).await;
    }

    async fn send_failed_again(&mut self, webhook: WebhookId) {
        for delivery in self.handed_in.iter().filter(|(_, at)| *at == webhook) {
            *self.again.entry(*delivery).or_default() += 1;
        }
        let began_at = self.world.clock.now();
        self.replay(webhook, ReplayScope::Undelivered { began_at })
            .await;
    }

    async fn replay(&self, webhook: WebhookId, which: ReplayScope) {
        let ask = ReplayRequest {
            tenant: self.world.tenant,
            webhook,
            which,
            actor: "test".to_owned(),
        };
        let now = self.world.clock.now();
        self.world.store.replay(ask, now).await.unwrap();
    }

    async fn switch(&mut self, webhook: WebhookId) {
        let disabled = self.disabled.entry(webhook).or_default();
        *disabled = !*disabled;
        if *disabled {
            self.world.disable(webhook).await;
        } else {
            self.world.enable(webhook).await;
        }
    }

    fn again(&self, notification: NotificationId, webhook: WebhookId) -> usize {
        self.again
            .get(&(notification, webhook))
            .copied()
            .unwrap_or(0)
    }

    /// No more trouble, and time for what is still owed.
    async fn calm_down(&mut self) {
        self.world.store.plan(|plan| plan.chaos = None);
        for number in 0..self.webhooks.len() {
            self.world.net.at(&host(number), |_, _| Does::Answers(200));
        }
        // The first success wakes what waits for longer.
        for number in 0..self.webhooks.len() {
            self.hand_in(number).await;
        }
        seconds(1_800).await;
        assert_eq!(self.world.health(), Ok(()));
        assert!(
            self.world
                .store
                .pending_webhooks(Epoch::FIRST, None, 10)
                .await
                .unwrap()
                .is_empty()
        );
    }

    fn calls(&self) -> BTreeMap<String, Vec<Call>> {
        let mut calls: BTreeMap<String, Vec<Call>> = BTreeMap::new();
        for call in self.world.net.calls() {
            calls.entry(call.body.clone()).or_default().push(call);
        }
        calls
    }

    /// What was sent is what is written down, and nothing was sent without need.
    async fn check(&self, seed: u8) {
        let calls = self.calls();
        for (index, (notification, webhook)) in self.handed_in.iter().enumerate() {
            let body = format!("{webhook}-{index}");
            let name = format!("seed {seed}, {}", id(*notification, *webhook));
            let calls = calls.get(&body).map_or(&[][..], |calls| calls);
            let story = self.world.story(*notification, *webhook).await;
            assert!(story.row.state.is_end(), "{name}: {story:#?}");
            assert_eq!(
                story.attempts.len(),
                calls.len(),
                "{name}: {story:#?} {calls:#?}"
            );
            let successes = story.attempts.iter();
            let successes = successes
                .filter(|past| past.attempt.outcome.is_success())
                .count();
            let again = self
                .again
                .get(&(*notification, *webhook))
                .copied()
                .unwrap_or(0);
            assert!(successes <= 1 + again, "{name}: {story:#?}");
            for (call, past) in calls.iter().zip(&story.attempts) {
                assert!(
                    call.at.ms_since(past.attempt.began_at) <= 1,
                    "{name}: {story:#?}"
                );
            }
            let mut before_was_ahead = false;
            for pair in story.attempts.windows(2) {
                let ended_at = pair[0]
                    .attempt
                    .began_at
                    .plus_ms(pair[0].attempt.duration_ms.into());
                let next_at = pair[1].attempt.began_at;
                // Never two at once, never after a success or before its time, unless asked for.
                assert!(next_at >= ended_at, "{name}: {story:#?}");
                if again == 0 {
                    assert!(!pair[0].attempt.outcome.is_success(), "{name}: {story:#?}");
                    // Ahead of its time at most once before it is tried in time, and for nothing.
                    let ahead = Some(next_at) < pair[0].next_due_at;
                    assert!(!(ahead && before_was_ahead), "{name}: {story:#?}");
                    let kept = pair[1]
                        .next_due_at
                        .is_none_or(|at| Some(at) >= pair[0].next_due_at);
                    assert!(!ahead || kept, "{name}: {story:#?}");
                    before_was_ahead = ahead;
                }
            }
            if successes > 0 && again == 0 {
                assert_eq!(
                    story.row.state,
                    DeliveryState::Delivered,
                    "{name}: {story:#?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_what_is_written_down_agree_whatever_happens() {
    for seed in 0..SEEDS {
        let mut chaos = Chaos::begin(seed).await;
        for _ in 0..ACTIONS {
            chaos.act().await;
        }
        chaos.calm_down().await;
        chaos.check(seed).await;
    }
}

/// With kills between, an attempt may be lost and its delivery sent again, but never lost.
#[tokio::test(start_paused = true)]
async fn whatever_happens_and_however_often_it_is_killed_everything_is_delivered() {
    for seed in 100..100 + SEEDS / 2 {
        let mut chaos = Chaos::begin(seed).await;
        for _ in 0..ACTIONS {
            chaos.act().await;
            if chaos.draw(10) == 0 {
                chaos.world.kill();
                chaos.world.start();
            }
        }
        chaos.calm_down().await;
        for (notification, webhook) in &chaos.handed_in {
            let story = chaos.world.story(*notification, *webhook).await;
            let delivered = story
                .attempts
                .iter()
                .any(|past| past.attempt.outcome.is_success());
            let expected = match story.row.state {
                DeliveryState::Delivered => true,
                DeliveryState::Cancelled(_) => {
                    !delivered || chaos.again(*notification, *webhook) > 0
                }
                DeliveryState::Pending | DeliveryState::Failed => false,
            };
            assert!(expected, "seed {seed}: {story:#?}");
            let kept = story
                .attempts
                .iter()
                .all(|past| match &past.attempt.outcome {
                    Outcome::Answered(answer) => [200, 302, 500, 503].contains(&answer.status),
                    Outcome::Failed(_) => past.attempt.duration_ms == 30_000,
                });
            assert!(kept, "seed {seed}: {story:#?}");
        }
    }
}
