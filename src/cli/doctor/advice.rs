//! What to do about an error of Redis, by what it says.

use crate::upstream::LinkError;

/// What to do when no link can be made, by what Redis says.
pub(super) fn login_advice(error: &LinkError) -> &'static str {
    let text = error.to_string();
    let is = |word: &str| text.contains(word);
    if is("WRONGPASS") || is("NOAUTH") || is("without any password") {
        "correct redis.username and redis.password_file (or redis.password)"
    } else if is("NOPERM") {
        "the account needs the commands that docs/security.md lists: hello, ping, subscribe, publish and so on"
    } else if is("LOADING") {
        "Redis is still reading its data: try again when it has finished"
    } else if is("max number of clients") {
        "raise `maxclients` in Redis, or close what uses its connections up"
    } else if is("unknown command") || is("NOPROTO") || is("RESP") {
        "this server does not speak the protocol of Redis: is it one?"
    } else if is("ertificate") || is("TLS") || is("tls") {
        "rediss:// needs a certificate that this machine, or redis.tls.ca_file, trusts, for the host \
         name in redis.url; a Redis that asks for one of ours needs redis.tls.cert_file"
    } else if is("DB index") {
        "redis.url names a database (the number behind its last /) that this Redis does not have"
    } else if is("DENIED") {
        "this Redis runs in protected mode, for its own machine alone: give it a password, or have it \
         listen where the gateway is"
    } else if matches!(error, LinkError::Answered(_)) {
        "it is Redis that says so, in its own words: mend there what they name"
    } else {
        "is it Redis that answers there, and with or without TLS as redis.url says (rediss:// is with)?"
    }
}

/// What to do when a command fails on a link that was made: `rights` only where Redis says that they are missing.
pub(super) fn command_advice<'a>(error: &LinkError, rights: &'a str) -> &'a str {
    match error {
        LinkError::Answered(said) | LinkError::ChannelRefused(said) if said.contains("NOPERM") => {
            rights
        }
        LinkError::Answered(_) | LinkError::ChannelRefused(_) => {
            "it is Redis that says so, in its own words: mend there what they name"
        }
        LinkError::Unreachable(_) | LinkError::Lost(_) => {
            "the connection was good a moment ago: does Redis, or something on the way, close or block it?"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_be_turned_away_has_its_advice() {
        for (said, word) in [
            ("WRONGPASS invalid username-password pair", "redis.password_file"),
            (
                "NOAUTH HELLO must be called with the client already authenticated",
                "redis.password_file",
            ),
            (
                "ERR Client sent AUTH, but no password is set. AUTH called without any password configured",
                "redis.password_file",
            ),
            ("NOPERM this user has no permissions to run the 'hello' command", "docs/security.md"),
            ("LOADING Redis is loading the dataset in memory", "try again"),
            ("ERR max number of clients reached", "maxclients"),
            ("ERR unknown command 'PING'", "the protocol of Redis"),
            ("invalid peer certificate: unknown issuer", "trusts"),
            ("ERR DB index is out of range", "database"),
            ("DENIED Redis is running in protected mode", "protected mode"),
            ("whatever else", "in its own words"),
        ] {
            let advice = login_advice(&LinkError::Answered(said.to_owned()));
            assert!(advice.contains(word), "{said}: {advice}");
        }
        let nobody = login_advice(&LinkError::Lost("the connection was closed".to_owned()));
        assert!(nobody.contains("with or without TLS"), "{nobody}");
    }

    #[test]
    fn rights_are_advised_only_where_redis_says_that_they_are_missing() {
        let answered = |said: &str| LinkError::Answered(said.to_owned());
        for (error, word) in [
            (answered("NOPERM this user has no permissions to run 'ping'"), "RIGHTS"),
            (answered("MASTERDOWN Link with MASTER is down"), "in its own words"),
            (LinkError::ChannelRefused("ERR whatever".to_owned()), "in its own words"),
            (LinkError::Lost("no answer within 2s".to_owned()), "on the way"),
        ] {
            let advice = command_advice(&error, "RIGHTS");
            assert!(advice.contains(word), "{error}: {advice}");
        }
    }
}
