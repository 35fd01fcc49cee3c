//! Checkers: each file is one promise, told in its first sentence, and what shows it broken.

mod bulk_jobs;
mod disabled;
mod duplicates;
mod durable;
mod ended;
mod hints;
mod log;
mod neighbours;
mod owners;
mod retry_after;
mod schedule;
mod states;
mod tenants;
mod view;

pub(crate) use view::Violation;

use crate::record::Record;
use crate::world::World;
use view::View;

/// What a checker finds.
type Checker = fn(&View<'_>) -> Vec<Violation>;

const ALL: &[Checker] = &[
    durable::check,
    ended::check,
    log::check,
    duplicates::check,
    schedule::check,
    retry_after::check,
    states::check,
    bulk_jobs::check,
    disabled::check,
    tenants::check,
    neighbours::check,
];

/// What several nodes keep to. How they share what one is allowed has no bound here, and their
/// clocks do not tell when a bulk replay found what.
const OF_CLUSTERS: &[Checker] = &[
    durable::check,
    ended::check,
    log::check,
    duplicates::check,
    schedule::check,
    retry_after::check,
    states::check,
    disabled::check,
    tenants::check,
    owners::check,
    hints::check,
];

/// All that is broken, by what happened and what is on record.
pub(crate) fn check(world: &World, records: &[Record]) -> Vec<Violation> {
    let view = View::new(world, records);
    let all = match world.history.cluster {
        Some(_) => OF_CLUSTERS,
        None => ALL,
    };
    all.iter().flat_map(|checker| checker(&view)).collect()
}
