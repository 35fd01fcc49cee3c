//! The fuzzer itself: it finds what is there to be found, and the same again.

use std::cell::RefCell;
use std::time::Duration;

use super::*;

/// What a run over the corpus of `Retry-After` says when inputs with `wanted` panic.
fn told(wanted: &[u8]) -> Option<String> {
    let property = |input: &[u8]| {
        let found = input.windows(wanted.len()).any(|part| part == wanted);
        assert!(!found, "found");
    };
    let run = || run("retry_after", 4_000, property);
    quiet::catch(run).err()
}

#[test]
fn a_fault_is_found_and_told_with_a_short_input_and_its_seed() {
    let told = told(b"GMTGMT").unwrap();
    assert!(told.contains("retry_after: panicked at"), "{told}");
    assert!(told.contains("found\nInput: b\""), "{told}");
    assert!(told.contains("GMTGMT"), "{told}");
    assert!(told.contains("WILLCALL_TEST_FUZZ_SEED="), "{told}");
    assert_eq!(super::tests::told(b"a sentence that nobody makes"), None);
}

#[test]
fn the_same_seed_makes_the_same_inputs() {
    let made = || {
        let inputs = RefCell::new(Vec::new());
        let corpus = Corpus::read("retry_after");
        let mut runner = TestRunner::new(Config {
            cases: 200,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        });
        let edits = (
            proptest::arbitrary::any::<proptest::sample::Index>(),
            vec(edit::edit(), 0..=EDITS_MAX),
        );
        let ran = runner.run(&edits, |(from, edits)| {
            inputs.borrow_mut().push(edit::bent(&corpus, &from, &edits));
            Ok(())
        });
        ran.unwrap();
        inputs.into_inner()
    };
    let inputs = made();
    assert_eq!(made(), inputs);
    assert!(
        inputs
            .iter()
            .all(|input| input.len() <= edit::INPUT_BYTES_MAX)
    );
    assert!(inputs.iter().any(|input| input.len() > 1_000));
}

#[test]
fn a_duration_is_a_number_and_a_unit() {
    for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3_600)] {
        assert_eq!(settings::duration(text), Some(Duration::from_secs(seconds)));
    }
    for text in [
        "",
        "1",
        "h",
        "1d",
        "-1h",
        "1.5h",
        "1 h",
        "99999999999999999h",
    ] {
        assert_eq!(settings::duration(text), None, "{text}");
    }
}

#[test]
fn words_have_the_escapes_of_rust() {
    let words = corpus::words_of(b"a b\n\n\\r\\n\\0\n\\xffx\n\\\\n\n\\q\n");
    let expected: [&[u8]; 5] = [b"a b", b"\r\n\0", b"\xffx", b"\\n", b"\\q"];
    assert_eq!(words, expected);
}

#[test]
fn a_long_input_is_shown_in_part() {
    assert_eq!(shown(b"a\n\"\xff"), r#"b"a\n\"\xff""#);
    assert!(shown(&[b'x'; 9_000]).ends_with("x…\", 9000 bytes in all"));
}
