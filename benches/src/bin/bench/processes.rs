//! Children that are pinned to cores and end when they are dropped, or with this program.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Outcome;

const START: Duration = Duration::from_secs(20);

pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts a program on these cores; an empty list means all.
    pub(crate) fn start(command: &mut Command, cores: &[usize]) -> Outcome<Self> {
        let before = sched_getaffinity(None)?;
        if !cores.is_empty() {
            let mut set = CpuSet::new();
            cores.iter().for_each(|core| set.set(*core));
            sched_setaffinity(None, &set)?;
        }
        // A child inherits the cores of the thread that starts it.
        let child = command.spawn();
        sched_setaffinity(None, &before)?;
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self(child.map_err(|error| format!("cannot start {program}: {error}"))?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for a condition that depends on this child.
    ///
    /// # Errors
    /// With its log: when it takes too long, and at once when the child ends first.
    pub(crate) fn wait_until(
        &mut self,
        otherwise: &str,
        log: &Path,
        mut so: impl FnMut() -> bool,
    ) -> Outcome<()> {
        let mut ended = None;
        let waited = wait_until(otherwise, || {
            ended = self.0.try_wait().unwrap_or_default();
            so() || ended.is_some()
        });
        match (waited, ended) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(status)) => Err(with_log(&format!("{otherwise}: {status}"), log)),
            (Err(error), _) => Err(with_log(&error.to_string(), log)),
        }
    }
}

fn with_log(error: &str, log: &Path) -> Box<dyn Error> {
    let said = fs::read_to_string(log).unwrap_or_default();
    format!("{error}\n{said}").into()
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; nothing can be done about other errors here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, set to be killed when this one ends, if `setpriv` is installed.
pub(crate) fn command(program: &str) -> Command {
    let mut probe = Command::new("setpriv");
    let known = probe.arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// The answer to a GET, head included.
///
/// # Errors
/// When there is no answer, or one other than 200.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(answer.into()) }
}

/// Polls every few milliseconds until the condition holds.
pub(crate) fn wait_until(otherwise: &str, mut so: impl FnMut() -> bool) -> Outcome<()> {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > START {
            return Err(otherwise.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// All cores that this program may use.
pub(crate) fn cores() -> Outcome<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ends_early_is_told_at_once_with_its_log() {
        let log = std::env::temp_dir().join(format!("sockway-bench-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo farewell; exit 3"]).stdout(fs::File::create(&log).unwrap());
        let mut child = Process::start(&mut command, &[]).unwrap();
        let start = Instant::now();
        let error = child.wait_until("it does not listen", &log, || false).unwrap_err().to_string();
        fs::remove_file(&log).unwrap();
        assert!(error.contains("does not listen") && error.contains("farewell"), "{error}");
        assert!(start.elapsed() < START / 4, "took {:?}", start.elapsed());
    }
}
