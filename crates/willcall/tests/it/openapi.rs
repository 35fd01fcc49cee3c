//! The OpenAPI document in use: a linter and a validator read it, and clients that real generators
//! make of it use a real server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::administrators::administrator;
use crate::harness::{Receiver, Server, TENANT, apply};
use crate::signatures::libraries;

const COMPANY: &str = r#"
[[company]]
guid = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48"
name = "Grand Hall"
token = [{ name = "hall", token = "a-token-of-a-company-for-the-tests", permissions = [
    "webhooks:read", "webhooks:write", "triggers:write",
] }]
"#;

/// A server with a receiver, its document in a folder, and what a client is told.
struct World {
    folder: tempfile::TempDir,
    server: Server,
    receiver: Receiver,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let applied = apply(folder.path(), &format!("{TENANT}{COMPANY}"));
        assert!(applied.status.success(), "{applied:?}");
        let receiver = Receiver::start(|_| 204);
        let server = Server::start(folder.path(), &[]);
        let (status, document) = server.client().get("/openapi.json");
        assert_eq!(status, 200);
        std::fs::write(folder.path().join("openapi.json"), document.to_string()).unwrap();
        Self {
            folder,
            server,
            receiver,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn given(&self) -> Value {
        let shop = administrator(&self.server, self.folder.path(), "shop");
        let (_, token) = shop.authorization.split_once(' ').unwrap();
        json!({
            "folder": self.folder.path(),
            "url": format!("http://{}", self.server.address),
            "receiver": self.receiver.url(""),
            "organizer_token": "a-token-of-some-length-for-the-tests",
            "company_token": "a-token-of-a-company-for-the-tests",
            "administrator_token": token,
        })
    }
}

/// What each client comes to.
fn expected() -> Value {
    json!([
        "ok\n",
        ["Enter a valid URL."],
        [true, "hall"],
        ["tenant", "event"],
    ])
}

fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/libraries")
        .join(name)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(installed(program));
    let output = command
        .args(arguments)
        .output()
        .expect("test.sh installs it");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program}: {words}{output:?}");
    output
}

#[test]
fn a_linter_and_a_validator_find_nothing_in_the_document() {
    let world = World::new();
    let document = world.path("openapi.json");
    let document = document.to_str().unwrap();
    run("venv/bin/openapi-spec-validator", &[document]);
    let config = format!("--config={}", installed("redocly.yaml").display());
    let linted = run(
        "node_modules/.bin/redocly",
        &["lint", "--format=json", &config, document],
    );
    let found: Value = serde_json::from_slice(&linted.stdout).unwrap();
    assert_eq!(found["problems"], json!([]));
    world.server.kill();
}

#[test]
fn a_client_that_is_generated_for_python_uses_a_server() {
    let world = World::new();
    let document = world.path("openapi.json");
    let target = world.path("willcall_client");
    let config = installed("openapi_client.yaml");
    let made = run(
        "venv/bin/openapi-python-client",
        &[
            "generate",
            "--path",
            document.to_str().unwrap(),
            "--output-path",
            target.to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
            "--meta",
            "none",
        ],
    );
    // It leaves out two forms of a body and one of an answer, and says so; anything else that it
    // does not understand would be left out as well.
    let words = String::from_utf8(made.stderr).unwrap();
    let count = |what: &str| words.matches(what).count();
    assert_eq!(count("Unsupported content type application/x-ndjson"), 2);
    assert_eq!(
        count("Unsupported content_type application/openmetrics-text"),
        1
    );
    assert_eq!(count("WARNING"), 3, "{words}");
    assert_eq!(count("ERROR"), 0, "{words}");
    let python = libraries("venv/bin/python", "openapi_client.py", &world.given());
    assert_eq!(python, expected());
    world.server.kill();
}

#[test]
fn a_client_that_is_generated_for_typescript_uses_a_server() {
    let world = World::new();
    let (document, schema) = (world.path("openapi.json"), world.path("schema.d.ts"));
    let arguments = [
        document.to_str().unwrap(),
        "--output",
        schema.to_str().unwrap(),
    ];
    run("node_modules/.bin/openapi-typescript", &arguments);
    let script = world.path("openapi_client.mts");
    std::fs::copy(installed("openapi_client.ts"), &script).unwrap();
    let modules = installed("node_modules");
    std::os::unix::fs::symlink(modules, world.path("node_modules")).unwrap();
    let types = installed("node_modules/@types");
    let arguments = [
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--typeRoots",
        types.to_str().unwrap(),
        "--types",
        "node",
        script.to_str().unwrap(),
    ];
    run("node_modules/.bin/tsc", &arguments);
    let compiled = world.path("openapi_client.mjs");
    let typescript = libraries("node", compiled.to_str().unwrap(), &world.given());
    assert_eq!(typescript, expected());
    world.server.kill();
}
