//! Which sessions a new configuration closes, and how fast.
//!
//! A session is closed when its endpoint has gone or gives something else now (with 4009 where it has no
//! streams any more: a position would be refused there), or when the static token that it lives by has.
//! All others notice nothing: they keep the queue, the timers and the identity they opened with.
//!
//! A session whose token was taken away is closed at once. The rest may be thousands who would all
//! come back together, so a few are closed with each tick, and all within [`SPREAD`].

use super::wheel::TICK;
use crate::{
    auth::Auth, carrier::Carrier, config::Config, endpoint::Endpoint, reason::CloseReason,
};
use std::{sync::Arc, time::Duration};

/// How long the sessions that a reload closes may still be open, their close frames aside.
const SPREAD: Duration = Duration::from_secs(2);

/// So few that they may all come back together.
pub(super) const AT_ONCE: usize = 20;

/// What a session opened with, as far as a configuration can take it away.
pub(super) struct SessionFacts<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) carrier: Carrier,
    /// SHA-256 of the static token that the session lives by, when it is one.
    pub(super) static_token: Option<&'a [u8; 32]>,
    /// What that token was verified by.
    pub(super) auth: &'a Auth,
}

/// Why a session cannot go on under this configuration; `None` when it can.
pub(super) fn close_reason(session: &SessionFacts<'_>, config: &Config) -> Option<CloseReason> {
    if let Some(sha256) = session.static_token {
        match config.auth.static_identity(sha256) {
            None => return Some(CloseReason::Revoked),
            now if now != session.auth.static_identity(sha256) => {
                return Some(CloseReason::Reconfigured);
            }
            Some(_) => {}
        }
    }
    let goes_on = config.endpoints.iter().any(|endpoint| {
        session.endpoint.continues_as(endpoint)
            && (session.carrier == Carrier::WebSocket || endpoint.sse)
    });
    (!goes_on).then(|| reason_to_leave(session.endpoint, config))
}

/// A client comes back with its positions, unless it is told that they are good for nothing any more.
fn reason_to_leave(endpoint: &Endpoint, config: &Config) -> CloseReason {
    let is_same = |other: &&Arc<Endpoint>| other.name == endpoint.name;
    let loses_streams =
        config.endpoints.iter().find(is_same).is_some_and(|now| now.streams.is_empty());
    if loses_streams && !endpoint.streams.is_empty() {
        CloseReason::Gap
    } else {
        CloseReason::Reconfigured
    }
}

/// Sessions that are to be closed a few at a time, by their keys.
#[derive(Debug, Default)]
pub(super) struct PacedClose {
    keys: Vec<u32>,
    each_tick: usize,
}

impl PacedClose {
    /// Spreads these evenly over [`SPREAD`].
    pub(super) fn new(keys: Vec<u32>) -> Self {
        let ticks = SPREAD.as_millis().div_ceil(TICK.as_millis());
        let each_tick = keys.len().div_ceil(usize::try_from(ticks).unwrap_or(1)).max(AT_ONCE);
        Self { keys, each_tick }
    }

    /// Those to close at this tick.
    pub(super) fn next(&mut self) -> Vec<u32> {
        let rest = self.keys.len().saturating_sub(self.each_tick);
        self.keys.drain(rest..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// An endpoint at this path; a static token, 64 times this digit, that stands for this user.
    fn config(path: &str, digit: char, user: &str) -> Config {
        let sha256 = String::from(digit).repeat(64);
        let text = format!(
            "[[endpoint]]\nname = \"orders\"\npath = \"{path}\"\nchannels = [\"orders\"]\n\
             [[auth.token]]\nsha256 = \"{sha256}\"\nuser = \"{user}\""
        );
        testing::config(&text)
    }

    #[test]
    fn a_session_goes_on_only_with_its_endpoint_and_the_identity_of_its_static_token() {
        let opened = config("/ws", '1', "42");
        let sha256 = [0x11; 32];
        let of = |static_token| SessionFacts {
            endpoint: &opened.endpoints[0],
            carrier: Carrier::WebSocket,
            static_token,
            auth: &opened.auth,
        };
        let (by_token, by_jwt) = (of(Some(&sha256)), of(None));
        let (reconfigured, revoked) = (Some(CloseReason::Reconfigured), Some(CloseReason::Revoked));
        for (now, for_token, for_jwt) in [
            (config("/ws", '1', "42"), None, None),
            (config("/elsewhere", '1', "42"), reconfigured, reconfigured),
            (config("/ws", '1', "7"), reconfigured, None),
            (config("/ws", '2', "42"), revoked, None),
            (config("/elsewhere", '2', "42"), revoked, reconfigured),
        ] {
            assert_eq!(close_reason(&by_token, &now), for_token);
            assert_eq!(close_reason(&by_jwt, &now), for_jwt);
        }
    }

    #[test]
    fn a_session_is_told_to_forget_its_position_where_its_endpoint_has_no_streams_any_more() {
        let with = |topics: &str| {
            testing::config(&format!(
                "[[endpoint]]\nname = \"a\"\npath = \"/ws\"\nauth = \"none\"\n{topics}"
            ))
        };
        let streams = with("streams = [\"s\"]\nchannels = [\"c\"]");
        let channels = with("channels = [\"c\"]");
        let others = with("streams = [\"t\"]");
        for (opened, now, reason) in [
            (&streams, &channels, Some(CloseReason::Gap)),
            (&streams, &others, Some(CloseReason::Reconfigured)),
            (&streams, &config("/elsewhere", '1', "42"), Some(CloseReason::Reconfigured)),
            (&channels, &others, Some(CloseReason::Reconfigured)),
            (&streams, &streams, None),
        ] {
            let facts = SessionFacts {
                endpoint: &opened.endpoints[0],
                static_token: None,
                carrier: Carrier::WebSocket,
                auth: &opened.auth,
            };
            assert_eq!(close_reason(&facts, now), reason);
        }
    }

    #[test]
    fn an_event_stream_goes_on_only_where_its_endpoint_still_has_them() {
        let with = |sse: bool| {
            let text =
                "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nchannels = [\"a\"]\nauth = \"none\"";
            testing::config(&format!("{text}\nsse = {sse}"))
        };
        let (opened, gone) = (with(true), with(false));
        let of = |carrier| SessionFacts {
            endpoint: &opened.endpoints[0],
            carrier,
            static_token: None,
            auth: &opened.auth,
        };
        let (events, websocket) = (of(Carrier::EventStream), of(Carrier::WebSocket));
        assert_eq!(close_reason(&events, &gone), Some(CloseReason::Reconfigured));
        assert_eq!(close_reason(&websocket, &gone), None);
        assert_eq!(close_reason(&events, &opened), None);
    }

    #[test]
    fn however_many_a_reload_concerns_all_have_their_turn_within_the_spread() {
        let ticks = SPREAD.as_millis() / TICK.as_millis();
        for n in [0, 1, 20, 21, 399, 400, 401, 100_000] {
            let mut paced = PacedClose::new((0..n).collect());
            let turns: Vec<_> =
                std::iter::from_fn(|| Some(paced.next()).filter(|it| !it.is_empty())).collect();
            assert_eq!(turns.iter().map(Vec::len).sum::<usize>(), n as usize);
            assert!(turns.len() as u128 <= ticks, "{n} in {} ticks", turns.len());
            let most = turns.iter().map(Vec::len).max().unwrap_or_default();
            assert!(most <= AT_ONCE.max(n as usize / ticks as usize + 1), "{n}: {most} at once");
        }
    }
}
