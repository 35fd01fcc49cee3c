//! Which histories are lived: one of each kind in a run of all tests. `HISTORY=power:17` repeats
//! one; `HISTORIES_FOR=1h` goes on with fresh seeds for that long in
//! `every_kind_for_as_long_as_one_likes`, with `HISTORY=power` only with those of one kind.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::history::{Fault, live};
use super::ledger::Tally;

const ONE: &str = "HISTORY";
const LONG: &str = "HISTORIES_FOR";

const ROUNDS: usize = 2;
const ROUNDS_WHEN_LONG: usize = 4;

/// By name, with the faults that are drawn from.
const KINDS: [(&str, &[Fault]); 4] = [
    ("kill", &[Fault::Kill, Fault::Kill, Fault::Freeze]),
    ("full", &[Fault::FullDisk]),
    ("damage", &[Fault::Damage]),
    ("power", &[Fault::PowerLoss]),
];

/// The seed of the histories in a run of all tests.
const SEED: u64 = 1;

/// Within so many histories a disk that lies is found.
const LIES_MAX: u64 = 10;

#[test]
fn what_is_accepted_outlives_kills_and_freezes() {
    one_of("kill");
}

#[test]
fn what_is_accepted_outlives_a_full_disk() {
    one_of("full");
}

#[test]
fn a_damaged_store_has_all_that_was_accepted_or_says_that_it_has_not() {
    one_of("damage");
}

#[test]
fn what_is_accepted_outlives_power_failures() {
    one_of("power");
}

#[test]
fn a_disk_that_only_says_that_it_syncs_is_found_out() {
    let found = (0..LIES_MAX).find_map(|seed| live(seed, &[Fault::LyingDisk], 1).err());
    let found = found.expect("power failures on a disk that lies lose what was accepted");
    println!("{}", found.lines().next().unwrap_or_default());
    let is_loss = ["are lost", "no start", "of a webhook is gone", "gave "];
    assert!(is_loss.iter().any(|words| found.contains(words)), "{found}");
}

#[test]
fn every_kind_for_as_long_as_one_likes() {
    let asked = told(ONE);
    if let Some((kind, seed)) = asked.as_ref().and_then(|one| one.split_once(':')) {
        let seed = seed.parse().expect("a kind and a seed, as in power:17");
        history(kind, seed, ROUNDS_WHEN_LONG);
        return;
    }
    let Some(long) = told(LONG) else {
        assert_eq!(asked, None, "a kind without a seed goes with {LONG}");
        return;
    };
    let (end, mut lived) = (Instant::now() + duration(&long), 0);
    let mut sum = Tally::default();
    while Instant::now() < end {
        let seed = fresh();
        let drawn = KINDS[usize::try_from(seed % KINDS.len() as u64).unwrap()].0;
        let kind = asked.as_deref().unwrap_or(drawn);
        sum.add(&history(kind, seed, ROUNDS_WHEN_LONG));
        lived += 1;
    }
    println!("{lived} histories: {sum:?}");
}

fn one_of(kind: &str) {
    if told(LONG).is_none() && told(ONE).is_none() {
        history(kind, SEED, ROUNDS);
    }
}

fn history(kind: &str, seed: u64, rounds: usize) -> Tally {
    let begun = Instant::now();
    let kinds = BTreeMap::from(KINDS);
    let faults = kinds.get(kind).expect("one of kill, full, damage, power");
    let lived = live(seed, faults, rounds).unwrap_or_else(|why| {
        panic!(
            "{why}\nOnce more: {ONE}={kind}:{seed} cargo test -p willcall --test it \
             every_kind_for_as_long -- --nocapture"
        )
    });
    println!("{kind}:{seed} in {:?}: {lived:?}", begun.elapsed());
    lived
}

fn told(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(value.into_string().expect("plain text"))
}

fn fresh() -> u64 {
    // Small enough to be read out and typed in.
    RandomState::new().build_hasher().finish() % 1_000_000_000
}

fn duration(text: &str) -> Duration {
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => panic!("{LONG} is a number of s, m or h, as in 1h"),
    };
    let number: u64 = number.parse().expect("a number of s, m or h, as in 1h");
    Duration::from_secs(number * unit)
}
