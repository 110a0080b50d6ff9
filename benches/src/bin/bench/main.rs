//! Runs the limit, Sockway and the installed peers through the scenarios, in alternating turns (A B A
//! B), and prints one table.
//!
//! It starts everything it needs and ends it: its own Redis, each server pinned to one core, Redis and
//! the load generator to another. It builds nothing; `make bench` does.

mod endpoints;
mod load;
mod options;
mod page;
mod picture;
#[path = "../../../../tests/it/rig/port.rs"]
mod port;
mod presence;
mod processes;
mod publishing;
mod scenarios;
mod servers;
mod streams;
mod table;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

use crate::options::Options;
use crate::scenarios::SCENARIOS;
use crate::servers::Place;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Outcome<()> {
    let place = Place::new(options)?;
    let mut rows = Vec::new();
    for scenario in SCENARIOS {
        if options.scenario.is_empty() || options.scenario.iter().any(|name| name == scenario.name)
        {
            eprintln!("==> {}: {}", scenario.name, scenario.what);
            rows.extend(
                (scenario.run)(&place).map_err(|error| format!("{}: {error}", scenario.name))?,
            );
        }
    }
    if rows.is_empty() {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(format!("no such scenario; there are: {}", names.join(" ")).into());
    }
    let table = table::text(&rows);
    println!("{table}");
    if options.write {
        page::write(&options.docs, &place, &rows)?;
        picture::write(&options.docs, &rows)?;
    }
    Ok(())
}
