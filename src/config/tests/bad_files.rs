//! Files that are no configuration, and named files that are missing or wrong.

use super::{LEAST, SECRET, parsed, problems, reference::REFERENCE};
use crate::config::{ConfigError, load};
use proptest::{prelude::*, sample::Index};
use std::{error::Error as _, fs, path::Path};

fn report_of(directory: &Path, content: &[u8]) -> String {
    let file = directory.join("sockway.toml");
    fs::write(&file, content).unwrap();
    let report = load(&file).expect_err("this file has a problem").report();
    report.replace(file.to_str().unwrap(), "FILE").replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.toml"), directory.path().to_owned()] {
        let error = load(&path).unwrap_err();
        assert!(matches!(&error, ConfigError::Read { .. }) && error.source().is_some());
        assert!(error.problems().is_empty());
        assert!(error.report().starts_with(&format!("cannot read {}: ", path.display())));
    }
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_its_first_wrong_byte() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(report_of(directory.path(), b"# ok\nab\xFF"), "FILE:2:3 is not UTF-8 text");
}

#[test]
fn a_file_without_an_endpoint_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for content in [&b""[..], b"# nothing\n"] {
        assert_eq!(
            report_of(directory.path(), content),
            "FILE:1:1 endpoint: at least one [[endpoint]] is needed"
        );
    }
}

#[test]
fn a_file_far_too_large_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let report = report_of(directory.path(), &vec![b'#'; (4 << 20) + 1]);
    assert_eq!(report, "cannot read FILE: it is larger than 4096 KiB");
}

#[test]
fn every_syntax_error_is_told_with_its_position_and_without_its_line() {
    let text = "[redis]\npassword = hunter2\nurl = \nurl = \"x\"\n[redis]\n[server\n";
    let problems = problems(text);
    let places: Vec<_> = problems.iter().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        ["FILE:2:12", "FILE:3:7", "FILE:4:1", "FILE:5:2", "FILE:6:8"],
        "{problems:?}"
    );
    assert!(!problems.join("").contains("hunter2"), "{problems:?}");
}

#[test]
fn files_named_in_vain_are_told_with_the_key_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("empty"), "\n").unwrap();
    fs::write(directory.path().join("bytes"), b"hunter2\xFF").unwrap();
    for (key, problem) in [
        (
            "redis.password_file = \"absent\"",
            "redis.password_file: cannot read DIR/absent: No such file or directory (os error 2)",
        ),
        ("redis.password_file = \"empty\"", "redis.password_file: DIR/empty is empty"),
        ("redis.password_file = \"bytes\"", "redis.password_file: DIR/bytes is not UTF-8 text"),
        (
            "redis.password_file = \".\"",
            "redis.password_file: cannot read DIR/.: Is a directory (os error 21)",
        ),
        ("auth.jwt.secret_file = \"empty\"", "auth.jwt.secret_file: DIR/empty is empty"),
        ("server.tls.cert_file = \"empty\"", "server.tls.cert_file: DIR/empty is empty"),
        ("server.tls.key_file = \"bytes\"", "server.tls.key_file: holds no private key in PEM"),
        ("redis.tls.ca_file = \"empty\"", "redis.tls.ca_file: DIR/empty is empty"),
        ("redis.tls.cert_file = \"bytes\"", "redis.tls.cert_file: holds no certificate in PEM"),
        ("redis.tls.key_file = \"bytes\"", "redis.tls.key_file: holds no private key in PEM"),
        (
            "auth.jwt.algorithms = [\"RS256\"]\nauth.jwt.public_key_file = \"empty\"",
            "auth.jwt.public_key_file: DIR/empty is empty",
        ),
    ] {
        let report = report_of(directory.path(), format!("{key}\n{LEAST}").as_bytes());
        let line = key.lines().count();
        assert!(report.starts_with(&format!("FILE:{line}:")), "{report}");
        assert_eq!(report.split_once(' ').unwrap().1, problem);
    }
}

#[test]
fn a_secret_and_its_file_contradict_each_other() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("secret"), SECRET).unwrap();
    let text = format!(
        "[redis]\npassword = \"x\"\npassword_file = \"secret\"\n\
         [auth.jwt]\nsecret = \"{SECRET}\"\nsecret_file = \"secret\"\n{LEAST}"
    );
    assert_eq!(
        report_of(directory.path(), text.as_bytes()),
        "FILE:3:1 redis.password_file: give either password or password_file, not both\n\
         FILE:6:1 auth.jwt.secret_file: give either secret or secret_file, not both"
    );
}

#[test]
fn a_public_key_that_is_none_is_refused_at_the_key_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), "hunter2").unwrap();
    let text = format!("[auth.jwt]\nalgorithms = [\"RS256\"]\npublic_key_file = \"key\"\n{LEAST}");
    let report = report_of(directory.path(), text.as_bytes());
    assert!(report.starts_with("FILE:3:1 auth.jwt.public_key_file: "), "{report}");
    assert_eq!((report.lines().count(), report.contains("hunter2")), (1, false), "{report}");
}

#[test]
fn algorithms_and_kind_of_key_must_match() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("key"), "-----BEGIN PUBLIC KEY-----").unwrap();
    let text = format!(
        "[auth.jwt]\nalgorithms = [\"RS256\", \"HS256\"]\npublic_key_file = \"key\"\n{LEAST}"
    );
    assert_eq!(
        report_of(directory.path(), text.as_bytes()),
        "FILE:2:24 auth.jwt.algorithms[1]: HS256 needs secret_file, not a public key"
    );
    let text = format!("[auth.jwt]\npublic_key_file = \"key\"\nsecret = \"{SECRET}\"\n{LEAST}");
    assert_eq!(
        report_of(directory.path(), text.as_bytes()),
        "FILE:2:1 auth.jwt.public_key_file: give either this or secret, not both"
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{FEFF}[server]\r\nlisten = \"x\"\r\n  surprise = 1\r\n{LEAST}");
    let places: Vec<_> =
        problems(&text).iter().map(|it| it.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["FILE:2:1 server.listen", "FILE:3:3 server.surprise"]);
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let text = format!("[server]\nlisten = {}", "[".repeat(100_000));
    assert!(problems(&text).iter().all(|problem| problem.starts_with("FILE:2:")));
}

proptest! {
    #[test]
    fn a_damaged_file_is_always_answered_with_positions_inside_it(
        place in any::<Index>(),
        removed in 0..40_usize,
        inserted in "[\\[\\]{}\"'=.,$#\\\\\n a-z0-9ä-]{0,6}",
    ) {
        let mut characters: Vec<char> = REFERENCE.chars().collect();
        let start = place.index(characters.len());
        let end = (start + removed).min(characters.len());
        characters.splice(start..end, inserted.chars());
        let damaged: String = characters.into_iter().collect();
        if let Err(error) = parsed(&damaged) {
            prop_assert!(!error.problems().is_empty());
            let lines = damaged.split('\n').count();
            prop_assert!(error.problems().iter().all(|it| (1..=lines).contains(&it.line)));
        }
    }
}
