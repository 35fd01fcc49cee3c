//! Threads that hang: who waits for them, and who does not.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::Poll;

use model::id::TenantId;
use model::limits::LOOKUPS_TENANT_MAX;

use super::*;

const A: LookupContext = LookupContext {
    tenant: TenantId(1),
    ..LookupContext::INTERNAL
};
const B: LookupContext = LookupContext {
    tenant: TenantId(2),
    ..LookupContext::INTERNAL
};

/// Somebody has asked for it just now.
fn anew() -> LookupContext {
    let since = Some(Instant::now() + Duration::from_secs(1));
    LookupContext { since, ..A }
}

/// Nothing here takes so long; who reaches it has failed.
const PATIENCE_MS: u32 = 60_000;

/// A system's resolver. For names that begin with "dead" nobody answers until it is let go.
#[derive(Clone, Default)]
struct System(Arc<(Mutex<Seen>, Condvar)>);

#[derive(Default)]
struct Seen {
    asked: Vec<String>,
    hanging: BTreeSet<String>,
    let_go: bool,
}

/// Lets all go in the end, so that the threads end.
struct Test {
    system: System,
    resolver: Resolver,
    registry: Registry,
}

impl System {
    fn look_up(&self, name: &str) -> Result<Addresses, NameError> {
        let (seen, bell) = &*self.0;
        let mut seen = seen.lock().unwrap();
        seen.asked.push(name.to_owned());
        if name.starts_with("dead") {
            seen.hanging.insert(name.to_owned());
            let mut seen = bell.wait_while(seen, |seen| !seen.let_go).unwrap();
            seen.hanging.remove(name);
            return Err(NameError::NoAnswer);
        }
        drop(seen);
        assert!(!name.starts_with("panic"), "on purpose");
        match name.starts_with("no") {
            true => Err(NameError::NoSuchName),
            false => Ok(vec!["127.0.0.1:0".parse().unwrap()].into()),
        }
    }

    fn let_go(&self) {
        self.0.0.lock().unwrap().let_go = true;
        self.0.1.notify_all();
    }

    fn asked(&self, name: &str) -> usize {
        let seen = self.0.0.lock().unwrap();
        seen.asked.iter().filter(|asked| *asked == name).count()
    }

    fn hanging(&self) -> usize {
        self.0.0.lock().unwrap().hanging.len()
    }
}

impl Test {
    fn new() -> Self {
        Self::resting(IDLE_FOR)
    }

    fn resting(idle_for: Duration) -> Self {
        let (system, mut registry) = (System::default(), Registry::default());
        let asked = system.clone();
        let look_up = Box::new(move |name: &str| asked.look_up(name));
        let source = LookupSource::Blocking(look_up);
        let resolver = Resolver::with(source, idle_for, &mut registry);
        Self {
            system,
            resolver,
            registry,
        }
    }

    async fn look_up(&self, context: LookupContext, name: &str) -> Result<Addresses, Failure> {
        let limit = Deadline::from_here(PATIENCE_MS);
        self.resolver.look_up(context, name, limit).await
    }

    /// Begins to look a name up and gives up at once.
    async fn give_up(&self, context: LookupContext, name: &str) -> Failure {
        let limit = Deadline::from_here(0);
        let found = self.resolver.look_up(context, name, limit).await;
        found.expect_err("nobody answers for it")
    }

