//! The health of a webhook, for people: a status in words, its latest call, and the last 24 hours
//! as a bar with its numbers.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use model::dashboard::{BoundedCount, HOUR_MS, HourlyCounts, LatestAttempt, WebhookHealth};
use model::delivery::probe_words;
use model::limits::CIRCUIT_OPENS_AFTER_MS;
use model::time::Timestamp;
use model::webhook::{DisableCause, Webhook};

use super::text::TextExcerpt;
use super::view::{DisplayTime, Tone};

/// The most bytes of a name that are shown.
const NAME_ROOM: usize = 100;

/// Who reads *now* looks again within this time.
const LONG_DUE_MS: i64 = 60_000;

/// The hours of a bar, the present one included.
const HOURS: i64 = 24;

/// The canvas of a bar: ten units for each hour, and its height.
const HOUR_WIDTH: i64 = 10;
const HEIGHT: u64 = 40;

/// The status of a webhook: a word, and details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookStatus {
    pub(crate) tone: Tone,
    pub(crate) word: &'static str,
    /// The words before the time, if there is one.
    pub(crate) more: Cow<'static, str>,
    pub(crate) at: Option<DisplayTime>,
    /// Somebody paused it.
    pub(crate) is_held: bool,
    /// When the next attempt is due, if one is.
    pub(crate) next: Option<NextAttempt>,
    /// How many deliveries wait, and since when, if any do.
    pub(crate) waiting: Option<WaitingDeliveries>,
}

/// Deliveries that are owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingDeliveries {
    count: BoundedCount,
    /// When the oldest notification among them was accepted.
    pub(crate) oldest: Option<DisplayTime>,
}

impl WaitingDeliveries {
    /// Nothing if none waits.
    pub(crate) fn new(count: BoundedCount, oldest: Option<Timestamp>) -> Option<Self> {
        let oldest = oldest.map(DisplayTime);
        (count.count > 0).then_some(Self { count, oldest })
    }

    /// `138 deliveries wait`.
    pub(crate) fn words(&self) -> String {
        match (self.count.count, self.count.more) {
            (1, false) => "1 delivery waits".to_owned(),
            (some, false) => format!("{some} deliveries wait"),
            (some, true) => format!("More than {some} deliveries wait"),
        }
    }
}

/// When the next attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextAttempt {
    /// It is due and waits for its turn.
    Now,
    /// It has been due for so long that nobody would believe `Now`.
    Since(DisplayTime),
    /// Its receiver has failed for long, and is probed.
    Probe,
    At(DisplayTime),
}

/// The last 24 hours: outlines for the drawing, and the totals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HistoryBar {
    pub(crate) good: String,
    pub(crate) waiting: String,
    pub(crate) bad: String,
    pub(crate) delivered: u64,
    pub(crate) retried: u64,
    pub(crate) failed: u64,
}

/// The first hour whose counts are read.
pub(crate) fn since(now: Timestamp) -> Timestamp {
    let hour = now.as_millis().div_euclid(HOUR_MS);
    Timestamp::from_millis((hour - (HOURS - 1)) * HOUR_MS)
}

