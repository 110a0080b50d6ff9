//! A real `redis-server` child of the test's own, and a small client that acts as the backend.
//!
//! The test itself uses a unix socket in its directory, so that faults on the gateway's connection
//! to Redis do not affect the test.

use super::{
    port::HeldPort,
    process::Process,
    resp::{Connection, Reply},
    wait,
};
use rustix::process::Signal;
use std::{path::PathBuf, process::Command, sync::Mutex};
use tempfile::TempDir;

/// A Redis of the test's own. Killed at drop.
pub(crate) struct Redis {
    directory: TempDir,
    /// Kept across restarts of the server.
    port: HeldPort,
    port_option: &'static str,
    arguments: Vec<String>,
    process: Option<Process>,
    backend: Mutex<Option<Connection>>,
}

impl Redis {
    /// A Redis that answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// … with more arguments for `redis-server`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { arguments, ..Self::absent() }.begun()
    }

    /// … that speaks TLS, and nothing else, on its port.
    pub(crate) fn start_tls(certificate: &str, key: &str) -> Self {
        let arguments = [
            "--port",
            "0",
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            certificate,
            "--tls-auth-clients",
            "no",
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self { port_option: "--tls-port", arguments, ..Self::absent() }.begun()
    }

    fn begun(mut self) -> Self {
        self.begin();
        self
    }

    /// A Redis that is not running; [`Redis::begin`] starts it.
    pub(crate) fn absent() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            port: HeldPort::new().expect("a free port"),
            port_option: "--port",
            arguments: Vec::new(),
            process: None,
            backend: Mutex::new(None),
        }
    }

    /// Starts or restarts the server, always on the same port, and waits until it answers.
    pub(crate) fn begin(&mut self) {
        self.launch(&[], |reply| matches!(reply, Reply::Text(_)));
    }

    /// … with more arguments, and waits only until it answers that it is loading.
    pub(crate) fn begin_loading(&mut self, arguments: &[&str]) {
        self.launch(
            arguments,
            |reply| matches!(reply, Reply::Error(error) if error.starts_with("LOADING")),
        );
    }

    fn launch(&mut self, arguments: &[&str], is_there: impl Fn(Reply) -> bool) {
        let mut command = Command::new("redis-server");
        command
            .args([
                self.port_option,
                &self.port.address().port().to_string(),
                "--bind",
                "127.0.0.1",
            ])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .args(&self.arguments)
            .args(arguments);
        let mut process = Process::start(&mut command);
        // It binds the port before the unix socket, and exits when it cannot: an answer here
        // means that it listens on both.
        process.wait_for("redis answers", || {
            let answer =
                Connection::open(&self.socket()).and_then(|mut redis| redis.try_command(&["PING"]));
            answer.is_ok_and(&is_there).then_some(())
        });
        self.process = Some(process);
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) {
        *self.backend.lock().expect("no holder panics") = None;
        self.process = None;
    }

    /// Hangs the server: its connections stay, nothing is answered.
    pub(crate) fn hang(&self) {
        self.process.as_ref().expect("running").signal(Signal::STOP);
    }

    /// Resumes a hung server.
    pub(crate) fn go_on(&self) {
        self.process.as_ref().expect("running").signal(Signal::CONT);
    }

    pub(crate) fn address(&self) -> String {
        self.port.address().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A connection of its own for the test.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.socket()).expect("redis accepts")
    }

    /// Runs one command as an administrator.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> Reply {
        self.with_backend(|redis| redis.command(arguments))
    }

    /// `PUBLISH`, and how many subscribers got it.
    #[track_caller]
    pub(crate) fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> i64 {
        self.with_backend(|redis| redis.publish(channel, payload.as_ref()))
    }

    /// `XADD` of a payload, and the id that the entry got.
    #[track_caller]
    pub(crate) fn add(&self, stream: &str, payload: &str) -> String {
        self.command(&["XADD", stream, "*", "data", payload]).text()
    }

    /// Publishes all the payloads in one go; each must have reached a subscriber.
    #[track_caller]
    pub(crate) fn publish_all<P: AsRef<[u8]>>(
        &self,
        channel: &str,
        payloads: impl IntoIterator<Item = P>,
    ) {
        self.with_backend(|redis| redis.publish_all(channel, payloads));
    }

    /// How many connections are subscribed to the channel.
    #[track_caller]
    pub(crate) fn numsub(&self, channel: &str) -> i64 {
        self.with_backend(|redis| redis.numsub(&[channel])[0])
    }

    /// Waits until the channel has exactly so many subscribers.
    #[track_caller]
    pub(crate) fn wait_numsub(&self, channel: &str, expected: i64) {
        wait::until(&format!("{channel} has {expected} subscribers"), || {
            self.numsub(channel) == expected
        });
    }

    #[track_caller]
    fn with_backend<T>(&self, use_it: impl FnOnce(&mut Connection) -> T) -> T {
        let mut backend = self.backend.lock().expect("no holder panics");
        use_it(backend.get_or_insert_with(|| self.connect()))
    }
}
