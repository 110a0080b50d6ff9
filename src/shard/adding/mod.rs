//! Subscribe and unsubscribe within a session.
//!
//! Each subscribe is a small task of its own until Redis has confirmed it; if it ends before that, its place is
//! given back. Joining and leaving are each one step of the shard's thread, so that `subscribed` is sent right
//! before the channel's first message and `unsubscribed` right after its last.

mod join;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;

use super::{
    added::{Added, Place, Underway},
    catch_up::{Resume, Since},
    registry::Registered,
    session::Stage,
};
use crate::{
    channel::{ChannelName, is_pattern},
    endpoint::{AllowedAs, Endpoint},
    reason::NotSubscribed,
    stream_id::StreamId,
    wire::{Reference, subscriptions},
};
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a client asks for by a `subscribe` frame.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) channel: String,
    pub(super) since: Option<String>,
    pub(super) last: Option<u64>,
    pub(super) reference: Option<Reference>,
}

/// Takes a `subscribe` frame. It is answered, at once or later. Returns whether the limit of such frames has
/// let it through.
pub(super) fn subscribe(session: &Registered, asked: Subscribe) -> bool {
    if session.advance() != Stage::Open {
        return false;
    }
    let added = session.added();
    let endpoint = session.endpoint_now();
    let burst = u32::try_from(2 * endpoint.dynamic.most.get()).unwrap_or(u32::MAX);
    match added.spend(burst, Instant::now()) {
        Ok(()) => add(session, &added, &endpoint, asked),
        Err(retry_after) => {
            refuse(session, &asked, NotSubscribed::RateLimited, Some(retry_after));
            return false;
        }
    }
    true
}

fn add(session: &Registered, added: &Added, endpoint: &Arc<Endpoint>, asked: Subscribe) {
    let name = asked.channel.as_str();
    if session.is_fixed(name) && !is_pattern(name) {
        let is_stream = session.streams().iter().any(|stream| stream.as_str() == name);
        let kind = if is_stream { AllowedAs::Stream } else { AllowedAs::Channel };
        let reference = asked.reference.as_ref();
        return join::tell_place(session.registry(), session, name, kind, reference);
    }
    if let Some(place) = added.topics.borrow_mut().get_mut(name) {
        match place {
            Place::Underway(underway) => underway.references.push(asked.reference),
            Place::Joined(kind) => {
                let reference = asked.reference.as_ref();
                join::tell_place(session.registry(), session, name, *kind, reference);
            }
        }
        return;
    }
    let Some(kind) = added.allows(name, endpoint) else {
        return refuse(session, &asked, NotSubscribed::ChannelNotAllowed, None);
    };
    let Some(resume) = resume(kind, &asked) else {
        return refuse(session, &asked, NotSubscribed::SinceInvalid, None);
    };
    if added.topics.borrow().len() >= endpoint.dynamic.most.get() {
        return refuse(session, &asked, NotSubscribed::TooManySubscriptions, None);
    }
    let name = ChannelName::new(name);
    let (registry, key) = (Rc::clone(session.registry()), session.name());
    let task = tokio::task::spawn_local(join::run(registry, key, name.clone(), kind, resume));
    let references = vec![asked.reference];
    let underway = Underway { kind, task: task.abort_handle(), references };
    added.topics.borrow_mut().insert(name, Place::Underway(underway));
}

fn refuse(
    session: &Registered,
    asked: &Subscribe,
    code: NotSubscribed,
    retry_after: Option<Duration>,
) {
    let reference = asked.reference.as_ref();
    session.answer(subscriptions::not_subscribed(&asked.channel, code, retry_after, reference));
}

/// Takes an `unsubscribe` frame, and answers it. A subscribe that is under way is answered too: it never
/// came to be. Returns whether there was something to give back.
pub(super) fn unsubscribe(
    session: &Registered,
    channel: &str,
    reference: Option<&Reference>,
) -> bool {
    if session.advance() != Stage::Open {
        return false;
    }
    let added = session.added();
    if session.is_fixed(channel) {
        let code = NotSubscribed::ChannelFixed;
        session.answer(subscriptions::not_subscribed(channel, code, None, reference));
        return false;
    }
    let had = added.topics.borrow().contains_key(channel);
    for earlier in session.registry().leave(session, &added, channel) {
        session.answer(subscriptions::unsubscribed(channel, earlier.as_ref()));
    }
    session.answer(subscriptions::unsubscribed(channel, reference));
    had
}

/// Reads `since` and `last`; `None`: malformed, or given for a channel, which keeps no history.
fn resume(kind: AllowedAs, asked: &Subscribe) -> Option<Resume> {
    if kind == AllowedAs::Channel {
        return (asked.since.is_none() && asked.last.is_none()).then(Resume::default);
    }
    let since = match &asked.since {
        None => Since::Unsaid,
        Some(since) => Since::At(StreamId::parse(since)?),
    };
    let last = asked.last.map(|last| usize::try_from(last).unwrap_or(usize::MAX));
    Some(Resume { since, last })
}
