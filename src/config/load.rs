//! Loads a configuration from a file or a text: a [`Config`], or all of its problems.

use super::{
    Config, check,
    env::Environment,
    files,
    problem::{self, ConfigError, Problem},
    reader::Reader,
};
use std::path::Path;
use toml::de::DeTable;

/// A configuration file has some kilobytes; a wrong path must not fill the memory.
const LARGEST_FILE: u64 = 4 << 20;

/// A configuration that may run.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What works but is seldom meant, in words, with its position.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration file, and the files that it names (relative to its directory).
///
/// # Errors
/// [`ConfigError::Read`] when the file cannot be read, else all problems in
/// [`ConfigError::Invalid`].
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let content = files::read(path, LARGEST_FILE)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let name = path.to_string_lossy();
    match std::str::from_utf8(&content) {
        Ok(text) => parse(text, &name),
        Err(error) => Err(not_utf8(&content[..error.valid_up_to()], &name)),
    }
}

/// Checks a configuration that is already at hand. `name` stands for its file: in messages, and
/// as the place from which files are named.
///
/// # Errors
/// [`ConfigError::Invalid`] with all problems.
pub fn parse(text: &str, name: &str) -> Result<Loaded, ConfigError> {
    parse_with(text, name, &|variable| std::env::var(variable).ok())
}

/// [`parse`] with an environment other than the process's own.
///
/// # Errors
/// [`ConfigError::Invalid`] with all problems.
pub fn parse_with(
    text: &str,
    name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let environment: Environment<'_> = environment;
    let mut reader = Reader::new(name, text, environment);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What was recovered from broken TOML would raise problems that are not there.
        return Err(invalid(name, errors.iter().map(|error| syntax(error, text, name)).collect()));
    }
    let config = reader.root(document.get_ref(), check::config);
    match config {
        Some(mut config) if reader.problems.is_empty() => {
            config.effective = reader.effective;
            reader.warnings.sort();
            let warnings = reader.warnings.iter().map(Problem::to_string).collect();
            Ok(Loaded { config, warnings })
        }
        _ => Err(invalid(name, reader.problems)),
    }
}

/// The configuration in effect as TOML: every key, defaults included, secrets masked.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    loaded.config.effective.render()
}

fn invalid(name: &str, mut problems: Vec<Problem>) -> ConfigError {
    problems.sort();
    problems.dedup();
    ConfigError::Invalid { path: name.into(), problems }
}

fn syntax(error: &toml::de::Error, text: &str, name: &str) -> Problem {
    // Only the message: the error's own display would show the line, which may hold a secret.
    let message = error.message().trim().to_owned();
    let (line, column) = problem::position(text, error.span().map_or(0, |span| span.start));
    Problem { file: name.to_owned(), line, column, key: String::new(), message }
}

fn not_utf8(valid: &[u8], name: &str) -> ConfigError {
    let text = String::from_utf8_lossy(valid);
    let (line, column) = problem::position(&text, text.len());
    let message = "is not UTF-8 text".to_owned();
    invalid(
        name,
        vec![Problem { file: name.to_owned(), line, column, key: String::new(), message }],
    )
}
