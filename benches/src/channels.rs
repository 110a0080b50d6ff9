//! Which path leads to which channels. Every server of the benchmark
//! follows this scheme, so that one load generator drives them all.
//!
//! | path | channels |
//! |---|---|
//! | `/all` | the common one |
//! | `/own/7` | number 7 |
//! | `/both/7` | number 7, and the common one |
//! | `/many?c=7,8,9` | numbers 7, 8 and 9 |
//! | `/user?token=JWT` | the number in the token's `sub`, and the common one |
//! | `/stream/all`, `/stream/own/7`, `/stream/many?c=7,8` | the same names, as streams; Sockway alone |
//! | `/say?token=JWT` | the common one, which its clients publish to, too; Sockway alone, as are those that follow |
//! | `/inbox?token=JWT`, `/flooded?token=JWT` | the number in the token's `sub` |
//! | `/room/7?token=JWT`, `/present/7?token=JWT` | those of room 7 |

/// The common channel, which every socket has.
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
