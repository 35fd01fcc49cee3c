//! The benchmark itself: every scenario works and reports what it has to, no file is left behind,
//! and errors are reported. Its numbers are not judged here: they are those of a debug build.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio::time::Instant;

use crate::harness::{PATIENCE, willcall};

/// Each scenario with the names of its measures.
const SCENARIOS: [(&str, &[&str]); 13] = [
    ("commit", &["p50", "p99"]),
    (
        "one-to-one",
        &[
            "raw_before",
            "raw_after",
            "delivered",
            "ratio",
            "cpu",
            "disk",
            "missing",
            "duplicates",
        ],
    ),
    ("fan-out", &["ratio", "cpu", "missing", "duplicates"]),
    ("batches", &["ratio", "missing", "duplicates"]),
    (
        "pace",
        &[
            "p50",
            "p99",
            "p999",
            "cpu",
            "commits",
            "switches",
            "written",
            "missing",
            "duplicates",
            "slow_p50",
            "slow_cpu",
            "slow_commits",
            "slow_missing",
        ],
    ),
    ("memory", &["idle", "loaded", "program"]),
    ("waiting", &["first", "memory", "due_ratio", "not_due"]),
    ("matching", &["few", "many", "ratio", "wrong"]),
    (
        "fairness",
        &[
            "p99_before",
            "p99_after",
            "ratio_one",
            "ratio_many",
            "duplicates",
        ],
    ),
    (
        "neighbours",
        &[
            "p99_before",
            "p99_after",
            "moved_hangs",
            "moved_slow",
            "moved_fans_out",
            "moved_dawdles",
            "moved_guesses",
            "owner_refused",
            "livez",
        ],
    ),
    (
        "https",
        &[
            "p256_bare",
            "p256_new_by_bare",
            "p256_resumed_share",
            "p256_kept_by_plain",
            "kept_memory",
            "remembered_memory",
            "p384_new",
        ],
    ),
    (
        "https-intervals",
        &["kept_at_5_s", "kept_at_10_s", "kept_at_25_s"],
    ),
    (
        "signing",
        &["none", "v1", "v1a", "ed25519", "missing", "duplicates"],
    ),
];

/// Runs the benchmark with `--quick`, with its files below `folder`.
fn quick(folder: &Path, more: &[&str]) -> Output {
    let folder = folder.to_str().unwrap();
    willcall(&[&["bench", "--quick", "--folder", folder], more].concat())
}

/// A folder that PostgreSQL's user may enter, if the tests run as root.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("willcall-bench-")
        .tempdir_in("/tmp")
        .unwrap();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    folder
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn every_scenario_is_measured_and_nothing_stays_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = quick(folder.path(), &["--json", "-", "--strict"]);
    assert!(output.status.success(), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    assert_eq!(
        (&json["quick"], &json["profile"]),
        (&true.into(), &"debug".into())
    );
    let scenarios = json["scenarios"].as_array().unwrap();
    let names: Vec<&str> = scenarios
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, SCENARIOS.map(|(name, _)| name));
    for (scenario, (name, expected)) in scenarios.iter().zip(SCENARIOS) {
        let measures = scenario["measures"].as_array().unwrap();
        for measured in expected {
            let found = measures.iter().find(|measure| measure["name"] == *measured);
            let found = found.unwrap_or_else(|| panic!("{name} does not measure {measured}"));
            let value = found["value"].as_f64().unwrap();
            let must_be_none = ["missing", "duplicates", "not_due", "wrong", "owner_refused"];
            let must_be_none = must_be_none.contains(measured);
            assert!(value == 0.0 || !must_be_none, "{name}: {found}");
            assert!(value >= 0.0 && found["met"].is_null(), "{name}: {found}");
        }
        // What needs more rights is measured, or a note says why not.
        let is_measured = |wanted: &str| measures.iter().any(|measure| measure["name"] == wanted);
        let notes = scenario["notes"].as_array().unwrap();
        let whole = match name {
            "neighbours" => is_measured("moved_dead_names") && is_measured("asked_dead_names"),
            "https" => is_measured("threads"),
            _ => true,
        };
        assert_eq!(notes.len(), usize::from(!whole), "{scenario}");
    }
    assert!(is_empty(folder.path()), "something stayed in the folder");
}

