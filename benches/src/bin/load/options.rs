//! The command line and the steps.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Opens WebSockets, publishes to Redis, counts and times every delivery.
#[derive(Parser)]
pub(crate) struct Options {
    /// Where the measured server listens.
    #[arg(long)]
    pub(crate) server: SocketAddr,
    /// The Redis that the server subscribes to: messages are published here.
    #[arg(long)]
    pub(crate) redis: SocketAddr,
    /// Publish by POST to this server's /pub/CHANNEL instead of at Redis, for a server that has its
    /// own protocol there.
    #[arg(long)]
    pub(crate) publish_over_http: bool,
    /// Speak TLS, and trust the certificate in this file alone.
    #[arg(long)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Processes of the server: their CPU time and memory are reported.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
    /// The process of Redis, to tell when it is the bottleneck.
    #[arg(long)]
    pub(crate) redis_pid: Option<u32>,
    /// What to do, one after the other, each in quotes: "connect --sockets 1000 --path /all"
    /// "closed --messages 5000 --in-flight 32". "-" reads steps from the standard input.
    #[arg(required = true)]
    pub(crate) steps: Vec<String>,
}

#[derive(Parser)]
pub(crate) struct StepLine {
    #[command(subcommand)]
    pub(crate) step: Step,
}

#[derive(Subcommand)]
pub(crate) enum Step {
    /// Open more sockets.
    Connect(Connect),
    /// Publish with a constant number of messages in flight.
    Closed(Closed),
    /// Publish at a constant rate.
    Open(Open),
    /// Publish nothing; answer pings.
    Idle(Idle),
    /// Append entries to streams, then open sockets that ask for all of them.
    Resume(Resume),
    /// Read streams at Redis, without the server.
    ReadStreams(ReadStreams),
    /// Publish by HTTP over kept connections, one request at a time on each.
    Post(Post),
    /// Send frames as fast as the server takes them, and come back whenever it closes.
    Flood(Flood),
}

#[derive(Args)]
pub(crate) struct Connect {
    #[arg(long)]
    pub(crate) sockets: usize,
    /// May contain {ids} (the numbers of the socket's own channels, by commas), {token} (a JWT for the
    /// first of them) and {room} (the number of its room).
    #[arg(long, default_value = "/all")]
    pub(crate) path: String,
    /// Own channels of each socket.
    #[arg(long, default_value_t = 1)]
    pub(crate) channels: u32,
    /// Sockets of a room.
    #[arg(long, default_value_t = 2)]
    pub(crate) room: usize,
    /// How many handshakes run at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
    /// These read only this many bytes a second, and their deliveries are not checked.
    #[arg(long)]
    pub(crate) slow_bytes_per_second: Option<u64>,
}

#[derive(Args, Clone, Copy)]
pub(crate) struct Content {
    /// Bytes of a message, 16 at least.
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// Which channels are published to.
    #[arg(long, value_enum, default_value_t = Target::All)]
    pub(crate) to: Target,
    /// They are streams: append to them.
    #[arg(long)]
    pub(crate) stream: bool,
    /// Who publishes.
    #[arg(long, value_enum, default_value_t = By::Redis)]
    pub(crate) by: By,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// This program, at Redis.
    Redis,
    /// The first socket, by frames that are the messages.
    Socket,
    /// The sockets in turn, by json frames. Each is delivered when its sender is told that Redis has taken it.
    Sockets,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// The channel that every socket has.
    All,
    /// The sockets' own channels, one after the other.
    Own,
}

#[derive(Args)]
pub(crate) struct Closed {
    #[command(flatten)]
    pub(crate) content: Content,
    #[arg(long)]
    pub(crate) messages: u64,
    /// A message is in flight until it has reached every socket that it is for.
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: u64,
}

#[derive(Args)]
pub(crate) struct Open {
    #[command(flatten)]
    pub(crate) content: Content,
    /// Messages a second.
    #[arg(long)]
    pub(crate) rate: f64,
    #[arg(long)]
    pub(crate) seconds: f64,
}

#[derive(Args)]
pub(crate) struct Idle {
    #[arg(long)]
    pub(crate) seconds: f64,
}

#[derive(Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) content: Content,
    /// Each with a stream of its own, or all with the common one.
    #[arg(long)]
    pub(crate) sockets: usize,
    /// May contain {ids}, and must ask for everything behind the entry 1-0.
    #[arg(long)]
    pub(crate) path: String,
    /// Of each stream, behind the entry 1-0.
    #[arg(long)]
    pub(crate) entries: u64,
    /// How many handshakes run at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
}

#[derive(Args)]
pub(crate) struct ReadStreams {
    /// Those that [`Resume`] has filled.
    #[arg(long)]
    pub(crate) streams: u32,
    #[arg(long)]
    pub(crate) entries: u64,
}

#[derive(Args)]
pub(crate) struct Post {
    #[arg(long)]
    pub(crate) requests: u64,
    /// Connections, and so requests at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// Messages of a request. 1: the request's body is the message.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
}

#[derive(Args)]
pub(crate) struct Flood {
    /// May contain {token}.
    #[arg(long)]
    pub(crate) path: String,
    #[arg(long, value_enum)]
    pub(crate) with: FloodOf,
    #[arg(long)]
    pub(crate) seconds: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FloodOf {
    Publish,
    Subscribe,
    Unsubscribe,
}
