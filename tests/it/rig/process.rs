//! A child process that never outlives its test, with all of its output kept.

use super::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the reader of an output may need to catch up with a child that has ended.
const MOMENT: Duration = Duration::from_millis(500);

/// The program under test.
pub(crate) fn sockway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sockway"))
}

/// A running child. Killed at drop, by its own id.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Process {
    /// Starts the command with both outputs collected and no input.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::begin(command.stdin(Stdio::null()))
    }

    /// … with an input that the test writes, and ends by dropping it.
    pub(crate) fn start_with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut process = Self::begin(command.stdin(Stdio::piped()));
        let input = process.child.stdin.take().expect("piped");
        (process, input)
    }

    fn begin(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Lines::collect(child.stdout.take().expect("piped"));
        let stderr = Lines::collect(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child is alive");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_none()
    }

    /// Waits for a condition that depends on this child.
    ///
    /// # Panics
    /// At once, with its last words, when the child ends first.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        wait::within(wait::LIMIT, what, || {
            let ended = self.child.try_wait().expect("the child is ours");
            let answer = probe();
            if let (None, Some(status)) = (&answer, ended) {
                panic!("the child ended ({status}) before {what}\n{}", self.last_words());
            }
            answer
        })
    }

    /// The last lines of both outputs; complete if the child has ended.
    fn last_words(&self) -> String {
        [("stdout", &self.stdout), ("stderr", &self.stderr)]
            .map(|(name, lines)| format!("--- the end of its {name}\n{}", lines.tail()))
            .join("\n")
    }

    /// Waits for the end, and for the last line of output.
    #[track_caller]
    pub(crate) fn exit_within(&mut self, limit: Duration) -> ExitStatus {
        let status = wait::within(limit, "the process ends", || {
            self.child.try_wait().expect("the child is ours")
        });
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// Waits for the end and gives its exit code.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i32 {
        self.exit_within(wait::LIMIT).code().expect("ended by itself, not by a signal")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            report(&self.last_words());
        }
    }
}

#[expect(clippy::print_stderr, reason = "shown by the test harness when a test fails")]
fn report(last_words: &str) {
    eprintln!("a child of this test:\n{last_words}\n---");
}

/// The lines of one output, as they come.
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                sink.lock().expect("no holder panics").push(text);
                line.clear();
            }
        });
        Self { lines, reader: Some(reader) }
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// Everything so far as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// The first line so far for which `pick` returns a value.
    pub(crate) fn find<T>(&self, pick: impl FnMut(&String) -> Option<T>) -> Option<T> {
        self.lines.lock().expect("no holder panics").iter().find_map(pick)
    }

    /// Waits for a line for which `pick` returns a value.
    ///
    /// # Panics
    /// At once, with the last lines, when the output ends without one.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(&String) -> Option<T>) -> T {
        wait::within(wait::LIMIT, what, || {
            let at_end = self.is_at_end();
            let answer = self.find(&mut pick);
            if answer.is_none() && at_end {
                panic!("the output ended before {what}\n{}", self.tail());
            }
            answer
        })
    }

    /// Whether the output is closed and completely read.
    fn is_at_end(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The last 30 lines. Waits a moment for the reader to finish, but no longer: a grandchild may
    /// keep the output open.
    fn tail(&self) -> String {
        let start = Instant::now();
        while !self.is_at_end() && start.elapsed() < MOMENT {
            thread::sleep(Duration::from_millis(5));
        }
        let lines = self.all();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
