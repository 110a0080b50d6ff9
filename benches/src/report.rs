//! What the load generator prints, one JSON object a line, and the orchestrator reads.

use serde::{Deserialize, Serialize};

use crate::process::Memory;

/// After the sockets were opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connected {
    /// Open now, those of earlier steps included.
    pub sockets: usize,
    /// Opened by this step.
    pub opened: usize,
    pub seconds: f64,
    pub server_cpu_micros_per_connection: f64,
    pub memory_before: Memory,
    pub memory_after: Memory,
    pub shares: Shares,
}

/// How much of one core each side used while it was measured: 1.0 is a whole core.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shares {
    pub load: f64,
    pub redis: f64,
    pub server: f64,
    /// Each thread of the server that used CPU time.
    pub server_threads: Vec<f64>,
    /// The measured server was idle while the load generator or Redis was not: they limit the figure.
    pub bottleneck_was_load: bool,
}

/// After a window in which messages were published, or in which nothing was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Window {
    pub messages: u64,
    pub deliveries: u64,
    pub seconds: f64,
    pub deliveries_per_second: f64,
    pub server_cpu_micros_per_delivery: f64,
    /// From the stamp of a message to its arrival at a socket, over all deliveries, in microseconds.
    pub latency: Latency,
    /// From the stamp of a message to its arrival at the last of its sockets.
    pub until_everybody: Latency,
    /// The longest time that one socket, which reads at once, waited between two messages.
    pub longest_silence_millis: f64,
    pub memory: Memory,
    pub pings: u64,
    pub gap_notices: u64,
    /// Slow sockets that the server has closed by now.
    pub slow_closed: u64,
    pub shares: Shares,
}

/// After streams were read without a gateway.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StreamsRead {
    /// CPU time of Redis, in seconds.
    pub redis: f64,
}

/// After a flood of frames.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Flooded {
    /// Opened one after the other: the server closed all but the last.
    pub sessions: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub largest: f64,
}
