//! Signatures from end to end: a real server signs real calls, the code of the guide verifies them,
//! and master keys come, go and are missing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{API, Call, Client, Receiver, Server, TENANT, apply, willcall};

pub(crate) const OLD_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
pub(crate) const NEW_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

const PAID: &str = r#"{"event": "democon", "action": "pretix.event.order.paid", "code": "K3LMN"}"#;

/// What verifies with the code of the guide, with more of the standard library for the rest.
const PYTHON: &str = "
import json, sys
given = json.load(sys.stdin)
headers, body, secrets = given['headers'], given['body'].encode(), given['secrets']

def mac(secret, signed):
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

stripe = dict(part.split('=') for part in headers['stripe-signature'].split(','))
print(json.dumps([
    is_signed(headers, body, secrets['standard']),
    is_signed(headers, body + b' ', secrets['standard']),
    headers['x-shop-signature'] == 'sha256=' + mac(secrets['github'], body),
    stripe['v1'] == mac(secrets['stripe'], stripe['t'].encode() + b'.' + body),
]))
";

const JAVASCRIPT: &str = "
import { readFileSync } from 'node:fs';
const { headers, body, secrets } = JSON.parse(readFileSync(0));
console.log(JSON.stringify([
  isSigned(headers, Buffer.from(body), secrets.standard),
  isSigned(headers, Buffer.from(body + ' '), secrets.standard),
]));
";

const PHP: &str = r#"
$given = json_decode(file_get_contents("php://stdin"), true);
$verified = fn($body) => is_signed($given["headers"], $body, $given["secrets"]["standard"]);
echo json_encode([$verified($given["body"]), $verified($given["body"] . " ")]);
"#;

/// The code in this language in the part of the guide about signatures.
fn guide(language: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/receiving.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, part) = text.split_once("\n## Signatures\n").unwrap();
    let (_, code) = part.split_once(&format!("\n```{language}\n")).unwrap();
    let (code, _) = code.split_once("\n```\n").unwrap();
    code.to_owned()
}

/// What a program prints that is given this.
fn ask(command: &mut Command, given: &Value) -> Value {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("test.sh installs it");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(given.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A data folder with a file of master keys.
pub(crate) struct House {
    folder: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        assert!(apply(folder.path(), TENANT).status.success());
        Self { folder }
    }

    fn keys(&self, keys: &[&str]) -> PathBuf {
        let path = self.folder.path().join("master.key");
        std::fs::write(&path, keys.join("\n")).unwrap();
        path
    }

    pub(crate) fn start(&self, keys: &[&str]) -> Server {
        let path = self.keys(keys);
        let named = ["--master-key-file", path.to_str().unwrap()];
        let named = if keys.is_empty() { &[][..] } else { &named };
        Server::start(self.folder.path(), named)
    }

    pub(crate) fn rotate_master(&self, keys: &[&str]) -> (bool, String) {
        let path = self.keys(keys);
        let [folder, path] = [self.folder.path(), &path].map(|path| path.to_str().unwrap());
        let arguments = ["secret", "rotate-master", "--data-dir", folder];
        let output = willcall(&[&arguments[..], &["--master-key-file", path]].concat());
        let words = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(words).unwrap())
    }
}

fn path(webhook: i64) -> String {
    format!("{API}/webhooks/{webhook}/willcall/signatures/")
}

fn headers(webhook: i64) -> String {
    format!("{API}/webhooks/{webhook}/willcall/headers/")
}

