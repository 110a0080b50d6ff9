//! The task of one subscribe: waits for Redis, reads what was missed, and joins.

use crate::{
    channel::ChannelName,
    endpoint::{AllowedAs, OnGap},
    reason::{CloseReason, NotSubscribed, Refusal},
    shard::{
        added::{Added, Place},
        catch_up::{self, Beginning, Resume, Source},
        holding::{Bounds, HeldItems},
        registry::Registry,
        session::{Session, SessionName, Stage},
    },
    wire::{Reference, StreamReady, subscriptions},
};
use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long a subscribe may take while the shard does not have its configuration yet.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one subscribe until it is answered. Aborted when the client unsubscribes or the session ends.
pub(super) async fn run(
    registry: Rc<Registry>,
    session: SessionName,
    name: ChannelName,
    kind: AllowedAs,
    resume: Resume,
) {
    let config = registry.context.config();
    let within = config.map_or(TIMEOUT, |config| config.server.handshake_timeout);
    let Some((session, added)) = registry.find_added(session) else { return };
    let adding = Adding { registry, session, added, name, kind };
    let refusal = match timeout(within, adding.join(&resume)).await {
        Ok(Ok(())) => return,
        Ok(Err(refusal)) => NotSubscribed::from(refusal),
        Err(_elapsed) => NotSubscribed::SubscriptionTimeout,
    };
    adding.refuse(refusal);
}

struct Adding {
    registry: Rc<Registry>,
    session: Rc<Session>,
    added: Rc<Added>,
    name: ChannelName,
    kind: AllowedAs,
}

impl Adding {
    async fn join(&self, resume: &Resume) -> Result<(), Refusal> {
        let taken = Taken::new(self);
        let names = std::slice::from_ref(&self.name);
        match self.kind {
            AllowedAs::Channel => {
                poll_fn(|cx| self.registry.hub.borrow_mut().poll_subscribed(names, cx)).await?;
                if self.session.advance() != Stage::Open {
                    return Ok(());
                }
                taken.keep();
                let later = self.joined(None);
                self.tell_places(&later);
            }
            AllowedAs::Stream => {
                let streams = &self.registry.streams;
                poll_fn(|cx| streams.hub.borrow_mut().poll_subscribed(names, cx)).await?;
                while !self.join_stream(resume, &taken).await? {}
            }
        }
        Ok(())
    }

    /// Reads the stream's replay, and joins. `false`: more came meanwhile than may be held; try again.
    async fn join_stream(&self, resume: &Resume, taken: &Taken<'_>) -> Result<bool, Refusal> {
        let began = Instant::now();
        let names = std::slice::from_ref(&self.name);
        let endpoint = &self.session.endpoint;
        let memory = &self.registry.context.memory;
        let is_asked = catch_up::is_asked(names, resume, endpoint);
        let room = if is_asked {
            memory.room_for_replay(catch_up::most_memory(&endpoint.replay)).await
        } else {
            memory.no_room()
        };
        let source =
            Source::new(&self.registry.streams, &room, self.session.codec(), endpoint, resume);
        let before = source.before(names, &resume.since).await?;
        let bounds =
            Bounds { messages: endpoint.queue_messages.get(), bytes: endpoint.queue_bytes.get() };
        let held = self.registry.streams.holding.hold(&self.name, bounds);
        let beginning = source.beginning(&held, before).await?;
        let Some(held) = held.end() else { return Ok(false) };
        if self.session.advance() != Stage::Open {
            return Ok(true);
        }
        if is_asked {
            self.registry.context.metrics.replay_seconds.observe(began.elapsed());
        }
        taken.keep();
        self.begin_stream(beginning, held);
        Ok(true)
    }

    fn begin_stream(&self, beginning: Beginning, held: HeldItems) {
        let Beginning { ready, replay, .. } = beginning;
        self.session.count_replays(&ready);
        let is_lost = ready.iter().any(StreamReady::is_lost);
        let later = self.joined(ready.first());
        if is_lost && self.session.endpoint.on_gap == OnGap::Close {
            return self.session.end(CloseReason::Gap);
        }
        self.session.push_replay(replay);
        held.hand_over(&self.session);
        self.tell_places(&later);
    }

    /// Joins, and sends `subscribed`. Returns the references of later subscribes to the same name.
    fn joined(&self, stream: Option<&StreamReady>) -> Vec<Option<Reference>> {
        let (hub, streams) = (&self.registry.hub, &self.registry.streams.hub);
        match self.kind {
            AllowedAs::Channel => hub.borrow_mut().add_member(&self.name, self.session.key),
            AllowedAs::Stream => streams.borrow_mut().add_member(&self.name, self.session.key),
        }
        let mut references = self.settle(Some(Place::Joined(self.kind)));
        let later = references.split_off(1.min(references.len()));
        for first in references {
            let frame = subscriptions::subscribed(&self.name, stream, first.as_ref());
            self.session.answer(frame);
        }
        self.registry.joined(&self.session, &self.name);
        later
    }

    /// Answers later subscribes to the same name.
    fn tell_places(&self, references: &[Option<Reference>]) {
        for reference in references {
            let reference = reference.as_ref();
            let Self { registry, session, name, kind, .. } = self;
            tell_place(registry, session, name, *kind, reference);
        }
        self.session.flush(Instant::now());
    }

    fn refuse(&self, code: NotSubscribed) {
        for reference in self.settle(None) {
            let frame = subscriptions::not_subscribed(&self.name, code, None, reference.as_ref());
            self.session.answer(frame);
        }
        self.session.flush(Instant::now());
    }

    /// Ends the subscribe: puts `place` in its place, and returns the references to answer.
    fn settle(&self, place: Option<Place>) -> Vec<Option<Reference>> {
        let mut topics = self.added.topics.borrow_mut();
        let before = match place {
            Some(place) => topics.insert(self.name.clone(), place),
            None => topics.remove(&self.name),
        };
        match before {
            Some(Place::Underway(underway)) => underway.references,
            Some(Place::Joined(_)) | None => Vec::new(),
        }
    }
}

/// A place in a channel or stream that the session does not have yet. Dropping it gives that back.
struct Taken<'a> {
    adding: &'a Adding,
    is_kept: Cell<bool>,
}

impl<'a> Taken<'a> {
    fn new(adding: &'a Adding) -> Self {
        let Adding { registry, name, .. } = adding;
        match adding.kind {
            AllowedAs::Channel => registry.hub.borrow_mut().acquire(name),
            AllowedAs::Stream => registry.streams.hub.borrow_mut().acquire(name),
        }
        registry.hub_changed();
        Self { adding, is_kept: Cell::new(false) }
    }

    /// The session has joined: the place stays when this is dropped.
    fn keep(&self) {
        self.is_kept.set(true);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Adding { registry, name, .. } = self.adding;
        if self.is_kept.get() {
            return;
        }
        match self.adding.kind {
            AllowedAs::Channel => registry.hub.borrow_mut().release(name),
            AllowedAs::Stream => registry.streams.hub.borrow_mut().release(name),
        }
        registry.hub_changed();
    }
}

/// Answers a subscribe to what the session has already: of a stream, with the place of now.
pub(super) fn tell_place(
    registry: &Registry,
    session: &Session,
    name: &str,
    kind: AllowedAs,
    reference: Option<&Reference>,
) {
    let place = || StreamReady::at(ChannelName::new(name), registry.streams.progress(name).0);
    let stream = (kind == AllowedAs::Stream).then(place);
    session.answer(subscriptions::subscribed(name, stream.as_ref(), reference));
}
