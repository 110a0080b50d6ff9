//! The problems of a configuration, each with its position.

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

/// Line and column, both from 1, of a byte of `text`.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let text = "a\nüb = 1\r\nc";
        let at = |what: &str| position(text, text.find(what).unwrap());
        assert_eq!(at("a"), (1, 1));
        assert_eq!(at("b"), (2, 2));
        assert_eq!(at("c"), (3, 1));
        assert_eq!(position(text, usize::MAX), (3, 2), "past the end is the end");
    }

    #[test]
    fn a_problem_prints_file_position_key_and_message() {
        let problem = Problem {
            file: "FILE".to_owned(),
            line: 12,
            column: 1,
            key: "endpoint[2].path".to_owned(),
            message: "must start with \"/\"".to_owned(),
        };
        assert_eq!(problem.to_string(), "FILE:12:1 endpoint[2].path: must start with \"/\"");
        let without_key = Problem { key: String::new(), ..problem };
        assert_eq!(without_key.to_string(), "FILE:12:1 must start with \"/\"");
    }
}
