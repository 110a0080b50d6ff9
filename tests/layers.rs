//! Imports point down only, never sideways: every `crate::` path in `src` is checked against
//! the layers in the header of `src/lib.rs`, the only place that lists them.

use std::{collections::BTreeMap, fs, path::Path};

type Layers = BTreeMap<String, usize>;

/// Reads lines such as ``//! 2. `bus` `auth`: what they are``.
fn layers(lib: &str) -> Layers {
    let mut layers = Layers::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let Some((level, rest)) = line.split_once(". ") else { continue };
        let Ok(level) = level.parse() else { continue };
        let names = rest.split(':').next().unwrap_or(rest);
        let names = names.split('`').skip(1).step_by(2).map(str::to_owned);
        layers.extend(names.map(|name| (name, level)));
    }
    layers
}

/// The first name of every `crate::` path in a source text, without comments.
fn imports(source: &str) -> Vec<String> {
    let code: Vec<_> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n").split("crate::").skip(1).flat_map(first_names).collect()
}

/// `a::b` → a; `{a, b::{c, d}}` → a, b. Constants such as `VERSION` belong to no layer.
fn first_names(path: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|&c| is_name(c)).collect()];
    };
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
    let first = |name: &String| name.chars().take_while(|&c| is_name(c)).collect();
    names.iter().map(first).collect()
}

/// The imports of a module that its layer does not allow.
fn violations(layers: &Layers, module: &str, source: &str) -> Vec<String> {
    let Some(own) = layers.get(module) else {
        return vec![format!("{module} is in no layer of src/lib.rs")];
    };
    let forbidden = |import: &String| {
        import != module && layers.get(import).is_some_and(|theirs| theirs >= own)
    };
    let wrong = imports(source).into_iter().filter(forbidden);
    wrong.map(|import| format!("{module} imports {import}")).collect()
}

/// Every Rust file of `src` but the two roots, with the name of its top-level module.
fn sources(src: &Path) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![src.to_path_buf()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory of src") {
            let path = entry.expect("an entry of src").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let inside = path.strip_prefix(src).expect("below src").with_extension("");
            let module = inside.iter().next().and_then(|name| name.to_str()).expect("a name");
            if !["lib", "main"].contains(&module) {
                found.push((module.to_owned(), fs::read_to_string(&path).expect("a source file")));
            }
        }
    }
    found
}

#[test]
fn every_module_has_a_layer_and_imports_only_from_below() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = layers(&fs::read_to_string(src.join("lib.rs")).expect("src/lib.rs"));
    let sources = sources(&src);
    assert!(layers.len() > 10 && sources.len() > 10, "the test looks at nothing");
    let wrong: Vec<_> =
        sources.iter().flat_map(|(module, source)| violations(&layers, module, source)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let gone = |layer: &&String| !sources.iter().any(|(module, _)| module == *layer);
    let gone: Vec<_> = layers.keys().filter(gone).collect();
    assert!(gone.is_empty(), "in src/lib.rs's list but not in src: {gone:?}");
}

#[test]
fn an_import_from_above_from_the_side_or_of_no_layer_is_found() {
    let layers = layers("//! 0. `low`: x\n//! 1. `left` `right`: y\n//! 2. `high`: z");
    let find = |module, source| violations(&layers, module, source).len();
    assert_eq!(find("left", "use crate::{low::A, left::B, VERSION};\n// use crate::high;"), 0);
    assert_eq!(find("left", "use crate::{\n    low::{A, right},\n    right::B,\n};"), 1);
    assert_eq!(find("left", "fn f() { crate::high::g() }"), 1);
    assert_eq!(find("low", "use crate::{high, left::{self, B}};"), 2);
    assert_eq!(find("elsewhere", ""), 1);
}
