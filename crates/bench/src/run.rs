//! The command: which scenarios run, what they need, and what is printed of them.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use model::limits::TOKEN_LETTERS;
use model::rng::SeededRng;
use model::time::Clock;
use web::dialects::Load;

use crate::arguments::SCENARIOS;
use crate::report::{BenchEnvironment, Scenario};
use crate::stage::{self, Bench};
use crate::{large_store, memory, noisy_neighbours, open_loop, process, sizes, throughput};

/// Scenarios that need only HTTP, so they can run with `--at`.
const OVER_HTTP: [&str; 5] = ["one-to-one", "fan-out", "batches", "pace", "fairness"];

const TENANT: &str = "bench";

/// What the benchmark needs of the binary.
pub struct Surroundings {
    /// The machine's clock.
    pub clock: Clock,
    /// For tokens and the name of the folder.
    pub rng: SeededRng,
    /// The calls of the dialect that is measured.
    pub load: Load,
    /// Returns the store's file in a data folder.
    pub store_file: fn(&Path) -> PathBuf,
    /// Prints a line on standard output.
    pub print: fn(&str),
    /// Completes when a stop is asked for.
    pub stop: Stop,
}

/// Completes with the name of the signal that asks for a stop.
pub type Stop = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// Options that do not change what is measured.
struct BenchOptions {
    only: Vec<String>,
    json: Option<String>,
    strict: bool,
    quick: bool,
}

/// Runs the scenarios that were asked for, prints their results, and removes every file it made.
/// The exit status is a failure only with `--strict`, if a bar is not met.
///
/// # Errors
/// If an argument is wrong, a scenario fails, or a stop was asked for.
pub async fn run(matches: &ArgMatches, surroundings: Surroundings) -> Result<ExitCode> {
    let Surroundings { print, .. } = surroundings;
    let options = BenchOptions::from(matches);
    let (bench, stop) = bench(matches, surroundings)?;
    let measured = tokio::select! {
        biased;
        signal = stop => Err(anyhow::anyhow!("{signal}: stopped")),
        measured = measure_all(&bench, &options, print) => measured,
    };
    let removed = stage::discard(&bench.folder);
    // The first error says more.
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
            bail!("\"{name}\" needs the server's process or file, so it cannot run with --at");
        }
        Ok(possible && (named || self.only.is_empty()))
    }

    fn prints_table(&self) -> bool {
        self.json.as_deref() != Some("-")
    }
}

fn bench(matches: &ArgMatches, surroundings: Surroundings) -> Result<(Bench, Stop)> {
    let Surroundings {
        clock,
        rng,
        load,
        store_file,
        stop,
        ..
    } = surroundings;
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let address = |name: &str| -> Result<Option<SocketAddr>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                anyhow::anyhow!(
                    "--{name} is \"{text}\", but has to be an address such as 127.0.0.1:8080"
                )
            })
        };
        text(name).map(parse).transpose()
    };
    let at = address("at")?;
    let receiver = address("receiver")?;
    let folder = fresh_folder(text("folder").map(Path::new), &rng)?;
    let own_token = || rng.split("bench").alphanumeric(TOKEN_LETTERS);
    let bench = Bench {
        program: match text("program") {
            Some(file) => PathBuf::from(file),
            None => std::env::current_exe().context("the path of this program is not known")?,
        },
        load,
        clock,
        store_file,
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
    };
    Ok((bench, stop))
}

async fn measure_all(bench: &Bench, options: &BenchOptions, print: fn(&str)) -> Result<ExitCode> {
    let mut environment = BenchEnvironment {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load_before: process::machine_load(),
        load_after: String::new(),
        quick: options.quick,
        at: bench.at.map(|at| at.to_string()),
    };
    if options.prints_table() {
        print(&environment.head());
        print("");
    }
    let mut scenarios = Vec::new();
    for name in SCENARIOS {
        if !options.wants(bench, name)? {
            continue;
        }
        let scenario = measure(bench, name).await;
        let scenario = scenario.with_context(|| format!("the scenario {name} failed"))?;
        if options.prints_table() {
            print(&environment.table(&scenario));
        }
        scenarios.push(scenario);
    }
    environment.load_after = process::machine_load();
    let json = format!("{:#}", environment.json(&scenarios));
    match options.json.as_deref() {
        None => {}
        Some("-") => print(&json),
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

/// Creates a folder in `parent`, or in that for temporary files. Only its owner may read it,
/// because it holds a token.
fn fresh_folder(parent: Option<&Path>, rng: &SeededRng) -> Result<PathBuf> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
    let name = rng.split("folder").alphanumeric(12);
    let folder = parent.join(format!("willcall-bench-{name}"));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("the folder {} cannot be created", folder.display()))?;
    Ok(folder)
}
