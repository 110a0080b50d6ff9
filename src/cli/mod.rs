//! The commands and their exit statuses; one file a command.
//!
//! Results go to stdout, everything else to stderr. Exit status: 0 done, or stopped as asked; 1
//! failed while running; 64 wrong usage; 78 wrong configuration.

mod admin_client;
mod check;
mod dev;
mod doctor;
mod drain;
mod failure;
mod health;
mod input;
mod listen;
mod logging;
mod output;
mod publish;
mod runtime;
mod serve;
mod token;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// `EX_USAGE` of sysexits.h.
const WRONG_USAGE: u8 = 64;

/// Carries Redis pub/sub messages and streams to authenticated WebSocket clients.
#[derive(Debug, Parser)]
#[command(name = "sockway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Token(token::Args),
    Listen(listen::Args),
    Publish(publish::Args),
    Doctor(doctor::Args),
    Health(health::Args),
    Drain(drain::Args),
    Dev(dev::Args),
}

/// Reads the process's arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let _at_the_end = logging::WriteLastRecords;
    match Cli::try_parse() {
        Ok(cli) => cli.command.run().map_or_else(Failure::report, |()| ExitCode::SUCCESS),
        Err(error) => {
            // Help and version are asked for and go to stdout; nothing can be done about a closed
            // stdout.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 })
        }
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => serve::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Token(args) => token::run(&args),
            Self::Listen(args) => listen::run(&args),
            Self::Publish(args) => publish::run(&args),
            Self::Doctor(args) => doctor::run(&args),
            Self::Health(args) => health::run(&args),
            Self::Drain(args) => drain::run(&args),
            Self::Dev(args) => dev::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_of_the_commands_holds_together() {
        Cli::command().debug_assert();
    }
}