/// Adds a signature; answers its secret.
pub(crate) fn sign(client: &Client, webhook: i64, fields: &Value) -> String {
    let (status, added) = client.post(&path(webhook), &fields.to_string());
    assert_eq!(status, 201, "{added}");
    added["secret"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn notify(client: &Client) {
    let (status, answer) = client.post(&format!("{API}/notifications/"), PAID);
    assert_eq!(status, 201, "{answer}");
}

/// Whether the code of the guide finds the call signed with this secret.
fn is_signed(call: &Call, secret: &str) -> bool {
    let code = guide("python")
        + "
import json, sys
given = json.load(sys.stdin)
print(json.dumps(is_signed(given['headers'], given['body'].encode(), given['secret'])))
";
    let given = json!({ "headers": call.headers, "body": call.body, "secret": secret });
    ask(Command::new("python3").args(["-c", &code]), &given) == json!(true)
}

#[test]
fn the_code_of_the_guide_verifies_calls_of_a_server() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let receiver = Receiver::start(|_| 204);
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    notify(&client);
    let unsigned = receiver.next();
    let secret = |fields: Value| sign(&client, webhook, &fields);
    let secrets = json!({
        "standard": secret(json!({ "profile": "standard", "svix": true })),
        "standard_ed25519": secret(json!({ "profile": "standard_ed25519" })),
        "github": secret(json!({ "profile": "github", "header": "X-Shop-Signature" })),
        "stripe": secret(json!({ "profile": "stripe" })),
    });
    notify(&client);
    let call = receiver.next();
    assert!(
        !unsigned
            .headers
            .keys()
            .any(|name| name.contains("signature"))
    );
    let given = json!({ "headers": call.headers, "body": call.body, "secrets": secrets });
    let code = guide("python") + PYTHON;
    let verified = ask(Command::new("python3").args(["-c", &code]), &given);
    assert_eq!(verified, json!([true, false, true, true]));
    let code = guide("js") + JAVASCRIPT;
    let verified = ask(
        Command::new("node").args(["--input-type=module", "-e", &code]),
        &given,
    );
    assert_eq!(verified, json!([true, false]));
    let code = guide("php") + PHP;
    let verified = ask(Command::new("php").args(["-r", &code]), &given);
    assert_eq!(verified, json!([true, false]));
    assert_eq!(verified_in_go(&given), json!([true, false]));
    let verified = libraries("rust/target/debug/receiver", None, &given);
    let each = |found: bool| json!({ "guide": found, "standardwebhooks": found });
    assert_eq!(verified, json!([each(true), each(false)]));
    let line = &call.headers["webhook-signature"];
    assert_eq!(&call.headers["svix-signature"], line);
    assert!(line.split(' ').any(|one| one.starts_with("v1a,")));
    server.kill();
}

/// What the code of the guide says in Go, which has to be in a file.
fn verified_in_go(given: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("guide.go");
    std::fs::write(&code, format!("package main\n\n{}", guide("go"))).unwrap();
    let main = folder.path().join("main.go");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries/go/main.go");
    std::fs::copy(ours, &main).unwrap();
    let mut go = Command::new("go");
    ask(
        go.arg("run").args([code, main]).env("GO111MODULE", "off"),
        given,
    )
}

#[test]
fn the_program_in_rust_that_receivers_have_is_the_code_of_the_guide() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries/rust/src/guide.rs");
    let code = std::fs::read_to_string(file).unwrap();
    let (_, code) = code.split_once("\n\n").unwrap();
    assert_eq!(code.trim_end(), guide("rust"));
}

/// One of the programs that verify with real libraries. test.sh installs these.
pub(crate) fn libraries<'a>(
    program: &str,
    script: impl Into<Option<&'a str>>,
    given: &Value,
) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries");
    let script = script.into().map(|script| folder.join(script));
    ask(
        // A name with a folder is one below ours, any other is looked for.
        Command::new(match program.contains('/') {
            true => folder.join(program),
            false => program.into(),
        })
        .args(script),
        given,
    )
}