impl WebhookStatus {
    /// A webhook without health was never called.
    pub(crate) fn of(webhook: &Webhook, health: Option<&WebhookHealth>, now: Timestamp) -> Self {
        let status = |tone, word, more, at: Option<Timestamp>| Self {
            tone,
            word,
            more: Cow::Borrowed(more),
            at: at.map(DisplayTime),
            is_held: false,
            next: None,
            waiting: health.and_then(|health| {
                WaitingDeliveries::new(health.waiting, health.oldest_waiting_at)
            }),
        };
        if let Some(disabled) = webhook.disabled {
            let more = match disabled.cause {
                DisableCause::Gone => "because its receiver answered 410 Gone at",
                DisableCause::Requested | DisableCause::Deleted => "since",
            };
            let word = match disabled.cause {
                DisableCause::Deleted => "Deleted",
                DisableCause::Requested | DisableCause::Gone => "Disabled",
            };
            let tone = match disabled.cause {
                DisableCause::Gone => Tone::Bad,
                DisableCause::Requested | DisableCause::Deleted => Tone::Quiet,
            };
            return status(tone, word, more, Some(disabled.at));
        }
        if let Some(hold) = health.and_then(|health| health.hold.as_ref()) {
            let more = format!("by {}, since", TextExcerpt::line(&hold.by, NAME_ROOM));
            return Self {
                more: more.into(),
                is_held: true,
                ..status(Tone::Waiting, "Paused", "", Some(hold.at))
            };
        }
        if let Some(until) = webhook.paused_until.filter(|until| *until > now) {
            let more = "because its receiver asked for a pause, until";
            return status(Tone::Waiting, "Paused", more, Some(until));
        }
        let next = health.and_then(|health| health.next_due_at);
        let of_latest = match health {
            None => status(Tone::Quiet, "Nothing sent yet", "", None),
            Some(health) => match (&health.latest, health.failing_since) {
                (None, _) => status(Tone::Quiet, "Nothing sent yet", "", None),
                (Some(_), Some(_)) if is_untried(webhook, health) => {
                    let more = "since it was changed or enabled again at";
                    let at = Some(webhook.updated_at);
                    status(Tone::Quiet, "Nothing sent", more, at)
                }
                (Some(_), Some(since)) => status(Tone::Bad, "Failing", "since", Some(since)),
                (Some(_), None) if health.retrying => {
                    status(Tone::Waiting, "Retrying", "what failed before", None)
                }
                (Some(_), None) => status(Tone::Good, "Healthy", "", None),
            },
        };
        Self {
            next: next.map(|due_at| {
                let probed = health.is_some_and(|health| is_probed(webhook, health, now));
                NextAttempt::of(due_at, probed, now)
            }),
            ..of_latest
        }
    }
}

/// Whether the latest call failed before the webhook was last changed, with nothing pending to show
/// how it does since.
pub(crate) fn is_untried(webhook: &Webhook, health: &WebhookHealth) -> bool {
    let latest = health.latest.as_ref();
    health.next_due_at.is_none()
        && latest.is_some_and(|own| !own.success && own.ended_at < webhook.updated_at)
}

/// Whether it has failed for so long that only probes are sent: the sender says so of what it
/// holds, and this is what whoever takes a webhook over goes by.
pub(crate) fn is_probed(webhook: &Webhook, health: &WebhookHealth, now: Timestamp) -> bool {
    let since = health.failing_since;
    let latest = health.latest.as_ref();
    since.is_some_and(|since| now.ms_since(since) >= CIRCUIT_OPENS_AFTER_MS)
        && latest.is_some_and(|own| own.ended_at >= webhook.updated_at)
}

/// Whether what is due waits until a probe succeeds.
pub(crate) fn waits_for_probe(webhook: &Webhook, health: &WebhookHealth, now: Timestamp) -> bool {
    let status = WebhookStatus::of(webhook, Some(health), now);
    status.next == Some(NextAttempt::Probe)
}

/// Whether what is due has been due for so long that it does not come at once.
pub(crate) fn is_long_due(due_at: Timestamp, now: Timestamp) -> bool {
    now.ms_since(due_at) >= LONG_DUE_MS
}

impl NextAttempt {
    fn of(due_at: Timestamp, probed: bool, now: Timestamp) -> Self {
        if due_at > now {
            Self::At(DisplayTime(due_at))
        } else if probed {
            Self::Probe
        } else if is_long_due(due_at, now) {
            Self::Since(DisplayTime(due_at))
        } else {
            Self::Now
        }
    }
}

impl fmt::Display for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now, or as soon as there is room"),
            Self::Since(when) => write!(f, "due since {when}, and made as soon as there is room"),
            Self::Probe => f.write_str(&probe_words()),
            Self::At(when) => when.fmt(f),
        }
    }
}

// Our own words, or a time, which is markup of our own.
impl askama::filters::HtmlSafe for NextAttempt {}

impl HistoryBar {
    pub(crate) fn of(hours: &[HourlyCounts], now: Timestamp) -> Self {
        let first = since(now).as_millis().div_euclid(HOUR_MS);
        let shown = |counts: &&HourlyCounts| (0..HOURS).contains(&(counts.hour - first));
        let sum = |counts: &HourlyCounts| {
            let some = counts.delivered.saturating_add(counts.retried);
            some.saturating_add(counts.failed)
        };
        let highest = hours.iter().filter(shown).map(sum).max().unwrap_or(0);
        let mut bar = Self::default();
        for counts in hours.iter().filter(shown) {
            bar.add(counts, counts.hour - first, highest.max(1));
        }
        bar
    }

