//! The writer: what a refused job costs the others of its group, and what their callers are told.

use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use model::id::TenantId;
use model::limits::UNMATERIALIZED_MAX;
use model::notification::NewNotification;
use model::time::Timestamp;
use model::webhook::Headers;

use super::*;
use crate::migrate;
use crate::sqlite::accept;

type Work = fn(&mut Tx<'_>) -> Result<(), JobError>;

/// A job that reports each run and its answer.
struct Observed {
    work: Work,
    number: usize,
    tell: Sender<Event>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Ran(usize),
    Told(usize, Option<String>),
}

impl Job for Observed {
    fn is_repeatable(&self) -> bool {
        true
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), JobError> {
        self.tell.send(Event::Ran(self.number)).unwrap();
        (self.work)(tx)
    }

    fn answer(self: Box<Self>, lost: Option<StoreError>) {
        let why = lost.map(|why| why.to_string());
        self.tell.send(Event::Told(self.number, why)).unwrap();
    }
}

fn connection() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    migrate::migrate(&conn).unwrap();
    conn
}

/// What happened while the jobs ran as one group.
fn events(writer: &mut Writer, jobs: &[Work]) -> Vec<Event> {
    let (tell, told) = channel();
    let job = |(number, work): (usize, &Work)| -> Box<dyn Job> {
        Box::new(Observed {
            work: *work,
            number,
            tell: tell.clone(),
        })
    };
    let jobs = jobs.iter().enumerate().map(job).collect();
    writer.run(jobs).publish(&Shared::default());
    told.try_iter().collect()
}

fn busy() -> Option<String> {
    Some(StoreError::Busy.to_string())
}

#[test]
fn a_refused_job_has_nobody_of_its_group_run_again() {
    let mut writer = Writer::of(connection(), None, Arc::default()).unwrap();
    let refuse: Work = |_| Err(JobError::Refused(StoreError::Busy));
    let told = events(&mut writer, &[|_| Ok(()), refuse, |_| Ok(())]);
    let expected = [
        Event::Ran(0),
        Event::Ran(1),
        Event::Ran(2),
        Event::Told(0, None),
        Event::Told(1, busy()),
        Event::Told(2, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_a_refused_job_was_told_is_not_why_a_commit_failed() {
    let mut writer = Writer::of(connection(), None, Arc::default()).unwrap();
    writer.conn.commit_hook(Some(|| true)).unwrap();
    let refuse: Work = |_| Err(JobError::Refused(StoreError::Busy));
    let told = events(&mut writer, &[|_| Ok(()), refuse]);
    let [
        ..,
        Event::Told(0, Some(first)),
        Event::Told(1, Some(second)),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert!(first.starts_with("the store failed"), "{first}");
    assert_eq!(first, second);
}

#[test]
fn whose_turn_it_was_outlives_a_job_that_fails() {
    let mut writer = Writer::of(connection(), None, Arc::default()).unwrap();
    writer.cache.fan_out_turn = Some(TenantId(7));
    events(
        &mut writer,
        &[|_| Err(JobError::Store(StoreError::TooManyWebhooks))],
    );
    assert_eq!(writer.cache.fan_out_turn, Some(TenantId(7)));
}

#[test]
fn a_batch_is_refused_whichever_of_its_tenants_has_to_wait() {
    let conn = connection();
    let owe = "insert into listing (tenant_id, reached, owed) values (2, 0, ?1)";
    conn.execute(owe, [i64::try_from(UNMATERIALIZED_MAX).unwrap()])
        .unwrap();
    let mut writer = Writer::of(conn, None, Arc::default()).unwrap();
    let accept: Work = |tx| {
        let new = |tenant| NewNotification {
            tenant: TenantId(tenant),
            key: tenant.to_string(),
            action_type: "order.paid".to_owned(),
            match_keys: Vec::new(),
            event: None,
            headers: Headers::default(),
            body: Bytes::new(),
            digest: None,
            match_context: None,
            only_webhook: None,
            at: Timestamp::EPOCH,
        };
        accept::accept(tx, &[1, 2, 1].map(new)).map(drop)
    };
    let told = events(&mut writer, &[accept]);
    assert_eq!(told, [Event::Ran(0), Event::Told(0, busy())]);
}
