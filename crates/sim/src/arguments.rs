//! The command line.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Arg, ArgAction, Command};
use model::mutation::Mutation;

use crate::run::Kind;

/// Which seeds to run, and how.
pub(crate) struct Arguments {
    pub(crate) kind: Kind,
    pub(crate) seeds: Seeds,
    pub(crate) jobs: usize,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) trace: bool,
    /// What the trace of the one seed has to hash to.
    pub(crate) expected: Option<u64>,
}

pub(crate) enum Seeds {
    /// So many, from the first one on.
    Range { from: u64, count: u64 },
    /// As many as there is time for.
    For { from: u64, time: Duration },
    /// All of seeds.txt.
    Known,
    /// For every mutation, until it is found.
    Mutations,
}

impl Arguments {
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.seeds, Seeds::Range { count: 1, .. })
    }
}

fn command() -> Command {
    Command::new("sim")
        .about("Simulate Willcall, and check that it keeps its promises")
        .args(which())
        .args(how())
}

/// Which seeds to run.
fn which() -> [Arg; 6] {
    let number = clap::value_parser!(u64);
    [
        Arg::new("seed")
            .long("seed")
            .value_name("N")
            .value_parser(number)
            .conflicts_with_all(["seeds", "for", "from"])
            .help("Run this seed"),
        Arg::new("seeds")
            .long("seeds")
            .value_name("COUNT")
            .value_parser(number)
            .conflicts_with("for")
            .help("Run so many seeds [default: 50]"),
        Arg::new("from")
            .long("from")
            .value_name("N")
            .value_parser(number)
            .help("The first seed [default: 0; with --for, drawn]"),
        Arg::new("for")
            .long("for")
            .value_name("TIME")
            .help("Run seeds for so long, such as 30s, 10m or 1h"),
        Arg::new("known")
            .long("known")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["seed", "seeds", "for", "from"])
            .help("Run every seed that ever failed"),
        Arg::new("mutations")
            .long("mutations")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["seed", "seeds", "for", "from", "known", "mutation"])
            .help("Run every mutation until it is found, which proves that faults are found"),
    ]
}

/// How to run them, and what to print.
fn how() -> [Arg; 5] {
    let mutations: Vec<&str> = Mutation::ALL.iter().map(|one| one.as_str()).collect();
    [
        Arg::new("cluster")
            .long("cluster")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["known", "mutations"])
            .help("Run worlds with several nodes on one store"),
        Arg::new("jobs")
            .long("jobs")
            .value_name("COUNT")
            .value_parser(clap::value_parser!(u16).range(1..=256))
            .help("Seeds that run at once [default: one for each processor]"),
        Arg::new("mutation")
            .long("mutation")
            .value_name("NAME")
            .value_parser(mutations)
            .help("Make the product make this mistake"),
        Arg::new("trace")
            .long("trace")
            .action(ArgAction::SetTrue)
            .requires("seed")
            .help("Print every line of the trace"),
        Arg::new("expect")
            .long("expect")
            .value_name("HASH")
            .value_parser(hash)
            .requires("seed")
            .help("Fail if the trace has another hash, as that of another commit has"),
    ]
}

fn hash(text: &str) -> Result<u64, &'static str> {
    let digits = text.len() == 16 && text.chars().all(|one| one.is_ascii_hexdigit());
    let hash = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    hash.ok_or("it has 16 hexadecimal digits, as the line of a trace prints it")
}

/// Reads the command line; exits with help or an error as clap does.
pub(crate) fn read() -> Result<Arguments> {
    let matches = command().get_matches();
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let seeds = if let Some(seed) = number("seed") {
        Seeds::Range {
            from: seed,
            count: 1,
        }
    } else if matches.get_flag("known") {
        Seeds::Known
    } else if matches.get_flag("mutations") {
        Seeds::Mutations
    } else if let Some(text) = matches.get_one::<String>("for") {
        let from = match number("from") {
            Some(from) => from,
            None => drawn()?,
        };
        Seeds::For {
            from,
            time: duration(text)?,
        }
    } else {
        Seeds::Range {
            from: number("from").unwrap_or(0),
            count: number("seeds").unwrap_or(50),
        }
    };
    let mutation = matches.get_one::<String>("mutation").map(String::as_str);
    let mutation = mutation.map(|name| Mutation::ALL.into_iter().find(|one| one.as_str() == name));
    let mutation = mutation.flatten();
    let mutates = mutation.is_some() || matches!(seeds, Seeds::Mutations);
    if mutates && !cfg!(feature = "mutations") {
        bail!("this build makes no mistakes on purpose; build it with --features mutations");
    }
    let jobs = matches.get_one::<u16>("jobs").copied().map(usize::from);
    let jobs = jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let kind = match matches.get_flag("cluster") {
        true => Kind::Cluster,
        false => Kind::Node,
    };
    Ok(Arguments {
        kind,
        seeds,
        jobs: jobs.unwrap_or(1),
        mutation,
        trace: matches.get_flag("trace"),
        expected: matches.get_one::<u64>("expect").copied(),
    })
}

/// A seed from the operating system.
fn drawn() -> Result<u64> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random seed: {error}"))?;
    Ok(u32::from_le_bytes(bytes).into())
}

fn duration(text: &str) -> Result<Duration> {
    let unit = |letter| match letter {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        _ => None,
    };
    let parsed = text.chars().last().and_then(unit).and_then(|unit| {
        let count: u64 = text.get(..text.len() - 1)?.parse().ok()?;
        count.checked_mul(unit)
    });
    let seconds = parsed.filter(|seconds| *seconds > 0);
    let seconds =
        seconds.ok_or_else(|| anyhow!("--for {text}: not a time such as 30s, 10m or 1h"))?;
    Ok(Duration::from_secs(seconds))
}
