//! What the charts of a page show: two drawings and the table behind them, or that nothing was
//! attempted; and the links that choose the period.

use std::fmt::Write as _;

use model::id::{TenantId, WebhookId};
use model::statistics::{AttemptClass, AttemptTally, StatisticsPeriod, StatisticsQuery};
use model::time::Timestamp;

use super::super::response::PageError;
use super::super::view::DisplayDuration;
use super::super::visit::Visit;
use super::drawing::{self, BarPart, HEIGHT, Line, STEP_WIDTH};
use super::scale::{Scale, ScaleMark, ScaleUnit};
use crate::dialect::statistics::{PERCENTILES, PERIOD, PERIOD_USUAL};

/// Attempts and response times of a period.
pub(crate) struct ChartsView {
    pub(crate) periods: Vec<PeriodLink>,
    /// Nothing if nothing was attempted.
    pub(crate) charts: Option<Charts>,
}

/// A link to the same page with another period.
pub(crate) struct PeriodLink {
    pub(crate) words: &'static str,
    pub(crate) path: String,
    pub(crate) current: bool,
}

pub(crate) struct Charts {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) counts: [ScaleMark; 3],
    /// Nothing if nothing was answered.
    pub(crate) times: Option<[ScaleMark; 3]>,
    pub(crate) steps: Vec<ChartStep>,
    pub(crate) lines: Vec<Line>,
    /// The beginning, the middle and the end.
    pub(crate) ticks: [Tick; 3],
    pub(crate) legend: Vec<LegendEntry>,
    /// All percentiles of the whole period, in words.
    pub(crate) time_words: String,
    pub(crate) rows: Vec<ChartRow>,
    pub(crate) step_words: &'static str,
}

/// A step as it is drawn, with what it says when it is pointed at.
pub(crate) struct ChartStep {
    pub(crate) left: u64,
    pub(crate) count_words: String,
    pub(crate) time_words: String,
    pub(crate) bar: Vec<BarPart>,
}

/// A time beside a chart: short, and in full for the script.
pub(crate) struct Tick {
    pub(crate) exact: Timestamp,
    pub(crate) short: String,
}

pub(crate) struct LegendEntry {
    pub(crate) class: &'static str,
    pub(crate) words: &'static str,
    pub(crate) count: u64,
}

/// A line of the table: a step in which something was attempted.
pub(crate) struct ChartRow {
    pub(crate) at: Tick,
    pub(crate) counts: [u64; AttemptClass::ALL.len()],
    pub(crate) times: [Option<DisplayDuration>; PERCENTILES.len()],
}

impl ChartsView {
    /// Of a webhook, or of all webhooks of the tenant; `path` is that of the page.
    pub(crate) async fn of(
        visit: &Visit,
        (tenant, webhook): (TenantId, Option<WebhookId>),
        path: &str,
    ) -> Result<Self, PageError> {
        let asked = visit.query.get(PERIOD).and_then(|name| name.parse().ok());
        let period: StatisticsPeriod = asked.unwrap_or(PERIOD_USUAL);
        let query = period.query(tenant, webhook, visit.now);
        let steps = visit.ask(|store| store.statistics(query)).await?;
        let links = StatisticsPeriod::ALL.into_iter();
        Ok(Self {
            periods: links
                .map(|own| PeriodLink {
                    words: period_words(own),
                    path: format!("{path}?{PERIOD}={}#attempts", own.as_str()),
                    current: own == period,
                })
                .collect(),
            charts: Charts::of(&query, &steps, period),
        })
    }
}

