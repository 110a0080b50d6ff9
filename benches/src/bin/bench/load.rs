//! The load generator, driven step by step.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use sockway_benches::report::Window;

use crate::Outcome;
use crate::processes::{self, Process};
use crate::servers::{Kind, Place, Redis, Server, Settings};

/// A server with a Redis and a load generator of its own: with a shared Redis it would get the others' messages.
pub(crate) struct Bench {
    pub(crate) kind: Kind,
    // Dropped in this order: a program that lost its peer first would report an error.
    load: Load,
    server: Server,
    pub(crate) redis: Redis,
    deliveries: u64,
}

/// A load generator.
pub(crate) struct Load {
    kind: Kind,
    /// The latest step.
    asked: String,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Bench {
    pub(crate) fn start(place: &Place, kind: Kind, settings: &Settings) -> Outcome<Self> {
        let redis = Redis::start(place)?;
        let server = Server::start(place, kind, &redis, settings)?;
        let command = processes::command(&place.program("load"));
        let load = Load::start(command, place, kind, &server, &redis, settings.tls)?;
        Ok(Self { kind, redis, load, server, deliveries: 0 })
    }

    /// One more load generator for the same server, which runs only while the first, on the same core, waits:
    /// otherwise that would measure how the two share the core.
    pub(crate) fn another_load(&self, place: &Place) -> Outcome<Load> {
        let mut command = processes::command("chrt");
        command.args(["--idle", "0"]).arg(place.program("load"));
        Load::start(command, place, self.kind, &self.server, &self.redis, false)
    }

    /// Lets the load generator do one step.
    pub(crate) fn step<T: DeserializeOwned>(&mut self, line: &str) -> Outcome<T> {
        self.load.ask(line)?;
        self.load.answer()
    }

    /// A step that publishes.
    pub(crate) fn window(&mut self, line: &str) -> Outcome<Window> {
        let window: Window = self.step(line)?;
        self.deliveries += window.deliveries;
        Ok(window)
    }

    /// The sum of a metric of Sockway, over all series whose labels contain this.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Outcome<u64> {
        let admin = self.server.admin.ok_or("it has no metrics")?;
        let text = processes::http_get(admin, "/metrics")?;
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    /// Checks Sockway's count of deliveries against that of the load generator.
    pub(crate) fn compare_counts(&self) -> Outcome<()> {
        if !self.kind.is_sockway() {
            return Ok(());
        }
        let (counted, came) = (self.metric("sockway_deliveries_total", "")?, self.deliveries);
        if counted != came {
            return Err(format!("Sockway counted {counted} deliveries, but {came} came").into());
        }
        Ok(())
    }
}

impl Load {
    fn start(
        mut command: Command,
        place: &Place,
        kind: Kind,
        server: &Server,
        redis: &Redis,
        tls: bool,
    ) -> Outcome<Self> {
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
        if tls {
            let [certificate, _] = place.certificate()?;
            command.arg("--tls-ca").arg(certificate);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, place.load_cores())?;
        let input = process.0.stdin.take().ok_or("no pipe")?;
        let output = BufReader::new(process.0.stdout.take().ok_or("no pipe")?);
        Ok(Self { kind, input, output, asked: String::new(), _process: process })
    }

    /// Asks for one step.
    pub(crate) fn ask(&mut self, line: &str) -> Outcome<()> {
        line.clone_into(&mut self.asked);
        Ok(writeln!(self.input, "{line}")?)
    }

    /// Waits for the step's figures. Fails when the load generator fails, for example because a delivery was
    /// missing; it has then printed the reason.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.is_empty() {
            let (name, asked) = (self.kind.name(), &self.asked);
            return Err(format!("{name}: the load generator failed at: {asked}").into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
