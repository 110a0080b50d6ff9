//! `sockway serve`: the gateway.

use super::{
    Failure,
    logging::{self, Logging},
    runtime,
};
use crate::{
    REVISION, VERSION,
    app::Gateway,
    config::{self, Config, Plan},
    lifecycle::{OnHangup, ReloadRefused, ReloadTask, Signals},
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
    let logging = logging::start(&loaded.config.log)?;
    info!(version = VERSION, revision = REVISION, config = %args.config.display(), "starting");
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    runtime::block_on(serve(loaded.config, args.config.clone(), logging))
}

async fn serve(config: Config, path: PathBuf, logging: Logging) -> Result<(), Failure> {
    let asked = Arc::new(Notify::new());
    let signals = Signals::catch(OnHangup::Reload(Arc::clone(&asked)))
        .map_err(|error| Failure::running(&error))?;
    // As the file says it: what is bound may have lowered a limit.
    let current = config.clone();
    let gateway = Gateway::bind(config).map_err(|error| Failure::running(&error))?;
    logging.count_dropped_in(&gateway.metrics().log_records_dropped);
    let _signals = AbortOnDropHandle::new(tokio::spawn(signals.run(gateway.stopper())));
    let reloads = reloads(&gateway, path, asked, logging).run(current);
    run_to_its_end(gateway, AbortOnDropHandle::new(tokio::spawn(reloads))).await
}

/// Serves; a gateway that ends unasked is a failure, so that the process ends too.
async fn run_to_its_end<T>(
    gateway: Gateway,
    reloads: impl Future<Output = T>,
) -> Result<(), Failure> {
    let outcome = tokio::select! {
        outcome = gateway.run(pending()) => outcome.map_err(|error| Failure::running(&error))?,
        // They never end by themselves.
        _ = reloads => return Err(Failure::Running("the reloads ended unasked".to_owned())),
    };
    info!(ending = ?outcome, "stopped");
    Ok(())
}

fn reloads(
    gateway: &Gateway,
    path: PathBuf,
    asked: Arc<Notify>,
    logging: Logging,
) -> ReloadTask<impl FnMut(Config) -> Result<Plan, ReloadRefused> + use<>> {
    let live = gateway.live_config();
    let apply = move |config: Config| {
        let chosen = config.log.level;
        let plan = live.apply(config)?;
        logging.set_level(chosen);
        Ok(plan)
    };
    ReloadTask { path, asked, metrics: gateway.metrics(), apply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        process::ExitCode,
        sync::{Mutex, PoisonError},
        time::{Duration, Instant},
    };
    use tracing::subscriber;

    /// What is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn lines(&self) -> Vec<String> {
            let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
        }
    }

    /// How the command ends, runtime included, when something in its gateway is broken first: the
    /// exit status, and the errors that this thread has logged.
    fn ending_of<T>(break_it: impl FnOnce(&mut Gateway) -> T) -> (ExitCode, Vec<String>) {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        let code = subscriber::with_default(subscriber, || {
            let served = runtime::block_on(async {
                let mut gateway = Gateway::for_tests(2);
                let _until_the_end = break_it(&mut gateway);
                run_to_its_end(gateway, pending::<()>()).await
            });
            served.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
        });
        (code, log.lines())
    }

    #[track_caller]
    fn assert_ends_with_status_1<T>(break_it: impl FnOnce(&mut Gateway) -> T, line: &str) {
        let start = Instant::now();
        let (code, lines) = ending_of(break_it);
        // The status itself is not to be had of an `ExitCode`.
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("ERROR") && lines[0].ends_with(line), "{lines:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "it lingered half alive");
    }

    #[test]
    fn a_shard_that_dies_ends_the_command_with_status_1_and_one_line() {
        let break_it = |gateway: &mut Gateway| gateway.kill_shard(1);
        assert_ends_with_status_1(break_it, "shard 1 died");
    }

    #[test]
    fn a_redis_side_that_ends_ends_the_command_with_status_1_and_one_line() {
        let break_it = Gateway::end_redis_side;
        assert_ends_with_status_1(break_it, "the Redis side ended unasked");
    }

    #[test]
    fn reloads_that_end_end_the_command_with_status_1_and_one_line() {
        let served = runtime::block_on(async {
            run_to_its_end(Gateway::for_tests(2), std::future::ready(())).await
        });
        let Err(Failure::Running(why)) = served else { panic!("{served:?}") };
        assert_eq!(why, "the reloads ended unasked");
    }
}
