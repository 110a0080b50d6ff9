//! A `redis-server` of our own: started on a free port, proven to be ours, and gone with us.
//!
//! Two things end it. Dropping [`PrivateRedis`] does, and covers every orderly end, errors and
//! panics included. For the others, SIGKILL above all, a watchdog process waits for the end of a
//! pipe that only we hold open, then ends Redis and removes its directory.

use super::scratch::Scratch;
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How many ports are tried, should each be taken between looking and starting.
const ATTEMPTS: usize = 5;

/// How often to look whether it has started, or ended.
const POLL: Duration = Duration::from_millis(20);

/// How long an orderly end may take before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until we are gone, then clears up. `$1`: Redis's process, `$2`: its directory.
const WATCHDOG: &str = r#"cat >/dev/null; kill "$1" 2>/dev/null; rm -rf "$2""#;

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedisError {
    #[error(
        "redis-server is not on the PATH. Install it, for example: apt install redis-server, \
         dnf install redis, apk add redis, brew install redis"
    )]
    NotInstalled,
    #[error("cannot prepare the private redis-server")]
    Prepare(#[source] io::Error),
    #[error("the private redis-server does not start: {0}")]
    Start(String),
}

/// A running private Redis.
#[derive(Debug)]
pub(super) struct PrivateRedis {
    port: u16,
    child: Child,
    watchdog: Option<Child>,
    scratch: Scratch,
}

impl PrivateRedis {
    /// Starts it and waits until it answers.
    pub(super) fn start() -> Result<Self, RedisError> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let mut redis = Self::spawn(free_port().map_err(RedisError::Prepare)?)?;
            match redis.wait_until_ours() {
                Ok(()) => return Ok(redis),
                Err(why) => last = why,
            }
        }
        Err(RedisError::Start(last))
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Resolves when it has ended, which it should not before [`PrivateRedis::stop`].
    pub(super) async fn ended(&mut self) {
        while matches!(self.child.try_wait(), Ok(None)) {
            tokio::time::sleep(10 * POLL).await;
        }
    }

    /// Ends it and removes its directory.
    pub(super) fn stop(self) {
        drop(self);
    }

    fn spawn(port: u16) -> Result<Self, RedisError> {
        let scratch = Scratch::new().map_err(RedisError::Prepare)?;
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole group: sessions must be closed before Redis.
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => RedisError::NotInstalled,
                _ => RedisError::Prepare(error),
            })?;
        let mut redis = Self { port, child, watchdog: None, scratch };
        redis.watchdog = Some(redis.watch().map_err(RedisError::Prepare)?);
        Ok(redis)
    }

    fn watch(&self) -> io::Result<Child> {
        Command::new("sh")
            .args(["-c", WATCHDOG, "sockway-dev-watchdog", &self.child.id().to_string()])
            .arg(self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }

    fn wait_until_ours(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(_)) => return Err(self.last_words()),
                Err(error) => return Err(error.to_string()),
            }
            // The server that answers on that port could be another Redis that was faster.
            if answers_as(self.port, self.child.id()) {
                self.drain_output();
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(format!("no answer within {} s", START_TIMEOUT.as_secs()))
    }

    /// The last line that a Redis that ended has written.
    fn last_words(&mut self) -> String {
        let mut output = String::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            // Whole, because its writer has ended; what is not text is not worth showing.
            let _ = stdout.read_to_string(&mut output);
        }
        output.lines().rfind(|line| !line.is_empty()).unwrap_or("it ended at once").to_owned()
    }

    /// A pipe that nobody reads would stop Redis when it is full. Ends when Redis does.
    fn drain_output(&mut self) {
        if let Some(mut stdout) = self.child.stdout.take() {
            thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        }
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        // The watchdog first: once Redis is reaped, its number may be another process's.
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        end(&mut self.child);
    }
}

/// Asks a child to end, makes it end, and reaps it.
fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    // Not reaped yet, so the number is still its own.
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(POLL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A port that is free now. Another program may get it before Redis binds it: then Redis ends, and
/// the next attempt takes another port. No other Redis is mistaken for ours ([`answers_as`]).
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether the Redis on this port answers, and is this process.
fn answers_as(port: u16, process: u32) -> bool {
    info(port).is_ok_and(|info| info.lines().any(|line| line == format!("process_id:{process}")))
}

fn info(port: u16) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"INFO server\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.take(64 * 1024).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_running(process: u32) -> bool {
        std::fs::metadata(format!("/proc/{process}")).is_ok()
    }

    #[test]
    fn it_answers_as_itself_and_leaves_neither_process_nor_directory() {
        let redis = PrivateRedis::start().unwrap();
        let (port, process) = (redis.port(), redis.child.id());
        let watchdog = redis.watchdog.as_ref().unwrap().id();
        let directory = redis.scratch.path().to_owned();
        assert!(answers_as(port, process));
        assert!(!answers_as(port, process + 1), "another process is not ours");
        assert!(directory.is_dir());

        redis.stop();

        assert!(!is_running(process) && !is_running(watchdog));
        assert!(!directory.exists());
    }

    #[test]
    fn a_port_that_is_taken_is_told_by_redis_itself() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut redis = PrivateRedis::spawn(taken.local_addr().unwrap().port()).unwrap();
        let why = redis.wait_until_ours().unwrap_err();
        assert!(why.contains("ailed listening"), "{why}");
    }

    #[test]
    fn the_watchdog_clears_up_when_its_owner_is_gone() {
        let mut redis = PrivateRedis::start().unwrap();
        let directory = redis.scratch.path().to_owned();
        // What the end of this process would do: the pipe is closed.
        drop(redis.watchdog.as_mut().unwrap().stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while directory.exists() || matches!(redis.child.try_wait(), Ok(None)) {
            assert!(Instant::now() < deadline, "Redis or its directory is still there");
            thread::sleep(POLL);
        }
    }
}
