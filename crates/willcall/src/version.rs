//! `willcall --version`, and with `--verbose` everything that a report of a fault should say about
//! the program.

use clap::{Arg, ArgAction, ArgMatches};
use web::dialects::{self, DialectOptions};

/// The commit that was built, if who built it said so.
const COMMIT: Option<&str> = option_env!("BUILD_COMMIT");

pub(crate) fn arguments() -> [Arg; 2] {
    [
        Arg::new("version")
            .short('V')
            .long("version")
            .action(ArgAction::SetTrue)
            .help("Print the version"),
        Arg::new("verbose")
            .long("verbose")
            .action(ArgAction::SetTrue)
            .requires("version")
            .help("With --version: also print commit, build, SQLite, schemas and dialects"),
    ]
}

/// Whether the version was asked for, and printed.
pub(crate) fn told(matches: &ArgMatches) -> bool {
    if !matches.get_flag("version") {
        return false;
    }
    say!("willcall {}", env!("CARGO_PKG_VERSION"));
    if matches.get_flag("verbose") {
        details();
    }
    true
}

/// The commit that was built, or why it is not known.
pub(crate) fn commit() -> &'static str {
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    commit.unwrap_or("the build was not told")
}

fn details() {
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let libc = match (cfg!(target_env = "musl"), cfg!(target_env = "gnu")) {
        (true, _) => " with musl",
        (_, true) => " with glibc",
        _ => "",
    };
    let store = store::store_versions();
    let dialects = dialects::all(&DialectOptions::default()).names();
    let dialects: Vec<&str> = dialects.iter().map(|name| name.as_str()).collect();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    say!("commit: {}", commit());
    say!("build: {build}, {arch} {os}{libc}");
    say!("SQLite: {}, built in", store.sqlite);
    say!("schema of a file: {}", store.file_schema);
    say!("schema of a PostgreSQL database: {}", store.database_schema);
    say!("dialects: {}", dialects.join(", "));
    say!("features: all; none is optional");
}
