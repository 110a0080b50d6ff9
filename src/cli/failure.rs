//! Why a command failed, and with which exit status.

use super::output;
use crate::config::ConfigError;
use std::{error::Error, fmt::Write as _, process::ExitCode};

/// A command's failure: what the person who typed it gets to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit status 1.
    Running(String),
    /// Exit status 78 (`EX_CONFIG` of sysexits.h). The text says where by itself.
    Configuration(String),
}

impl Failure {
    /// A failure while running, with all its causes on one line.
    pub(super) fn running(error: &dyn Error) -> Self {
        Self::Running(chain(error))
    }

    /// Says it on stderr, and gives the exit status.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Running(text) if tracing::dispatcher::has_been_set() => {
                tracing::error!("{text}");
                ExitCode::from(1)
            }
            Self::Running(text) => {
                output::note(&format!("sockway: {text}"));
                ExitCode::from(1)
            }
            Self::Configuration(text) => {
                output::note(&text);
                ExitCode::from(78)
            }
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error.report())
    }
}

/// An error and its causes, the outermost first.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::BindError;
    use std::io;

    #[test]
    fn an_error_is_told_with_its_causes_on_one_line() {
        let error = BindError::Public {
            address: "127.0.0.1:80".to_owned(),
            source: io::Error::from(io::ErrorKind::PermissionDenied),
        };
        assert_eq!(
            chain(&error),
            "cannot listen on 127.0.0.1:80 (server.listen): permission denied"
        );
    }
}
