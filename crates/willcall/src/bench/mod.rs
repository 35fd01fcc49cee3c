//! `willcall bench`: a real server on a real file, measured from outside by a sender and a
//! receiver in this process; `docs/benchmarks.md` says how to read what it prints.
//!
//! The server is a child process of the same binary, so that what it costs can be told from what
//! measuring costs. Everything is made in a folder of its own, which is removed at the end.

mod fill;
mod large_store;
mod measure;
mod memory;
mod noisy_neighbours;
mod open_loop;
mod password_guesses;
mod process;
mod receiver;
mod report;
mod sender;
mod server;
mod silent_dns;
mod sizes;
mod stage;
mod throughput;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches};
use model::limits::TOKEN_LETTERS;

use self::report::{BenchEnvironment, Scenario};
use self::stage::Bench;
use crate::assemble;
use crate::config::Config;

/// In the order in which they run.
const SCENARIOS: [&str; 10] = [
    "commit",
    "one-to-one",
    "fan-out",
    "batches",
    "pace",
    "memory",
    "waiting",
    "matching",
    "fairness",
    "neighbours",
];

/// Those that need nothing of a server but its HTTP.
const OVER_HTTP: [&str; 5] = ["one-to-one", "fan-out", "batches", "pace", "fairness"];

const TENANT: &str = "bench";

pub(crate) fn arguments() -> Vec<Arg> {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    vec![
        Arg::new("quick")
            .long("quick")
            .action(ArgAction::SetTrue)
            .help("Everything once and small, in seconds: shows that it works, not how fast"),
        text(
            "only",
            "SCENARIO",
            "Only this one; may be given several times",
        )
        .action(ArgAction::Append)
        .value_parser(clap::builder::PossibleValuesParser::new(SCENARIOS)),
        text(
            "runs",
            "COUNT",
            "Runs of each closed loop, of which the median counts [default: 1]",
        )
        .value_parser(clap::builder::RangedU64ValueParser::<u32>::new().range(1..=100)),
        text(
            "json",
            "FILE",
            "Write the numbers to this file, too; - prints them instead of a table",
        ),
        text(
            "folder",
            "FOLDER",
            "Where to make the folder for the stores [default: that for temporary files]",
        ),
        text(
            "program",
            "FILE",
            "Measure this build of Willcall instead of the one that measures",
        )
        .conflicts_with("at"),
        Arg::new("strict")
            .long("strict")
            .action(ArgAction::SetTrue)
            .help("Exit status 1 if a bar is not met"),
        text(
            "at",
            "ADDRESS:PORT",
            "Measure the server there instead; it has the tenant and the token",
        )
        .requires("token"),
        text("token", "TOKEN", "The token for --at"),
        text("tenant", "KEY", "The tenant for --at [default: bench]").requires("at"),
        text(
            "receiver",
            "ADDRESS:PORT",
            "Where the receiver listens and is called [default: 127.0.0.1:0]",
        ),
    ]
}

/// What was asked for on the command line.
struct BenchOptions {
    only: Vec<String>,
    json: Option<String>,
    strict: bool,
    quick: bool,
}

pub(crate) async fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let mut signals = crate::signals::Signals::listen()?;
    let options = BenchOptions::from(matches);
    let bench = bench(matches)?;
    let measured = tokio::select! {
        biased;
        signal = signals.stop() => Err(anyhow::anyhow!("{signal}: stopped")),
        measured = measure_all(&bench, &options) => measured,
    };
    let removed = stage::discard(&bench.folder);
    // What went wrong first says more.
    let code = measured?;
    removed?;
    Ok(code)
}

impl BenchOptions {
    fn from(matches: &ArgMatches) -> Self {
        let only = matches.get_many::<String>("only").unwrap_or_default();
        Self {
            only: only.cloned().collect(),
            json: matches.get_one::<String>("json").cloned(),
            strict: matches.get_flag("strict"),
            quick: matches.get_flag("quick"),
        }
    }

