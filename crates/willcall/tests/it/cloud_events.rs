//! CloudEvents from end to end: the libraries of receivers read calls of a real server, and verify
//! them.

use serde_json::{Value, json};

use crate::harness::{API, Call, Receiver};
use crate::signatures::{House, OLD_KEY, libraries, notify, sign};

fn read(call: &Call) -> [Value; 3] {
    let given = json!({ "headers": call.headers, "body": call.body });
    let python = libraries("venv/bin/python", "events.py", &given);
    let javascript = libraries("node", "events.mjs", &given);
    [python["core"].clone(), python["v1"].clone(), javascript]
}

#[test]
fn the_libraries_for_cloud_events_read_calls_of_a_server_in_both_modes() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let receiver = Receiver::start(|_| 204);
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let secret = sign(&client, webhook, &json!({ "profile": "github" }));
    notify(&client);
    let plain = receiver.next();
    let own = format!("{API}/webhooks/{webhook}/willcall/cloudevents/");
    for mode in ["binary", "structured"] {
        let chosen = json!({ "mode": mode }).to_string();
        assert_eq!(client.call("PUT", &own, &chosen).unwrap().0, 200);
        notify(&client);
        let call = receiver.next();
        let [core, v1, javascript] = read(&call);
        for event in [&core, &v1, &javascript] {
            let data = &event["data"];
            assert_eq!(data["code"], "K3LMN", "{mode}: {event}");
            assert_eq!(event["type"], "pretix.event.order.paid");
            assert_eq!(event["source"], "/organizers/bigevents");
            assert_eq!(event["id"], data["notification_id"].to_string());
            assert_eq!(event["datacontenttype"], "application/json");
        }
        assert_eq!(core["offset"], "0:00:00");
        let has_attributes = call.headers.keys().any(|name| name.starts_with("ce-"));
        assert_eq!(has_attributes, mode == "binary");
        let given = json!({
            "headers": call.headers,
            "body": call.body,
            "secrets": { "standard": "whsec_none", "stripe": "", "github": secret },
        });
        let verified = libraries("node", "verify.mjs", &given);
        assert_eq!(verified[0]["octokit"], true, "{mode}: {verified}");
        assert_ne!(verified[1]["octokit"], true, "{mode}: {verified}");
    }
    assert_eq!(client.call("DELETE", &own, "").unwrap().0, 204);
    notify(&client);
    let call = receiver.next();
    assert_eq!(call.headers["content-type"], "application/json");
    let names = |call: &Call| -> Vec<String> { call.headers.keys().cloned().collect() };
    assert_eq!(names(&call), names(&plain));
    server.kill();
}
