//! Every command of presence once, for `sockway doctor`: a user who is nobody enters a room and leaves it.
//!
//! Whatever of it Redis refuses, what was written is gone after [`TTL`] twice.

use super::{
    names::{Instance, Keys},
    script::{Mode, SCRIPT},
};

/// In milliseconds, as the script takes it.
const TTL: &str = "500";

/// How long a key lives, in milliseconds.
const LIFE: &str = "1000";

/// Later than any clock, in milliseconds: nobody in the room is taken for gone.
const DEADLINE: &str = "99999999999999";

/// Who enters. The room is one that nobody is in.
const USER: &str = "sockway doctor";

/// A user who is nobody, in a room.
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

    /// What gives a key an end, after so many milliseconds.
    pub(in crate::upstream) fn expiry_of(&self, milliseconds: &str) -> Vec<String> {
        words(&["PEXPIRE", &self.keys.members, milliseconds])
    }

    /// What is answered by the script's name.
    pub(in crate::upstream) fn load() -> Vec<String> {
        words(&["SCRIPT", "LOAD", SCRIPT])
    }

    /// Everything else, in its order: all of it is to be asked, whatever of it is refused.
    pub(in crate::upstream) fn commands(&self, script: &str) -> Vec<Vec<String>> {
        let Keys { members, users, news } = &self.keys;
        let member = self.instance.member(USER);
        let run = |mode: Mode, argument: &[&str]| {
            let start = ["EVALSHA", script, "2", members, users, news, TTL];
            words(&[&start[..], &[self.instance.as_str(), mode.word()], argument].concat())
        };
        vec![
            run(Mode::Join, &[&member]),
            // A script that was broken off has left its keys without an end.
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
