//! How deliveries of this dialect are made.

use model::rng::SeededRng;
use model::tenant::DialectName;
use model::time::Timestamp;

use crate::dialects::{DialectOptions, all};

#[test]
fn a_delivery_is_tried_for_exactly_three_days() {
    let policies = all(&DialectOptions::default()).policies();
    let policy = &policies[&DialectName::new("pretix")];
    assert!(policy.gone_disables);
    assert_eq!(policy.exchange_limit_ms, 30_000);
    let mut rng = SeededRng::from_seed([1; 32]);
    let mut waits_s = Vec::new();
    let mut at = Timestamp::EPOCH;
    for retry in 1.. {
        let Some(next) = policy
            .schedule
            .due_at(retry, Timestamp::EPOCH, at, &mut rng)
        else {
            break;
        };
        waits_s.push(next.ms_since(at) / 1_000);
        at = next;
    }
    const HOUR: i64 = 3_600;
    assert_eq!(at.ms_since(Timestamp::EPOCH), 72 * HOUR * 1_000);
    let nominal = [
        5,
        30,
        60,
        300,
        1_200,
        HOUR,
        4 * HOUR,
        6 * HOUR,
        12 * HOUR,
        12 * HOUR,
        24 * HOUR,
    ];
    assert_eq!(waits_s.len(), nominal.len() + 1);
    for (wait_s, nominal_s) in waits_s.iter().zip(nominal) {
        let spread_s = if nominal_s < 300 { 0 } else { nominal_s / 10 };
        assert!(
            (nominal_s..=nominal_s + spread_s).contains(wait_s),
            "{waits_s:?}"
        );
    }
}
