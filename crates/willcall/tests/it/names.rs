//! Name lookups of the real binary: with name servers that do not answer, with a hosts file, and
//! what the log says. Each test runs in namespaces of its own, with its own loopback and its own
//! files in /etc; where the machine does not allow that, it says so and proves nothing.

mod server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver as Inbox, channel};

use serde_json::Value;

use self::server::{Reply, name_server};
use crate::harness::{API, Client, PATIENCE, Receiver, Server, TENANT, apply, spawn};

/// The variable with the folder for /etc; set in a test that runs in its namespaces.
const INSIDE: &str = "WILLCALL_TEST_NAMES";

/// How often something is polled that happens within moments.
const ASKED_MAX: usize = 20_000;

const NOTIFICATION: &str = r#"{"action":"pretix.event.order.paid","event":"democon","code":"X"}"#;

/// Webhooks at names that no name server answers for.
const DEAD: usize = 600;

/// A tenant with dead names, beside the usual one.
fn dark_tenant() -> String {
    let webhooks = (0..DEAD).map(|number| {
        format!(
            "[[organizer.webhook]]\ntarget_url = \"http://dead{number}.test/\"\nall_events = true\n\
             limit_events = []\naction_types = [\"pretix.event.order.paid\"]\n"
        )
    });
    let tenant = TENANT.replace("bigevents", "dark");
    let tenant = tenant.replace("a-token-of-some-length", "another-token-of-some-length");
    tenant + &webhooks.collect::<String>()
}

/// Inside the namespaces, returns the folder of their files. Outside, runs the test of this name in
/// namespaces and returns nothing.
fn inside(test: &str) -> Option<std::path::PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path();
    std::fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    std::fs::write(etc.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    std::fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
    let enter = |arguments: &[&str]| {
        let script = "ip link set lo up && cd \"$WILLCALL_TEST_NAMES\" && for file in *; do \
                      mount --bind \"$file\" \"/etc/$file\" || exit; done && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-rmn", "sh", "-c", script, "sh"]);
        command.args(arguments).env(INSIDE, etc);
        command
    };
    let allowed = enter(&["true"]).output();
    if !allowed.as_ref().is_ok_and(|tried| tried.status.success()) {
        println!("{test}: this machine allows no namespaces, so nothing is shown: {allowed:?}");
        return None;
    }
    let binary = std::env::current_exe().unwrap();
    let test = format!("names::{test}");
    let binary = binary.to_str().unwrap();
    let ran = enter(&[binary, "--exact", &test, "--nocapture"])
        .output()
        .unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    None
}

#[test]
fn dead_names_of_a_tenant_keep_neither_others_nor_signing_in_nor_stopping_waiting() {
    let test = "dead_names_of_a_tenant_keep_neither_others_nor_signing_in_nor_stopping_waiting";
    let Some(etc) = inside(test) else {
        return;
    };
    // The system tries for 150 s, longer than any wait here.
    let config = "nameserver 127.0.0.53\noptions timeout:30 attempts:5\n";
    std::fs::write(etc.join("resolv.conf"), config).unwrap();
    let asked = name_server("127.0.0.53", |name| match name.starts_with("dead") {
        true => Reply::Nothing,
        false => Reply::Addresses(vec![Ipv4Addr::LOCALHOST.into()]),
    });
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    apply(folder.path(), &dark_tenant());
    let server = Server::start_with_files(folder.path(), 1_024);
    let client = server.client();
    let dark = Client {
        authorization: "Token another-token-of-some-length-for-the-tests".to_owned(),
        ..server.client()
    };
    let receiver = Receiver::start(|_| 200);
    let url = format!("http://good.test:{}/hook", receiver.address.port());
    client.webhook(&url, &["pretix.event.order.paid"]);

    let handed_in = dark.post("/api/v1/organizers/dark/notifications/", NOTIFICATION);
    assert_eq!(handed_in.1["deliveries"], DEAD, "{handed_in:?}");
    let mut dead = BTreeSet::new();
    while dead.len() < 4 {
        dead.insert(
            asked
                .recv_timeout(PATIENCE)
                .expect("dead names are asked for"),
        );
    }
    let mut noted = false;
    for _ in 0..ASKED_MAX {
        let (status, _) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
        assert_eq!(status, 201);
        receiver.next();
        assert_eq!(sign_in(server.address), 403);
        let (status, said) = client.get("/readyz");
        assert_eq!(status, 200, "{said}");
        noted = said.to_string().contains("Look-ups of names hang: 4 ");
        if noted {
            break;
        }
    }
    assert!(noted, "what hangs is said");
    // So many threads hang, and no more were started.
    dead.extend(asked.try_iter().filter(|name| name.starts_with("dead")));
    assert_eq!(dead.len(), 4);
    let (told, tells) = channel();
    spawn(move || {
        told.send(server.terminate().0).ok();
    });
    let code = tells.recv_timeout(PATIENCE).expect("it stops");
    assert_eq!(code, Some(0));
}

