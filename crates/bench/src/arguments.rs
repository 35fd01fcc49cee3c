//! The arguments of `willcall bench`.

use clap::{Arg, ArgAction};

/// All scenarios, in the order in which they run.
pub(crate) const SCENARIOS: [&str; 14] = [
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
    "https",
    "https-intervals",
    "signing",
    "wal",
];

/// Most nodes on one database: together they have fewer sessions than PostgreSQL allows.
const NODES_MAX: u64 = 8;

/// All arguments of the command.
#[must_use]
pub fn arguments() -> Vec<Arg> {
    let mut arguments = general();
    arguments.extend(of_store());
    arguments
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// What the servers keep their stores in, and how many they are.
fn of_store() -> [Arg; 3] {
    [
        text(
            "store",
            "STORE",
            "Where the servers keep their stores: sqlite, or postgres for a PostgreSQL server that \
             the benchmark starts and ends [default: sqlite]",
        )
        .value_parser(["sqlite", "postgres"])
        .conflicts_with("at"),
        text(
            "database-url",
            "URL",
            "Use this PostgreSQL database instead of a server of the benchmark's own; everything is \
             made in new schemas there, which are removed at the end",
        )
        .conflicts_with("at"),
        text(
            "nodes",
            "COUNT",
            "Servers on the same database, 1 to 8; needs --store postgres [default: 1]",
        )
        .value_parser(clap::value_parser!(u64).range(1..=NODES_MAX))
        .conflicts_with("at"),
    ]
}

fn general() -> Vec<Arg> {
    vec![
        Arg::new("quick")
            .long("quick")
            .action(ArgAction::SetTrue)
            .help("Run everything once and small, in seconds: shows that it works, not how fast"),
        text(
            "only",
            "SCENARIO",
            "Run only this scenario; can be given several times",
        )
        .action(ArgAction::Append)
        .value_parser(clap::builder::PossibleValuesParser::new(SCENARIOS)),
        text(
            "runs",
            "COUNT",
            "Runs of each closed loop; the medians are reported [default: 1]",
        )
        .value_parser(clap::builder::RangedU64ValueParser::<u32>::new().range(1..=100)),
        text(
            "json",
            "FILE",
            "Also write the numbers to this file; - prints them instead of a table",
        ),
        text(
            "folder",
            "FOLDER",
            "The folder for the stores [default: the one for temporary files]",
        ),
        text(
            "program",
            "FILE",
            "Measure this build of Willcall instead of the running one",
        )
        .conflicts_with("at"),
        Arg::new("strict")
            .long("strict")
            .action(ArgAction::SetTrue)
            .help("Exit status 1 if a bar is not met"),
        text(
            "at",
            "ADDRESS:PORT",
            "Measure the server at this address; it has to have the tenant and the token",
        )
        .requires("token"),
        text("token", "TOKEN", "The token for --at"),
        text("tenant", "KEY", "The tenant for --at [default: bench]").requires("at"),
        text(
            "receiver",
            "ADDRESS:PORT",
            "The address of the receiver [default: 127.0.0.1:0]",
        ),
    ]
}
