//! `docs/configuration.md` lists every key as `config/sockway.toml` has it.
//!
//! The list is generated from that file: after changing the file, run
//! `SOCKWAY_REWRITE=1 cargo test --test reference` to rewrite it.

use std::{env, fmt::Write, fs, path::Path};

const DOCUMENT: &str = "docs/configuration.md";
const HEADING: &str = "\n## Every key\n";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A line of the reference file, as its layout has them.
enum Line<'a> {
    Table(&'a str),
    Key { name: &'a str, value: &'a str, optional: bool },
    Comment(&'a str),
    Blank,
}

fn parse(line: &str) -> Line<'_> {
    let (code, optional) = match line.strip_prefix('#') {
        Some(text) if text.is_empty() || text.starts_with(' ') => {
            return Line::Comment(text.trim());
        }
        Some(code) => (code, true),
        None => (line, false),
    };
    if code.starts_with('[') {
        return Line::Table(code);
    }
    match code.split_once(" = ") {
        Some((name, value)) => Line::Key { name, value, optional },
        None => Line::Blank,
    }
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// The list of every key, as Markdown, from the text of the reference file.
fn list(reference: &str) -> String {
    let (mut list, mut said) = (String::new(), Vec::new());
    for line in reference.lines() {
        match parse(line) {
            Line::Comment(text) => said.push(text),
            Line::Blank => said.clear(),
            Line::Table(header) => {
                let _ = write!(list, "\n### `{header}`\n\n");
                if !said.is_empty() {
                    let _ = write!(list, "{}\n\n", cell(&std::mem::take(&mut said).join(" ")));
                }
                list += "| key | value | meaning |\n|---|---|---|\n";
            }
            Line::Key { name, value, optional } => {
                // Keys that share a comment stand together below it.
                let text = std::mem::take(&mut said).join(" ");
                let meaning = if text.is_empty() { "as above" } else { &text };
                let value =
                    if optional { format!("none; `{value}`") } else { format!("`{value}`") };
                let _ = writeln!(list, "| `{name}` | {} | {} |", cell(&value), cell(meaning));
            }
        }
    }
    list
}

#[test]
fn configuration_lists_every_key_of_the_reference_file() {
    let (document, made) = (read(DOCUMENT), list(&read("config/sockway.toml")));
    let (before, written) = document.split_once(HEADING).expect("the heading is there");
    let (introduction, written) = written.split_once("\n### ").expect("a list");
    let whole = format!("{before}{HEADING}{introduction}{made}");
    if env::var_os("SOCKWAY_REWRITE").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT), whole).expect("writable");
        return;
    }
    let same = made == format!("\n### {written}");
    assert!(same, "run: SOCKWAY_REWRITE=1 cargo test --test reference");
}

#[test]
fn keys_defaults_and_comments_of_a_file_become_tables() {
    let text = "# File.\n\n# About a.\n[a]\n# One\n# key.\nx = 1\ny = \"a|b\"\n#z = \"c\"\n";
    let made = "\n### `[a]`\n\nAbout a.\n\n| key | value | meaning |\n|---|---|---|\n\
        | `x` | `1` | One key. |\n| `y` | `\"a\\|b\"` | as above |\n| `z` | none; `\"c\"` | as above |\n";
    assert_eq!(list(text), made);
}
