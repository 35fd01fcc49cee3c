//! What is remembered, how long, and of whom.

use super::*;

const A: TenantId = TenantId(1);
const B: TenantId = TenantId(2);

fn by(tenant: TenantId) -> LookupContext {
    LookupContext {
        tenant,
        ..LookupContext::INTERNAL
    }
}

fn name(number: usize) -> Arc<str> {
    format!("n{number}.test").into()
}

fn found() -> LookupResult {
    Ok(vec!["192.0.2.1:0".parse().unwrap()].into())
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

#[test]
fn each_kind_of_answer_is_used_for_its_own_time() {
    let now = Instant::now();
    let refused = NameError::Refused("no".to_owned());
    let cases = [
        (found(), 10),
        (Err(NameError::NoSuchName), 5),
        (Err(NameError::NoAddress), 5),
        (Err(refused), 5),
        (Err(NameError::NoAnswer), 30),
    ];
    for (answer, seconds) in cases {
        let mut cache = Cache::default();
        cache.put(A, &name(1), &answer, now);
        let just_before = after(now, seconds) - Duration::from_millis(1);
        assert_eq!(cache.get(by(A), "n1.test", just_before), Some(&answer));
        assert_eq!(cache.get(by(A), "n1.test", after(now, seconds)), None);
        assert_eq!(cache.get(by(B), "n1.test", now), None);
    }
}

#[test]
fn that_a_name_was_found_is_known_for_longer_than_where_it_leads() {
    let now = Instant::now();
    let mut cache = Cache::default();
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::New);
    cache.put(A, &name(1), &found(), now);
    assert_eq!(cache.get(by(A), "n1.test", after(now, 3_600)), None);
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::Found);
    assert_eq!(cache.priority(by(B), "n1.test"), LookupPriority::New);
    cache.put(A, &name(1), &Err(NameError::NoAnswer), now);
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::Failed);
    cache.put(A, &name(1), &found(), now);
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::Found);
}

#[test]
fn a_shortage_of_this_machine_says_nothing_of_a_name() {
    let now = Instant::now();
    let mut cache = Cache::default();
    let ours = Err(NameError::Ours("no memory".to_owned()));
    cache.put(A, &name(1), &ours, now);
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::New);
    cache.put(A, &name(1), &found(), now);
    cache.put(A, &name(1), &ours, now);
    assert_eq!(cache.get(by(A), "n1.test", now), Some(&found()));
}

#[test]
fn a_tenant_with_very_many_names_forgets_its_own_oldest() {
    let now = Instant::now();
    let mut cache = Cache::new(100, 10);
    cache.put(B, &name(0), &found(), now);
    for number in 0..10 {
        cache.put(A, &name(number), &found(), now);
    }
    // Looked up again, so it is not the oldest any more.
    cache.put(A, &name(0), &found(), now);
    cache.put(A, &name(10), &found(), now);
    assert_eq!(cache.priority(by(A), "n0.test"), LookupPriority::Found);
    assert_eq!(cache.priority(by(A), "n1.test"), LookupPriority::New);
    assert_eq!(cache.priority(by(B), "n0.test"), LookupPriority::Found);
    assert_eq!(cache.count, 11);
}

#[test]
fn when_all_have_too_many_names_those_of_whoever_has_the_most_go() {
    let now = Instant::now();
    let mut cache = Cache::new(20, 15);
    cache.put(B, &name(0), &found(), now);
    for number in 0..15 {
        cache.put(A, &name(number), &found(), now);
    }
    for tenant in 3..100 {
        cache.put(TenantId(tenant), &name(0), &found(), now);
        assert!(cache.count <= 20);
    }
    assert_eq!(cache.tenants.len(), 20);
    assert_eq!(cache.sizes.len(), cache.tenants.len());
    // The 15 were the most for as long as they were more than one.
    assert_eq!(cache.priority(by(B), "n0.test"), LookupPriority::Found);
}

#[test]
fn what_was_known_before_somebody_asked_anew_is_not_used() {
    let now = Instant::now();
    let mut cache = Cache::default();
    cache.put(A, &name(1), &Err(NameError::NoAnswer), now);
    cache.put(A, &name(2), &found(), now);
    let since = |since| LookupContext {
        since: Some(since),
        ..by(A)
    };
    assert_eq!(cache.get(since(now), "n2.test", now), Some(&found()));
    assert_eq!(
        cache.priority(since(now), "n1.test"),
        LookupPriority::Failed
    );
    let later = after(now, 1);
    assert_eq!(cache.get(since(later), "n1.test", later), None);
    assert_eq!(cache.get(since(later), "n2.test", later), None);
    // It does not wait behind names that failed and that nobody asks for.
    assert_eq!(cache.priority(since(later), "n1.test"), LookupPriority::New);
    assert_eq!(
        cache.priority(since(later), "n2.test"),
        LookupPriority::Found
    );
}

#[test]
fn the_name_of_a_webhook_that_succeeded_counts_as_found_until_more_is_known() {
    let mut cache = Cache::default();
    let succeeded = LookupContext {
        succeeded: true,
        ..by(A)
    };
    assert_eq!(cache.priority(succeeded, "n1.test"), LookupPriority::Found);
    cache.put(A, &name(1), &Err(NameError::NoAnswer), Instant::now());
    assert_eq!(cache.priority(succeeded, "n1.test"), LookupPriority::Failed);
}
