//! Log records: one a line, on stderr, as text or as JSON.
//!
//! Only our own code may speak below WARN: other crates know nothing of what must stay secret, and
//! some of them trace whole payloads. What they send to the `log` crate goes nowhere at all, since
//! nothing here listens to it.

use crate::config::{Log, LogFormat};
use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    thread,
};
use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::{Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, reload};

/// The level of the records, to be changed while they are written.
pub(super) struct Level(reload::Handle<Targets, Registry>);

impl Level {
    pub(super) fn set(&self, level: LevelFilter) {
        if let Err(error) = self.0.reload(targets(level)) {
            error!(%error, "the log level cannot be changed");
        }
    }
}

/// Sends all records of this process to stderr from now on, panics included.
pub(super) fn start(settings: &Log) -> Level {
    let records = match settings.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).boxed()
        }
    };
    let (filter, level) = reload::Layer::new(targets(settings.level));
    let subscriber = Registry::default().with(records.with_filter(filter));
    // Only the first call counts; a second would be a defect that hurts nobody.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panic::set_hook(Box::new(panicked));
    }
    Level(level)
}

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_target("sockway", level).with_default(level.min(LevelFilter::WARN))
}

fn panicked(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let thread = thread::current();
    error!(
        thread = thread.name().unwrap_or("unnamed"),
        at = panic.location().map(tracing::field::display),
        "panic: {message}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn other_crates_never_speak_below_warn_and_never_more_than_asked_for() {
        for (level, own, foreign) in [
            (LevelFilter::TRACE, Level::TRACE, Some(Level::WARN)),
            (LevelFilter::INFO, Level::INFO, Some(Level::WARN)),
            (LevelFilter::ERROR, Level::ERROR, Some(Level::ERROR)),
        ] {
            let targets = targets(level);
            assert!(targets.would_enable("sockway::shard", &own), "{level}");
            for crate_name in ["fred", "hyper", "tungstenite", "rustls", "mio"] {
                for at in [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR] {
                    let may = foreign.is_some_and(|most| at <= most);
                    assert_eq!(targets.would_enable(crate_name, &at), may, "{crate_name} {at}");
                }
            }
        }
        assert!(!targets(LevelFilter::OFF).would_enable("sockway", &Level::ERROR));
    }

    #[test]
    fn records_of_the_log_crate_go_nowhere() {
        start(&Log { format: LogFormat::Json, level: LevelFilter::ERROR });
        // What installs a logger also raises this; tungstenite would trace payloads to it.
        assert_eq!(log::max_level(), log::LevelFilter::Off);
    }
}
