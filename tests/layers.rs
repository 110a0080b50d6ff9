//! Imports point down only, never sideways.
//!
//! The header of `src/lib.rs` lists the modules of the crate in layers: every `crate::` path is
//! checked against it. The header of a folder's `mod.rs` may list the modules inside in the same
//! form: then every path from one of them to another is checked against that list, except in code
//! compiled only for tests. In it `mod` stands for the items that `mod.rs` itself defines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

type Layers = BTreeMap<String, usize>;

/// What introduces a list of layers.
const INTRODUCTION: &str = "each of which may use only those above it in this list:";

/// Reads the list in a header: lines such as ``//! 2. `bus` `auth`: what they are``. Empty when the
/// header has none.
fn layers(header: &str) -> Layers {
    let mut layers = Layers::new();
    let Some((_, list)) = header.split_once(INTRODUCTION) else { return layers };
    for line in list.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let Some((level, rest)) = line.split_once(". ") else { continue };
        let Ok(level) = level.parse() else { continue };
        let names = rest.split(':').next().unwrap_or(rest);
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned);
        layers.extend(names.map(|name| (name, level)));
    }
    layers
}

/// A source text without its comments.
fn code(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name behind every `prefix`.
fn names_behind(code: &str, prefix: &str) -> Vec<String> {
    code.split(prefix).skip(1).flat_map(first_names).collect()
}

/// `a::b` → a; `{a, b::{c, d}}` → a, b.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else { return vec![first_name(path)] };
    let (mut depth, mut names) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            c if depth == 0 && !c.is_whitespace() => names.last_mut().expect("one").push(c),
            _ => {}
        }
    }
    names.iter().filter(|name| !name.is_empty()).map(|name| first_name(name)).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|&c| is_name(c)).collect()
}

/// The imports of a module that its layer does not allow. Names in no layer are ignored.
fn violations(layers: &Layers, module: &str, imports: &[String]) -> Vec<String> {
    let Some(own) = layers.get(module) else {
        return vec![format!("{module} is in no layer")];
    };
    let forbidden = |import: &&String| {
        *import != module && layers.get(*import).is_some_and(|theirs| theirs >= own)
    };
    let wrong = imports.iter().filter(forbidden);
    wrong.map(|import| format!("{module} imports {import}")).collect()
}

/// Every Rust file below a folder, by its path from there, with its text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory of src") {
            let path = entry.expect("an entry of src").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let inside = path.strip_prefix(folder).expect("below it").with_extension("");
                found.push((inside, fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found
}

/// The module of a folder that a file belongs to.
fn module_of(file: &Path) -> &str {
    file.iter().next().and_then(|name| name.to_str()).expect("a name")
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// What is listed but is not there.
fn gone<'a>(layers: &'a Layers, files: &[(PathBuf, String)]) -> Vec<&'a String> {
    let is_there = |name: &str| files.iter().any(|(file, _)| module_of(file) == name);
    layers.keys().filter(|name| !is_there(name)).collect()
}

