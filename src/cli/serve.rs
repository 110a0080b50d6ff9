//! `sockway serve`: the gateway.

use super::{Failure, logging, runtime};
use crate::{
    REVISION, VERSION,
    app::Gateway,
    config::{self, Config},
    lifecycle::{OnHangup, Signals},
};
use std::{future::pending, path::PathBuf};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// Serve until told to stop (SIGTERM, SIGINT, or `sockway drain`).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let loaded = config::load(&args.config)?;
    logging::start(&loaded.config.log);
    info!(version = VERSION, revision = REVISION, config = %args.config.display(), "starting");
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    runtime::block_on(serve(loaded.config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let signals = Signals::catch(OnHangup::GoOn).map_err(|error| Failure::running(&error))?;
    let gateway = Gateway::bind(config).map_err(|error| Failure::running(&error))?;
    let _signals = AbortOnDropHandle::new(tokio::spawn(signals.run(gateway.stopper())));
    let ending = gateway.run(pending()).await.map_err(|error| Failure::running(&error))?;
    info!(?ending, "stopped");
    Ok(())
}