#[test]
fn one_scenario_prints_a_table_and_writes_json_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("numbers.json");
    let only = ["--only", "pace", "--json", file.to_str().unwrap()];
    let output = quick(folder.path(), &only);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("\npace: 60 notifications"), "{table}");
    assert!(
        table.contains("at most 2.50") && table.contains("not judged"),
        "{table}"
    );
    assert!(!table.contains("one-to-one"), "{table}");
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["scenarios"].as_array().unwrap().len(), 1);
}

#[test]
fn a_server_that_runs_already_is_measured_over_http_and_keeps_no_webhook() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = crate::harness::TENANT.replace("democon", "show-0");
    assert!(
        crate::harness::apply(folder.path(), &tenant)
            .status
            .success()
    );
    let server = crate::harness::Server::start(folder.path(), &[]);
    let address = server.address.to_string();
    let at = [
        "--at",
        &address,
        "--tenant",
        "bigevents",
        "--token",
        crate::harness::TOKEN,
    ];
    let output = quick(folder.path(), &[&at[..], &["--only", "batches"]].concat());
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains(&format!("the server at {address}")),
        "{table}"
    );
    let (_, webhooks) = server
        .client()
        .get(&format!("{}/webhooks/", crate::harness::API));
    assert_eq!(webhooks["results"][0]["enabled"], false, "{webhooks}");

    let output = quick(folder.path(), &[&at[..], &["--only", "memory"]].concat());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("\"memory\"") && words.contains("--at"),
        "{words}"
    );
}

#[test]
fn a_signal_ends_it_with_its_server_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_willcall"))
        .args(["bench", "--only", "pace", "--folder"])
        .arg(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let server = || {
        let made = std::fs::read_dir(folder.path()).ok()?.next()?.ok()?;
        let log = std::fs::read_to_string(made.path().join("data-0.log")).ok()?;
        let mut entries = log.lines().map(serde_json::from_str::<Value>);
        entries.find_map(|entry| Some(entry.ok()?["address"].as_str()?.to_owned()))
    };
    let deadline = Instant::now() + PATIENCE;
    let address = loop {
        match server() {
            Some(address) => break address,
            None => assert!(Instant::now() < deadline, "the server did not start"),
        }
    };
    let pid = bench.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(!bench.wait().unwrap().success());
    let mut told = String::new();
    bench
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(told.contains("SIGTERM: stopped"), "{told}");
    assert!(is_empty(folder.path()), "something stayed in the folder");
    assert!(TcpStream::connect(address).is_err(), "the server goes on");
}

/// Scenarios that are not the same on PostgreSQL, with measures that only it has.
const ON_POSTGRES: [(&str, &[&str]); 3] = [
    (
        "one-to-one",
        &[
            "cpu",
            "cpu_willcall",
            "cpu_postgres",
            "wal",
            "one_node",
            "of_one",
            "disk",
            "missing",
            "duplicates",
        ],
    ),
    (
        "pace",
        &[
            "p50",
            "p99",
            "other_p50",
            "other_p99",
            "cpu_postgres",
            "commits",
            "other_missing",
            "slow_cpu_postgres",
            "missing",
            "duplicates",
        ],
    ),
    ("wal", &["wal_1", "wal_10", "wal_1_random"]),
];

