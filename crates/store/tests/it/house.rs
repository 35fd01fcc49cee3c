//! A store with something of everything in it: at least one row in each table, each kind of value
//! in each column that may have several.

use bytes::Bytes;
use model::attempt::{BodyEnd, FailureKind, HttpResponse, Outcome};
use model::cloud_event::CloudEventMode;
use model::contract::{ReplayRequest, ReplayScope, Settlement, WatchRecord};
use model::dashboard::{BulkJobKind, NewBulkJob};
use model::delivery::{DeliveryState, NextState};
use model::id::{BulkJobId, TenantId, WebhookId};
use model::idempotency::{IdempotencyKey, IdempotentOperation};
use model::incident::{AlertKind, Incident, IncidentChange, IncidentKind, ToldKinds};
use model::notification::{AcceptResult, NewNotification};
use model::query::{Declaration, StoredResponse};
use model::signing::Profile;
use model::statistics::TallyOwner;
use model::tenant::{Event, NewToken, Permission, TokenHash, TokenKind};
use model::time::{Heartbeat, Moment, TimeBounds};
use model::users::{NewUser, PasswordHash, PortalVisitor, Role, UserChange};
use model::webhook::{DisableCause, Disablement, Headers, NewWebhook, Webhook};

use crate::interview::Topics;
use crate::sqlite::harness::{
    Given, answered, at, declaration, delivered, delivery_id, ended, failed, gone, headers, pair,
    retry, settlement, wait,
};
use crate::sqlite::{call_limits, handshakes, own_headers, signatures, statistics, webhook_tls};

/// A text that PostgreSQL cannot hold as it is.
const HOSTILE: &str = "a\0b\u{1}c\u{2} É 'x'";

/// What to ask of it.
pub(crate) fn topics(given: &Given, now: i64) -> Topics {
    Topics {
        epoch: given.epoch(),
        now: at(now),
        hashes: (1..=9).map(|n| TokenHash([n; 32])).collect(),
        idempotency_keys: ["a", "b", "c"].map(str::to_owned).to_vec(),
        dialects: vec!["pretix", "openticket"],
        bulk_jobs: (1..10).map(BulkJobId).collect(),
    }
}

/// Fills a new store.
pub(crate) fn furnish(given: &Given) {
    people(given);
    let other = given.tenant_of("openticket", "a company");
    programs(given, other);
    let webhooks = webhooks(given);
    work(given, &webhooks);
    signed_webhooks(given, &webhooks);
    webhooks_of_events(given, &webhooks);
    changed_webhooks(given, &webhooks);
    later(given, &webhooks);
    bulk_jobs(given, &webhooks);
    idempotency(given);
    incidents(given, &webhooks);
    let of_other = given.of(other);
    let webhook = of_other.paid_webhook();
    for n in 0..4 {
        of_other.notified(&format!("o{n}"), 400 + n);
    }
    let id = of_other.notified("o5", 500);
    of_other.settle(settlement(
        delivery_id(id, webhook),
        510,
        answered(200),
        delivered(),
    ));
    // A webhook that changed while only others' notifications came.
    given.disable(webhooks[6], 520);
    of_other.notified("o6", 530);
    given.enable(webhooks[6], 540);
}

fn incidents(given: &Given, webhooks: &[WebhookId]) {
    let begun = |kind, about, ends| IncidentChange {
        incident: Incident {
            id: None,
            kind,
            about,
            began_at: at(300),
            quiet_since: Some(at(310)),
            told_tenant: ToldKinds::default(),
            told_server: ToldKinds::default().with(AlertKind::Failing),
        },
        ends,
    };
    let about = Some((given.tenant, webhooks[0]));
    let round = WatchRecord {
        version: 0,
        changes: vec![
            begun(IncidentKind::Failing, about, false),
            begun(
                IncidentKind::Failing,
                Some((given.tenant, webhooks[1])),
                true,
            ),
            begun(IncidentKind::Disk, None, false),
        ],
        told: vec![
            (None, AlertKind::Disk),
            (Some(given.tenant), AlertKind::Failing),
        ],
        alerts: Vec::new(),
    };
    assert!(wait(given.store.record_incidents(round, at(320))).unwrap());
}

