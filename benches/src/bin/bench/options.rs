//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures Sockway beside the limit and its peers.
#[derive(Parser)]
pub(crate) struct Options {
    /// Only these scenarios, by name; all of them unless given.
    #[arg(long, value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// Another number of sockets than the scenario's own.
    #[arg(long)]
    pub(crate) sockets: Option<usize>,
    /// Bytes of a message, 16 at least.
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// How often each server has its turn.
    #[arg(long)]
    pub(crate) pairs: Option<usize>,
    /// Fewer messages and pairs: all scenarios within five minutes.
    #[arg(long)]
    pub(crate) short: bool,
    /// Multiplies the number of messages.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) messages: f64,
    /// Leave the peers out.
    #[arg(long)]
    pub(crate) no_peers: bool,
    /// Writes benchmarks.md and benchmarks.svg, too.
    #[arg(long)]
    pub(crate) write: bool,
    #[arg(long, default_value = "docs")]
    pub(crate) docs: PathBuf,
    /// Sockway's program. `limit` and `load` lie beside this one.
    #[arg(long, default_value = "target/release/sockway")]
    pub(crate) sockway: PathBuf,
    /// Where the peers' configurations are, and where they are installed.
    #[arg(long, default_value = "benches/peers")]
    pub(crate) peers: PathBuf,
}
