//! What a ticketing platform does for its own customers, over REST, with a real server: a tenant is
//! made, its first call is delivered, a customer comes in by a portal link, and all of it outlives
//! a crash.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Client, Receiver, Server, TENANT, apply, willcall};

const TENANT_PATH: &str = "/willcall/v1/tenants/pretix/newcorp";

/// A client with an administrator's token, made on the command line.
pub(crate) fn administrator(server: &Server, folder: &Path, name: &str) -> Client {
    let data = ["--data-dir", folder.to_str().unwrap()];
    let create = ["token", "create", "--administrator", "--name", name];
    let made = willcall(&[&create[..], &data].concat());
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap();
    Client {
        address: server.address,
        authorization: format!("Bearer {}", token.trim()),
    }
}

fn put(client: &Client, path: &str, body: &Value) -> (u16, Value) {
    client.call("PUT", path, &body.to_string()).unwrap()
}

#[test]
fn a_tenant_made_over_rest_is_called_comes_in_by_a_portal_link_and_outlives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let receiver = Receiver::start(|_| 200);
    let server = Server::start(folder.path(), &[]);
    let shop = administrator(&server, folder.path(), "shop");
    let body = json!({
        "name": "New Corp",
        "token": [{ "name": "till", "permissions": ["notifications:write"] }],
        "webhook": [{
            "key": "orders", "target_url": receiver.url("/new"), "all_events": true,
            "action_types": ["pretix.event.order.paid"],
        }],
    });
    assert_eq!(put(&server.client(), TENANT_PATH, &body).0, 403);
    let (status, made) = put(&shop, TENANT_PATH, &body);
    assert_eq!(status, 201, "{made}");
    let till = Client {
        address: server.address,
        authorization: format!("Token {}", made["changes"][1]["token"].as_str().unwrap()),
    };
    let paid = json!({ "event": "con", "action": "pretix.event.order.paid", "code": "A1" });
    let intake = "/api/v1/organizers/newcorp/notifications/";
    assert_eq!(till.post(intake, &paid.to_string()).0, 201);
    assert_eq!(receiver.next().path, "/new");

    let links = format!("{TENANT_PATH}/portal_links");
    let ask = || shop.post(&links, r#"{"role":"look","name":"Anna"}"#);
    let (status, link) = ask();
    assert_eq!(status, 201, "{link}");
    let path = link["path"].as_str().unwrap();
    assert_eq!(shop.get(path).0, 303);
    assert_eq!(shop.get(path).0, 403);
    let waiting = ask().1["path"].as_str().unwrap().to_owned();
    server.kill();

    let server = Server::start(folder.path(), &[]);
    let shop = Client {
        address: server.address,
        ..shop
    };
    assert_eq!(shop.get(TENANT_PATH).1["name"], "New Corp");
    let (status, again) = put(&shop, TENANT_PATH, &body);
    assert_eq!((status, &again["changes"]), (200, &json!([])));
    assert_eq!(shop.get(&waiting).0, 303);
    let log = server.log();
    assert!(log.contains("signed in by a portal link"), "{log}");
    assert!(!log.contains(waiting.trim_start_matches("/link/")), "{log}");
}
