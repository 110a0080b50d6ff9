//! Why a command failed, and with which exit status.

use super::{WRONG_USAGE, output};
use crate::{config::ConfigError, error_chain::error_chain};
use std::{error::Error, process::ExitCode};

/// A command's failure: what the person who typed it gets to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit status 1.
    Running(String),
    /// Exit status 64, for what only shows itself once the configuration is known.
    Usage(String),
    /// Exit status 78 (`EX_CONFIG` of sysexits.h). The text says where by itself.
    Configuration(String),
}

impl Failure {
    /// A failure while running, with all its causes on one line.
    pub(super) fn running(error: &(dyn Error + 'static)) -> Self {
        Self::Running(error_chain(error))
    }

    /// Says it on stderr, and gives the exit status.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Running(text) if tracing::dispatcher::has_been_set() => {
                tracing::error!("{text}");
                ExitCode::from(1)
            }
            Self::Running(text) => {
                output::last_note(format!("sockway: {text}"));
                ExitCode::from(1)
            }
            Self::Usage(text) => {
                output::note(&format!("error: {text}"));
                ExitCode::from(WRONG_USAGE)
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
