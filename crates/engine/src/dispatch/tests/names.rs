//! Names that nobody answers for, with threads that hang: whom they keep waiting, and whom not.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use model::contract::Store;
use model::limits::LOOKUPS_TENANT_MAX;
use prometheus_client::registry::Registry;

use super::real::receiver;
use super::world::{DIALECT, World};
use crate::{NameError, NetDial, Resolver, TlsClient, tls_config};

/// Lets all look-ups go in the end, so that their threads end.
#[derive(Default)]
struct Gate {
    hanging: Mutex<(usize, bool)>,
    bell: Condvar,
}

impl Gate {
    fn hang(&self) {
        let mut hanging = self.hanging.lock().unwrap();
        hanging.0 += 1;
        drop(self.bell.wait_while(hanging, |(_, open)| !*open));
    }

    fn hanging(&self) -> usize {
        self.hanging.lock().unwrap().0
    }
}

struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.hanging.lock().unwrap().1 = true;
        self.0.bell.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_names_of_one_tenant_keep_no_other_waiting() {
    let gate = Arc::new(Gate::default());
    let _opens = Opens(Arc::clone(&gate));
    let hangs = Arc::clone(&gate);
    let look_up = Box::new(move |name: &str| {
        if name.starts_with("dead") {
            hangs.hang();
            return Err(NameError::NoAnswer);
        }
        Ok(vec!["127.0.0.1:0".parse().unwrap()].into())
    });
    let resolver = Resolver::new(look_up, &mut Registry::default());
    let tls = TlsClient::new(&tls_config(&[]).unwrap(), &mut Registry::default());
    let tls = Arc::new(tls);
    let dial = NetDial::new(resolver, "127.0.0.1".parse().unwrap(), tls);
    let folder = tempfile::tempdir().unwrap();
    let store = store::open(&folder.path().join("willcall.db"), &mut Registry::default());
    let mut world = World::on(store.unwrap()).await;
    world.start_with(Arc::new(dial));
    for number in 0..24 {
        let url = format!("http://dead{number}.test/");
        world.webhook(&url, "paid").await;
    }
    world.hand_in("paid", 1).await;
    while gate.hanging() < LOOKUPS_TENANT_MAX / 2 {
        tokio::task::yield_now().await;
    }
    let (port, heard, _receiver) = receiver().await;
    let other = world.add_tenant_named(DIALECT, "other").await;
    let url = format!("http://good.test:{port}/");
    world.webhook_of(other, &url, "paid").await;
    for number in 0..3 {
        world
            .hand_in_with(other, "paid", 1, |_| format!("other {number}"))
            .await;
        while heard.lock().unwrap().len() <= number {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(gate.hanging(), LOOKUPS_TENANT_MAX / 2);
    assert_eq!(world.health(), Ok(()));
    let stopped = world.stop(Duration::ZERO).await;
    assert!(stopped.attempts_dropped >= LOOKUPS_TENANT_MAX / 2);
    world.store.close().await.unwrap();
}
