//! The command: which scenarios run, what they need, and what is printed of them.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::AtomicU32;

use anyhow::{Context, Result, bail, ensure};
use clap::ArgMatches;
use model::limits::TOKEN_LETTERS;
use model::rng::SeededRng;
use model::time::Clock;
use web::dialects::Load;

use crate::arguments::SCENARIOS;
use crate::database::DatabaseSource;
use crate::report::{BenchEnvironment, PostgresFacts, Scenario};
use crate::stage::Bench;
use crate::stage_store::{self, StoreKind};
use crate::{
    https, large_store, memory, noisy_neighbours, open_loop, process, signing, sizes, throughput,
    wal,
};

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
    let Surroundings {
        clock,
        rng,
        load,
        store_file,
        mut stop,
        ..
    } = surroundings;
    let folder = fresh_folder(text(matches, "folder").map(Path::new), &rng)?;
    let kind = tokio::select! {
        biased;
        signal = &mut stop => Err(stopped(signal)),
        kind = store_kind(matches, &folder, &rng, store_file) => kind,
    };
    let bench = kind.and_then(|kind| bench(matches, folder.clone(), kind, (clock, &rng, load)));
    let measured = match &bench {
        Ok(bench) => tokio::select! {
            biased;
            signal = &mut stop => Err(stopped(signal)),
            measured = measure_all(bench, &options, print) => measured,
        },
        Err(_) => Ok(ExitCode::FAILURE),
    };
    let ended = match &bench {
        Ok(bench) => bench.store.end().await,
        Err(_) => Ok(()),
    };
    // Ends a PostgreSQL server of our own.
    let begun = bench.map(drop);
    let removed = stage_store::remove_folder(&folder);
    // The first error says more.
    begun?;
    let code = measured?;
    ended?;
    removed?;
    Ok(code)
}

fn stopped(signal: &str) -> anyhow::Error {
    anyhow::anyhow!("{signal}: stopped")
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// Where stores are kept. `folder` is the benchmark's own; PostgreSQL has one beside it, because it
/// runs as another user.
async fn store_kind(
    matches: &ArgMatches,
    folder: &Path,
    rng: &SeededRng,
    store_file: fn(&Path) -> PathBuf,
) -> Result<StoreKind> {
    let is_postgres = text(matches, "store") == Some("postgres");
    let source = match (text(matches, "database-url"), is_postgres) {
        (Some(url), true) => DatabaseSource::named(url, rng).await?,
        (None, true) => {
            let mut name = folder.as_os_str().to_owned();
            name.push("-postgres");
            DatabaseSource::own(Path::new(&name), rng).await?
        }
        (Some(_), false) => bail!("--database-url needs --store postgres"),
        (None, false) => {
            let nodes = matches.get_one::<u64>("nodes").copied().unwrap_or(1);
            ensure!(
                nodes == 1,
                "--nodes needs --store postgres: a file is for one server"
            );
            return Ok(StoreKind::Sqlite(store_file));
        }
    };
    Ok(StoreKind::Postgres(Box::new(source)))
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
        let has_it = bench.is_postgres() || name != "wal";
        if named && !has_it {
            bail!("\"{name}\" is about PostgreSQL, so it needs --store postgres");
        }
        Ok(possible && has_it && (named || self.only.is_empty()))
    }

    fn prints_table(&self) -> bool {
        self.json.as_deref() != Some("-")
    }
}

fn bench(
    matches: &ArgMatches,
    folder: PathBuf,
    store: StoreKind,
    (clock, rng, load): (Clock, &SeededRng, Load),
) -> Result<Bench> {
    let text = |name: &str| text(matches, name);
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
    let own_token = || rng.split("bench").alphanumeric(TOKEN_LETTERS);
    let nodes = matches.get_one::<u64>("nodes").copied().unwrap_or(1);
    Ok(Bench {
        program: match text("program") {
            Some(file) => PathBuf::from(file),
            None => std::env::current_exe().context("the path of this program is not known")?,
        },
        load,
        clock,
        store,
        nodes: usize::try_from(nodes)?,
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

async fn measure_all(bench: &Bench, options: &BenchOptions, print: fn(&str)) -> Result<ExitCode> {
    let mut environment = BenchEnvironment {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load_before: process::machine_load(),
        load_after: String::new(),
        quick: options.quick,
        at: bench.at.map(|at| at.to_string()),
        nodes: bench.nodes,
        postgres: bench.store.source().map(|source| PostgresFacts {
            version: source.version.clone(),
            flush_us: source.flush_us,
        }),
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
        "https" => https::https(bench).await,
        "https-intervals" => https::intervals(bench).await,
        "signing" => signing::signing(bench).await,
        "wal" => wal::wal(bench).await,
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
