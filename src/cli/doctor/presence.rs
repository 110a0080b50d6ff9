//! Checks that the account may use every command of presence, and its script, with a made-up user.

use super::{
    advice::{command_advice, login_advice},
    redis::{SAMPLE, log_in},
    report::Report,
};
use crate::{
    config::Config,
    endpoint::{AnyChannel, Presence, PresenceChannel},
    upstream::{LinkError, PresenceDiagnostics, RedisDiagnostics},
};
use std::collections::BTreeSet;

const SUBJECT: &str = "presence";

/// What the account needs beside its keys and channels: docs/presence.md has the whole line.
const COMMANDS: &str = "+evalsha +script|load +time +pexpire +zadd +zcount +zrangebyscore +zrem +hincrby +hdel \
                        +hget +hkeys +hlen +hsetnx +publish";

/// Does nothing where no endpoint has presence.
pub(super) async fn examine(redis: &mut RedisDiagnostics, config: &Config, report: &mut Report) {
    let all = config.endpoints.iter().filter_map(|it| Some((it, it.presence.as_ref()?)));
    let (mut seen, mut rooms) = (BTreeSet::new(), Vec::new());
    for (endpoint, presence) in all {
        let (text, sample) = room(presence);
        if seen.insert(sample.clone()) {
            let prefix = &config.redis.channel_prefix;
            rooms.push((format!("{prefix}{text} ({})", endpoint.name), sample));
        }
    }
    if rooms.is_empty() {
        return;
    }
    let mut presence = match log_in(PresenceDiagnostics::dial(&config.redis)).await {
        Ok(presence) => presence,
        Err(error) => return report.fail(SUBJECT, &error.to_string(), login_advice(&error)),
    };
    for (what, sample) in rooms {
        let tried = match redis.subscribe(&presence.news_of(&sample)).await {
            Ok(()) => presence.enter_and_leave(&sample).await,
            Err(error) => Err(error),
        };
        match tried {
            Ok(()) => report.ok(SUBJECT, &format!("{what}: entered and left")),
            Err(error) => {
                let advice = advice(&error, &config.redis.channel_prefix);
                report.fail(SUBJECT, &format!("{what}: {error}"), &advice);
            }
        }
    }
}

/// The room as it is written, and a sample of it.
fn room(presence: &Presence) -> (String, String) {
    match &presence.channel {
        PresenceChannel::Template(template) => {
            (template.as_str().to_owned(), template.filled(SAMPLE))
        }
        PresenceChannel::Any(any) => {
            let text = any.to_string();
            let sample = text.replace(AnyChannel::ANY, SAMPLE);
            (text, sample)
        }
    }
}

/// Up to Redis 7.0 a script that may not do something is broken off without NOPERM.
fn advice(error: &LinkError, prefix: &str) -> String {
    let own = format!("{prefix}sockway:presence:*");
    let rights = format!("give the account: `ACL SETUSER … &{own} (~{own} &{own} {COMMANDS})`");
    match error {
        LinkError::Answered(said) if said.contains("user executing the script") => rights,
        _ => command_advice(error, &rights).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_that_are_advised_are_those_of_the_page() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/presence.md");
        let page = std::fs::read_to_string(page).expect("the page is there");
        let rights = advice(&LinkError::Answered("NOPERM".to_owned()), "");
        let (_, rights) = rights.split_once("… ").expect("a command");
        assert!(page.contains(&format!("\nACL SETUSER sockway {}\n", rights.trim_matches('`'))));
    }

    #[test]
    fn a_script_that_was_broken_off_for_its_rights_is_advised_on_however_redis_says_it() {
        for said in [
            "NOPERM ACL failure in script: User sockway has no permissions to run the 'hset' command",
            "ERR The user executing the script can't run this command or subcommand script: b102, on @user_script:18.",
        ] {
            let advice = advice(&LinkError::Answered(said.to_owned()), "app:");
            assert!(advice.contains("(~app:sockway:presence:* &app:"), "{advice}");
        }
    }
}
