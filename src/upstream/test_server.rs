//! Private `redis-server` children for tests.

use crate::config;
pub(super) use crate::net::held_port::HeldPort;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a child may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What it says, in its directory.
const LOG: &str = "redis.log";

/// A private `redis-server`, killed when dropped.
pub(super) struct Server {
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        let child = Self::launch(&directory, &arguments);
        let mut server = Self { child, directory, arguments };
        server.wait();
        server
    }

    /// One that speaks TLS at this port and asks for a client's certificate. All certificates are made in
    /// this directory, see [`certify`].
    pub(super) fn with_certificates(directory: &Path, port: u16) -> Self {
        certify(directory);
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        Self::start(
            &[
                ["--tls-port", &port.to_string()],
                ["--tls-cert-file", &file("server.pem")],
                ["--tls-key-file", &file("server.key")],
                ["--tls-ca-cert-file", &file("ca.pem")],
                ["--tls-auth-clients", "yes"],
            ]
            .concat(),
        )
    }

    fn launch(directory: &TempDir, arguments: &[String]) -> Child {
        let mut process = Process::new("redis-server");
        process.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        process.arg(directory.path().join("redis.sock")).arg("--dir").arg(directory.path());
        // The address at which a port can be held.
        process.args(["--bind", "127.0.0.1", "--logfile"]).arg(directory.path().join(LOG));
        process.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        process.spawn().expect("redis-server is installed")
    }

    /// Waits until it accepts connections; fails at once, with its log, when it ends instead.
    fn wait(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "redis-server has ended: {}", self.log());
            assert!(Instant::now() < deadline, "redis-server does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_default()
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(self.socket()).unwrap();
    }

    pub(super) fn restart(&mut self) {
        self.child = Self::launch(&self.directory, &self.arguments);
        self.wait();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Runs a command as the default user; the reply's scalars in their order.
    pub(super) fn call(&self, words: &[&str]) -> Vec<String> {
        call(&UnixStream::connect(self.socket()).unwrap(), words)
    }

    pub(super) fn publish(&self, channel: &str, payload: &str) {
        self.call(&["PUBLISH", channel, payload]);
    }

    /// Subscribers of these channels, added up.
    pub(super) fn subscribers(&self, channels: &[String]) -> usize {
        let mut words = vec!["PUBSUB", "NUMSUB"];
        words.extend(channels.iter().map(String::as_str));
        let reply = self.call(&words);
        reply.chunks(2).map(|pair| pair[1].parse::<usize>().unwrap()).sum()
    }

    /// Connections besides the one that asks.
    pub(super) fn connections(&self) -> usize {
        self.call(&["CLIENT", "LIST"])[0].lines().count() - 1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn call(mut stream: &UnixStream, words: &[&str]) -> Vec<String> {
    stream.write_all(&command(words)).unwrap();
    let mut reply = Vec::new();
    read_reply(&mut BufReader::new(stream), &mut reply);
    reply
}

pub(super) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

pub(super) fn read_reply(reader: &mut impl BufRead, reply: &mut Vec<String>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (kind, rest) = line.trim_end().split_at(1);
    match kind {
        "$" if rest == "-1" => {}
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
            reader.read_exact(&mut bytes).unwrap();
            reply.push(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned());
        }
        "*" => (0..rest.parse().unwrap()).for_each(|_| read_reply(reader, reply)),
        _ => reply.push(rest.to_owned()),
    }
}

/// The configuration of a file, in which names of files are relative to this directory.
pub(super) fn configured(directory: &Path, redis: &str) -> config::Redis {
    let text = format!(
        "[redis]\n{redis}\n[[endpoint]]\nname = \"a\"\npath = \"/a\"\nchannels = [\"a\"]\n\
         auth = \"none\"\n"
    );
    let name = directory.join("sockway.toml");
    let loaded = config::parse_with(&text, name.to_str().unwrap(), &|_| None);
    loaded.unwrap_or_else(|error| panic!("{}", error.report())).config.redis
}

/// A server of few words: answers each command by what `answer` makes of its words.
pub(super) fn fake(answer: impl Fn(&[String]) -> String + Send + 'static) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fake.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut words = Vec::new();
            if reader.fill_buf().is_ok_and(<[u8]>::is_empty) {
                return;
            }
            read_reply(&mut reader, &mut words);
            stream.write_all(answer(&words).as_bytes()).unwrap();
        }
    });
    (directory, path)
}

/// An authority, and a server's and a client's certificate of it.
fn certify(directory: &Path) {
    let openssl = |line: &str| {
        let mut process = Process::new("openssl");
        process.current_dir(directory).args(line.split(' ')).stderr(Stdio::null());
        assert!(process.status().expect("openssl is installed").success(), "{line}");
    };
    let key = "-nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    openssl(&format!("req -x509 {key} -subj /CN=ca -keyout ca.key -out ca.pem"));
    for name in ["server", "client"] {
        openssl(&format!(
            "req -x509 {key} -subj /CN={name} -keyout {name}.key -out {name}.pem -CA ca.pem \
             -CAkey ca.key -addext subjectAltName=DNS:localhost -addext \
             basicConstraints=critical,CA:FALSE"
        ));
    }
}
