//! What the documents show works as typed: the real program accepts every configuration in them,
//! and has every command and option that they name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Documents that are not in `docs`, of which every page is read.
const ELSEWHERE: [&str; 3] = ["README.md", "CHANGELOG.md", "deploy/compose.yaml"];

fn documents() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = fs::read_dir(docs).expect("the documents").map(|entry| {
        let name = entry.expect("a document").file_name();
        format!("docs/{}", name.to_str().expect("UTF-8"))
    });
    let mut pages: Vec<_> = names.filter(|name| name.ends_with(".md")).collect();
    assert!(pages.len() > 5, "the test looks at nothing");
    pages.extend(ELSEWHERE.map(str::to_owned));
    pages
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sockway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sockway"))
        .args(arguments)
        .env("SOCKWAY_JWT_SECRET", "a made-up secret that is long enough for HS256")
        .env("SOCKWAY_PUBLISH_SHA256", "85".repeat(32))
        .output()
        .expect("the program starts")
}

/// The configurations that documents show, and those in `deploy`, each with its location.
fn configurations() -> Vec<(String, String)> {
    let mut all = vec![("deploy/sockway.toml".to_owned(), read("deploy/sockway.toml"))];
    for document in documents() {
        let text = read(&document);
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        all.extend(blocks.map(|block| (document.clone(), block.to_owned())));
    }
    all
}

/// Runs `sockway check` on a text: its exit status and all its output.
fn check(text: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file: PathBuf = directory.path().join("sockway.toml");
    fs::write(&file, text).expect("a file");
    let output = sockway(&["check", file.to_str().expect("a UTF-8 path")]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn configurations_in_the_documents_are_accepted() {
    let configurations = configurations();
    assert!(configurations.len() > 1, "the test looks at nothing");
    for (place, text) in configurations {
        let (status, said) = check(&text);
        assert!(status == Some(0) && said.contains("ok"), "{place}: {status:?} {said}");
    }
}

#[test]
fn configurations_in_the_documents_with_one_more_key_are_refused() {
    for (place, text) in configurations() {
        let (status, said) = check(&format!("{text}\nno_such_key = 1\n"));
        assert!(status == Some(78) && said.contains("no_such_key"), "{place}: {status:?} {said}");
    }
}

/// The commands that a text shows: after a backtick, after a path, or at the start of a line.
fn commands(text: &str) -> Vec<Vec<String>> {
    let starts = ["\nsockway ", "`sockway ", "/usr/bin/sockway "];
    let tails = starts.iter().flat_map(|start| text.split(start).skip(1));
    let whole = tails.filter_map(|tail| tail.split(['`', '\n', '#']).next());
    whole.map(|it| it.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn commands_and_options_in_the_documents_exist() {
    let commands: Vec<_> =
        documents().iter().flat_map(|document| commands(&read(document))).collect();
    assert!(commands.len() > 5, "the test looks at nothing");
    for words in commands {
        let help = sockway(&[&words[0], "--help"]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        let usage = format!("sockway {}", words[0]);
        assert!(help.status.success() && text.contains(&usage), "{words:?}: {text}");
        for option in words.iter().filter(|word| word.starts_with("--")) {
            assert!(text.contains(option.as_str()), "{words:?}: no {option} in {text}");
        }
    }
}

#[test]
fn commands_are_found_where_a_reader_sees_them() {
    let text =
        "run `sockway health`\nsockway serve --config a.toml  # as root\nSockway is\non sockway x";
    assert_eq!(commands(text), [vec!["serve", "--config", "a.toml"], vec!["health"]]);
}
