//! The load generator: opens sockets, publishes, counts and times every delivery.
//!
//! One thread on epoll. It fails (exit status 1) when a delivery is missing, duplicated, out of order,
//! damaged or at the wrong socket, and reports when it was itself the bottleneck. Each step
//! prints one JSON object, see `report.rs`.
//!
//! ```text
//! load --server 127.0.0.1:8080 --redis 127.0.0.1:6379 --pid 4711 \
//!     "connect --sockets 1000 --path /all" "closed --messages 5000 --in-flight 32"
//! ```

mod options;
mod publisher;
mod run;
mod sockets;
mod windows;
mod wire;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use clap::Parser as _;

use crate::options::{Options, Step, StepLine};
use crate::run::Run;

/// How often new steps are looked for.
const BETWEEN_STEPS: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match load(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(options: &Options) -> Result<(), Box<dyn Error>> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    let mut run = Run::new(options)?;
    for step in &options.steps {
        if step == "-" {
            steps_of_input(&mut run)?;
        } else {
            perform(&mut run, step)?;
        }
    }
    Ok(())
}

/// Pings are answered between steps, too: a server may close a client that does not answer.
fn steps_of_input(run: &mut Run) -> Result<(), Box<dyn Error>> {
    let (sender, lines) = mpsc::sync_channel(1);
    std::thread::spawn(move || io::stdin().lines().try_for_each(|line| sender.send(line).ok()));
    loop {
        match lines.try_recv() {
            Ok(line) => perform(run, &line?)?,
            Err(TryRecvError::Empty) => run.turn_for(BETWEEN_STEPS)?,
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

fn perform(run: &mut Run, line: &str) -> Result<(), Box<dyn Error>> {
    let words = std::iter::once("step").chain(line.split_whitespace());
    let json = match StepLine::try_parse_from(words)?.step {
        Step::Connect(connect) => serde_json::to_string(&run.connect(&connect)?)?,
        Step::Closed(closed) => serde_json::to_string(&run.closed(&closed)?)?,
        Step::Open(open) => serde_json::to_string(&run.open(&open)?)?,
        Step::Idle(idle) => serde_json::to_string(&run.idle(&idle)?)?,
        Step::Resume(resume) => serde_json::to_string(&run.resume(&resume)?)?,
        Step::ReadStreams(read) => serde_json::to_string(&run.read_streams(&read)?)?,
        Step::Post(post) => serde_json::to_string(&run.post(&post)?)?,
        Step::Flood(flood) => serde_json::to_string(&run.flood(&flood)?)?,
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    Ok(out.flush()?)
}
