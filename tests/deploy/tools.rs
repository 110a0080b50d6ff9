//! Third-party programs, and the files of this repository.

use std::{
    env, fs,
    io::{Write as _, stderr},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A program, if running it with these arguments succeeds; `None` if it is missing, unless
/// `CI=true` requires it.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(name);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let here = command.status().is_ok_and(|status| status.success());
    let required = env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(here || !required, "{name} {arguments:?} fails: `make test` installs it");
    if !here {
        // Directly to stderr: the test harness hides the output of a test that passes.
        let _ = writeln!(stderr(), "SKIPPED: no {name}; `make test` installs it where it can");
    }
    here.then(|| Command::new(name))
}

/// Runs a program to its end: whether it succeeded, and all its output.
pub(crate) fn outcome(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let Output { status, stdout, stderr } = output;
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[track_caller]
pub(crate) fn assert_accepted(command: &mut Command) {
    let (accepted, said) = outcome(command);
    assert!(accepted, "{command:?}: {said}");
}

#[track_caller]
pub(crate) fn assert_refused(command: &mut Command) {
    let (accepted, said) = outcome(command);
    assert!(!accepted, "{command:?} accepts what is wrong: {said}");
}
