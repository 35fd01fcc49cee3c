//! What is built on: which floor may use what, how much it is, under which license; and that
//! nothing large is in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use toml::Table;

use super::{file, git, judge, root, tree};

/// Which of our crates each may use, and which it may use in tests only.
const FLOORS: &[(&str, &[&str], &[&str])] = &[
    ("fuzz", &[], &[]),
    ("model", &[], &["fuzz"]),
    ("store", &["model"], &[]),
    ("engine", &["model"], &["fuzz", "store"]),
    ("web", &["model"], &["fuzz", "store"]),
    ("bench", &["engine", "model", "store", "web"], &[]),
    ("sim", &["engine", "model", "store", "web"], &[]),
    (
        "willcall",
        &["bench", "engine", "model", "store", "web"],
        &["fuzz"],
    ),
];

/// The floors that a library may be used on; those missing here may be used on any.
const HOMES: &[(&str, &[&str])] = &[
    ("anyhow", &["bench", "willcall", "sim"]),
    ("argon2", &["model"]),
    ("aws-lc-rs", &["model"]),
    ("askama", &["web"]),
    ("base64", &["model", "web", "sim"]),
    ("clap", &["bench", "willcall", "sim"]),
    ("clap_complete", &["willcall"]),
    ("dns-lookup", &["engine"]),
    ("encoding_rs", &["web"]),
    ("getrandom", &["willcall", "sim"]),
    ("http-body", &["web"]),
    ("http-body-util", &["web", "bench", "willcall", "sim"]),
    ("httparse", &["engine", "willcall"]),
    ("lettre", &["engine"]),
    ("httpdate", &["willcall"]),
    ("hyper", &["bench", "willcall"]),
    ("hyper-util", &["bench", "willcall"]),
    ("ipnet", &["model", "willcall"]),
    ("mimalloc", &["willcall", "sim"]),
    ("multer", &["web"]),
    ("openssl-probe", &["willcall"]),
    ("percent-encoding", &["model", "web"]),
    ("proptest", &["fuzz"]),
    ("rand_chacha", &["model"]),
    ("rand_core", &["model"]),
    ("rusqlite", &["store"]),
    ("rustix", &["store", "engine", "willcall"]),
    ("rcgen", &["bench"]),
    ("rustls", &["model", "store", "engine", "bench"]),
    ("rustls-native-certs", &["store", "engine"]),
    ("rustls-webpki", &["store", "engine"]),
    ("sha2", &["model", "store"]),
    ("tempfile", &["sim"]),
    ("strsim", &["store", "web"]),
    ("time", &["model"]),
    (
        "tokio",
        &["store", "engine", "web", "bench", "willcall", "sim"],
    ),
    ("tokio-postgres", &["store"]),
    ("tokio-rustls", &["store", "engine", "bench"]),
    ("toml", &["web", "willcall"]),
    ("tracing-subscriber", &["willcall"]),
    (
        "prometheus-client",
        &["store", "engine", "web", "bench", "sim", "willcall"],
    ),
    ("serde_json", &["store", "web", "bench", "willcall", "sim"]),
    ("url", &["model", "web"]),
];

const ANYWHERE: &[&str] = &["bytes", "http", "serde", "thiserror", "tracing"];

const TESTS_ONLY: [&str; 2] = ["proc-macro2", "tempfile"];

/// Packages in Cargo.lock, ours included. More means slower builds and more to trust.
const PACKAGES_MAX: usize = 292;

/// Libraries that are built in two incompatible versions, and who keeps the older one.
const DOUBLE: &[(&str, &str)] = &[
    ("base64", "postgres-protocol"),
    ("fallible-iterator", "tokio-postgres"),
    ("getrandom", "ring, which is locked and not built"),
    ("nom", "asn1-rs"),
    ("syn", "tracing and yoke"),
    ("synstructure", "yoke"),
    ("untrusted", "aws-lc-rs"),
    ("wasi", "whoami, on WebAssembly"),
    ("windows-sys", "ring, which is locked and not built"),
];

/// One of these is enough: they ask for no more than to be named.
const LICENSES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The feature with which the code can make mistakes on purpose.
const FAULTS: &str = "mutations";

