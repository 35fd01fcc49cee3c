//! With threads and sockets: the store on its file, the network on the loopback. What can race,
//! races here; what must come out of it is exact.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::contract::{Backend, Store};
use model::filter::{Filter, MatchKey};
use model::lease::{Epoch, Lease};
use model::notification::NewNotification;
use model::query::Declaration;
use model::rng::SeededRng;
use model::tenant::DialectName;
use model::time::{Clock, Timestamp};
use model::webhook::{Headers, NewWebhook};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::world::{DIALECT, SETTINGS, policy};
use crate::tasks::{Alarm, EngineTask};
use crate::{Engine, NetDial, Parts, Resolver, Settings, TlsClient, tls_config};

pub(super) type Heard = Arc<Mutex<BTreeMap<Bytes, usize>>>;

/// A receiver on the loopback that fails every seventh call; counts by body.
pub(super) async fn receiver() -> (u16, Heard, EngineTask<()>) {
    #[expect(clippy::disallowed_methods, reason = "a receiver on the loopback")]
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let by_all = Arc::clone(&heard);
    let part = EngineTask::spawn("receiver", &Alarm::new(), async move {
        let mut connections = Vec::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let heard = Arc::clone(&by_all);
            connections.push(EngineTask::spawn("connection", &Alarm::new(), async move {
                let service = service_fn(|request| answer(Arc::clone(&heard), request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service);
                serving.await.ok();
            }));
        }
    });
    (port, heard, part)
}

async fn answer(
    heard: Heard,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut heard = heard.lock().unwrap();
    let count = heard.entry(body).or_default();
    *count += 1;
    let first = *count == 1;
    let mut response = http::Response::new(Full::from("ok"));
    if first && heard.len().is_multiple_of(7) {
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

async fn webhook(store: &Arc<dyn Store>, port: u16) -> model::id::TenantId {
    let declaration = Declaration {
        dialect: DialectName::new(DIALECT),
        key: "house".to_owned(),
        name: Some("House".to_owned()),
        events: vec![],
        tokens: vec![],
        webhooks: vec![],
    };
    let now = Timestamp::from_millis(1);
    let applied = store.apply(vec![declaration], "test".to_owned(), now);
    applied.await.unwrap();
    let tenant = store.tenant(DialectName::new(DIALECT), "house".to_owned());
    let tenant = tenant.await.unwrap().unwrap().id;
    let new = NewWebhook {
        tenant,
        key: None,
        target_url: format!("http://127.0.0.1:{port}/"),
        disabled: None,
        filter: Filter::of("paid", None),
        settings: "{}".to_owned(),
        headers: Headers::default(),
        retries_max: None,
    };
    let created = store.create_webhook(new, "test".to_owned(), now);
    created.await.unwrap();
    tenant
}

fn engine(store: &Arc<dyn Store>, began: Instant) -> Engine {
    let mut policy = policy();
    // 5 s become 50 ms.
    policy.schedule = policy.schedule.accelerated(100);
    let policies = [(DialectName::new(DIALECT), policy)].into();
    let clock = Clock::new(move || {
        let millis = i64::try_from(began.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(1_000_000 + millis)
    });
    let tls = TlsClient::new(&tls_config(&[]).unwrap(), &mut Registry::default());
    let tls = Arc::new(tls);
    let resolver = Resolver::of_system(&mut Registry::default());
    let parts = Parts {
        store: Arc::clone(store) as Arc<dyn Backend>,
        lease: Lease::SOLE,
        dial: Arc::new(NetDial::new(resolver, "127.0.0.1".parse().unwrap(), tls)),
        clock,
        rng: SeededRng::from_seed([1; 32]),
        policies,
        settings: Settings {
            max_in_flight: 256,
            max_concurrency_per_webhook: 64,
            ..SETTINGS
        },
        gate: model::gate::Gate::default(),
        keyring: Arc::default(),
    };
    Engine::start(parts, &mut Registry::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_threads_and_sockets_each_is_sent_once_and_again_only_if_it_failed() {
    const ROUNDS: usize = 20;
    const BATCH: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("willcall.db");
    let store = store::open(&path, &mut Registry::default()).unwrap();
    let began = Instant::now();
    let (port, heard, _receiver) = receiver().await;
    let engine = engine(&store, began);
    let tenant = webhook(&store, port).await;
    for round in 0..ROUNDS {
        let new = |number| NewNotification {
            tenant,
            key: format!("{round}-{number}"),
            action_type: "paid".to_owned(),
            match_keys: vec![MatchKey {
                topic: "paid".to_owned(),
                scope: String::new(),
            }],
            event: None,
            headers: Headers::default(),
            body: Bytes::from(format!("{round}-{number}")),
            digest: None,
            match_context: None,
            only_webhook: None,
            at: Timestamp::from_millis(1_000_000),
        };
        store.accept((0..BATCH).map(new).collect()).await.unwrap();
    }
    // Ends when nothing is owed; the limit is for a defect, not for speed.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !store
        .pending_webhooks(Epoch::FIRST, None, 1)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(
            Instant::now() < deadline,
            "{} were heard",
            heard.lock().unwrap().len()
        );
        store.ping().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(engine.stop(Duration::from_secs(5)).await.is_clean());
    store.close().await.unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), ROUNDS * BATCH);
    let calls: usize = heard.values().sum();
    assert_eq!(calls, ROUNDS * BATCH + ROUNDS * BATCH / 7);
}