#[test]
fn the_libraries_that_receivers_use_verify_calls_of_a_server() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let receiver = Receiver::start(|_| 204);
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let secret = |fields: Value| sign(&client, webhook, &fields);
    let mut secrets = json!({
        "standard": secret(json!({ "profile": "standard", "svix": true })),
        "github": secret(json!({ "profile": "github" })),
        "stripe": secret(json!({ "profile": "stripe" })),
    });
    secret(json!({ "profile": "standard_ed25519" }));
    for profile in ["none", "standard", "stripe"] {
        // From the second call on there are two signatures, and each of the secrets verifies.
        if profile != "none" {
            let rotate = format!("{}{profile}/rotate/", path(webhook));
            let (_, rotated) = client.post(&rotate, "");
            if profile == "standard" {
                secrets["standard"] = rotated["secret"].clone();
            }
        }
        notify(&client);
        let call = receiver.next();
        let given = json!({ "headers": call.headers, "body": call.body, "secrets": secrets });
        let mut names = vec!["standardwebhooks", "svix", "stripe"];
        for (program, script) in [("venv/bin/python", "verify.py"), ("node", "verify.mjs")] {
            let found = libraries(program, script, &given);
            for name in &names {
                assert_eq!(found[0][name], true, "{script}, {profile}: {found}");
                assert_ne!(found[1][name], true, "{script}, {profile}: {found}");
            }
            names.push("octokit");
        }
    }
    server.kill();
}

/// What the libraries for HTTP Message Signatures say of a call, of one with another body, and of
/// one to another place.
fn verify_message(call: &Call, profile: &str, url: &str, key: &Value) -> [Vec<Value>; 3] {
    let given = json!({
        "profile": profile,
        "headers": call.headers,
        "body": call.body,
        "url": url,
        "secret": key["secret"],
        "keys": key["keys"],
    });
    let scripts = [("venv/bin/python", "messages.py"), ("node", "messages.mjs")];
    let each = scripts.map(|(program, script)| libraries(program, script, &given));
    let of_call = |at: usize| {
        let each = each.iter().map(|one| one[at].as_object().unwrap());
        let all: Vec<Value> = each.flat_map(|one| one.values().cloned()).collect();
        assert_eq!(all.len(), 3);
        all
    };
    [0, 1, 2].map(of_call)
}

#[test]
fn the_libraries_for_message_signatures_verify_calls_of_a_server_by_every_algorithm() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let receiver = Receiver::start(|_| 204);
    let target = receiver.url("/hook/a%20b?x=1&y=%C3%A4");
    let webhook = client.webhook(&target, &["pretix.event.order.paid"]);
    for profile in [
        "rfc9421_ed25519",
        "rfc9421_ecdsa_p256_sha256",
        "rfc9421_hmac_sha256",
    ] {
        let fields = json!({ "profile": profile }).to_string();
        let (status, added) = client.post(&path(webhook), &fields);
        assert_eq!(status, 201, "{added}");
        let mut key = json!({ "secret": added["secret"], "keys": [] });
        let one = format!("{}{profile}/", path(webhook));
        for rotated in [false, true] {
            if rotated {
                // From its end on the former key signs nothing, and the new one does.
                let until = json!({ "until": "2126-12-24T18:00:00Z" }).to_string();
                assert_eq!(client.post(&format!("{one}rotate/"), &until).0, 400);
                let (_, next) = client.post(&format!("{one}rotate/"), "");
                assert_eq!(client.post(&format!("{one}end_former/"), "").0, 200);
                assert_ne!(next["key_id"], added["key_id"]);
                key["secret"] = next["secret"].clone();
            }
            if let Some(set) = added["key_set"].as_str() {
                key["keys"] = client.get(set).1["keys"].clone();
            }
            notify(&client);
            let call = receiver.next();
            let found = verify_message(&call, profile, &target, &key);
            let [right, body, place] = &found;
            assert!(right.iter().all(|one| *one == true), "{found:?}");
            let wrong = body.iter().chain(place);
            assert!(wrong.clone().all(|one| *one != true), "{found:?}");
        }
        let deleted = client.call("DELETE", &one, "").unwrap();
        assert_eq!(deleted.0, 204);
    }
    server.kill();
}

