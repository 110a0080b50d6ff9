//! A `sockway` child process that never outlives its test, with output that tests can wait for.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a fact.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A running child.
pub(crate) struct Sockway {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Sockway {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = Lines::collect(child.stdout.take().expect("piped"));
        let stderr = Lines::collect(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the child is alive");
    }

    /// Waits for a line of stdout for which `pick` returns a value.
    #[track_caller]
    pub(crate) fn printed<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.stdout.wait_for(what, pick)
    }

    /// Waits for a line of stderr for which `pick` returns a value.
    #[track_caller]
    pub(crate) fn noted<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.stderr.wait_for(what, pick)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the exit; `None` if a signal ended it.
    #[track_caller]
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        let child = &mut self.child;
        wait_for("the process ends", || child.try_wait().unwrap()).code()
    }
}

impl Drop for Sockway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of one output, as they come.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn collect(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        Self { lines, reader }
    }

    /// Waits for a line for which `pick` returns a value. Fails at once, showing the output, when
    /// it ends without one.
    #[track_caller]
    fn wait_for<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        wait_for(what, || {
            let at_end = self.reader.is_finished();
            let lines = self.lines.lock().unwrap();
            let found = lines.iter().find_map(|line| pick(line));
            assert!(found.is_some() || !at_end, "ended without: {what}\n{}", lines.join("\n"));
            found
        })
    }
}