#[test]
fn names_lead_where_the_system_says_at_every_moment() {
    let Some(etc) = inside("names_lead_where_the_system_says_at_every_moment") else {
        return;
    };
    let config = "nameserver 127.0.0.52\nnameserver 127.0.0.53\noptions timeout:1 attempts:1\n";
    std::fs::write(etc.join("resolv.conf"), config).unwrap();
    let pin = |address: &str| {
        let lines = format!("127.0.0.1 localhost\n{address} pinned.test\n");
        std::fs::write(etc.join("hosts"), lines).unwrap();
    };
    pin("127.0.0.1");
    let [at_first, then] = two_name_servers();
    let folder = tempfile::tempdir().unwrap();
    apply(folder.path(), TENANT);
    let server = Server::start_with_files(folder.path(), 1_024);
    let client = server.client();
    let (port, calls) = receiver();
    let webhook = |name: &str| {
        let url = format!("http://{name}.test:{port}/{name}");
        client.webhook(&url, &["pretix.event.order.paid"])
    };
    let pinned = webhook("pinned");
    let found = ["silent", "sick", "both"].map(webhook);
    let unfound = ["missing", "bare", "failing"].map(webhook);
    let (status, _) = client.post(&format!("{API}/notifications/"), NOTIFICATION);
    assert_eq!(status, 201);
    let mut called = BTreeSet::new();
    while called.len() <= found.len() {
        let (at, path) = calls.recv_timeout(PATIENCE).expect("each is called");
        assert_eq!(at, IpAddr::V4(Ipv4Addr::LOCALHOST), "{path}");
        called.insert(path);
    }
    let words = [
        "there is no such name (missing.test).",
        "the name has no address (bare.test).",
        "the resolver did not answer, or failed itself (failing.test).",
    ];
    for (webhook, words) in unfound.into_iter().zip(words) {
        let outcome = text(&latest(&client, webhook)["outcome"]);
        let all = format!("The name of the receiver could not be looked up: {words}");
        assert_eq!(outcome, all);
    }
    // A file that is changed while the server runs is used at once for new lookups.
    pin("127.0.0.2");
    let id = text(&latest(&client, pinned)["id"]);
    let (status, said) = client.post(&format!("{API}/deliveries/{id}/retry/"), "");
    assert_eq!(status, 202, "{said}");
    let moved: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let is_moved = |call: &(IpAddr, String)| call.1 == "/pinned" && call.0 == moved;
    let mut calls = std::iter::from_fn(|| calls.recv_timeout(PATIENCE).ok());
    assert!(
        calls.any(|call| is_moved(&call)),
        "it is called where it is now"
    );
    let names = at_first.try_iter().chain(then.try_iter());
    let names: BTreeSet<String> = names.collect();
    assert!(!names.contains("pinned.test"), "{names:?}");
}

/// Two that do not say the same: of some names the first says nothing, or that it cannot find out.
fn two_name_servers() -> [Inbox<String>; 2] {
    let here = || Reply::Addresses(vec![Ipv4Addr::LOCALHOST.into()]);
    let at_first = name_server("127.0.0.52", move |name| match name {
        "silent.test" => Reply::Nothing,
        "sick.test" | "failing.test" => Reply::Code(2),
        "missing.test" => Reply::Code(3),
        "bare.test" => Reply::Addresses(vec![]),
        "both.test" => Reply::Addresses(vec![
            "::1".parse().unwrap(),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ]),
        _ => Reply::Addresses(vec![
            "::1".parse().unwrap(),
            Ipv4Addr::new(127, 0, 0, 9).into(),
        ]),
    });
    let then = name_server("127.0.0.53", move |name| match name {
        "failing.test" => Reply::Code(2),
        _ => here(),
    });
    [at_first, then]
}

/// Waits until the webhook's latest delivery was attempted; returns it.
fn latest(client: &Client, webhook: i64) -> Value {
    let path = format!("{API}/webhooks/{webhook}/deliveries/");
    for _ in 0..ASKED_MAX {
        let row = client.get(&path).1["results"][0].clone();
        if row["outcome"].is_string() {
            return row;
        }
    }
    panic!("webhook {webhook} is not tried");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A receiver at every address of this machine that keeps no connection. Reports the address and
/// path of each call.
fn receiver() -> (u16, Inbox<(IpAddr, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, calls) = channel();
    spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut heard = Vec::new();
            let mut chunk = [0; 4_096];
            while !heard.ends_with(b"}") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => heard.extend_from_slice(&chunk[..count]),
                    Ok(_) | Err(_) => break,
                }
            }
            let heard = String::from_utf8_lossy(&heard).into_owned();
            let path = heard.split(' ').nth(1).unwrap_or_default().to_owned();
            let at = stream.local_addr().unwrap().ip();
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).ok();
            drop(told.send((at, path)));
        }
    });
    (port, calls)
}

/// Signs in with a wrong password; returns the status.
fn sign_in(address: SocketAddr) -> u16 {
    let page = exchange(address, "GET /sign-in HTTP/1.1", "", "");
    let between = |begin: &str, end: char| {
        let rest = page.split_once(begin).unwrap().1;
        rest.split(end).next().unwrap().to_owned()
    };
    let cookie = between("willcall_visitor=", ';');
    let token = between("name=\"csrf_token\" value=\"", '"');
    let cookie = format!(
        "Cookie: willcall_visitor={cookie}\r\nOrigin: http://{address}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n"
    );
    // Each under another name, so that no earlier failure counts.
    let name = &token[..8];
    let form = format!("name=n{name}&password=nobody+knows&csrf_token={token}");
    let answer = exchange(address, "POST /sign-in HTTP/1.1", &cookie, &form);
    let status = answer.split(' ').nth(1).unwrap();
    status.parse().unwrap()
}

fn exchange(address: SocketAddr, first: &str, lines: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{first}\r\nHost: {address}\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n\
         {body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
