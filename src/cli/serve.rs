//! `sockway serve`: the gateway.

use super::{
    Failure,
    logging::{self, Level},
    runtime,
};
use crate::{
    REVISION, VERSION,
    app::Gateway,
    config::{self, Config, Plan},
    lifecycle::{OnHangup, Refused, Reloads, Signals},
};
use std::{future::pending, path::PathBuf, sync::Arc};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// Serve until told to stop (SIGTERM, SIGINT, or `sockway drain`); SIGHUP reloads the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let loaded = config::load(&args.config)?;
    let level = logging::start(&loaded.config.log);
    info!(version = VERSION, revision = REVISION, config = %args.config.display(), "starting");
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    runtime::block_on(serve(loaded.config, args.config.clone(), level))
}

async fn serve(config: Config, path: PathBuf, level: Level) -> Result<(), Failure> {
    let asked = Arc::new(Notify::new());
    let signals = Signals::catch(OnHangup::Reload(Arc::clone(&asked)))
        .map_err(|error| Failure::running(&error))?;
    // As the file says it: what is bound may have lowered a limit.
    let current = config.clone();
    let gateway = Gateway::bind(config).map_err(|error| Failure::running(&error))?;
    let _signals = AbortOnDropHandle::new(tokio::spawn(signals.run(gateway.stopper())));
    let reloads = reloads(&gateway, path, asked, level).run(current);
    let reloads = AbortOnDropHandle::new(tokio::spawn(reloads));
    let ending = tokio::select! {
        ending = gateway.run(pending()) => ending.map_err(|error| Failure::running(&error))?,
        // They never end by themselves.
        _ = reloads => return Err(Failure::Running("the reloads ended unasked".to_owned())),
    };
    info!(?ending, "stopped");
    Ok(())
}

fn reloads(
    gateway: &Gateway,
    path: PathBuf,
    asked: Arc<Notify>,
    level: Level,
) -> Reloads<impl FnMut(Config) -> Result<Plan, Refused> + use<>> {
    let reloader = gateway.reloader();
    let apply = move |config: Config| {
        let chosen = config.log.level;
        let plan = reloader.apply(config)?;
        level.set(chosen);
        Ok(plan)
    };
    Reloads { path, asked, metrics: gateway.metrics(), apply }
}
