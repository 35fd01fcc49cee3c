//! The binary: arguments, then one of serve, demo, bench, apply, user, token, doctor,
//! backup, restore, recover.
//!
//! What each of them does is in the file of its name; this one is the map.

#[macro_use]
mod say;

mod apply;
mod arguments;
mod assemble;
mod background_writer;
mod backup;
mod bad_requests;
mod config;
mod connections;
mod demo;
mod descriptors;
mod disk;
mod doctor;
mod fast_path;
mod http1;
mod listen;
mod overflow;
mod prefixed_stream;
mod serve;
mod signals;
mod slow_reader;
mod sync;
mod tasks;
mod telemetry;
mod terminal;
mod token;
mod user;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::runtime::{Builder, Runtime};

use crate::arguments::text;
use crate::config::Config;

/// A request allocates a hundred times, often on one thread what another one frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What runs on while nobody reads what it says, for so long waits until the last of it is read.
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
    let Some((name, matches)) = matches.subcommand() else {
        // clap asks for a subcommand before it comes to this.
        return Ok(ExitCode::SUCCESS);
    };
    if name == "demo" {
        telemetry::start(tracing::Level::ERROR, config::LogFormat::Auto)?;
        say::aside()?;
        descriptors::raise();
        return runtime()?.block_on(demo::run(matches.get_flag("once")));
    }
    if name == "bench" {
        telemetry::start(tracing::Level::ERROR, config::LogFormat::Auto)?;
        descriptors::raise();
        return runtime()?.block_on(async { bench::run(matches, assemble::surroundings()?).await });
    }
    let file = text(matches, "file");
    // `token create`: the settings are those of the inner one.
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
            "doctor" => doctor::run(&config).await,
            "user" => user::run(&config, what, matches)
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

fn command() -> Command {
    let store = ["data_dir", "log_level", "log_format"];
    Command::new("willcall")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Webhooks for ticketing platforms: calls every URL that asked for it, whatever crashes")
        .after_help("`willcall demo` shows it at work. The documentation is in the folder docs of the source.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Run: take notifications in, deliver them, answer the API, show the dashboard")
                .args(config::arguments(&config::all_keys())),
        )
        .subcommand(
            Command::new("demo")
                .about("Show it at work: a fresh store, some receivers, and what happens to what is sent")
                .arg(
                    Arg::new("once")
                        .long("once")
                        .action(ArgAction::SetTrue)
                        .help("End when the show is over; exit status 0 only if everything ended as it must"),
                ),
        )
        .subcommand(
            Command::new("bench")
                .about("Measure it on this machine, against its bars; docs/benchmarks.md says how to read that")
                .args(bench::arguments()),
        )
        .subcommand(
            Command::new("apply")
                .about("Bring tenants, tokens, shows and webhooks to the state that a file declares")
                .long_about(
                    "Bring tenants, tokens, shows and webhooks to the state that a file declares.\n\n\
                     Safe to repeat, also while the server runs. A bad file changes nothing. A thing \
                     that the file names gets every field, those left out their default; only \
                     whether a webhook is enabled and a token active stays unless the file says \
                     so. Things that it does not name stay as they are.",
                )
                .arg(Arg::new("file").value_name("FILE").required(true).help("A TOML file"))
                .args(config::arguments(&[store.as_slice(), &["action_types", "triggers", "strict_triggers"]].concat())),
        )
        .subcommand(user::command(&store))
        .subcommand(token::command(&store))
        .subcommands(backup::commands(&store))
        .subcommand(
            Command::new("doctor")
                .about("Check settings, store, clock, name look-up and certificates, and say what is wrong")
                .args(config::arguments(&config::all_keys())),
        )
}
