//! The systemd unit, verified by `systemd-analyze`, which needs no running systemd.

use crate::tools::{assert_accepted, assert_refused, outcome, program, read};
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

const UNIT: &str = "deploy/systemd/sockway.service";

fn analyze() -> Option<Command> {
    program("systemd-analyze", &["--version"])
}

/// The unit, changed so that it can be verified here: its program exists, and before systemd 253
/// its type is the one that its comment recommends for older versions.
fn unit(change: impl Fn(String) -> String) -> (TempDir, PathBuf) {
    let text = read(UNIT).replace("/usr/bin/sockway", env!("CARGO_BIN_EXE_sockway"));
    let (_, said) = outcome(Command::new("systemd-analyze").arg("--version"));
    let version = said.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let is_old = version.is_some_and(|version: u32| version < 253);
    let text = if is_old { text.replace("Type=notify-reload", "Type=notify") } else { text };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("sockway.service");
    fs::write(&file, change(text)).expect("a file");
    (directory, file)
}

#[test]
fn unit_is_understood_without_a_warning() {
    let Some(mut analyze) = analyze() else { return };
    let (_directory, file) = unit(|text| text);
    let (accepted, said) = outcome(analyze.arg("verify").arg(&file));
    let ours: Vec<_> = said.lines().filter(|line| line.contains("sockway.service")).collect();
    assert!(accepted && ours.is_empty(), "{said}");
}

#[test]
fn unit_leaves_little_exposed() {
    let Some(mut analyze) = analyze() else { return };
    analyze.args(["security", "--offline=yes", "--no-pager", "--threshold=20"]);
    let (_directory, file) = unit(|text| text);
    assert_accepted(analyze.arg(&file));
    let (_directory, bare) = unit(|text| {
        let lines = text.lines().filter(|line| !line.contains("Protect") && !line.contains("Call"));
        lines.collect::<Vec<_>>().join("\n")
    });
    let mut again = Command::new("systemd-analyze");
    again.args(["security", "--offline=yes", "--no-pager", "--threshold=20"]);
    assert_refused(again.arg(&bare));
}

/// The number in a setting of the unit: seconds or files.
fn number(key: &str) -> u64 {
    let text = read(UNIT);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.expect(key).trim_end_matches('s').parse().expect("a number")
}

#[test]
fn unit_gives_the_goodbye_its_time_and_each_session_its_descriptor() {
    let reference: toml::Table = read("config/sockway.toml").parse().expect("TOML");
    let timeout = reference["shutdown"]["timeout"].as_str().map(|it| it.trim_end_matches('s'));
    let timeout: u64 = timeout.and_then(|it| it.parse().ok()).expect("seconds");
    assert!(number("TimeoutStopSec") > timeout);
    let sessions = reference["server"]["max_connections"].as_integer().expect("a number");
    assert!(number("LimitNOFILE") > sessions.unsigned_abs());
}

#[test]
fn unit_knows_the_types_and_exit_statuses_of_the_gateway() {
    let text = read(UNIT);
    for line in ["Type=notify-reload", "RestartPreventExitStatus=64 78", "DynamicUser=yes"] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
}
