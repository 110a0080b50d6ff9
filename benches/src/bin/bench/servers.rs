//! The servers that are measured, and their Redis.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sockway_benches::resp;

use crate::Outcome;
use crate::endpoints;
use crate::options::Options;
use crate::port::HeldPort;
use crate::processes::{self, Process};

const NGINX: &str = "installed/nginx/usr/sbin/nginx";
const NCHAN: &str = "installed/nginx/usr/lib/nginx/modules/ngx_nchan_module.so";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Limit,
    Sockway,
    /// The build of Sockway that is compared with.
    Before,
    Node,
    Nchan,
}

impl Kind {
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Node | Self::Nchan)
    }

    pub(crate) fn is_sockway(self) -> bool {
        matches!(self, Self::Sockway | Self::Before)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Sockway => "Sockway",
            Self::Before => "Sockway before",
            Self::Node => "Node ws + ioredis",
            Self::Nchan => "nginx + Nchan",
        }
    }
}

/// The cores, programs and files of a run.
pub(crate) struct Place<'a> {
    pub(crate) options: &'a Options,
    pub(crate) cores: Vec<usize>,
    beside: PathBuf,
    directory: Directory,
}

impl<'a> Place<'a> {
    pub(crate) fn new(options: &'a Options) -> Outcome<Self> {
        let beside = std::env::current_exe()?.parent().ok_or("no directory")?.to_owned();
        let cores = processes::cores()?;
        if cores.len() < 2 {
            eprintln!("one core only: servers and load share it, and latencies say little");
        }
        Ok(Self { options, cores, beside, directory: Directory::new()? })
    }

    pub(crate) fn server_cores(&self) -> &[usize] {
        &self.cores[..1]
    }

    pub(crate) fn load_cores(&self) -> &[usize] {
        &self.cores[1.min(self.cores.len() - 1)..]
    }

