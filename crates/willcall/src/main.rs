//! The binary: reads the command line and runs one command: serve, demo, bench, apply, user, token,
//! doctor, ready, migrate, copy, backup, restore, recover, completions or man; or it tells its
//! version.
//!
//! Each command lives in the file of its name. This file only dispatches.

#[macro_use]
mod say;

mod apply;
mod arguments;
mod assemble;
mod background_writer;
mod backup;
mod bad_requests;
mod completions;
mod config;
mod connections;
mod copy;
mod data_folder;
mod demo;
mod descriptors;
mod disk;
mod doctor;
mod fast_path;
mod http1;
mod journal;
mod listen;
mod listen_address;
mod man;
mod migrate;
mod overflow;
mod prefixed_stream;
mod ready;
mod sealed;
mod secret;
mod serve;
mod signals;
mod slow_reader;
mod store_location;
mod sync;
mod tasks;
mod telemetry;
mod terminal;
mod token;
mod trust;
mod user;
mod version;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use tokio::runtime::{Builder, Runtime};

use crate::arguments::text;
use crate::config::Config;

/// A request allocates about a hundred times, and another thread often frees what one allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a long-running command waits at its end for its last output to be read.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let matches = command().get_matches();
    let goes_on = ["serve", "demo", "bench"].contains(&matches.subcommand_name().unwrap_or(""));
    let limit = goes_on.then_some(LAST_WORDS_LIMIT);
    let ended = run(&matches).and_then(|code| say::end(limit).map(|()| code));
    let code = ended.unwrap_or_else(|error| {
        telemetry::complain(&format!("willcall: {error:#}"));
        ExitCode::FAILURE
    });
    telemetry::end(limit);
    code
}

fn run(matches: &ArgMatches) -> Result<ExitCode> {
    if version::told(matches) {
        return Ok(ExitCode::SUCCESS);
    }
    match matches.subcommand() {
        Some(("completions", matches)) => completions::run(&command(), matches),
        Some(("man", _)) => man::run(command()),
        Some((name, matches)) => return run_with_settings(name, matches),
        None => command().print_help()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_with_settings(name: &str, matches: &ArgMatches) -> Result<ExitCode> {
    if name == "demo" {
        telemetry::start(tracing::Level::ERROR, config::LogFormat::Auto)?;
        say::aside()?;
        descriptors::raise();
        return runtime()?.block_on(demo::run(matches));
    }
    if name == "bench" {
        telemetry::start(tracing::Level::ERROR, config::LogFormat::Auto)?;
        descriptors::raise();
        return runtime()?.block_on(async { bench::run(matches, assemble::surroundings()?).await });
    }
    let file = text(matches, "file");
    // For `token create` the inner command has the settings.
    let (what, matches) = matches.subcommand().unwrap_or(("", matches));
    let config = Config::load(matches)?;
    telemetry::start(config.log_level, config.log_format)?;
    for words in &config.warnings {
        tracing::warn!("{words}");
    }
    if name == "serve" {
        say::aside()?;
    }
    let mut config = config;
    if name == "serve"
        && let Some(words) = descriptors::fit(&mut config, descriptors::raise())
    {
        tracing::warn!("{words}");
    }
    runtime()?.block_on(async {
        if name != "serve" {
            signals::outlast_large_files()?;
        }
        match name {
            "serve" => serve::run(config).await,
            "apply" => apply::run(&config, &file).await.map(|()| ExitCode::SUCCESS),
            "backup" => backup::backup(&config, Path::new(&file)).map(|()| ExitCode::SUCCESS),
            "restore" => backup::restore(&config, Path::new(&file)).map(|()| ExitCode::SUCCESS),
            "recover" => backup::recover(&config).map(|()| ExitCode::SUCCESS),
            "copy" => copy::run(&config, matches).map(|()| ExitCode::SUCCESS),
            "doctor" => doctor::run(&config).await,
            "ready" => Ok(ready::run(&config)),
            "migrate" => migrate::run(&config).await.map(|()| ExitCode::SUCCESS),
            "user" => user::run(&config, what, matches)
                .await
                .map(|()| ExitCode::SUCCESS),
            "secret" => secret::rotate_master(&config)
                .await
                .map(|()| ExitCode::SUCCESS),
            _ if what == "create" => {
                token::create(&config, &token::NewTokenArgs::from(matches)).await?;
                Ok(ExitCode::SUCCESS)
            }
            _ => token::run(&config, what, matches)
                .await
                .map(|()| ExitCode::SUCCESS),
        }
    })
}

fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the operating system gives no threads")
}

/// Settings that decide what an operator's file may say.
const OF_A_FILE: [&str; 9] = [
    "allowed_hosts",
    "max_concurrency_per_webhook",
    "max_call_time",
    "schedules",
    "action_types",
    "triggers",
    "strict_triggers",
    "master_key_file",
    "master_key",
];

fn command() -> Command {
    let store = [
        "data_dir",
        "database_url",
        "database_password_file",
        "log_level",
        "log_format",
    ];
    Command::new("willcall")
        .disable_version_flag(true)
        .args(version::arguments())
        .about("Webhook sender for ticketing platforms: delivers at least once, whatever crashes")
        .after_help("Try `willcall demo` first. The documentation is in the folder docs of the source tree.")
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Run the server: accept notifications, deliver them, serve the API and the dashboard")
                .args(config::arguments(&config::all_keys())),
        )
        .subcommand(
            Command::new("demo")
                .about("Run a server on a temporary store with sample receivers, and print every attempt")
                .args(demo::arguments()),
        )
        .subcommand(
            Command::new("bench")
                .about("Measure performance on this machine; docs/benchmarks.md explains the output")
                .args(bench::arguments()),
        )
        .subcommand(
            Command::new("apply")
                .about("Create or update tenants, tokens, shows and webhooks as declared in a file")
                .long_about(
                    "Create or update tenants, tokens, shows and webhooks as declared in a file.\n\n\
                     It is safe to repeat, also while the server runs. A file with a mistake changes \
                     nothing. Whatever the file names gets every field; fields left out get their \
                     default. Two fields keep their value unless the file has them: whether a webhook \
                     is enabled, and whether a token is active. Whatever the file does not name stays \
                     as it is.",
                )
                .arg(Arg::new("file").value_name("FILE").required(true).help("A TOML file"))
                .args(config::arguments(&[store.as_slice(), &OF_A_FILE].concat())),
        )
        .subcommand(user::command(&store))
        .subcommand(token::command(&store))
        .subcommand(secret::command(&store))
        .subcommands(backup::commands(&store))
        .subcommand(
            Command::new("migrate")
                .about("Bring the schema of the store to this program's version, as every start does")
                .long_about(
                    "Bring the schema of the store to this program's version, as every start does.\n\n\
                     Creates the store if there is none. There is no way back to an older version: \
                     make a backup first. A store in a file must not be in use; a database may be \
                     used by servers meanwhile.",
                )
                .args(config::arguments(&store)),
        )
        .subcommand(copy::command(&store))
        .subcommand(
            Command::new("doctor")
                .about("Check settings, store, clock, name lookup and certificates, and report problems")
                .args(config::arguments(&config::all_keys())),
        )
        .subcommands([ready::command(), completions::command(), man::command()])
}