    async fn until(&self, is_so: impl Fn(&ResolverState) -> bool) {
        while !is_so(&self.resolver.0.lock()) {
            tokio::task::yield_now().await;
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.system.let_go();
    }
}

#[tokio::test]
async fn names_that_nobody_answers_for_keep_no_other_name_waiting() {
    let test = Test::new();
    test.look_up(A, "good.test").await.unwrap();
    for number in 0..24 {
        test.give_up(A, &format!("dead{number}.test")).await;
    }
    // Of the tenant itself, known, though its address is not remembered any more; and of another.
    test.look_up(anew(), "good.test").await.unwrap();
    test.look_up(B, "other.test").await.unwrap();
    let failure = test.look_up(B, "no.test").await.unwrap_err();
    let words = "The name of the receiver could not be looked up: there is no such name (no.test).";
    assert_eq!(failure.words(), words);
}

#[tokio::test]
async fn an_attempt_that_gives_up_says_for_what_it_waited() {
    let test = Test::new();
    for number in 0..4 {
        let name = format!("dead{number}.test");
        let failure = test.give_up(A, &name).await;
        assert_eq!(failure.kind, FailureKind::LookUp);
        let words = format!("the resolver did not answer within 0 s ({name})");
        assert_eq!(failure.detail, words);
    }
    let failure = test.give_up(A, "late.test").await;
    assert_eq!(
        failure.words(),
        "The name of the receiver could not be looked up: its look-up did not begin within 0 s: \
         all that this tenant may have at once were busy with other names that nobody answers for \
         (late.test)."
    );
    assert_eq!(test.system.asked("late.test"), 0);
    assert!(
        test.text()
            .contains("willcall_dns_lookups_abandoned_total 1\n")
    );
}

#[tokio::test]
async fn a_thread_that_hangs_is_not_given_up_by_those_who_do() {
    let test = Test::new();
    for round in 0..3 {
        for number in 0..24 {
            test.give_up(A, &format!("dead{number}.test")).await;
        }
        test.until(|_| test.system.hanging() == 4).await;
        assert_eq!(test.resolver.0.lock().threads, 4, "{round}");
    }
    test.system.let_go();
    test.until(|state| state.queue.counts() == (0, 0)).await;
    assert_eq!(test.system.asked("dead0.test"), 1);
}

#[tokio::test]
async fn what_was_just_found_is_used_unless_somebody_waits_for_the_attempt() {
    let test = Test::new();
    for name in ["good.test", "no.test"] {
        for context in [A, A, A, anew(), A] {
            let found = test.look_up(context, name).await;
            assert_eq!(found.is_ok(), name == "good.test");
        }
        assert_eq!(test.system.asked(name), 2, "{name}");
        // Another tenant asks for itself.
        test.look_up(B, name).await.ok();
        assert_eq!(test.system.asked(name), 3, "{name}");
    }
    let text = test.text();
    for line in [
        "willcall_dns_lookups_total{result=\"found\"} 3\n",
        "willcall_dns_lookups_total{result=\"no_such_name\"} 3\n",
        "willcall_dns_lookups_total{result=\"no_answer\"} 0\n",
        "willcall_dns_cache_hits_total 6\n",
        "willcall_dns_lookup_duration_seconds_count 6\n",
        "willcall_dns_lookups_in_flight 0\n",
        "willcall_dns_lookups_queued 0\n",
        "willcall_dns_lookups_stuck 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[tokio::test]
async fn a_look_up_that_falls_over_is_a_failure_of_ours_and_costs_no_place() {
    let test = Test::new();
    for number in 0..2 * model::limits::LOOKUPS_TENANT_MAX {
        let name = format!("panic{number}.test");
        let failure = test.look_up(A, &name).await.unwrap_err();
        let words = format!("this machine could not ask for it: its look-up fell over ({name})");
        assert_eq!(failure.detail, words);
    }
    test.look_up(A, "good.test").await.unwrap();
}

#[tokio::test]
async fn threads_that_rest_are_used_again() {
    let test = Test::new();
    for number in 0..20 {
        test.look_up(A, &format!("good{number}.test"))
            .await
            .unwrap();
        test.until(|state| state.resting == 1).await;
    }
    assert_eq!(test.resolver.0.lock().threads, 1);
}

#[tokio::test]
async fn threads_that_have_nothing_to_do_end() {
    let test = Test::resting(Duration::ZERO);
    for number in 0..4 {
        test.give_up(A, &format!("dead{number}.test")).await;
    }
    assert_eq!(test.resolver.0.lock().threads, 4);
    test.system.let_go();
    test.until(|state| state.threads == 0).await;
    test.look_up(A, "good.test").await.unwrap();
    test.until(|state| state.threads == 0).await;
}

#[tokio::test]
async fn look_ups_that_hang_are_said_with_how_many_and_how_long() {
    let test = Test::new();
    for number in 0..3 {
        test.give_up(A, &format!("dead{number}.test")).await;
    }
    assert_eq!(test.resolver.note(), None);
    let text = test.text();
    assert!(
        text.contains("willcall_dns_lookups_in_flight 3\n"),
        "{text}"
    );
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    assert_eq!(test.resolver.note_at(later(4)), None);
    let note = test.resolver.note_at(later(12)).unwrap();
    let words = "Look-ups of names hang: 3 have had no answer for up to 12 s.";
    assert!(note.starts_with(words), "{note}");
}

#[test]
fn a_runtime_neither_lends_its_threads_to_look_ups_nor_waits_for_them_at_its_end() {
    let test = Test::new();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.max_blocking_threads(1).enable_all();
    let runtime = runtime.build().unwrap();
    runtime.block_on(async {
        for number in 0..600 {
            test.give_up(A, &format!("dead{number}.test")).await;
        }
        #[expect(clippy::disallowed_methods, reason = "as a password is judged")]
        tokio::task::spawn_blocking(|| {}).await.unwrap();
    });
    drop(runtime);
    assert_eq!(test.resolver.0.lock().queue.counts().0, 4);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_look_up_takes_no_thread_and_lets_the_next_one_begin_when_it_is_answered() {
    let begun: Arc<Mutex<Vec<(String, LookupReply)>>> = Arc::default();
    let seen = Arc::clone(&begun);
    let begin = move |name: &str, reply| seen.lock().unwrap().push((name.to_owned(), reply));
    let resolver = Resolver::deferred(Box::new(begin), &mut Registry::default());
    let names: Vec<String> = (0..=LOOKUPS_TENANT_MAX)
        .map(|index| format!("r{index}"))
        .collect();
    let mut waiting: Vec<_> = names
        .iter()
        .map(|name| {
            let limit = Deadline::from_here(PATIENCE_MS);
            Box::pin(resolver.look_up(A, name, limit))
        })
        .collect();
    for one in &mut waiting {
        assert!(poll_once(one.as_mut()).await.is_none());
    }
    // New names get half of a tenant's share.
    let first = begun.lock().unwrap().len();
    assert_eq!(first, LOOKUPS_TENANT_MAX / 2);
    let (name, reply) = begun.lock().unwrap().remove(0);
    assert_eq!(name, "r0");
    let found: Addresses = vec!["192.0.2.1:0".parse().unwrap()].into();
    reply.answer(&Ok(Arc::clone(&found)));
    assert_eq!(poll_once(waiting[0].as_mut()).await, Some(Ok(found)));
    assert_eq!(begun.lock().unwrap().len(), first);
    // The rest get their turn as well, also after failures.
    for _ in 0..LOOKUPS_TENANT_MAX {
        let (_, reply) = begun.lock().unwrap().remove(0);
        reply.answer(&Err(NameError::NoAnswer));
    }
    assert!(begun.lock().unwrap().is_empty());
    assert_eq!(resolver.0.lock().threads, 0);
}

async fn poll_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
    let mut future = future;
    std::future::poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut future).poll(cx) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    })
    .await
}
