//! Log records: one a line, on stderr, as text or as JSON.
//!
//! Nobody who logs waits for stderr (`queue`). Only our own code may speak below WARN: other crates know nothing of what must stay secret, and
//! some of them trace whole payloads. What they send to the `log` crate goes nowhere at all, since
//! nothing here listens to it.

mod queue;

use super::Failure;
use crate::config::{Log, LogFormat};
use prometheus::IntCounter;
use queue::LogQueue;
use serde_json::json;
use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
    sync::OnceLock,
    thread,
    time::Duration,
};
use tracing::{error, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{
        self,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    reload,
};

/// Where all records of this process go. There is one stderr, and one subscriber.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// How long the end of the process may wait for the last records to be written.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// The log of this process.
pub(super) struct Logging {
    level: reload::Handle<Targets, Registry>,
    queue: LogQueue,
}

impl Logging {
    /// Changes the level of the records while they are written.
    pub(super) fn set_level(&self, level: LevelFilter) {
        if let Err(error) = self.level.reload(targets(level)) {
            error!(%error, "the log level cannot be changed");
        }
    }

    /// Counts the records that are dropped there.
    pub(super) fn count_dropped_in(&self, counter: &IntCounter) {
        self.queue.count_dropped_in(counter);
    }
}

/// Sends all records of this process to stderr from now on, panics included.
///
/// # Errors
/// When there can be no thread that writes them.
pub(super) fn start(settings: &Log) -> Result<Logging, Failure> {
    let format = settings.format;
    let queue = LogQueue::start(io::stderr(), move |dropped| notice(format, dropped))
        .map_err(|error| Failure::running(&error))?;
    let writer = queue.clone();
    let writer = move || writer.clone();
    let records = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(io::stderr().is_terminal()).with_writer(writer).boxed()
        }
    };
    let (filter, level) = reload::Layer::new(targets(settings.level));
    let subscriber = Registry::default().with(records.with_filter(filter));
    // Only the first call counts; a second would be a defect that hurts nobody.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        panic::set_hook(Box::new(panicked));
        let _ = QUEUE.set(queue.clone());
    }
    Ok(Logging { level, queue })
}

/// Waits for the last records to be written when it is dropped, and not for ever.
pub(super) struct WriteLastRecords;

impl Drop for WriteLastRecords {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(LAST_RECORDS);
        }
    }
}

/// The line that says how many records were dropped. It cannot be a record itself, which could be
/// dropped too.
fn notice(format: LogFormat, dropped: u64) -> String {
    const MESSAGE: &str = "log records were dropped: they were not read from stderr in time";
    let (mut time, target) = (String::new(), module_path!());
    // Into a string, which takes anything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    match format {
        LogFormat::Text => format!("{time}  WARN {target}: {MESSAGE} dropped={dropped}\n"),
        LogFormat::Json => {
            let record = json!({
                "timestamp": time, "level": "WARN", "message": MESSAGE, "dropped": dropped,
                "target": target,
            });
            format!("{record}\n")
        }
    }
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
    fn the_line_about_dropped_records_looks_like_a_record() {
        let text = notice(LogFormat::Text, 7);
        assert!(text.contains("Z  WARN sockway::cli::logging: log records were dropped"), "{text}");
        assert!(text.ends_with(" dropped=7\n"), "{text}");
        let record: serde_json::Value =
            serde_json::from_str(&notice(LogFormat::Json, 7)).expect("one record a line");
        assert_eq!((&record["level"], &record["dropped"]), (&json!("WARN"), &json!(7)));
    }

    #[test]
    fn records_of_the_log_crate_go_nowhere() {
        start(&Log { format: LogFormat::Json, level: LevelFilter::ERROR }).unwrap();
        // What installs a logger also raises this; tungstenite would trace payloads to it.
        assert_eq!(log::max_level(), log::LevelFilter::Off);
    }
}