    /// Stacks the parts of one hour. A part that is not zero is always visible.
    fn add(&mut self, counts: &HourlyCounts, place: i64, highest: u64) {
        let left = place * HOUR_WIDTH + 1;
        let mut floor = HEIGHT;
        for (count, total, path) in [
            (counts.delivered, &mut self.delivered, &mut self.good),
            (counts.retried, &mut self.retried, &mut self.waiting),
            (counts.failed, &mut self.failed, &mut self.bad),
        ] {
            *total = total.saturating_add(count);
            if count == 0 {
                continue;
            }
            let share = u128::from(count) * u128::from(HEIGHT) / u128::from(highest);
            let height = u64::try_from(share).unwrap_or(HEIGHT).max(2).min(floor);
            let top = floor - height;
            // Writing to a text cannot fail.
            write!(path, "M{left} {top}h8v{height}h-8z").ok();
            floor = top;
        }
    }

    /// The totals in words. A failed attempt is told apart from a failed delivery.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("{} delivered", self.delivered);
        // Writing to a text cannot fail.
        match self.retried {
            0 => {}
            1 => words.push_str(", 1 failed attempt tried again"),
            some => write!(words, ", {some} failed attempts tried again").unwrap_or_default(),
        }
        if self.failed > 0 {
            write!(words, ", {} not delivered", self.failed).unwrap_or_default();
        }
        words
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.delivered == 0 && self.retried == 0 && self.failed == 0
    }
}

/// The latest call: its time and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastCall {
    pub(crate) at: DisplayTime,
    pub(crate) tone: Tone,
    pub(crate) words: String,
    /// Relative to the path of the tenant.
    pub(crate) path: String,
}

