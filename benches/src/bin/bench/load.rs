//! The load generator, driven step by step.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};

use serde::de::DeserializeOwned;

use crate::Outcome;
use crate::processes::{self, Process};
use crate::servers::{Kind, Place, Redis, Server, Settings};

/// A server with a Redis and a load generator of its own: who shared a Redis would get the others' messages.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    pub(crate) redis: Redis,
    load: Load,
    _server: Server,
}

struct Load {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Bench {
    pub(crate) fn start(place: &Place, kind: Kind, settings: &Settings) -> Outcome<Self> {
        let redis = Redis::start(place)?;
        let server = Server::start(place, kind, &redis, settings)?;
        let mut command = processes::command(&place.program("load"));
        let pids: Vec<String> = server.pids().iter().map(u32::to_string).collect();
        command.args([
            "--server",
            &server.address.to_string(),
            "--redis",
            &redis.address.to_string(),
        ]);
        command.args(["--pid", &pids.join(","), "--redis-pid", &redis.pid().to_string(), "-"]);
        if kind == Kind::Nchan {
            command.arg("--publish-over-http");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, place.load_cores())?;
        let input = process.0.stdin.take().ok_or("no pipe")?;
        let output = BufReader::new(process.0.stdout.take().ok_or("no pipe")?);
        Ok(Self { kind, redis, load: Load { input, output, _process: process }, _server: server })
    }

    /// Lets the load generator take a step. It fails when the load generator does: a delivery was missing,
    /// for one; it has then said what.
    pub(crate) fn step<T: DeserializeOwned>(&mut self, line: &str) -> Outcome<T> {
        writeln!(self.load.input, "{line}")?;
        let mut answer = String::new();
        self.load.output.read_line(&mut answer)?;
        if answer.is_empty() {
            return Err(
                format!("{}: the load generator gave up at: {line}", self.kind.name()).into()
            );
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
