//! The names on both sides: which path leads to which channels. Every server of the benchmark
//! follows this scheme, so that one load generator drives them all.
//!
//! | path | channels |
//! |---|---|
//! | `/all` | the one that everybody has |
//! | `/own/7` | number 7 |
//! | `/both/7` | number 7, and the one that everybody has |
//! | `/many?c=7,8,9` | numbers 7, 8 and 9 |
//! | `/user?token=JWT` | the number that the token's `sub` says, and the one that everybody has |

/// The channel that everybody has.
pub const ALL: &str = "bench:all";

/// The name of channel `number`.
#[must_use]
pub fn own(number: u32) -> String {
    format!("bench:{number}")
}

/// The channels of a path, by the scheme above, except `/user`: that needs a token to be read.
#[must_use]
pub fn of_path(path: &str) -> Option<Vec<String>> {
    let named = |id: &str| format!("bench:{id}");
    if path == "/all" {
        return Some(vec![ALL.to_owned()]);
    }
    if let Some(id) = path.strip_prefix("/own/") {
        return Some(vec![named(id)]);
    }
    if let Some(id) = path.strip_prefix("/both/") {
        return Some(vec![named(id), ALL.to_owned()]);
    }
    path.strip_prefix("/many?c=").map(|ids| ids.split(',').map(named).collect())
}
