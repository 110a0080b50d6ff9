//! Presence: sessions enter rooms and leave them, and are told who is there.

use super::{Registered, Registry};
use crate::{
    bus::{Change, PresenceEvent, Roster},
    channel::ChannelName,
    endpoint::PresenceChannel,
    shard::session::Session,
    wire::Codec,
};
use bytes::Bytes;
use std::{rc::Rc, sync::Arc};

/// A frame, encoded once for each codec that a session needs.
struct Encoded<F>(F, Vec<(Codec, Option<Rc<Bytes>>)>);

impl<F: Fn(Codec) -> Option<Bytes>> Encoded<F> {
    fn new(encode: F) -> Self {
        Self(encode, Vec::new())
    }

    fn frame(&mut self, codec: Codec) -> Option<Rc<Bytes>> {
        if let Some((_, made)) = self.1.iter().find(|(known, _)| *known == codec) {
            return made.clone();
        }
        let made = (self.0)(codec).map(Rc::new);
        self.1.push((codec, made.clone()));
        made
    }
}

impl Registered {
    /// The session has begun: its user is shown in `room`, and in each of its channels that the
    /// configuration names with `{any}`.
    pub(in crate::shard) fn show(&self, room: Option<&ChannelName>) {
        if let Some(room) = room {
            self.registry.enter_room(&self.session, room);
        }
        let topics = self.session.channels().iter().chain(self.session.streams());
        topics.for_each(|topic| self.registry.joined(&self.session, topic));
    }
}

impl Registry {
    /// A session has got this channel or stream: it is a room of the session's where the configuration names
    /// it with `{any}`.
    pub(in crate::shard) fn joined(&self, session: &Session, channel: &ChannelName) {
        let presence = session.endpoint.presence.as_ref();
        if let Some(PresenceChannel::Any(any)) = presence.map(|presence| &presence.channel)
            && any.matches(channel)
        {
            self.enter_room(session, channel);
        }
    }

    /// A session has this channel or stream no more.
    pub(in crate::shard) fn left(&self, session: &Session, channel: &ChannelName) {
        if let Some(user) = session.user.as_ref().filter(|_| session.endpoint.presence.is_some()) {
            self.presence.leave(session.key, channel, user);
        }
    }

    /// A session has ended.
    pub(super) fn left_all(&self, session: &Session) {
        if session.endpoint.presence.is_some() {
            let topics = session.channels().iter().chain(session.streams());
            topics.for_each(|topic| self.left(session, topic));
        }
    }

    fn enter_room(&self, session: &Session, room: &ChannelName) {
        if let (Some(presence), Some(user)) = (&session.endpoint.presence, &session.user) {
            self.presence.enter((self.id, session.key), room, user, &presence.rules);
        }
    }

    /// Takes what upstream says of rooms; the keys of sessions that it dirties go into `dirty`.
    pub(in crate::shard) fn take_presence(&self, event: &PresenceEvent, dirty: &mut Vec<u32>) {
        match event {
            PresenceEvent::Roster { roster, users } => self.roster(roster, users.as_deref(), dirty),
            PresenceEvent::Change(change) => self.change(change, dirty),
        }
    }

    fn roster(&self, roster: &Roster, users: Option<&[Arc<str>]>, dirty: &mut Vec<u32>) {
        let mut rooms = self.presence.rooms.borrow_mut();
        let Some(room) = rooms.get_mut(&roster.room) else { return };
        let sessions = self.sessions.borrow();
        let mut encoded = Encoded::new(|codec: Codec| {
            codec.presence(&roster.room, roster.count, roster.users.as_deref())
        });
        let mut tell = |key: u32| {
            if let Some(session) = sessions.get(key as usize)
                && let Some(frame) = encoded.frame(session.codec())
                && session.push_news(frame)
            {
                dirty.push(key);
            }
        };
        match users {
            None => {
                let is_missing = |key: u32| {
                    let user = sessions.get(key as usize).and_then(|it| it.user.as_ref());
                    let listed = roster.users.as_ref().zip(user);
                    listed.is_some_and(|(users, user)| users.binary_search(user).is_err())
                };
                // It has entered since: the roster with its own user follows.
                room.keep_waiting(is_missing);
                room.members.for_each(|key| {
                    if !room.is_waiting(key) {
                        tell(key);
                    }
                });
            }
            Some(users) => {
                let is_meant = |key: u32| {
                    let session = sessions.get(key as usize);
                    let user = session.and_then(|session| session.user.as_ref());
                    user.is_some_and(|user| users.binary_search(user).is_ok())
                };
                room.take_waiting(is_meant).into_iter().for_each(tell);
            }
        }
    }

    fn change(&self, change: &Change, dirty: &mut Vec<u32>) {
        let rooms = self.presence.rooms.borrow();
        let Some(room) = rooms.get(&change.room) else { return };
        let sessions = self.sessions.borrow();
        let mut encoded = Encoded::new(|codec: Codec| {
            codec.presence_change(&change.room, &change.user, change.is_join)
        });
        room.members.for_each(|key| {
            let Some(session) = sessions.get(key as usize) else { return };
            // A session is not told its own user's changes, nor any change before its roster.
            if session.user.as_ref() == Some(&change.user) || room.is_waiting(key) {
                return;
            }
            if let Some(frame) = encoded.frame(session.codec())
                && session.push_news(frame)
            {
                dirty.push(key);
            }
        });
    }
}