const BLOB_KIB_MAX: usize = 256;

/// Larger files in the history.
const BLOBS: &[(&str, &str)] = &[(
    "crates/web/src/dialects/pretix/golden/pretix-api.jsonl",
    "what a real server answered: the specification of the REST resource",
)];

#[test]
fn each_floor_uses_what_it_may() {
    let mut found = BTreeMap::new();
    let mut used = BTreeSet::new();
    let manifests = tree().iter().filter_map(|file| {
        let name = file
            .path
            .strip_prefix("crates/")?
            .strip_suffix("/Cargo.toml")?;
        // Deeper down is no crate of the workspace: a receiver's program, which tests run.
        if name.contains('/') {
            return None;
        }
        Some((
            name,
            file.text.parse::<Table>().expect("Cargo reads it, too"),
        ))
    });
    for (name, manifest) in manifests {
        let Some((_, ours, in_tests)) = FLOORS.iter().find(|(floor, ..)| *floor == name) else {
            found.insert(name.to_owned(), "a new crate needs a decision".to_owned());
            continue;
        };
        for (section, also) in [("dependencies", &[][..]), ("dev-dependencies", *in_tests)] {
            let empty = Table::new();
            let table = manifest.get(section).and_then(|value| value.as_table());
            for library in table.unwrap_or(&empty).keys().map(String::as_str) {
                let of_ours = FLOORS.iter().any(|(floor, ..)| *floor == library);
                let is_test = section == "dev-dependencies";
                let home = HOMES.iter().find(|(known, _)| *known == library);
                let may = match home {
                    _ if of_ours => ours.contains(&library) || also.contains(&library),
                    Some((_, floors)) => is_test || floors.contains(&name),
                    None if TESTS_ONLY.contains(&library) => is_test,
                    None => ANYWHERE.contains(&library),
                };
                used.insert((library.to_owned(), name.to_owned(), is_test));
                if !may {
                    found.insert(format!("{name}: {library}"), format!("in [{section}]"));
                }
            }
        }
    }
    judge(
        &found,
        &[],
        "These are not for these floors. If one is wanted there, say why in docs/decisions and \
         list it in tests/it/tidy/packages.rs.",
    );
    for (library, floors) in HOMES.iter().copied() {
        for floor in floors {
            let needed = used.contains(&(library.to_owned(), (*floor).to_owned(), false));
            assert!(
                needed || tree().is_empty(),
                "{floor} does not use {library}: take it out of HOMES in tests/it/tidy/packages.rs"
            );
        }
    }
}

#[test]
fn the_libraries_are_few_and_come_once() {
    let Some(lock) = file("Cargo.lock") else {
        assert!(tree().is_empty(), "Cargo.lock belongs into the repository");
        return;
    };
    let lock: Table = lock.text.parse().expect("Cargo reads it, too");
    let packages = lock.get("package").and_then(|value| value.as_array());
    let packages = packages.expect("Cargo.lock lists packages");
    assert!(
        packages.len() <= PACKAGES_MAX,
        "Cargo.lock has {} packages, more than {PACKAGES_MAX}: do without, or move the bound and \
         say why in docs/decisions",
        packages.len()
    );
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let text = |key: &str| package.get(key).and_then(|value| value.as_str());
        let (name, version) = text("name").zip(text("version")).expect("each has both");
        versions
            .entry(name)
            .or_default()
            .insert(compatible(version));
    }
    let double = versions.iter().filter(|(_, majors)| majors.len() > 1);
    judge(
        &double
            .map(|(name, majors)| ((*name).to_owned(), format!("{majors:?}")))
            .collect(),
        DOUBLE,
        "These are built twice. Choose versions that agree, or list who keeps the older one.",
    );
}

#[test]
fn every_license_lets_us_ship() {
    if tree().is_empty() {
        return;
    }
    let metadata = metadata();
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .expect("a list");
    let mut found = BTreeMap::new();
    for package in packages {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or("none");
        if !allowed(text("license")) {
            found.insert(text("name").to_owned(), text("license").to_owned());
        }
    }
    judge(
        &found,
        &[],
        "Look at these licenses. One that asks for no more than to be named goes into LICENSES in \
         tests/it/tidy/packages.rs; for any other, do without the library.",
    );
}

