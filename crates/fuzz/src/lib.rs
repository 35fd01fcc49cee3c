//! Fuzzing on stable: each parser of outside bytes is given the seeds of its corpus, bent, joined
//! and cut by `edit.rs`, and has to keep a property. The targets are tests beside their parsers.
//!
//! `WILLCALL_TEST_FUZZ_FOR=1h cargo test --workspace fuzz` lets all targets run for an hour
//! together, `WILLCALL_TEST_FUZZ_SEED` repeats a run. decision 41 says why it is done this way.

mod corpus;
mod edit;
mod quiet;
mod settings;
mod watchdog;

use proptest::collection::vec;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use self::corpus::Corpus;
use self::settings::Settings;
use self::watchdog::{Watchdog, shown};

/// Edits of one input.
const EDITS_MAX: usize = 8;

/// How often a failing input is tried in a simpler form.
const SHRINKS_MAX: u32 = 1_000;

/// Tries `property` on every seed of `tests/corpus/<target>` as it is, then on `cases` inputs made
/// from them, or on as many as the target's share of `WILLCALL_TEST_FUZZ_FOR` allows. Inputs have
/// at most 96 KiB.
///
/// # Panics
/// If `property` does, with the shortest input found and the seed that repeats it. If one input
/// takes longer than two minutes, the process ends.
pub fn run(target: &str, cases: u32, property: impl Fn(&[u8])) {
    let corpus = Corpus::read(target);
    let settings = Settings::read();
    let watchdog = Watchdog::begin(target);
    let tried = |input: &[u8]| {
        watchdog.sees(input);
        quiet::catch(|| property(input))
    };
    for (name, seed) in &corpus.seeds {
        if let Err(why) = tried(seed) {
            panic!("{target}: the seed {name} fails: {why}");
        }
    }
    let edits = vec(edit::edit(), 0..=EDITS_MAX);
    let inputs = (proptest::arbitrary::any::<proptest::sample::Index>(), edits);
    let made = inputs.prop_map(|(from, edits)| edit::bent(&corpus, &from, &edits));
    let deadline = settings.deadline(corpus::targets());
    let mut seed = settings.seed;
    let mut count: u64 = 0;
    say(&format!("{target}: seed {seed}"));
    loop {
        let mut runner = TestRunner::new(Config {
            cases,
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            max_shrink_iters: SHRINKS_MAX,
            ..Config::default()
        });
        let result = runner.run(&made, |input| tried(&input).map_err(TestCaseError::fail));
        count += u64::from(cases);
        match result {
            Ok(()) => {}
            Err(TestError::Abort(why)) => panic!("{target}: {why}"),
            Err(TestError::Fail(why, input)) => panic!(
                "{target}: {why}\nInput: {}\nRepeat it with WILLCALL_TEST_FUZZ_SEED={seed}",
                shown(&shortened(input, |input| tried(input).is_err()))
            ),
        }
        if !deadline.is_ahead() {
            say(&format!("{target}: {count} inputs"));
            return;
        }
        seed = seed.wrapping_add(1);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a run of tests says from where it began"
)]
fn say(words: &str) {
    println!("{words}");
}

/// A failing input without what it can do without.
fn shortened(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut piece = input.len() / 2;
    let mut tries = SHRINKS_MAX;
    while piece > 0 && tries > 0 {
        let mut at = 0;
        while at < input.len() && tries > 0 {
            let mut shorter = input.clone();
            drop(shorter.drain(at..(at + piece).min(input.len())));
            tries -= 1;
            match fails(&shorter) {
                true => input = shorter,
                false => at += piece,
            }
        }
        piece /= 2;
    }
    input
}

#[cfg(test)]
mod tests;