    pub(crate) fn program(&self, name: &str) -> String {
        self.beside.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    /// The files of a certificate for the loopback address and of its key.
    pub(crate) fn certificate(&self) -> Outcome<[PathBuf; 2]> {
        let files = ["certificate.pem", "key.pem"].map(|name| self.path(name));
        if !files[0].exists() {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
            fs::write(&files[0], made.cert.pem())?;
            fs::write(&files[1], made.signing_key.serialize_pem())?;
        }
        Ok(files)
    }

    /// The program of this build of Sockway.
    fn sockway(&self, kind: Kind) -> &Path {
        let before = self.options.before.as_deref().filter(|_| kind == Kind::Before);
        before.unwrap_or(&self.options.sockway)
    }

    /// Sockway, and the build that it is compared with.
    pub(crate) fn builds(&self) -> Vec<Kind> {
        let before = self.options.before.as_ref().map(|_| Kind::Before);
        before.into_iter().chain([Kind::Sockway]).collect()
    }

    /// The limit and Sockway.
    pub(crate) fn limit_and_builds(&self) -> Vec<Kind> {
        std::iter::once(Kind::Limit).chain(self.builds()).collect()
    }

    /// The limit and Sockway, and the peers that are installed.
    pub(crate) fn everybody(&self) -> Vec<Kind> {
        let mut kinds = self.limit_and_builds();
        if !self.options.no_peers {
            let peers = [(Kind::Node, "installed/node_modules"), (Kind::Nchan, NCHAN)];
            let installed = |path: &str| self.options.peers.join(path).exists();
            kinds.extend(
                peers.into_iter().filter(|(_, path)| installed(path)).map(|(kind, _)| kind),
            );
        }
        kinds
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("sockway-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // If this fails, a few small files stay in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Redis {
    process: Option<Process>,
    pub(crate) address: SocketAddr,
    cores: Vec<usize>,
    log: PathBuf,
    _port: HeldPort,
}

impl Redis {
    pub(crate) fn start(place: &Place) -> Outcome<Self> {
        let port = HeldPort::new()?;
        let address = port.address();
        let mut redis = Self {
            process: None,
            address,
            cores: place.load_cores().to_vec(),
            log: place.path(&format!("redis-{}.log", address.port())),
            _port: port,
        };
        redis.spawn()?;
        Ok(redis)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::pid)
    }

    /// Starts it and waits until it answers.
    fn spawn(&mut self) -> Outcome<()> {
        let mut command = processes::command("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()]);
        // Nothing on disk, and no limit on a slow subscriber's output buffer: the server under test must cope.
        command.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--client-output-buffer-limit",
            "pubsub 0 0 0",
        ]);
        command.stdout(fs::File::create(&self.log)?);
        let mut process = Process::start(&mut command, &self.cores)?;
        let answers = || self.ask(&[b"PING"]).is_ok();
        process.wait_until("Redis does not answer", &self.log, answers)?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it hard and starts it again; returns when the new one first answered.
    pub(crate) fn restart(&mut self) -> Outcome<Instant> {
        self.process = None;
        self.spawn()?;
        Ok(Instant::now())
    }

    /// The number of channels with at least one subscriber.
    pub(crate) fn channels(&self) -> Outcome<u64> {
        let info = self.ask(&[b"INFO", b"stats"])?;
        let line = info.lines().find_map(|line| line.strip_prefix("pubsub_channels:"));
        Ok(line.ok_or("Redis does not count its channels")?.trim().parse()?)
    }

    /// How many entries a stream has.
    pub(crate) fn entries(&self, stream: &str) -> Outcome<u64> {
        Ok(self.ask(&[b"XLEN", stream.as_bytes()])?.parse()?)
    }

    fn ask(&self, command: &[&[u8]]) -> Outcome<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (mut request, mut answer, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
        resp::command(&mut request, command);
        stream.write_all(&request)?;
        loop {
            match resp::parse(&answer)? {
                Some((resp::Value::Text(text), _)) => {
                    return Ok(String::from_utf8_lossy(text).into_owned());
                }
                Some((resp::Value::Number(number), _)) => return Ok(number.to_string()),
                Some((other, _)) => return Err(format!("Redis answered {other:?}").into()),
                None => {}
            }
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Err("Redis closed the connection".into());
            }
            answer.extend_from_slice(&buffer[..length]);
        }
    }
}

/// Settings that a scenario may change.
pub(crate) struct Settings {
    pub(crate) cores: Vec<usize>,
    pub(crate) ping_interval: &'static str,
    /// Of Sockway alone.
    pub(crate) tls: bool,
}

impl Settings {
    pub(crate) fn usual(place: &Place) -> Self {
        Self { cores: place.server_cores().to_vec(), ping_interval: "25s", tls: false }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Sockway's admin port.
    pub(crate) admin: Option<SocketAddr>,
    process: Process,
    /// nginx's worker process, a child of the process that was started.
    worker: Option<u32>,
    _ports: [HeldPort; 2],
}

impl Server {
    pub(crate) fn start(
        place: &Place,
        kind: Kind,
        redis: &Redis,
        settings: &Settings,
    ) -> Outcome<Self> {
        let ports = [HeldPort::new()?, HeldPort::new()?];
        let address = ports[0].address();
        let (listen, redis_at) = (address.to_string(), redis.address.to_string());
        let peers = &place.options.peers;
        let mut admin = None;
        let mut command = match kind {
            Kind::Limit => {
                let mut command = processes::command(&place.program("limit"));
                command.args(["--listen", &listen, "--redis", &redis_at]);
                command
            }
            Kind::Sockway | Kind::Before => {
                let admin = *admin.insert(ports[1].address());
                let file = place.path(&format!("sockway-{}.toml", address.port()));
                let mut text = endpoints::configuration(address, admin, redis.address, settings);
                if kind == Kind::Sockway {
                    text += &endpoints::streams();
                    text += &endpoints::both_directions();
                }
                if settings.tls {
                    let [certificate, key] = place.certificate()?;
                    text +=
                        &format!("[server.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n");
                }
                fs::write(&file, text)?;
                let mut command = processes::command(&place.sockway(kind).to_string_lossy());
                command.args(["serve", "--config", &file.to_string_lossy()]);
                command
            }
            Kind::Node => {
                let mut command = processes::command("node");
                command.arg(peers.join("installed/gateway.mjs")).args([&listen, &redis_at]);
                command
            }
            Kind::Nchan => nginx(place, peers, address, redis.address)?,
        };
        let log = place.path(&format!("server-{}.log", address.port()));
        command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut process = Process::start(&mut command, &settings.cores)?;
        let silent = format!("{} does not listen at {address}", kind.name());
        process.wait_until(&silent, &log, || TcpStream::connect(address).is_ok())?;
        if let Some(admin) = admin {
            let ready = || processes::http_get(admin, "/readyz").is_ok();
            process.wait_until("Sockway does not become ready", &log, ready)?;
        }
        let worker = (kind == Kind::Nchan).then(|| child_of(process.pid())).transpose()?;
        Ok(Self { address, admin, process, worker, _ports: ports })
    }

    /// The processes whose CPU time and memory are measured.
    pub(crate) fn pids(&self) -> Vec<u32> {
        std::iter::once(self.process.pid()).chain(self.worker).collect()
    }
}

fn child_of(pid: u32) -> Outcome<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let mut child = None;
    processes::wait_until("nginx has no worker", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        child = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        child.is_some()
    })?;
    child.ok_or_else(|| "nginx has no worker".into())
}

/// nginx with the peers' configuration, with its placeholders filled in.
fn nginx(
    place: &Place,
    peers: &Path,
    listen: SocketAddr,
    redis: SocketAddr,
) -> Outcome<std::process::Command> {
    let directory = place.path(&format!("nginx-{}", listen.port()));
    fs::create_dir_all(&directory)?;
    let module = fs::canonicalize(peers.join(NCHAN))?;
    let text = fs::read_to_string(peers.join("nginx.conf"))?
        .replace("@MODULE@", &module.to_string_lossy())
        .replace("@LISTEN@", &listen.to_string())
        .replace("@REDIS@", &redis.to_string());
    let file = directory.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = processes::command(&fs::canonicalize(peers.join(NGINX))?.to_string_lossy());
    command.args([
        "-p",
        &directory.to_string_lossy(),
        "-c",
        &file.to_string_lossy(),
        "-e",
        "stderr",
    ]);
    Ok(command)
}