/// What `cargo build` turns on, and every command that builds or tests in a document or script.
#[test]
fn the_program_has_no_deliberate_faults() {
    if tree().is_empty() {
        return;
    }
    let metadata = metadata();
    let nodes = metadata.pointer("/resolve/nodes").and_then(Value::as_array);
    let mut found = BTreeMap::new();
    for node in nodes.expect("a list") {
        let features = node.get("features").and_then(Value::as_array);
        let id = node
            .get("id")
            .and_then(Value::as_str)
            .expect("each has one");
        if id.contains("/crates/") && features.expect("a list").contains(&FAULTS.into()) {
            found.insert(id.to_owned(), "on by default".to_owned());
        }
    }
    let commands = tree()
        .iter()
        .filter(|file| file.has_extension(&["md", "sh", "toml", "yml"]));
    for file in commands {
        let turns_on = |line: &&str| {
            let names = line.contains("--features") && line.contains(FAULTS);
            line.contains("--all-features") || names && !line.contains("-p sim")
        };
        let line = file.text.lines().find(turns_on);
        found.extend(line.map(|line| (file.path.clone(), line.trim().to_owned())));
    }
    judge(
        &found,
        &[],
        "Deliberate faults (model/src/mutation.rs) are for the simulator only: let `sim` turn them \
         on, with a feature that is not on by default.",
    );
}

#[test]
fn the_history_holds_nothing_large() {
    let limit = format!("--filter=blob:limit={}", BLOB_KIB_MAX * 1024 + 1);
    let listed = git(&[
        "rev-list",
        "--objects",
        "--filter-print-omitted",
        &limit,
        "HEAD",
    ]);
    let mut found = BTreeMap::new();
    let listed = listed.unwrap_or_default();
    for id in listed.lines().filter_map(|line| line.strip_prefix('~')) {
        let find = format!("--find-object={id}");
        let names = git(&["log", &find, "--format=", "--name-only", "HEAD"]).unwrap_or_default();
        let name = names.lines().next().unwrap_or(id);
        found.insert(name.to_owned(), format!("more than {BLOB_KIB_MAX} KiB"));
    }
    judge(
        &found,
        BLOBS,
        "Everybody who clones carries these for ever. Take them out before they are merged.",
    );
}

/// What two versions must share to be one: the major number, or the minor one below 1.0.
fn compatible(version: &str) -> String {
    let mut parts = version.split('.');
    match (parts.next(), parts.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (major, _) => major.unwrap_or_default().to_owned(),
    }
}

/// What cargo knows of all packages that are built here: what other systems need was never
/// downloaded.
fn metadata() -> Value {
    let host = cargo(&["--version", "--verbose"]);
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("cargo names it");
    let metadata = cargo(&[
        "metadata",
        "--locked",
        "--offline",
        "--format-version=1",
        "--filter-platform",
        host,
    ]);
    serde_json::from_str(&metadata).expect("cargo writes JSON")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(arguments)
        .output();
    let output = output.expect("cargo runs: it built this");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {arguments:?} failed: {told}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether an SPDX expression leaves a choice in which every license is in the list.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> bool {
    let mut any = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        any |= all_of(words);
    }
    any
}

fn all_of(words: &mut Words<'_>) -> bool {
    let mut all = one(words);
    while words.next_if_eq(&"AND").is_some() {
        all &= one(words);
    }
    all
}

fn one(words: &mut Words<'_>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let inner = any_of(words);
        return words.next_if_eq(&")").is_some() && inner;
    }
    let known = words
        .next()
        .is_some_and(|license| LICENSES.contains(&license));
    // An exception only ever allows more.
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    known
}

#[test]
fn a_license_is_weighed_as_a_whole() {
    for expression in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR GPL-3.0",
        "(Apache-2.0 OR MIT) AND BSD-3-Clause",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(allowed(expression), "{expression}");
    }
    for expression in [
        "",
        "none",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-2.0",
        "(MIT",
    ] {
        assert!(!allowed(expression), "{expression}");
    }
}