impl LastCall {
    pub(crate) fn of(latest: &LatestAttempt) -> Self {
        Self {
            at: DisplayTime(latest.ended_at),
            tone: match latest.success {
                true => Tone::Good,
                false => Tone::Bad,
            },
            words: latest.words.clone(),
            path: format!("deliveries/{}", latest.delivery),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::id::{DeliveryId, NotificationId, TenantId, WebhookId};
    use model::webhook::{Disablement, Headers};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn webhook() -> Webhook {
        Webhook {
            id: WebhookId(1),
            tenant: TenantId(1),
            key: None,
            target_url: "https://example.org/".to_owned(),
            disabled: None,
            filter: model::filter::Filter::default(),
            settings: String::new(),
            headers: Headers::default(),
            retries_max: None,
            paused_until: None,
            created_at: NOW,
            updated_at: NOW,
            version: 1,
        }
    }

    fn health(success: bool) -> WebhookHealth {
        WebhookHealth {
            webhook: WebhookId(1),
            latest: Some(LatestAttempt {
                delivery: DeliveryId {
                    notification: NotificationId(1),
                    webhook: WebhookId(1),
                },
                ended_at: NOW,
                success,
                words: "It was answered.".to_owned(),
            }),
            hold: None,
            failing_since: (!success).then_some(NOW),
            next_due_at: None,
            retrying: false,
            waiting: BoundedCount::default(),
            oldest_waiting_at: None,
            hours: Vec::new(),
        }
    }

    fn word(webhook: &Webhook, health: Option<&WebhookHealth>) -> &'static str {
        WebhookStatus::of(webhook, health, NOW).word
    }

    #[test]
    fn every_status_has_a_word() {
        let hook = webhook();
        assert_eq!(word(&hook, None), "Nothing sent yet");
        assert_eq!(word(&hook, Some(&health(true))), "Healthy");
        assert_eq!(word(&hook, Some(&health(false))), "Failing");
        let retrying = WebhookHealth {
            retrying: true,
            ..health(true)
        };
        assert_eq!(word(&hook, Some(&retrying)), "Retrying");
        let mut mended = hook.clone();
        mended.updated_at = NOW.plus_ms(1);
        assert_eq!(word(&mended, Some(&health(false))), "Nothing sent");
        assert_eq!(word(&mended, Some(&health(true))), "Healthy");
        let owed = WebhookHealth {
            next_due_at: Some(NOW),
            ..health(false)
        };
        assert_eq!(word(&mended, Some(&owed)), "Failing");
        let mut paused = hook.clone();
        paused.paused_until = Some(NOW.plus_ms(1));
        assert_eq!(word(&paused, Some(&health(false))), "Paused");
        paused.paused_until = Some(NOW);
        assert_eq!(word(&paused, Some(&health(true))), "Healthy");
        let mut off = hook;
        for (cause, more) in [
            (DisableCause::Requested, "since"),
            (
                DisableCause::Gone,
                "because its receiver answered 410 Gone at",
            ),
        ] {
            off.disabled = Some(Disablement { at: NOW, cause });
            let status = WebhookStatus::of(&off, Some(&health(false)), NOW);
            assert_eq!((status.word, &*status.more), ("Disabled", more));
        }
    }

    #[test]
    fn an_attempt_that_is_due_has_no_time_in_the_past() {
        let next = |due_at| {
            let health = WebhookHealth {
                next_due_at: Some(due_at),
                ..health(true)
            };
            WebhookStatus::of(&webhook(), Some(&health), NOW).next
        };
        assert_eq!(next(NOW), Some(NextAttempt::Now));
        assert_eq!(next(NOW.plus_ms(-1)), Some(NextAttempt::Now));
        let long = NOW.plus_ms(-LONG_DUE_MS);
        assert_eq!(next(long), Some(NextAttempt::Since(DisplayTime(long))));
        let later = NOW.plus_ms(1);
        assert_eq!(next(later), Some(NextAttempt::At(DisplayTime(later))));
    }

    #[test]
    fn a_receiver_that_has_failed_for_long_is_probed_unless_it_was_changed_since() {
        let next = |failing_ms: i64, due_ms: i64, changed_ms: i64| {
            let health = WebhookHealth {
                failing_since: Some(NOW.plus_ms(-failing_ms)),
                next_due_at: Some(NOW.plus_ms(due_ms)),
                ..health(false)
            };
            let webhook = Webhook {
                updated_at: NOW.plus_ms(changed_ms),
                ..webhook()
            };
            WebhookStatus::of(&webhook, Some(&health), NOW).next
        };
        let long = CIRCUIT_OPENS_AFTER_MS;
        assert_eq!(next(long, 0, 0), Some(NextAttempt::Probe));
        assert_eq!(next(long, -3_600_000, 0), Some(NextAttempt::Probe));
        assert_eq!(next(long - 1, 0, 0), Some(NextAttempt::Now));
        assert_eq!(next(long, 0, 1), Some(NextAttempt::Now));
        let later = DisplayTime(NOW.plus_ms(1));
        assert_eq!(next(long, 1, 0), Some(NextAttempt::At(later)));
    }

    #[test]
    fn whoever_has_deliveries_that_wait_says_how_many_even_if_it_is_healthy() {
        let words = |count, more| {
            let health = WebhookHealth {
                waiting: BoundedCount { count, more },
                oldest_waiting_at: Some(NOW),
                ..health(true)
            };
            let status = WebhookStatus::of(&webhook(), Some(&health), NOW);
            assert_eq!(status.word, "Healthy");
            status.waiting.map(|waiting| waiting.words())
        };
        assert_eq!(words(0, false), None);
        assert_eq!(words(1, false).unwrap(), "1 delivery waits");
        assert_eq!(words(138, false).unwrap(), "138 deliveries wait");
        let many = "More than 1000 deliveries wait";
        assert_eq!(words(1_000, true).unwrap(), many);
    }

    #[test]
    fn a_bar_shows_its_24_hours_and_nothing_beyond() {
        let hour = NOW.as_millis() / HOUR_MS;
        let counts = |hour, delivered, retried, failed| HourlyCounts {
            hour,
            delivered,
            retried,
            failed,
        };
        let bar = HistoryBar::of(
            &[
                counts(hour - 24, 5, 5, 5),
                counts(hour - 23, 3, 1, 0),
                counts(hour, 0, 0, u64::MAX),
                counts(hour + 1, 5, 5, 5),
            ],
            NOW,
        );
        assert_eq!((bar.delivered, bar.retried, bar.failed), (3, 1, u64::MAX));
        assert_eq!(bar.good, "M1 38h8v2h-8z");
        assert_eq!(bar.waiting, "M1 36h8v2h-8z");
        assert_eq!(bar.bad, "M231 0h8v40h-8z");
        let end = format!("1 failed attempt tried again, {} not delivered", u64::MAX);
        assert_eq!(bar.words(), format!("3 delivered, {end}"));
        let bar = HistoryBar::of(&[counts(hour, 0, 17, 0)], NOW);
        assert_eq!(bar.words(), "0 delivered, 17 failed attempts tried again");
        assert!(HistoryBar::of(&[], NOW).is_empty());
    }
}
