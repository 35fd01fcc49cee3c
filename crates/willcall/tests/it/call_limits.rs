//! Limits of a webhook's own from end to end: a real server keeps to them, and goes on when the
//! operator takes a schedule away.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::{API, Receiver, Server, TENANT, apply};
use crate::signatures::notify;

#[test]
fn a_server_calls_a_webhook_as_often_and_tries_as_often_as_its_limits_say() {
    let folder = tempfile::tempdir().unwrap();
    assert!(apply(folder.path(), TENANT).status.success());
    let schedules = ["--schedules", "quick=1s"];
    let server = Server::start(folder.path(), &schedules);
    let client = server.client();
    let (sent, arrived) = std::sync::mpsc::channel();
    let receiver = Receiver::start(move |_| {
        sent.send(Instant::now()).unwrap();
        500
    });
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let own = format!("{API}/webhooks/{webhook}/willcall/limits/");
    let refused = client.call("PUT", &own, r#"{"schedule":"patient"}"#);
    let (status, words) = refused.unwrap();
    assert_eq!(status, 400);
    assert!(words.to_string().contains("It has to be one of quick."));
    let limits = json!({ "calls_per_second": 2, "schedule": "quick" }).to_string();
    assert_eq!(client.call("PUT", &own, &limits).unwrap().0, 200);
    for _ in 0..3 {
        notify(&client);
    }
    // Each is tried and retried once: first attempts and retries count alike.
    let times: Vec<Instant> = (0..6).map(|_| arrived.recv().unwrap()).collect();
    let least = Duration::from_millis(5 * 500 - 50);
    assert!(times[5].duration_since(times[0]) >= least);
    let list = format!("{API}/webhooks/{webhook}/deliveries/");
    let ended = || client.get(&list).1.to_string().matches("exhausted").count();
    while ended() < 3 {}
    let metrics = client.exchange("GET", "/metrics", "").unwrap();
    assert!(
        metrics.contains("willcall_rate_limit_waits_total 5"),
        "{metrics}"
    );
    server.kill();
    // Without the schedule it is as if none was chosen, and the log says so.
    let server = Server::start(folder.path(), &[]);
    notify(&server.client());
    arrived.recv().unwrap();
    server.await_log("webhooks name a retry schedule");
    server.kill();
}