fn people(given: &Given) {
    let store = &given.store;
    let mut ids = Vec::new();
    for (n, name) in ["Anna", "bert", HOSTILE].into_iter().enumerate() {
        let new = NewUser {
            name: name.to_owned(),
            password: PasswordHash(format!("$hash of {name}")),
            administrator: n == 1,
        };
        ids.push(wait(store.create_user(new, at(1))).unwrap().id);
    }
    let role = |user, role| store.set_role(given.tenant, user, role, "anna".to_owned(), at(5));
    wait(role(ids[0], Some(Role::Administer))).unwrap();
    wait(role(ids[2], Some(Role::Look))).unwrap();
    let change = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    wait(store.change_user(ids[2], change, at(6))).unwrap();
    let begin = |hash: u8, until| {
        let (hash, name) = (TokenHash([hash; 32]), TokenHash([9; 32]));
        store.begin_session(hash, ids[0], None, Some(name), at(until), at(10))
    };
    wait(begin(1, 900_000_000)).unwrap();
    wait(begin(2, 20)).unwrap();
    let link = store.create_link(TokenHash([3; 32]), ids[1], at(900_000_000));
    wait(link).unwrap();
    for n in [5, 6] {
        let visitor = PortalVisitor {
            tenant: given.tenant,
            role: Role::Edit,
            name: format!("visitor {n}"),
        };
        let (link, until) = (TokenHash([n; 32]), at(900_000_000));
        let made = store.create_portal_link(link, visitor, until, "shop".to_owned(), at(10));
        wait(made).unwrap();
    }
    let (link, session) = (TokenHash([6; 32]), TokenHash([7; 32]));
    wait(store.use_portal_link(link, session, at(900_000_000), at(11))).unwrap();
    for n in 0..3 {
        wait(store.try_sign_in(TokenHash([4; 32]), at(n))).unwrap();
    }
}

fn programs(given: &Given, other: TenantId) {
    let store = &given.store;
    let declared = Declaration {
        events: vec![
            Event {
                slug: "democon".to_owned(),
                name: HOSTILE.to_owned(),
                date_from: Some(at(7_000)),
            },
            Event {
                slug: String::new(),
                name: "none".to_owned(),
                date_from: None,
            },
        ],
        ..declaration("bigevents")
    };
    wait(store.apply(vec![declared], "file".to_owned(), at(2))).unwrap();
    let token = |tenant, name: &str, hash: u8| NewToken {
        tenant,
        name: name.to_owned(),
        hash: TokenHash([hash; 32]),
        kind: TokenKind::Program,
        permissions: [Permission::WebhooksWrite].into_iter().collect(),
        active: true,
        default: false,
    };
    let device = NewToken {
        kind: TokenKind::Device,
        active: false,
        default: true,
        ..token(Some(other), "two", 5)
    };
    for new in [
        token(Some(given.tenant), "one", 5),
        device,
        token(None, "all", 6),
    ] {
        wait(store.create_token(new, "anna".to_owned(), at(3))).unwrap();
    }
    wait(store.note_uses(vec![(TokenHash([5; 32]), at(99))])).unwrap();
    let kept = store.set_retention(given.tenant, Some(86_400_000), "anna".to_owned(), at(4));
    wait(kept).unwrap();
}

fn webhooks(given: &Given) -> Vec<WebhookId> {
    let mut all: Vec<WebhookId> = (0..7).map(|_| given.paid_webhook()).collect();
    let special = NewWebhook {
        key: Some("crm".to_owned()),
        headers: headers("X-Nonce", HOSTILE),
        retries_max: Some(3),
        settings: "{\"comment\": \"É\"}".to_owned(),
        ..given.new_webhook(&[
            ("paid", Some("democon")),
            ("placed", Some("")),
            ("x\0y", None),
        ])
    };
    let special = given
        .store
        .create_webhook(special, "anna".to_owned(), at(5));
    all.push(wait(special).unwrap().id);
    all
}