#[test]
fn every_module_has_a_layer_and_imports_only_from_below() {
    let layers = layers(&fs::read_to_string(src().join("lib.rs")).expect("src/lib.rs"));
    let mut files = files(&src());
    files.retain(|(file, _)| !["lib", "main", "testing"].contains(&module_of(file)));
    assert!(layers.len() > 10 && files.len() > 10, "the test looks at nothing");
    let wrong: Vec<_> = files
        .iter()
        .flat_map(|(file, source)| {
            violations(&layers, module_of(file), &names_behind(&code(source), "crate::"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let gone = gone(&layers, &files);
    assert!(gone.is_empty(), "in src/lib.rs's list but not in src: {gone:?}");
}

/// A folder whose `mod.rs` lists the layers inside.
struct Folder<'a> {
    /// Its path as code writes it: `crate::shard::`.
    path: String,
    layers: Layers,
    files: &'a [(PathBuf, String)],
}

impl Folder<'_> {
    fn violations(&self) -> Vec<String> {
        let only_in_tests = self.only_in_tests();
        let checked = |file: &Path| {
            file.iter().all(|name| !name.to_str().is_some_and(|name| only_in_tests.contains(name)))
        };
        let mut wrong: Vec<_> = (self.files.iter())
            .filter(|(file, _)| checked(file))
            .flat_map(|(file, source)| {
                violations(&self.layers, module_of(file), &self.imports(file, source))
            })
            .collect();
        let gone = gone(&self.layers, self.files).into_iter();
        wrong.extend(gone.map(|name| format!("{name} is listed but not there")));
        wrong
            .iter()
            .map(|wrong| format!("in {}: {wrong}", self.path.trim_end_matches("::")))
            .collect()
    }

    /// Modules that are declared behind `#[cfg(test)]`, at whatever depth.
    fn only_in_tests(&self) -> BTreeSet<String> {
        let declared = |(_, source): &(_, String)| -> Vec<String> {
            let code = code(source);
            code.split("#[cfg(test)]\nmod ").skip(1).map(first_name).collect()
        };
        self.files.iter().flat_map(declared).collect()
    }

    /// The modules of this folder that a file names. An item that `mod.rs` defines is `mod`.
    fn imports(&self, file: &Path, source: &str) -> Vec<String> {
        // Inline tests are the last thing in a file.
        let code = code(source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(source));
        let mut names = names_behind(&code, &self.path);
        if file == Path::new("mod") {
            names.extend(self.named_by_root(&code));
        } else {
            let depth = file.iter().filter(|&name| name != "mod").count();
            names.extend(names_behind_supers(&code, depth));
        }
        let known =
            |name: String| if self.layers.contains_key(&name) { name } else { "mod".into() };
        names.into_iter().map(known).collect()
    }

    /// The modules that `mod.rs` uses. What it only re-exports does not count.
    fn named_by_root(&self, code: &str) -> Vec<String> {
        let statements = code.split(';').filter(|statement| !is_reexport(statement));
        let code = statements.collect::<Vec<_>>().join(";").replace("self::", "");
        let begins_path = |at: usize| !code[..at].ends_with(|c| is_name(c) || c == ':');
        let uses =
            |name: &str| code.match_indices(&format!("{name}::")).any(|(at, _)| begins_path(at));
        self.layers.keys().filter(|name| uses(name)).cloned().collect()
    }
}

/// `pub use …` or `pub(…) use …`, attributes before it or not.
fn is_reexport(statement: &str) -> bool {
    let is_attribute = |line: &&str| line.trim_start().starts_with("#[") || line.trim().is_empty();
    let first = statement.lines().find(|line| !is_attribute(line)).unwrap_or_default().trim_start();
    let Some(rest) = first.strip_prefix("pub") else { return false };
    let rest = match rest.strip_prefix('(') {
        Some(scope) => scope.split_once(')').map_or("", |(_, rest)| rest),
        None => rest,
    };
    rest.starts_with(" use ")
}

/// The first name behind each `super::super::` of this many steps up: from a file so deep in a folder
/// it leads to the folder's own modules. More steps lead out of it, where no list says what is allowed.
fn names_behind_supers(mut code: &str, depth: usize) -> Vec<String> {
    const UP: &str = "super::";
    let mut names = Vec::new();
    while let Some(at) = code.find(UP) {
        code = &code[at..];
        let mut steps = 0;
        while let Some(rest) = code.strip_prefix(UP) {
            (steps, code) = (steps + 1, rest);
        }
        assert!(steps <= depth, "write `crate::` for {}", code.lines().next().unwrap_or(code));
        if steps == depth {
            names.extend(first_names(code));
        }
    }
    names
}

#[test]
fn in_a_folder_that_lists_its_layers_imports_point_down_too() {
    let mut listing = Vec::new();
    let mut wrong = Vec::new();
    for (file, source) in files(&src()).iter().filter(|(file, _)| file.ends_with("mod")) {
        let layers = layers(source);
        if layers.is_empty() {
            continue;
        }
        let folder = file.parent().expect("a mod.rs is in a folder");
        let names: Vec<_> = folder.iter().filter_map(|name| name.to_str()).collect();
        let path = format!("crate::{}::", names.join("::"));
        wrong.extend(Folder { path, layers, files: &files(&src().join(folder)) }.violations());
        listing.push(names.join("::"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for name in ["shard", "server", "upstream", "upstream::link", "upstream::pubsub"] {
        assert!(listing.iter().any(|listed| listed == name), "no list was found in {name}");
    }
}

#[test]
fn an_import_from_above_from_the_side_or_of_no_layer_is_found() {
    let list =
        format!("{INTRODUCTION}\n//! 0. `low`: x\n//! 1. `left` `right`: y\n//! 2. `high`: z");
    let layers = layers(&list);
    let find =
        |module, source| violations(&layers, module, &names_behind(&code(source), "crate::")).len();
    assert_eq!(find("left", "use crate::{low::A, left::B, VERSION};\n// use crate::high;"), 0);
    assert_eq!(find("left", "use crate::{\n    low::{A, right},\n    right::B,\n};"), 1);
    assert_eq!(find("left", "fn f() { crate::high::g() }"), 1);
    assert_eq!(find("low", "use crate::{high, left::{self, B}};"), 2);
    assert_eq!(find("elsewhere", ""), 1);
}

#[test]
fn inside_a_folder_an_import_is_found_however_it_is_written() {
    let find = |file: &str, source: &str| {
        let root = "#[cfg(test)]\nmod fixture;\nmod low;\nmod high;\npub use high::A;\nuse low::B;\n\
                    #[cfg(any(test, fuzzing))]\npub(super) use high::C;";
        let mut files: Vec<_> = [("mod", root), ("low", ""), ("high", ""), ("fixture", "")]
            .map(|(file, source)| (PathBuf::from(file), source.to_owned()))
            .into_iter()
            .filter(|(name, _)| name != Path::new(file))
            .collect();
        let declared = if file == "mod" { root } else { "" };
        files.push((PathBuf::from(file), format!("{declared}{source}")));
        let list = format!("{INTRODUCTION}\n//! 0. `low`: x\n//! 1. `mod`: y\n//! 2. `high`: z");
        Folder { path: "crate::f::".to_owned(), layers: layers(&list), files: &files }.violations()
    };
    assert_eq!(find("high", "use super::{A, low::B};\nuse crate::g::low;"), [""; 0]);
    assert_eq!(find("low", "use super::high::A;"), ["in crate::f: low imports high"]);
    assert_eq!(find("low", "use crate::f::{high::A};"), ["in crate::f: low imports high"]);
    assert_eq!(find("low", "use super::Item;"), ["in crate::f: low imports mod"]);
    assert_eq!(find("low/inner", "use super::high;"), [""; 0], "low's own");
    assert_eq!(find("low/inner", "super::super::high::f()").len(), 1);
    assert_eq!(find("mod", "fn f() { high::g(a::high::B) }").len(), 1);
    assert_eq!(find("mod", "use self::high::A;").len(), 1);
    assert_eq!(find("low", "\n#[cfg(test)]\nmod tests {\n    use super::high;\n}"), [""; 0]);
    assert_eq!(find("fixture", "use super::high;"), [""; 0], "only in tests");
    assert_eq!(find("other", ""), ["in crate::f: other is in no layer"]);
}
