//! `sockway check`: what is wrong with a configuration.

use super::{Failure, output};
use crate::config;
use std::path::PathBuf;

/// Check a configuration: all its problems at once, or `ok`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    file: PathBuf,
    /// Show the effective configuration, defaults included, secrets masked
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let loaded = config::load(&args.file)?;
    loaded.warnings.iter().for_each(|warning| output::note(&format!("warning: {warning}")));
    let result = if args.print { config::effective(&loaded) } else { "ok".to_owned() };
    output::line(result.trim_end()).map_err(|error| Failure::running(&error))
}
