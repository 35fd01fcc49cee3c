//! Two nodes that accept for one tenant at once.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use model::contract::StoreError;
use model::id::TenantId;
use model::notification::{AcceptResult, NewNotification};
use model::webhook::Headers;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::postgres::intake;
use crate::postgres::jobs::{IntakeJob, Queued};
use crate::postgres::locks;
use crate::postgres::queues::Queues;
use crate::postgres::shared::Shared;
use crate::postgres::tests::store_database::{StoreDatabase, at};
use crate::postgres::worker::Worker;
use crate::sql::queue::JobClass;

const TENANT: TenantId = TenantId(1);

type Answer = oneshot::Receiver<Result<Vec<AcceptResult>, StoreError>>;

fn hand_in(queues: &Queues, number: i64) -> Answer {
    let (reply, answer) = oneshot::channel();
    let job = IntakeJob {
        tenants: vec![TENANT],
        batch: vec![NewNotification {
            tenant: TENANT,
            key: number.to_string(),
            action_type: "order.paid".to_owned(),
            match_keys: Vec::new(),
            event: None,
            headers: Headers::default(),
            body: Bytes::from_static(b"{}"),
            digest: None,
            match_context: None,
            only_webhook: None,
            at: at(number),
        }],
        reply,
    };
    let queued = queues.intake.put(Queued {
        class: JobClass::Intake,
        shares: vec![(TENANT, 1)],
        weight: 1,
        commit_delay: None,
        job,
    });
    queued.unwrap();
    answer
}

#[test]
fn what_comes_while_another_node_accepts_for_the_tenant_is_accepted_together() {
    let database = StoreDatabase::new();
    database.webhooks(1);
    let other = database.thread();
    other.begin();
    locks::take(&other.conn, &[locks::tenant(TENANT)]).unwrap();

    let shared = Arc::new(Shared::default());
    let queues = Queues::new(&shared);
    let worker = |role| Worker::new(database.settings(), role, Arc::clone(&shared));
    let (first, second) = (worker("willcall accept 0"), worker("willcall accept 1"));
    thread::scope(|scope| {
        scope.spawn(|| intake::run(first, &queues));
        scope.spawn(|| intake::run_contested(second, &queues));
        let mut answers = vec![hand_in(&queues, 1)];
        database.until_waiting();
        answers.extend((2..=20).map(|number| hand_in(&queues, number)));
        // None of them is tried: the tenant is known to be held.
        let left = || queues.held_tenants.lock().unwrap().jobs(TENANT);
        while left() != 20 {
            thread::yield_now();
        }
        other.undo();
        for answer in answers {
            let results = answer.blocking_recv().unwrap().unwrap();
            assert!(
                matches!(results[..], [AcceptResult::Accepted { .. }]),
                "{results:?}"
            );
        }
        queues.close();
    });
    let transactions = database.ask("select count(distinct xmin::text) from notification");
    assert_eq!(transactions, "1");
    let later = Instant::now() + Duration::from_secs(1);
    let held = queues.held_tenants.lock().unwrap();
    assert_eq!(held.jobs(TENANT), 0);
    // It was held, so for a moment nothing of it is tried in vain.
    assert!(!held.has(TENANT, later));
}
