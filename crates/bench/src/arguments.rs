//! What `willcall bench` may be told on its command line.

use clap::{Arg, ArgAction};

/// In the order in which they run.
pub(crate) const SCENARIOS: [&str; 10] = [
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

/// All arguments of the command.
#[must_use]
pub fn arguments() -> Vec<Arg> {
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