fn notification(given: &Given, n: i64) -> NewNotification {
    let new = given.new_notification(&format!("{n}"), 10 * n);
    match n % 4 {
        0 => NewNotification {
            event: Some("democon".to_owned()),
            headers: headers("Content-Type", "application/json"),
            match_context: Some("about".to_owned()),
            digest: Some(-n),
            ..new
        },
        1 => NewNotification {
            key: format!("{n} {HOSTILE}"),
            action_type: HOSTILE.to_owned(),
            body: Bytes::from_static(b"\0\x01\xff"),
            ..new
        },
        2 => NewNotification {
            match_keys: vec![pair("nobody", "democon")],
            body: Bytes::new(),
            ..new
        },
        _ => new,
    }
}

/// An answer that leaves several traces.
fn remarkable(n: u32) -> Outcome {
    Outcome::Answered(HttpResponse {
        status: 503,
        headers: headers("Server", &format!("s{}", n % 2)),
        body: Bytes::from(vec![b'x'; usize::try_from(n).unwrap()]),
        body_end: [
            BodyEnd::Whole,
            BodyEnd::Cut,
            BodyEnd::Broken,
            BodyEnd::TimeUp,
        ][usize::try_from(n % 4).unwrap()],
        note: (n == 2).then(|| HOSTILE.into()),
    })
}

fn id_of(accepted: &AcceptResult) -> i64 {
    let AcceptResult::Accepted { id, .. } = accepted else {
        panic!("{accepted:?}");
    };
    id.0
}

/// Deliveries in each state, with attempts of all kinds.
fn work(given: &Given, webhooks: &[WebhookId]) {
    let settle = |id, webhook: usize, time, outcome, next: NextState| {
        given.settle(settlement(
            delivery_id(id, webhooks[webhook]),
            time,
            outcome,
            next,
        ));
    };
    let ids: Vec<i64> = (1..=16)
        .map(|n| id_of(&given.accept(notification(given, n))))
        .collect();
    settle(ids[0], 0, 200, answered(200), delivered());
    for n in 0..6 {
        settle(ids[2], 0, 210 + i64::from(n), remarkable(n), retry(90_000));
    }
    settle(
        ids[2],
        1,
        220,
        failed(FailureKind::LookUp),
        ended(DeliveryState::Failed),
    );
    settle(ids[3], 1, 230, failed(FailureKind::Tls), retry(300_000));
    settle(ids[3], 2, 240, answered(410), gone());
    let paused = NextState {
        pauses_until: Some(at(50_000)),
        ..retry(60_000)
    };
    settle(ids[4], 3, 250, answered(429), paused);
    given.ask_first(webhooks[4], 252);
    let stale = Settlement {
        handshake: Some(Box::new(handshakes::granted(252, Some(120)))),
        stale: Some(Box::new(crate::sqlite::harness::attempt(
            255,
            failed(FailureKind::Stale),
        ))),
        ..settlement(
            delivery_id(ids[0], webhooks[4]),
            260,
            answered(500),
            retry(70_000),
        )
    };
    given.settle(stale);
    for n in [0, 2, 3] {
        settle(ids[n], 5, 270, answered(500), ended(DeliveryState::Failed));
    }
    let stopped = vec![
        delivery_id(ids[6], webhooks[0]),
        delivery_id(ids[7], webhooks[0]),
    ];
    let cancelled = |deliveries| {
        given
            .store
            .cancel_deliveries(given.tenant, deliveries, "anna".to_owned(), at(280))
    };
    wait(cancelled(stopped)).unwrap();
    // One that was never tried and is due at a time.
    let ask = ReplayRequest {
        tenant: given.tenant,
        webhook: webhooks[0],
        which: ReplayScope::One(delivery_id(ids[6], webhooks[0])),
        actor: "anna".to_owned(),
    };
    wait(given.store.replay(ask, at(290))).unwrap();
    given.accept(NewNotification {
        only_webhook: Some(webhooks[3]),
        ..given.new_notification("a test", 299)
    });
}

