//! A reload, as a shard sees it: which of its sessions the new configuration concerns.
//!
//! A session is concerned when its endpoint has gone or gives something else now, or when the
//! static token that it lives by has. All others notice nothing: they keep the queue, the timers and
//! the identity they opened with.
//!
//! Whose token was taken away is closed at once. The rest may be thousands who would all come back
//! together, so a few are closed with each tick, and all within [`SPREAD`].

use super::{core::Core, session::Session, wheel::TICK};
use crate::{auth::Auth, config::Config, reason::CloseReason};
use std::{sync::Arc, time::Duration};

/// How long the sessions that a reload concerns may still be open, their close frames aside.
const SPREAD: Duration = Duration::from_secs(2);

/// So few are nobody's burden: they are closed together.
const AT_ONCE: usize = 20;

/// Sessions that a reload concerns and that are still open, by their keys. A key may have another
/// owner by its turn, or another reload may have come: each is held against the latest then.
#[derive(Debug, Default)]
pub(super) struct PacedClose {
    keys: Vec<u32>,
    each_tick: usize,
}

impl PacedClose {
    /// Spreads these evenly over [`SPREAD`].
    fn new(keys: Vec<u32>) -> Self {
        let ticks = SPREAD.as_millis().div_ceil(TICK.as_millis());
        let each_tick = keys.len().div_ceil(usize::try_from(ticks).unwrap_or(1)).max(AT_ONCE);
        Self { keys, each_tick }
    }

    /// Those whose turn has come.
    fn next(&mut self) -> Vec<u32> {
        let rest = self.keys.len().saturating_sub(self.each_tick);
        self.keys.drain(rest..).collect()
    }
}

impl Core {
    /// Takes the new configuration and sees to it that the sessions that it concerns are closed.
    pub(super) fn reload(&self, config: Arc<Config>) {
        let mut leaving = Vec::new();
        for (_, session) in self.sessions.borrow().iter() {
            match ending(session, &config) {
                Some(CloseReason::Reconfigured) => leaving.push(session.key),
                Some(reason) => session.end(reason),
                None => {}
            }
        }
        *self.config.borrow_mut() = Some(config);
        *self.leaving.borrow_mut() = PacedClose::new(leaving);
        self.close_paced();
    }

    /// Closes the next of those that the latest reload concerns.
    pub(super) fn close_paced(&self) {
        let sessions = self.sessions.borrow();
        for key in self.leaving.borrow_mut().next() {
            if let Some(session) = sessions.get(key as usize) {
                self.recheck(session);
            }
        }
    }

    /// Closes a session that the latest reload concerns.
    pub(super) fn recheck(&self, session: &Session) {
        let config = self.config.borrow();
        if let Some(reason) = config.as_deref().and_then(|config| ending(session, config)) {
            session.end(reason);
        }
    }

    /// What a session's next token is verified by: the latest keys, not those it opened with.
    pub(super) fn auth_for(&self, session: &Session) -> Arc<Auth> {
        let config = self.config.borrow();
        config.as_ref().map_or_else(
            || Arc::clone(&session.token.borrow().auth),
            |config| Arc::clone(&config.auth),
        )
    }
}

/// Why a session cannot go on under this configuration; `None` when it can.
fn ending(session: &Session, config: &Config) -> Option<CloseReason> {
    let token = session.token.borrow();
    if let Some(sha256) = &token.sha256 {
        match config.auth.static_identity(sha256) {
            None => return Some(CloseReason::Revoked),
            now if now != token.auth.static_identity(sha256) => {
                return Some(CloseReason::Reconfigured);
            }
            Some(_) => {}
        }
    }
    let goes_on = config.endpoints.iter().any(|endpoint| session.endpoint.continues_as(endpoint));
    (!goes_on).then_some(CloseReason::Reconfigured)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{Client, Frame, Rig, endpoint, run},
        *,
    };
    use crate::config;
    use tokio::{task::spawn_local, time::Instant};

    fn config(path: &str) -> Arc<Config> {
        let text = format!(
            "[[endpoint]]\nname = \"{}\"\npath = \"{path}\"\nchannels = [\"orders\"]\nauth = \"none\"",
            endpoint().name
        );
        Arc::new(config::parse(&text, "test").expect("a good configuration").config)
    }

    #[test]
    fn a_session_whose_handshake_began_before_a_reload_is_held_against_it() {
        run(async {
            let mut rig = Rig::new();
            let same = config("/same");
            rig.shard.core.reload(config("/elsewhere"));
            let mut late = rig.connect(endpoint()).await;
            assert_eq!(late.next().await, closed(CloseReason::Reconfigured));

            rig.shard.core.reload(Arc::clone(&same));
            let mut current = rig.connect(endpoint_of(&same)).await;
            rig.publish("orders", "1");
            assert_eq!(current.next().await, Frame::Text("1".to_owned()));
        });
    }

    #[test]
    fn however_many_a_reload_concerns_all_have_their_turn_within_the_spread() {
        let ticks = SPREAD.as_millis() / TICK.as_millis();
        for n in [0, 1, 20, 21, 399, 400, 401, 100_000] {
            let mut leaving = PacedClose::new((0..n).collect());
            let turns: Vec<_> =
                std::iter::from_fn(|| Some(leaving.next()).filter(|it| !it.is_empty())).collect();
            assert_eq!(turns.iter().map(Vec::len).sum::<usize>(), n as usize);
            assert!(turns.len() as u128 <= ticks, "{n} in {} ticks", turns.len());
            let most = turns.iter().map(Vec::len).max().unwrap_or_default();
            assert!(most <= AT_ONCE.max(n as usize / ticks as usize + 1), "{n}: {most} at once");
        }
    }

    async fn hundred(rig: &mut Rig, config: &Config) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(rig.connect(endpoint_of(config)).await);
        }
        clients
    }

    #[test]
    fn many_sessions_that_a_reload_concerns_are_closed_a_few_at_a_time() {
        run(async {
            let mut rig = Rig::new();
            let clients = hundred(&mut rig, &config("/old")).await;
            let began = Instant::now();
            rig.shard.core.reload(config("/new"));
            let mut ends = Vec::new();
            for mut client in clients {
                ends.push(spawn_local(async move {
                    assert_eq!(client.next().await, closed(CloseReason::Reconfigured));
                    began.elapsed().as_millis() / TICK.as_millis()
                }));
            }
            let mut each_tick = [0; 41];
            for end in ends {
                each_tick[usize::try_from(end.await.unwrap()).unwrap()] += 1;
            }
            assert!(each_tick.iter().all(|&closed| closed <= AT_ONCE), "{each_tick:?}");
        });
    }

    #[test]
    fn who_has_not_been_closed_yet_stays_when_the_next_reload_takes_it_back() {
        run(async {
            let mut rig = Rig::new();
            let old = config("/old");
            let clients = hundred(&mut rig, &old).await;
            rig.shard.core.reload(config("/new"));
            rig.shard.core.reload(old);
            rig.publish("orders", "still here");
            let mut kept = 0;
            for mut client in clients {
                match client.next().await {
                    Frame::Text(_) => kept += 1,
                    frame => assert_eq!(frame, closed(CloseReason::Reconfigured)),
                }
            }
            assert_eq!(kept, 100 - AT_ONCE);
        });
    }

    fn closed(reason: CloseReason) -> Frame {
        Frame::Close(reason.code().expect("it has one"), reason.label().to_owned())
    }

    fn endpoint_of(config: &Config) -> crate::endpoint::Endpoint {
        crate::endpoint::Endpoint::clone(&config.endpoints[0])
    }
}
