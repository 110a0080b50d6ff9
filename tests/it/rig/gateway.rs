//! The gateway under test: the real binary, started with a real file, used through its real ports.

use super::{
    client::Client,
    http::{Request, Response},
    metrics::Metrics,
    process::{Process, sockway},
    settings::Settings,
    token,
    vitals::Vitals,
    wait,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A running gateway. Killed at drop.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    directory: TempDir,
    /// The public port.
    pub(crate) address: SocketAddr,
    /// The admin port.
    pub(crate) admin: SocketAddr,
}

impl Gateway {
    /// Starts a gateway and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(settings: &Settings) -> Self {
        let gateway = Self::start_unready(settings);
        gateway.wait_ready();
        gateway
    }

    /// Starts a gateway and waits only until it listens.
    #[track_caller]
    pub(crate) fn start_unready(settings: &Settings) -> Self {
        let (process, directory) = spawn(settings);
        Self::listening(process, directory)
    }

    /// Starts a gateway by a command of the test's own; `directory` holds its file.
    #[track_caller]
    pub(crate) fn from_command(command: &mut Command, directory: TempDir) -> Self {
        Self::listening(Process::start(command), directory)
    }

    /// Starts a gateway with this limit on open files.
    #[track_caller]
    pub(crate) fn start_with_files(files: u32, settings: &Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("sockway.toml");
        std::fs::write(&file, settings.text()).expect("written");
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}")).arg(env!("CARGO_BIN_EXE_sockway"));
        let gateway = Self::from_command(command.args(["serve", "--config"]).arg(&file), directory);
        gateway.wait_ready();
        gateway
    }

    #[track_caller]
    fn listening(process: Process, directory: TempDir) -> Self {
        let (address, admin) =
            process.stderr.wait_for("the gateway listens", |line| listening(line));
        Self { process, directory, address, admin }
    }

    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        wait::until("the gateway is ready", || self.is_ready());
    }

    #[track_caller]
    pub(crate) fn wait_unready(&self) {
        wait::until("the gateway is not ready", || !self.is_ready());
    }

    #[track_caller]
    pub(crate) fn is_ready(&self) -> bool {
        self.admin("/readyz").status == 200
    }

    /// GET on the admin port.
    #[track_caller]
    pub(crate) fn admin(&self, target: &str) -> Response {
        Request::get(target).header("Connection", "close").send(self.admin)
    }

    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        let response = self.admin("/metrics");
        assert_eq!(response.status, 200);
        Metrics::parse(&response.text())
    }

    /// Waits until a series has exactly this value.
    #[track_caller]
    pub(crate) fn wait_metric(&self, series: &str, expected: f64) {
        let mut last = f64::NAN;
        let mut tries = || {
            last = self.metrics().get(series);
            last == expected
        };
        let start = std::time::Instant::now();
        while !tries() {
            assert!(start.elapsed() < wait::LIMIT, "{series} is {last}, not {expected}");
        }
    }

    /// Opens a WebSocket without a token.
    #[track_caller]
    pub(crate) fn open(&self, target: &str) -> Client {
        Client::open(self.address, &Request::upgrade(target))
    }

    /// Opens a WebSocket with a good token of this user.
    #[track_caller]
    pub(crate) fn open_as(&self, user: &str, target: &str) -> Client {
        self.open_with(&token::of(user), target)
    }

    /// Opens a WebSocket with this token.
    #[track_caller]
    pub(crate) fn open_with(&self, token: &str, target: &str) -> Client {
        Client::open(self.address, &Request::upgrade(target).bearer(token))
    }

    /// Sends a request to the public port.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }

    /// Writes these settings into its file, sends SIGHUP, and waits for the outcome: whether they
    /// were applied.
    #[track_caller]
    pub(crate) fn reload(&self, settings: &Settings) -> bool {
        self.reload_text(settings.text())
    }

    /// … with any content of the file.
    #[track_caller]
    pub(crate) fn reload_text(&self, text: impl AsRef<[u8]>) -> bool {
        let file = self.config_file();
        std::fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.hang_up()
    }

    /// Sends SIGHUP and waits for the outcome: whether the file was applied.
    #[track_caller]
    pub(crate) fn hang_up(&self) -> bool {
        let before = self.reloads();
        self.process.signal(Signal::HUP);
        wait::until("the reload is counted", || self.reloads() != before);
        let (applied, refused) = self.reloads();
        assert_eq!(applied + refused, before.0 + before.1 + 1.0, "one reload, one outcome");
        applied > before.0
    }

    /// How many reloads were applied, and how many refused.
    #[track_caller]
    pub(crate) fn reloads(&self) -> (f64, f64) {
        let metrics = self.metrics();
        let count =
            |result| metrics.get(&format!("sockway_config_reloads_total{{result=\"{result}\"}}"));
        (count("applied"), count("refused"))
    }

    /// Waits for the log record of a refused reload that contains this text.
    #[track_caller]
    pub(crate) fn refused_because(&self, reason: &str) {
        self.process.stderr.wait_for(reason, |line| {
            (line.contains("reload refused") && line.contains(reason)).then_some(())
        });
    }

    /// The process's resources now.
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals::of(self.process.id())
    }

    /// Waits until the process uses no more resources than it did then (I6).
    #[track_caller]
    pub(crate) fn wait_back_to(&self, before: Vitals) {
        self.wait_back_while(before, || ());
    }

    /// … and has it do this meanwhile.
    #[track_caller]
    pub(crate) fn wait_back_while(&self, before: Vitals, meanwhile: impl FnMut()) {
        before.wait_back(self.process.id(), meanwhile);
    }

    /// Changes the limit on open files of the running process. The hard limit stays, so that this
    /// can be undone.
    #[track_caller]
    pub(crate) fn limit_files(&self, most: usize) {
        let id = self.process.id();
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).expect("it lives");
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let hard = line.and_then(|line| line.split_whitespace().nth(1)).expect("Linux says it");
        let limit = Rlimit { current: Some(most as u64), maximum: hard.parse().ok() };
        prlimit(Pid::from_raw(id.cast_signed()), Resource::Nofile, limit).expect("it is ours");
    }

    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// The configuration file that it was started with.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("sockway.toml")
    }
}

/// Starts `sockway serve` with these settings and waits for nothing.
pub(crate) fn spawn(settings: &Settings) -> (Process, TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("sockway.toml");
    std::fs::write(&file, settings.text()).expect("the file can be written");
    let process = Process::start(sockway().arg("serve").arg("--config").arg(&file));
    (process, directory)
}

/// The public and the admin address, if this is the log record that contains them.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let record: Value = serde_json::from_str(line).ok()?;
    let fields = record.get("fields").unwrap_or(&record);
    if fields["message"] != "listening" {
        return None;
    }
    Some((fields["address"].as_str()?.parse().ok()?, fields["admin"].as_str()?.parse().ok()?))
}