impl Charts {
    fn of(
        query: &StatisticsQuery,
        steps: &[AttemptTally],
        period: StatisticsPeriod,
    ) -> Option<Self> {
        let highest = steps.iter().map(AttemptTally::attempts).max();
        let highest = highest.filter(|highest| *highest > 0)?;
        let (_, last) = PERCENTILES.last()?;
        let longest = steps.iter().filter_map(|step| step.percentile(*last)).max();
        let mut sum = AttemptTally::default();
        for step in steps {
            sum.merge(step);
        }
        let counts = Scale::of(highest, ScaleUnit::Attempts);
        let times = Scale::of(u64::from(longest.unwrap_or(0)), ScaleUnit::Milliseconds);
        let tick = |step| Tick::of(query.starts_at(step));
        let drawn = steps.iter().enumerate().map(|(place, tally)| {
            let from = short_time(query.starts_at(place));
            ChartStep {
                left: drawing::left(place),
                count_words: format!("{from}: {}", count_words(tally)),
                time_words: format!("{from}: {}", time_words(tally)),
                bar: drawing::bar(place, tally, counts),
            }
        });
        let rows = steps.iter().enumerate();
        let rows = rows.filter(|(_, tally)| tally.attempts() > 0);
        Some(Self {
            width: drawing::left(steps.len()).max(STEP_WIDTH),
            height: HEIGHT,
            counts: counts.marks(),
            times: longest.map(|_| times.marks()),
            steps: drawn.collect(),
            lines: drawing::lines(steps, times),
            ticks: [tick(0), tick(steps.len() / 2), tick(steps.len())],
            legend: AttemptClass::ALL
                .map(|class| LegendEntry::of(class, &sum))
                .into(),
            time_words: time_words(&sum),
            rows: rows
                .map(|(place, tally)| ChartRow::of(query.starts_at(place), tally))
                .collect(),
            step_words: step_words(period),
        })
    }

    /// What the drawing of attempts shows, for whoever does not see it.
    pub(crate) fn count_words(&self) -> String {
        let parts = self.legend.iter().filter(|entry| entry.count > 0);
        let parts = parts.map(|entry| format!("{} {}", entry.count, entry.words));
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl Tick {
    fn of(at: Timestamp) -> Self {
        Self {
            exact: at,
            short: short_time(at),
        }
    }
}

impl LegendEntry {
    fn of(class: AttemptClass, sum: &AttemptTally) -> Self {
        Self {
            class: class.as_str(),
            words: class_words(class),
            count: sum.count(class),
        }
    }
}

impl ChartRow {
    fn of(at: Timestamp, tally: &AttemptTally) -> Self {
        let shown = |ms: u32| DisplayDuration(i64::from(ms));
        Self {
            at: Tick::of(at),
            counts: AttemptClass::ALL.map(|class| tally.count(class)),
            times: PERCENTILES.map(|(_, percent)| tally.percentile(percent).map(shown)),
        }
    }
}

fn period_words(period: StatisticsPeriod) -> &'static str {
    match period {
        StatisticsPeriod::Hour => "1 hour",
        StatisticsPeriod::Day => "24 hours",
        StatisticsPeriod::Week => "7 days",
        StatisticsPeriod::Month => "30 days",
    }
}

fn step_words(period: StatisticsPeriod) -> &'static str {
    match period {
        StatisticsPeriod::Hour => "5 minutes",
        StatisticsPeriod::Day => "half an hour",
        StatisticsPeriod::Week => "3 hours",
        StatisticsPeriod::Month => "12 hours",
    }
}

pub(crate) fn class_words(class: AttemptClass) -> &'static str {
    match class {
        AttemptClass::Delivered => "delivered",
        AttemptClass::Rejected => "rejected",
        AttemptClass::NoAnswer => "not answered",
        AttemptClass::NotSent => "not sent",
    }
}

/// `12 delivered, 3 rejected`.
fn count_words(tally: &AttemptTally) -> String {
    let parts = AttemptClass::ALL.into_iter();
    let parts = parts.filter(|class| tally.count(*class) > 0);
    let parts = parts.map(|class| format!("{} {}", tally.count(class), class_words(class)));
    match parts.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no attempt".to_owned(),
        words => words,
    }
}

/// `p50 20 ms, p95 1.2 s, p99 4.0 s`.
fn time_words(tally: &AttemptTally) -> String {
    let mut words = String::new();
    for (name, percent) in PERCENTILES {
        let Some(ms) = tally.percentile(percent) else {
            return "no answer".to_owned();
        };
        let comma = if words.is_empty() { "" } else { ", " };
        let shown = DisplayDuration(i64::from(ms));
        // Writing to a text cannot fail.
        write!(words, "{comma}{name} {shown}").ok();
    }
    words
}

/// `12-01 16:30 UTC`.
fn short_time(at: Timestamp) -> String {
    let exact = at.to_string();
    let (date, time) = exact.split_once('T').unwrap_or_default();
    let day = date.split_once('-').map_or(date, |(_, day)| day);
    format!("{day} {} UTC", time.get(..5).unwrap_or_default())
}
