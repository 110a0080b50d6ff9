//! What sessions add to what they opened with: who has it, who may still have it, and its end.

use super::{FLUSHES_AT_ONCE, Registered, Registry};
use crate::{
    channel::ChannelName,
    endpoint::{AllowedAs, Endpoint},
    identity::Identity,
    reason::{NotSubscribed, TakenAway},
    shard::{
        added::{Added, Place},
        session::{Session, SessionName},
    },
    wire::{Reference, subscriptions},
};
use std::{rc::Rc, sync::Arc, time::Instant};

impl Registered {
    pub(in crate::shard) fn registry(&self) -> &Rc<Registry> {
        &self.registry
    }

    /// What the session has added; makes the entry when there is none.
    pub(in crate::shard) fn added(&self) -> Rc<Added> {
        let mut all = self.registry.added.borrow_mut();
        Rc::clone(all.entry(self.session.key).or_default())
    }

    /// Whether messages of this channel or stream come to the session.
    pub(in crate::shard) fn is_subscribed(&self, name: &str) -> bool {
        let added = self.registry.added.borrow();
        self.is_fixed(name) || added.get(&self.session.key).is_some_and(|it| it.has_joined(name))
    }

    /// Its endpoint in the configuration that is in effect.
    pub(in crate::shard) fn endpoint_now(&self) -> Arc<Endpoint> {
        self.registry.endpoint_now(&self.session)
    }

    /// Takes over a newer token, and takes away what that does not allow.
    pub(in crate::shard) fn renew_added(&self, identity: Identity) {
        let added = self.registry.added.borrow().get(&self.session.key).cloned();
        if let Some(added) = added {
            added.renew(identity);
            self.registry.recheck_added(&self.session, &added);
        }
    }
}

impl Session {
    /// Whether the session opened with this channel or stream.
    pub(in crate::shard) fn is_fixed(&self, name: &str) -> bool {
        self.channels().iter().chain(self.streams()).any(|topic| topic.as_str() == name)
    }
}

impl Registry {
    /// A session and what it has added, unless it is gone: its place may have a new owner by now.
    pub(in crate::shard) fn find_added(
        &self,
        name: SessionName,
    ) -> Option<(Rc<Session>, Rc<Added>)> {
        let session = self.sessions.borrow().get(name.key as usize).cloned();
        let session = session.filter(|session| session.id == name.id)?;
        let added = self.added.borrow().get(&name.key).cloned()?;
        Some((session, added))
    }

    fn endpoint_now(&self, session: &Session) -> Arc<Endpoint> {
        let config = self.context.config();
        let goes_on = |endpoint: &&Arc<Endpoint>| session.endpoint.continues_as(endpoint);
        let now = config.as_ref().and_then(|config| config.endpoints.iter().find(goes_on));
        Arc::clone(now.unwrap_or(&session.endpoint))
    }

    /// Nothing of this comes to the session from here on. Returns the names of the subscribes that were
    /// under way.
    pub(in crate::shard) fn leave(
        &self,
        session: &Session,
        added: &Added,
        name: &str,
    ) -> Vec<Option<Reference>> {
        let left = added.topics.borrow_mut().remove_entry(name);
        let references = match left {
            Some((_, Place::Underway(underway))) => {
                underway.task.abort();
                underway.references
            }
            Some((name, Place::Joined(kind))) => {
                self.remove_added(session, &name, kind);
                Vec::new()
            }
            None => Vec::new(),
        };
        self.hub_changed();
        references
    }

    fn remove_added(&self, session: &Session, name: &ChannelName, kind: AllowedAs) {
        match kind {
            AllowedAs::Channel => self.hub.borrow_mut().remove_member(name, session.key),
            AllowedAs::Stream => self.streams.hub.borrow_mut().remove_member(name, session.key),
        }
        self.left(session, name);
    }

    /// The session is over: its places are given back, and what is under way is given up.
    pub(super) fn forget_added(&self, session: &Session) {
        let Some(added) = self.added.borrow_mut().remove(&session.key) else { return };
        for (name, place) in added.topics.take() {
            match place {
                Place::Underway(underway) => underway.task.abort(),
                Place::Joined(kind) => self.remove_added(session, &name, kind),
            }
        }
    }

    /// Takes something away from a session that it has added, and tells it why. `false`: it has not.
    pub(super) fn take_away(&self, session: &Session, name: &ChannelName, why: TakenAway) -> bool {
        let added = self.added.borrow().get(&session.key).cloned();
        let Some(added) = added.filter(|added| added.has_joined(name)) else { return false };
        self.leave(session, &added, name);
        session.push_news(subscriptions::taken_away(name, why));
        session.flush(Instant::now());
        true
    }

    /// Takes from a session what its token or the configuration does not allow any more.
    fn recheck_added(&self, session: &Session, added: &Added) {
        let endpoint = self.endpoint_now(session);
        let is_refused = |(name, place): (&ChannelName, &Place)| {
            let kind = match place {
                Place::Underway(underway) => underway.kind,
                Place::Joined(kind) => *kind,
            };
            (added.allows(name, &endpoint) != Some(kind)).then(|| name.clone())
        };
        let refused: Vec<_> = added.topics.borrow().iter().filter_map(is_refused).collect();
        for name in &refused {
            if self.take_away(session, name, TakenAway::NotPermitted) {
                continue;
            }
            for reference in self.leave(session, added, name) {
                let code = NotSubscribed::ChannelNotAllowed;
                let frame = subscriptions::not_subscribed(name, code, None, reference.as_ref());
                session.answer(frame);
            }
        }
        session.flush(Instant::now());
    }

    /// Takes from all sessions what the latest configuration does not allow any more, a few at a time.
    pub(super) async fn recheck_all_added(&self) {
        let keys: Vec<u32> = self.added.borrow().keys().copied().collect();
        for some in keys.chunks(FLUSHES_AT_ONCE) {
            for &key in some {
                let added = self.added.borrow().get(&key).cloned();
                let session = self.sessions.borrow().get(key as usize).cloned();
                if let (Some(added), Some(session)) = (added, session) {
                    self.recheck_added(&session, &added);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sessions of which it is kept what they have added.
    #[cfg(test)]
    pub(in crate::shard) fn added_sessions(&self) -> usize {
        self.added.borrow().len()
    }

    /// The channels that a session has added.
    pub(super) fn added_channels(&self, session: &Session) -> Vec<ChannelName> {
        let added = self.added.borrow();
        added.get(&session.key).map(|added| added.channels()).unwrap_or_default()
    }
}
