//! What the documents say is true of the code: tables, names, links and examples are read from the
//! Markdown files and checked against the library and the real program.

use sockway::metrics::Metrics;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with this extension in the repository's own directories.
fn files(extension: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
            if path.is_dir() && !["target", ".git", "node_modules"].contains(&name) {
                open.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// The text below a heading, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The rows of the tables in a text, as trimmed cells without backticks, without header rows.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>()
    };
    let lines: Vec<_> = text.lines().collect();
    let is_row = |at: usize| lines[at].starts_with("| ");
    let is_header = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    let rows = (0..lines.len()).filter(|&at| is_row(at) && !is_header(at));
    rows.map(|at| cells(lines[at])).collect()
}

/// The names of every series that `/metrics` shows.
fn real_series() -> BTreeSet<String> {
    let text = Metrics::new(1, &["notifications".into()]).render();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

/// Every word of a text that has the prefix of our series.
fn named_series(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("sockway_"));
    let parts = ["_bucket", "_sum", "_count"];
    ours.map(|word| parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn operations_names_every_series_and_no_other() {
    let named = named_series(&read("docs/operations.md"));
    let ours = real_series().into_iter().filter(|name| name.starts_with("sockway_"));
    assert_eq!(named, ours.collect());
}

#[test]
fn series_named_in_other_documents_and_in_deploy_exist() {
    let real = real_series();
    for path in ["md", "yaml", "yml", "json"].into_iter().flat_map(files) {
        let named = named_series(&fs::read_to_string(&path).expect("a text file"));
        let unknown: Vec<_> = named.difference(&real).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
    }
}

/// The figures in a table: words of digits, commas and points.
fn figures(text: &str) -> BTreeSet<String> {
    let cells = rows(text).into_iter().flat_map(|row| row.into_iter().skip(1));
    let digits = |cell: String| {
        let figure = cell.trim_matches(|c: char| !c.is_ascii_digit());
        figure.split(' ').next().unwrap_or_default().to_owned()
    };
    cells.map(digits).filter(|figure| !figure.is_empty()).collect()
}

#[test]
fn figures_in_the_readme_are_those_of_the_benchmarks() {
    let (readme, benchmarks) = (read("README.md"), read("docs/benchmarks.md"));
    let shown = figures(section(&readme, "Measured"));
    assert!(shown.len() > 10, "the test looks at nothing: {shown:?}");
    let is_figure = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
    let measured: BTreeSet<_> =
        benchmarks.split(|c| !is_figure(c)).map(|it| it.trim_matches(['.', ','])).collect();
    let other: Vec<_> = shown.iter().filter(|it| !measured.contains(it.as_str())).collect();
    assert!(other.is_empty(), "not in docs/benchmarks.md: {other:?}");
}

/// The targets of the links in a Markdown text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// A heading as the anchor that Markdown viewers give it.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let line = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        line.chars().filter(|&c| c.is_alphanumeric() || c == '-' || c == '_').collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn no_file_has_the_markers_of_a_merge_that_was_not_finished() {
    let is_marker = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    for extension in ["md", "rs", "toml", "js", "ts", "html", "py", "yml", "yaml", "json", "sh"] {
        for path in files(extension) {
            let text = fs::read_to_string(&path).expect("a text");
            let marked = text.lines().position(is_marker);
            assert_eq!(marked, None, "{}", path.display());
        }
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let (mut seen, mut broken) = (0, Vec::new());
    for path in files("md") {
        let text = fs::read_to_string(&path).expect("a Markdown file");
        for link in links(&text).filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            let known = || anchors(&fs::read_to_string(&target).unwrap_or_default());
            if !target.exists() || !(anchor.is_empty() || known().iter().any(|it| it == anchor)) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 10, "the test looks at nothing");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The checks above must find these mistakes, or they prove nothing.
#[test]
fn tables_links_and_names_are_read_as_a_reader_would() {
    let text = "\n## A\n| x | y |\n|---|---|\n| `1` | b |\n\n[l](a.md#b-c) `sockway_x_bucket{le}`\n## B\n| 2 |";
    assert_eq!(rows(section(text, "A")), [["1", "b"]]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["a.md#b-c"]);
    assert_eq!(named_series(text), BTreeSet::from(["sockway_x".to_owned()]));
    assert_eq!(anchors("# A `B` c-d!"), ["a-b-c-d"]);
}
