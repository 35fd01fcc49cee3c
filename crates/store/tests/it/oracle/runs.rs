//! Some histories that are always the same. `ORACLE=17` lives that of one seed; `ORACLE_FOR=1h`
//! goes on with fresh seeds for that long in `histories_of_fresh_seeds_for_as_long_as_one_likes`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tokio::time::Instant;

use super::history;

const ONE: &str = "ORACLE";
const LONG: &str = "ORACLE_FOR";

/// Operations of a history.
const OPERATIONS: usize = 50;
const OPERATIONS_WHEN_LONG: usize = 240;

#[test]
fn both_engines_answer_alike_whatever_happens_to_one_tenant() {
    some(&[3]);
}

#[test]
fn both_engines_answer_alike_whatever_happens_to_several_tenants() {
    some(&[1]);
}

#[test]
fn both_engines_answer_alike_whatever_happens_to_very_many_webhooks() {
    some(&[2]);
}

#[test]
fn histories_of_fresh_seeds_for_as_long_as_one_likes() {
    if let Some(seed) = told(ONE) {
        live(
            seed.parse().expect("a seed, as in 17"),
            OPERATIONS_WHEN_LONG,
        );
        return;
    }
    let Some(long) = told(LONG) else {
        return;
    };
    let (end, mut lived) = (Instant::now() + duration(&long), 0);
    while Instant::now() < end {
        // Small enough to be read out and typed in.
        let seed = RandomState::new().build_hasher().finish() % 1_000_000_000;
        live(seed, OPERATIONS_WHEN_LONG);
        lived += 1;
    }
    println!("{lived} histories on both engines");
}

fn some(seeds: &[u64]) {
    if told(LONG).is_none() && told(ONE).is_none() {
        for seed in seeds {
            live(*seed, OPERATIONS);
        }
    }
}

fn live(seed: u64, operations: usize) {
    let lived = catch_unwind(AssertUnwindSafe(|| history::run(seed, operations)));
    if let Err(panic) = lived {
        println!(
            "Once more: {ONE}={seed} cargo test -p store --test it histories_of_fresh_seeds \
             -- --nocapture"
        );
        resume_unwind(panic);
    }
}

fn told(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(value.into_string().expect("plain text"))
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
