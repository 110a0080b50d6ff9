//! A headless Chromium, driven by the `DevTools` protocol; for tests of pages.
//!
//! One page. Everything the browser complains about (an exception, an error in its console, a
//! violated policy) is kept, so that a test can assert that there was nothing.

use super::{
    process::Process,
    wait::{LIMIT, until},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{net::TcpStream, process::Command};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// A browser with one page. Killed at drop.
pub(crate) struct Chromium {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    commands: u64,
    complaints: Vec<String>,
    // Dropped in this order: the browser ends before its directory is removed.
    _process: Process,
    _directory: TempDir,
}

impl Chromium {
    /// A browser whose page is 1280 pixels wide and empty.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("chromium");
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--no-first-run", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", directory.path().display()))
            .arg("about:blank");
        let process = Process::start(&mut command);
        let url = process.stderr.wait_for("chromium says where it listens", |line| {
            line.split_once("DevTools listening on ").map(|(_, url)| url.to_owned())
        });
        let host = url.split('/').nth(2).expect("a host in the URL").to_owned();
        let stream = TcpStream::connect(host).expect("chromium accepts");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket option");
        let (socket, _) = tungstenite::client(url, stream).expect("a WebSocket to chromium");
        let mut browser = Self {
            socket,
            session: None,
            commands: 0,
            complaints: Vec::new(),
            _process: process,
            _directory: directory,
        };
        browser.open_page();
        browser
    }

    fn open_page(&mut self) {
        let target = self.command("Target.createTarget", &json!({ "url": "about:blank" }));
        let to = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", &to);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.command(&format!("{domain}.enable"), &json!({}));
        }
        self.width(1280);
    }

    /// Goes to a page.
    pub(crate) fn visit(&mut self, url: &str) {
        self.command("Page.navigate", &json!({ "url": url }));
    }

    /// The page's width from now on, in pixels.
    pub(crate) fn width(&mut self, width: u32) {
        let metrics =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// The user's preferred colour scheme from now on: "light" or "dark".
    pub(crate) fn prefers(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let evaluate =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.command("Runtime.evaluate", &evaluate);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        let guarded =
            format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        until(expression, || self.value(&guarded) == true);
    }

    /// A screenshot of the page, as PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.command("Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64")
    }

    /// Everything the browser has complained about so far.
    pub(crate) fn complaints(&mut self) -> &[String] {
        // Earlier events arrive before the answer to this command.
        self.value("1");
        &self.complaints
    }

    #[track_caller]
    fn command(&mut self, method: &str, parameters: &Value) -> Value {
        self.commands += 1;
        let mut command = json!({ "id": self.commands, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).expect("chromium reads");
        loop {
            let Message::Text(text) = self.socket.read().expect("chromium answers") else {
                continue;
            };
            let mut message: Value = serde_json::from_str(text.as_str()).expect("JSON");
            if message["id"] == self.commands {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].take();
            }
            self.listen(&message);
        }
    }

    fn listen(&mut self, event: &Value) {
        let parameters = &event["params"];
        let bad = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning", "assert"].iter().any(|kind| parameters["type"] == *kind)
            }
            Some("Log.entryAdded") => {
                ["error", "warning"].iter().any(|level| parameters["entry"]["level"] == *level)
            }
            // An alert: a script ran that must not run.
            Some("Page.javascriptDialogOpening") => true,
            _ => false,
        };
        if bad {
            self.complaints.push(parameters.to_string());
        }
    }
}
