//! Every command of presence once, for `sockway doctor`: a made-up user enters an empty room and leaves it.
//!
//! Even where Redis refuses some of them, everything that was written is gone after twice [`TTL`].

use super::{
    names::{Instance, Keys},
    script::{Mode, SCRIPT},
};

/// In milliseconds, as the script takes it.
const TTL: &str = "500";

/// How long a key lives, in milliseconds.
const LIFE: &str = "1000";

/// A deadline in the far future, in milliseconds, so that no user counts as gone.
const DEADLINE: &str = "99999999999999";

/// The made-up user.
const USER: &str = "sockway doctor";

/// The made-up user in its room.
pub(in crate::upstream) struct Canary {
    keys: Keys,
    instance: Instance,
}

impl Canary {
    pub(in crate::upstream) fn new(room: &str, prefix: &str) -> Self {
        Self { keys: Keys::of(room, prefix), instance: Instance::random() }
    }

    /// The channel of the room's announcements, as Redis knows it.
    pub(in crate::upstream) fn news(&self) -> &str {
        &self.keys.news
    }

    /// Makes the members' key expire.
    pub(in crate::upstream) fn expiry_of(&self, milliseconds: &str) -> Vec<String> {
        words(&["PEXPIRE", &self.keys.members, milliseconds])
    }

    /// Loads the script; Redis answers with its name.
    pub(in crate::upstream) fn load() -> Vec<String> {
        words(&["SCRIPT", "LOAD", SCRIPT])
    }

    /// All other commands, in order. Send all of them, even when one is refused.
    pub(in crate::upstream) fn commands(&self, script: &str) -> Vec<Vec<String>> {
        let Keys { members, users, news } = &self.keys;
        let member = self.instance.member(USER);
        let run = |mode: Mode, argument: &[&str]| {
            let start = ["EVALSHA", script, "2", members, users, news, TTL];
            words(&[&start[..], &[self.instance.as_str(), mode.word()], argument].concat())
        };
        vec![
            run(Mode::Join, &[&member]),
            // A script that was aborted may have left its keys without an expiry.
            self.expiry_of(LIFE),
            words(&["PEXPIRE", users, LIFE]),
            words(&["ZADD", members, "XX", "CH", DEADLINE, &member]),
            words(&["ZCOUNT", members, "-inf", "0"]),
            words(&["HGET", users, "!"]),
            run(Mode::Roster, &["10"]),
            run(Mode::Sweep, &[]),
            run(Mode::Leave, &[&member]),
        ]
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