#[test]
fn two_nodes_on_a_database_are_measured_and_it_does_not_stay_behind() {
    let folder = open_folder();
    let nodes = ["--store", "postgres", "--nodes", "2", "--json", "-"];
    let only: Vec<&str> = ON_POSTGRES
        .iter()
        .flat_map(|(name, _)| ["--only", *name])
        .collect();
    let output = quick(folder.path(), &[&nodes[..], &only].concat());
    assert!(output.status.success(), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
    assert_eq!(json["nodes"], 2);
    assert!(json["postgres"]["version"].is_string(), "{json}");
    assert!(json["postgres"]["flush_us"].as_f64() > Some(0.0), "{json}");
    let scenarios = json["scenarios"].as_array().unwrap();
    for (scenario, (name, expected)) in scenarios.iter().zip(ON_POSTGRES) {
        assert_eq!(scenario["name"], name);
        let measures = scenario["measures"].as_array().unwrap();
        for measured in expected {
            let found = measures.iter().find(|measure| measure["name"] == *measured);
            let found = found.unwrap_or_else(|| panic!("{name} does not measure {measured}"));
            let value = found["value"].as_f64().unwrap();
            let must_be_none = ["missing", "duplicates"]
                .iter()
                .any(|end| measured.ends_with(end));
            assert_eq!(value == 0.0, must_be_none, "{name}: {found}");
        }
    }
    assert!(is_empty(folder.path()), "something stayed in the folder");
}

#[test]
fn a_signal_ends_it_with_its_database() {
    let folder = open_folder();
    let mut bench = Command::new(env!("CARGO_BIN_EXE_willcall"))
        .args(["bench", "--store", "postgres", "--only", "pace", "--folder"])
        .arg(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = || {
        let mut made = std::fs::read_dir(folder.path()).ok()?;
        let made = made.find_map(|made| {
            let path = made.ok()?.path();
            path.to_string_lossy()
                .ends_with("-postgres")
                .then_some(path)
        });
        let file = made?.join("data/postmaster.pid");
        Some(
            std::fs::read_to_string(file)
                .ok()?
                .lines()
                .next()?
                .to_owned(),
        )
    };
    let deadline = Instant::now() + PATIENCE;
    let process = loop {
        match process() {
            Some(process) => break process,
            None => assert!(Instant::now() < deadline, "PostgreSQL did not start"),
        }
    };
    let pid = bench.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(!bench.wait().unwrap().success());
    assert!(is_empty(folder.path()), "something stayed in the folder");
    let status = Path::new("/proc").join(process);
    assert!(!status.exists(), "PostgreSQL goes on");
}

#[test]
fn what_goes_wrong_is_told_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let words = |output: Output| {
        assert!(!output.status.success(), "{output:?}");
        assert!(is_empty(folder.path()), "something stayed in the folder");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = words(quick(
        folder.path(),
        &["--only", "pace", "--receiver", &address],
    ));
    assert!(
        told.contains(&address) && told.contains("--receiver"),
        "{told}"
    );

    let told = words(quick(folder.path(), &["--receiver", "somewhere"]));
    assert!(told.contains("\"somewhere\""), "{told}");

    for (arguments, words_of_it) in [
        (&["--nodes", "2"][..], "--store postgres"),
        (&["--database-url", "postgres://u@h/d"], "--store postgres"),
        (&["--only", "wal"], "\"wal\" is about PostgreSQL"),
        (
            &[
                "--store",
                "postgres",
                "--database-url",
                "postgres://u@h/d?options=-c%20a%3D1",
            ],
            "must not have options",
        ),
    ] {
        let told = words(quick(folder.path(), arguments));
        assert!(told.contains(words_of_it), "{told}");
    }

    let told = words(quick(&folder.path().join("missing"), &[]));
    assert!(
        told.contains("missing") && told.contains("cannot be created"),
        "{told}"
    );

    // As with a full disk: the ignored signal becomes an error of the write.
    let script = "trap '' XFSZ; ulimit -S -f 230; exec \"$0\" \"$@\"";
    let full = Command::new("bash")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_willcall"),
            "bench",
            "--quick",
        ])
        .args([
            "--only",
            "one-to-one",
            "--folder",
            folder.path().to_str().unwrap(),
        ])
        .output();
    let told = words(full.unwrap());
    assert!(
        told.contains("one-to-one") && told.contains("room"),
        "{told}"
    );
}
