//! `config/sockway.toml` and `config/examples/*.toml` against the code.

use super::{SECRET, loaded, parsed};
use crate::config::effective;
use std::{collections::BTreeSet, fs, path::Path};

pub(super) const REFERENCE: &str = include_str!("../../../config/sockway.toml");

/// The reference with its commented tables and keys, except the ones that contradict another.
pub(super) fn whole_reference() -> String {
    uncommented(|line| !line.contains("_file ="))
}

fn uncommented(wanted: impl Fn(&str) -> bool) -> String {
    let lines = REFERENCE.lines().map(|line| match line.strip_prefix('#') {
        Some(code) if !code.starts_with(' ') && !code.is_empty() && wanted(code) => code,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The reference and every example, by name.
fn shipped() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut files = vec![("sockway.toml".to_owned(), whole_reference())];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Beside some lie a page or a program that go with it.
        if name.ends_with(".toml") {
            files.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    let examples = [
        "notifications.toml",
        "tram.toml",
        "rooms.toml",
        "events.toml",
        "orders.toml",
        "rooms-history.toml",
        "chat.toml",
        "inbox.toml",
    ];
    for example in examples {
        assert!(files.iter().any(|(name, _)| name == example), "{example} is missing");
    }
    files
}

/// Number (from 0) and text of every line that begins a table.
fn headers(text: &str) -> Vec<(usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| line.starts_with('[')).collect()
}

/// `header` and `key` of every key, tables without their number.
fn keys(text: &str) -> BTreeSet<(String, String)> {
    let mut header = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            line.clone_into(&mut header);
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.contains(['#', ' '])
        {
            keys.insert((header.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn the_reference_and_every_example_load() {
    loaded(REFERENCE);
    for (_, text) in shipped() {
        loaded(&text);
    }
}

#[test]
fn the_reference_says_exactly_the_defaults() {
    let least = format!(
        "[server.tls]\n[redis.tls]\n[auth.jwt]\nsecret = {SECRET:?}\n[[endpoint]]\nname = \"notifications\"\n\
         path = \"/ws/notifications\"\n\
         channels = [\"user:{{user}}:notifications\", \"notifications:global\"]\n"
    );
    assert_eq!(effective(&loaded(REFERENCE)), effective(&loaded(&least)));
}

#[test]
fn the_reference_names_every_key_that_is_read() {
    let read = keys(&effective(&loaded(&whole_reference())));
    let named = keys(&uncommented(|_| true));
    assert_eq!(named, read);
    assert!(read.len() > 60, "only {} keys were compared", read.len());
}

#[test]
fn an_unknown_key_is_refused_in_every_table_of_every_shipped_file() {
    let mut tables = 0;
    for (name, text) in shipped() {
        for (number, header) in headers(&text) {
            let mut lines: Vec<_> = text.lines().collect();
            lines.insert(number + 1, "surprise = 1");
            let error = parsed(&lines.join("\n")).expect_err(&format!("{name} {header}"));
            let [problem] = error.problems() else { panic!("{name} {header}: {}", error.report()) };
            assert_eq!((problem.line, problem.column), (number + 2, 1), "{name} {header}");
            let table = header.trim_matches(['[', ']']);
            // Of a table inside one of an array, the key has that one's number.
            let key: String = problem.key.split(['[', ']']).step_by(2).collect();
            assert!(key.starts_with(table) && key.ends_with(".surprise"), "{key}");
            assert!(problem.message.starts_with("unknown key"), "{}", problem.message);
            tables += 1;
        }
        let error = parsed(&format!("surprise = 1\n{text}")).expect_err(&name);
        assert_eq!(error.report(), "FILE:1:1 surprise: unknown key");
    }
    assert!(tables >= 20, "only {tables} tables were tried");
}

#[test]
fn unknown_keys_in_all_tables_are_told_in_one_report() {
    for (name, text) in shipped() {
        let mutated = text.lines().flat_map(|line| {
            [line].into_iter().chain(line.starts_with('[').then_some("surprise = 1"))
        });
        let mutated = mutated.collect::<Vec<_>>().join("\n");
        let error = parsed(&mutated).expect_err(&name);
        let expected: Vec<_> = headers(&mutated).iter().map(|(number, _)| number + 2).collect();
        let lines: Vec<_> = error.problems().iter().map(|problem| problem.line).collect();
        assert_eq!(lines, expected, "{name}: {}", error.report());
    }
}

#[test]
fn a_wrong_type_is_refused_for_every_key_and_all_are_told_in_one_report() {
    let wrong: Vec<_> = uncommented(|_| true)
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key, _)) if !line.starts_with('#') => format!("{key} = 1.5"),
            _ => line.to_owned(),
        })
        .collect();
    let expected: Vec<_> = (1..)
        .zip(&wrong)
        .filter(|(_, line)| line.ends_with(" = 1.5"))
        .map(|(number, _)| (number, 1))
        .collect();
    let error = parsed(&wrong.join("\n")).expect_err("every value is wrong");
    let problems = error.problems();
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, expected, "{}", error.report());
    for problem in problems {
        assert!(problem.message.ends_with(", not a float"), "{problem}");
    }
}

#[test]
fn the_effective_configuration_is_a_configuration_and_shows_no_secret() {
    for (name, text) in shipped() {
        let printed = effective(&loaded(&text));
        assert!(!printed.contains(SECRET), "{name}");
        let mut again = printed.replace("secret = \"***\"", &format!("secret = {SECRET:?}"));
        for number in 0..printed.matches("sha256 = \"***\"").count() {
            again = again.replacen("sha256 = \"***\"", &format!("sha256 = \"{number:064}\""), 1);
        }
        assert_eq!(effective(&loaded(&again)), printed, "{name}");
    }
}
