//! Whole configurations, from text to `Config` or to the report of what is wrong.

mod bad_endpoints;
mod bad_files;
mod bad_values;
mod good_values;
mod http_publish;
mod plan;
mod presence;
mod redis_tls;
mod reference;

use super::{ConfigError, Loaded, parse_with};

/// Long enough for every HS algorithm.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The least that a configuration must say.
const LEAST: &str = r#"
[[endpoint]]
name = "a"
path = "/a"
channels = ["a"]
auth = "none"
"#;

fn environment(name: &str) -> Option<String> {
    match name {
        "SOCKWAY_JWT_SECRET" => Some(SECRET.to_owned()),
        "SOCKWAY_PUBLISH_SHA256" => Some("0".repeat(64)),
        "SHORT" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        "NEWLINE" => Some("\n".to_owned()),
        _ => None,
    }
}

fn parsed(text: &str) -> Result<Loaded, ConfigError> {
    parse_with(text, "FILE", &environment)
}

/// What is printed for a configuration that must not load.
fn problems(text: &str) -> Vec<String> {
    let error = parsed(text).expect_err("this configuration has a problem");
    error.problems().iter().map(ToString::to_string).collect()
}

/// A configuration that must load.
fn loaded(text: &str) -> Loaded {
    parsed(text).unwrap_or_else(|error| panic!("{}\n---\n{text}", error.report()))
}
