//! What is wrong with a configuration, and exactly where.

use std::{fmt, io, path::PathBuf};

/// One thing that is wrong. Prints as `FILE:12:1 endpoint[2].path: must start with "/"`.
///
/// The message never repeats a secret, not even a wrong one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters. Of the key, or of the element in a list, or of the table's header
    /// when the key is missing.
    pub column: usize,
    /// `endpoint[2].path`, counted from 0; empty when the text is not TOML at all.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// All of them, by position.
    #[error("{} has {} problem(s)", path.display(), problems.len())]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

impl ConfigError {
    /// Every problem that was found, by position; none when the file could not be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }

    /// The whole report for a person: one line a problem, or why the file could not be read.
    #[must_use]
    pub fn report(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            Self::Invalid { problems, .. } => {
                problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
            }
        }
    }
}
