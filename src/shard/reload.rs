//! A reload, as a shard sees it: which of its sessions the new configuration concerns.
//!
//! A session is concerned when its endpoint has gone or gives something else now, or when the
//! static token that it lives by has. All others notice nothing: they keep the queue, the timers and
//! the identity they opened with.

use super::{core::Core, session::Session};
use crate::{auth::Auth, config::Config, reason::CloseReason};
use std::sync::Arc;

impl Core {
    /// Takes the new configuration and closes the sessions that it concerns.
    pub(super) fn reload(&self, config: Arc<Config>) {
        *self.config.borrow_mut() = Some(config);
        for (_, session) in self.sessions.borrow().iter() {
            self.hold_against_reload(session);
        }
    }

    /// Closes a session that the latest reload concerns.
    pub(super) fn hold_against_reload(&self, session: &Session) {
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
        super::fixture::{Frame, Rig, endpoint, run},
        *,
    };
    use crate::config;

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
            let reason = CloseReason::Reconfigured;
            let code = reason.code().expect("it has one");
            assert_eq!(late.next().await, Frame::Close(code, reason.label().to_owned()));

            rig.shard.core.reload(Arc::clone(&same));
            let mut current = rig.connect(endpoint_of(&same)).await;
            rig.publish("orders", "1");
            assert_eq!(current.next().await, Frame::Text("1".to_owned()));
        });
    }

    fn endpoint_of(config: &Config) -> crate::endpoint::Endpoint {
        crate::endpoint::Endpoint::clone(&config.endpoints[0])
    }
}