    fn wants(&self, bench: &Bench, name: &str) -> Result<bool> {
        let named = self.only.iter().any(|only| only == name);
        let possible = bench.at.is_none() || OVER_HTTP.contains(&name);
        if named && !possible {
            bail!(
                "\"{name}\" looks into the server's process or file, so it cannot be had with --at"
            );
        }
        Ok(possible && (named || self.only.is_empty()))
    }

    fn prints_table(&self) -> bool {
        self.json.as_deref() != Some("-")
    }
}

fn bench(matches: &ArgMatches) -> Result<Bench> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let address = |name: &str| -> Result<Option<SocketAddr>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                anyhow::anyhow!(
                    "--{name} is \"{text}\", which is no address such as 127.0.0.1:8080"
                )
            })
        };
        text(name).map(parse).transpose()
    };
    let at = address("at")?;
    let receiver = address("receiver")?;
    let folder = fresh_folder(text("folder").map(Path::new))?;
    let rng = assemble::rng()?;
    let config = Config::for_demo(folder.clone())?;
    let load = assemble::dialects(&config).load();
    let own_token = || rng.split("bench").alphanumeric(TOKEN_LETTERS);
    Ok(Bench {
        program: match text("program") {
            Some(file) => PathBuf::from(file),
            None => std::env::current_exe().context("this program does not know its own file")?,
        },
        load: load.context("no dialect brings anything for the benchmark")?,
        sizes: if matches.get_flag("quick") {
            sizes::QUICK
        } else {
            sizes::FULL
        },
        folder,
        token: text("token").map_or_else(own_token, str::to_owned),
        tenant: text("tenant").unwrap_or(TENANT).to_owned(),
        at,
        receiver: receiver.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        runs: matches.get_one::<u32>("runs").copied().unwrap_or(1),
        count: AtomicU32::default(),
    })
}

async fn measure_all(bench: &Bench, options: &BenchOptions) -> Result<ExitCode> {
    let mut environment = BenchEnvironment {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load_before: process::machine_load(),
        load_after: String::new(),
        quick: options.quick,
        at: bench.at.map(|at| at.to_string()),
    };
    if options.prints_table() {
        say!("{}", environment.head());
        say!();
    }
    let mut scenarios = Vec::new();
    for name in SCENARIOS {
        if !options.wants(bench, name)? {
            continue;
        }
        let scenario = measure(bench, name).await;
        let scenario = scenario.with_context(|| format!("the scenario {name} came to nothing"))?;
        if options.prints_table() {
            say!("{}", environment.table(&scenario));
        }
        scenarios.push(scenario);
    }
    environment.load_after = process::machine_load();
    let json = format!("{:#}", environment.json(&scenarios));
    match options.json.as_deref() {
        None => {}
        Some("-") => say!("{json}"),
        Some(file) => std::fs::write(file, json + "\n")
            .with_context(|| format!("the file {file} cannot be written"))?,
    }
    if options.strict && !environment.all_met(&scenarios) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(bench: &Bench, name: &str) -> Result<Scenario> {
    match name {
        "commit" => large_store::commit(bench).await,
        "one-to-one" => throughput::one_to_one(bench).await,
        "fan-out" => throughput::fan_out(bench).await,
        "batches" => throughput::batches(bench).await,
        "pace" => open_loop::pace(bench).await,
        "memory" => memory::memory(bench).await,
        "waiting" => large_store::waiting(bench).await,
        "matching" => large_store::matching(bench).await,
        "fairness" => open_loop::fairness(bench).await,
        _ => noisy_neighbours::neighbours(bench).await,
    }
}

/// Below the folder named, or that for temporary files. For its user only: it holds a token.
fn fresh_folder(parent: Option<&Path>) -> Result<PathBuf> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let name = assemble::rng()?.split("folder").alphanumeric(12);
    let folder = parent.join(format!("willcall-bench-{name}"));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    Ok(folder)
}