#[test]
fn without_its_master_key_a_signed_webhook_sends_nothing_until_it_is_back() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let receiver = Receiver::start(|_| 204);
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let secret = sign(&client, webhook, &json!({ "profile": "standard" }));
    server.terminate();
    let server = house.start(&[]);
    let client = server.client();
    notify(&client);
    let list = format!("{API}/webhooks/{webhook}/deliveries/?status=retrying");
    let mut read = std::iter::repeat_with(|| client.get(&list).1["results"][0].clone());
    let retrying = read.find(|row| !row.is_null()).unwrap();
    let id = retrying["id"].as_str().unwrap();
    let (_, delivery) = client.get(&format!("{API}/deliveries/{id}/"));
    let words = delivery.to_string();
    assert!(words.contains("unsigned"), "{words}");
    assert!(words.contains("no master key is set"), "{words}");
    let (status, refused) = client.post(&path(webhook), r#"{"profile":"github"}"#);
    assert_eq!(status, 409);
    assert!(refused.to_string().contains("master_key_file"));
    server.terminate();
    assert!(receiver.calls.try_recv().is_err());
    let server = house.start(&[OLD_KEY]);
    let retry = format!("{API}/deliveries/{id}/retry/");
    assert_eq!(server.client().post(&retry, "").0, 202);
    assert!(is_signed(&receiver.next(), &secret));
    server.kill();
}

#[test]
fn after_a_rotation_of_the_master_key_the_old_one_is_not_needed() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let receiver = Receiver::start(|_| 204);
    let client = server.client();
    let webhook = client.webhook(&receiver.url("/"), &["pretix.event.order.paid"]);
    let secret = sign(&client, webhook, &json!({ "profile": "standard" }));
    let rotate = format!("{}standard/rotate/", path(webhook));
    assert_eq!(client.post(&rotate, "").0, 200);
    let token = json!({ "name": "Authorization", "value": "Bearer a-token-of-theirs" });
    assert_eq!(client.post(&headers(webhook), &token.to_string()).0, 201);
    let (done, words) = house.rotate_master(&[NEW_KEY]);
    assert!(
        !done && words.contains("3 secrets could not be opened"),
        "{words}"
    );
    let (done, words) = house.rotate_master(&[NEW_KEY, OLD_KEY]);
    assert!(done && words.contains("Sealed 3 secrets"), "{words}");
    let (done, words) = house.rotate_master(&[NEW_KEY]);
    assert!(
        done && words.contains("3 were sealed with it already"),
        "{words}"
    );
    server.terminate();
    let server = house.start(&[NEW_KEY]);
    notify(&server.client());
    // The former key still signs, too.
    let call = receiver.next();
    assert!(is_signed(&call, &secret));
    assert_eq!(call.headers["authorization"], "Bearer a-token-of-theirs");
    server.kill();
}