fn signed_webhooks(given: &Given, webhooks: &[WebhookId]) {
    let sign = |profile, change| given.sign(webhooks[0], profile, change, 290).unwrap();
    sign(Profile::Standard, signatures::new(None));
    sign(
        Profile::Standard,
        signatures::rotation("second", 291, 9_000),
    );
    sign(Profile::Github, signatures::new(Some("X-Shop-Signature")));
    for name in ["Authorization", "X-Api-Key"] {
        let added = given.change_header(webhooks[0], name, own_headers::add("sealed"), 292);
        added.unwrap();
    }
    sign(Profile::Rfc9421Ed25519, signatures::published("a-name"));
    for change in [
        webhook_tls::client("chain", "sealed"),
        webhook_tls::ca("roots"),
    ] {
        given.change_tls(webhooks[0], change, 293).unwrap();
    }
}

fn webhooks_of_events(given: &Given, webhooks: &[WebhookId]) {
    for (webhook, mode) in webhooks.iter().zip(CloudEventMode::ALL) {
        given.send_cloud_events(*webhook, Some(mode), 295).unwrap();
    }
    given
        .limit(given.tenant, webhooks[2], call_limits::limits())
        .unwrap();
}

fn changed_webhooks(given: &Given, webhooks: &[WebhookId]) {
    given.disable(webhooks[4], 300);
    given.notified("while disabled", 301);
    given.enable(webhooks[4], 302);
    given.notified("enabled again", 303);
    let deleted = Webhook {
        disabled: Some(Disablement {
            at: at(304),
            cause: DisableCause::Deleted,
        }),
        ..given.stored(webhooks[1])
    };
    given.save(deleted, 304).unwrap();
    given.notified("without the deleted one", 305);
}

/// A clock that was set back, and how far the schedule has come.
fn later(given: &Given, webhooks: &[WebhookId]) {
    for (starts_at, part) in [(0, 1), (0, 2), (3_600_000, 1)] {
        let counted = statistics::tally(3, 450);
        let owners = [
            TallyOwner::Webhook(webhooks[0]),
            TallyOwner::Tenant(given.tenant),
        ];
        let rows = owners.map(|owner| statistics::row(owner, starts_at, part, counted.clone()));
        given.tallied(rows.to_vec());
    }
    let beat = |schedule, wall| Heartbeat {
        at: Moment {
            schedule: at(schedule),
            wall: at(wall),
        },
        bounds: TimeBounds {
            earliest: at(wall - 5),
            latest: at(wall + 5),
        },
    };
    given.notified("ahead", 9_000);
    wait(given.store.renew(given.lease, beat(350, 9_500))).unwrap();
    given.notified("set back", 400);
    wait(given.store.renew(given.lease, beat(370, 420))).unwrap();
}

fn bulk_jobs(given: &Given, webhooks: &[WebhookId]) {
    for (webhook, what) in [
        (webhooks[0], BulkJobKind::CancelPending),
        (webhooks[5], BulkJobKind::ReplayUndelivered),
    ] {
        let new = NewBulkJob {
            tenant: given.tenant,
            webhook: Some(webhook),
            what,
            filter: None,
            expected: 3,
            actor: HOSTILE.to_owned(),
        };
        wait(given.store.start_bulk_job(new, at(430))).unwrap();
        if what == BulkJobKind::CancelPending {
            while wait(given.store.step_bulk_job(given.epoch(), at(440))).unwrap() {}
        }
    }
}

fn idempotency(given: &Given) {
    let key = |name: &str| IdempotencyKey {
        key: name.to_owned(),
        holder: TokenHash([7; 32]),
        request: TokenHash([8; 32]),
    };
    let accept = IdempotentOperation::Accept {
        batch: vec![given.new_notification("under a key", 450)],
        part: 0,
    };
    wait(given.store.run_idempotent(key("a"), accept, at(450))).unwrap();
    let response = StoredResponse {
        key: "b".to_owned(),
        holder: TokenHash([7; 32]),
        request: TokenHash([8; 32]),
        status: 201,
        headers: Headers::default(),
        body: Bytes::from_static(b"\xff\0"),
    };
    wait(given.store.store_response(response, at(460))).unwrap();
}
