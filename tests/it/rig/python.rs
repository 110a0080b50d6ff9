//! A Python with third-party libraries, and a WebSocket client written with it.
//!
//! `SOCKWAY_PEER_PYTHON` names a Python that has `websockets` and `redis`; `make test` installs one.

use super::{process::Process, wait};
use serde_json::Value;
use std::{
    env,
    io::Write as _,
    net::SocketAddr,
    process::{ChildStdin, Command, Stdio},
};

pub(crate) const NO_PYTHON: &str =
    "no Python with `websockets` and `redis`; `make test` installs one";

/// That Python; `None` if there is none and none is required.
pub(crate) fn python() -> Option<String> {
    let promised = env::var("SOCKWAY_PEER_PYTHON").ok();
    let python = promised.clone().unwrap_or_else(|| "python3".to_owned());
    let works = Command::new(&python)
        .args(["-c", "import websockets.asyncio.client, redis"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = promised.is_some() || env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        works || !required,
        "{python} lacks `websockets` or `redis`: `make test` installs them"
    );
    works.then_some(python)
}

/// An open WebSocket of Python's `websockets`.
pub(crate) struct Peer {
    process: Process,
    input: ChildStdin,
    read: usize,
}

impl Peer {
    #[track_caller]
    pub(crate) fn open(python: &str, address: SocketAddr, target: &str, token: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/peers/converse.py");
        let url = format!("ws://{address}{target}");
        let mut command = Command::new(python);
        let (process, input) = Process::start_with_input(command.args([script, &url, token]));
        let mut peer = Self { process, input, read: 0 };
        assert_eq!(peer.text(), "open");
        peer
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        let message = wait::within(wait::LIMIT, "a message for the peer", || {
            self.process.stdout.all().get(self.read).cloned()
        });
        self.read += 1;
        message
    }

    /// … which is JSON.
    #[track_caller]
    pub(crate) fn json(&mut self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The next message of this type; others before it are skipped.
    #[track_caller]
    pub(crate) fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.json();
            if message["type"] == kind {
                return message;
            }
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").expect("the peer reads");
    }
}