#[test]
fn the_doctor_and_the_start_say_which_secrets_the_master_keys_do_not_open() {
    let house = House::new();
    let doctor = |keys: &[&str]| {
        let key = house.keys(keys);
        let folder = house.folder.path().to_str().unwrap();
        let mut arguments = vec!["doctor", "--data-dir", folder];
        if !keys.is_empty() {
            arguments.extend(["--master-key-file", key.to_str().unwrap()]);
        }
        let output = willcall(&arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("  secrets  "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(doctor(&[]).ends_with("none is stored"));
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let webhook = client.webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    sign(&client, webhook, &json!({ "profile": "standard" }));
    let own = json!({ "name": "X-Token", "value": "a-token-of-theirs" }).to_string();
    assert_eq!(client.post(&headers(webhook), &own).0, 201);
    // Beside a server as well.
    let good = doctor(&[OLD_KEY]);
    assert!(
        good.starts_with("good ") && good.contains("  2, and"),
        "{good}"
    );
    server.terminate();
    let odd = doctor(&[NEW_KEY, OLD_KEY]);
    assert!(
        odd.starts_with("odd  ") && odd.contains("rotate-master"),
        "{odd}"
    );
    for keys in [&[NEW_KEY][..], &[]] {
        let wrong = doctor(keys);
        let words = "2 of 2 secrets cannot be opened with the master keys that are set, so nothing \
                     is sent to the webhooks 1 (webhook 1, signature standard: ";
        assert!(
            wrong.starts_with("WRONG") && wrong.contains(words),
            "{wrong}"
        );
        let server = house.start(keys);
        server.await_log(words);
        server.terminate();
    }
}

#[test]
fn an_operators_file_signs_calls_and_applying_it_again_changes_nothing() {
    let house = House::new();
    let receiver = Receiver::start(|_| 204);
    let folder = house.folder.path();
    let secret = folder.join("secret");
    std::fs::write(&secret, "the-secret-of-the-receiver\n").unwrap();
    let file = format!(
        "{TENANT}\n[[organizer.webhook]]\nall_events = true\ntarget_url = \"{}\"\n\
         action_types = [\"pretix.event.order.paid\"]\n\
         [[organizer.webhook.signature]]\nprofile = \"github\"\nsecret_file = \"{}\"\n\
         [[organizer.webhook.header]]\nname = \"Authorization\"\n\
         value_variable = \"RECEIVERS_TOKEN\"\n",
        receiver.url("/"),
        secret.display()
    );
    let key = house.keys(&[OLD_KEY]);
    let path = folder.join("file.toml");
    std::fs::write(&path, file).unwrap();
    let apply = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_willcall"));
        command.env("RECEIVERS_TOKEN", "Bearer a-token-of-theirs");
        command.args(["apply", path.to_str().unwrap()]);
        command.args(["--data-dir", folder.to_str().unwrap()]);
        let output = command.arg("--master-key-file").arg(&key).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let first = apply();
    assert!(first.contains("created bigevents: webhook 1"), "{first}");
    let again = apply();
    assert!(again.contains("0 created, 0 changed"), "{again}");
    std::fs::write(&secret, "another-secret-of-theirs").unwrap();
    let changed = apply();
    assert!(changed.contains(": key of signature github"), "{changed}");
    for told in [first, again, changed] {
        assert!(
            !told.contains("secret-of") && !told.contains("token-of"),
            "{told}"
        );
    }
    let server = house.start(&[OLD_KEY]);
    notify(&server.client());
    let call = receiver.next();
    assert_eq!(call.headers["authorization"], "Bearer a-token-of-theirs");
    assert!(call.headers["x-hub-signature-256"].starts_with("sha256="));
    server.kill();
}

#[test]
fn a_secret_is_in_no_file_of_the_store_and_in_no_log() {
    let house = House::new();
    let server = house.start(&[OLD_KEY]);
    let client = server.client();
    let webhook = client.webhook("http://127.0.0.1:9/", &["pretix.event.order.paid"]);
    let brought = "a-secret-that-somebody-brought";
    let fields = json!({ "profile": "github", "secret": brought });
    assert_eq!(sign(&client, webhook, &fields), brought);
    let made = sign(&client, webhook, &json!({ "profile": "standard" }));
    let token = "a-token-that-somebody-brought";
    let own = json!({ "name": "X-Token", "value": token }).to_string();
    assert_eq!(client.post(&headers(webhook), &own).0, 201);
    notify(&client);
    let tried = format!("{API}/webhooks/{webhook}/deliveries/?status=retrying");
    while client.get(&tried).1["results"][0].is_null() {}
    let log = server.log();
    server.terminate();
    for secret in [brought, &made, token] {
        assert!(!log.contains(secret));
        for file in std::fs::read_dir(house.folder.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let mut parts = bytes.windows(secret.len());
            assert!(!parts.any(|part| part == secret.as_bytes()), "{path:?}");
        }
    }
}
