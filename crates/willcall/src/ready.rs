//! `willcall ready`: asks the server at the setting `listen` whether it is ready, for health checks
//! where there is no other program to ask with.

use std::process::ExitCode;

use clap::Command;

use crate::config::{self, Config};
use crate::{doctor, telemetry};

pub(crate) fn command() -> Command {
    Command::new("ready")
        .about("Ask the running server whether it is ready; exit status 0 if it is")
        .long_about(
            "Ask the running server whether it is ready; exit status 0 if it is.\n\n\
             It asks for /readyz at the address of the setting listen and prints the answer, as a \
             health check of a container. It gives up after 5 s.",
        )
        .args(config::arguments(&["listen", "log_level", "log_format"]))
}

pub(crate) fn run(config: &Config) -> ExitCode {
    let complaint = match doctor::readiness(config) {
        Ok((200, words)) => {
            say!("{}", words.trim());
            return ExitCode::SUCCESS;
        }
        Ok((_, words)) => format!("not ready: {}", words.trim()),
        Err(error) => error,
    };
    telemetry::complain(&complaint);
    ExitCode::FAILURE
}
