//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures Sockway beside the limit and its peers.
#[derive(Parser)]
pub(crate) struct Options {
    /// Only these scenarios, by name; default: all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// The number of sockets, instead of the scenario's own.
    #[arg(long)]
    pub(crate) sockets: Option<usize>,
    /// Bytes of a message, 16 at least.
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// The number of turns of each server.
    #[arg(long)]
    pub(crate) pairs: Option<usize>,
    /// Fewer messages and pairs: all scenarios take some ten minutes with the peers.
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
    /// The `sockway` program. `limit` and `load` are next to this one.
    #[arg(long, default_value = "target/release/sockway")]
    pub(crate) sockway: PathBuf,
    /// Another build of `sockway`, measured in turns with this one: what has a change cost or gained?
    #[arg(long)]
    pub(crate) before: Option<PathBuf>,
    /// Where the peers' configurations are, and where they are installed.
    #[arg(long, default_value = "benches/peers")]
    pub(crate) peers: PathBuf,
}
