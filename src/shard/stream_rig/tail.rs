//! The tail of an instance: its place in the stream, and what it makes of what comes after that.

use super::{
    chat,
    stream::{Stream, message},
};
use crate::{
    bus::{StreamEvent, StreamFacts},
    reason::GapReason,
    stream_id::StreamId,
};
use std::rc::Rc;

/// The instance's place in the stream, moved as upstream moves it.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) last: StreamId,
    added: u64,
    /// Where `added` was last taken from the server.
    counted: StreamId,
    /// It has read this one.
    _incarnation: Rc<()>,
}

impl Tail {
    pub(super) fn of(stream: &Stream) -> Self {
        let last = stream.last();
        let (added, incarnation) =
            (stream.facts.added.unwrap_or(0), Rc::clone(&stream.incarnation));
        Self { last, added, counted: last, _incarnation: incarnation }
    }

    /// Everything new, as it goes into the ring. Where the entry at the place is there, facts are read only
    /// if they are asked for.
    pub(super) fn read(&mut self, stream: &Stream, to_end: bool) -> Vec<StreamEvent> {
        if !to_end && stream.entries.contains(&self.last) {
            let new: Vec<_> = stream.after(self.last).collect();
            self.added += new.len() as u64;
            self.last = new.last().copied().unwrap_or(self.last);
            return new.into_iter().map(|id| StreamEvent::Entry(message(id))).collect();
        }
        let facts = stream.facts();
        let mut events = Vec::new();
        if !facts.exists && self.last != StreamId::ZERO {
            events.push(StreamEvent::Turn { stream: chat() });
        }
        if facts.exists && facts.last < self.last {
            events.extend(reset(facts.last));
        } else if facts.exists {
            events.extend(self.lost(stream, &facts));
            let new = stream.after(self.last);
            events.extend(new.map(|id| StreamEvent::Entry(message(id))));
        }
        events.push(StreamEvent::Place { stream: chat(), place: facts.last });
        *self = Self::of(stream);
        events
    }

    /// What is told where the entry at the place is gone from a stream that has grown past it.
    fn lost(&self, stream: &Stream, facts: &StreamFacts) -> Vec<StreamEvent> {
        let added = facts.added.unwrap_or(0);
        let deleted = facts.max_deleted.unwrap_or_default();
        if stream.entries.contains(&self.last) {
            return Vec::new();
        }
        if added < self.added {
            return reset(self.last).into();
        }
        if facts.first.is_some_and(|first| first <= self.last) {
            return if deleted >= self.last { Vec::new() } else { reset(self.last).into() };
        }
        let place = facts.first.map_or(facts.last, StreamId::place_before);
        let gap = |missed| StreamEvent::Gap {
            stream: chat(),
            reason: GapReason::StreamTrimmed,
            missed,
            place,
        };
        match (added - self.added).checked_sub(facts.length) {
            None => reset(self.last).into(),
            Some(0) => Vec::new(),
            Some(_) if deleted > self.counted => vec![gap(None)],
            missed => vec![gap(missed)],
        }
    }
}

fn reset(place: StreamId) -> [StreamEvent; 2] {
    let reason = GapReason::StreamReset;
    let gap = StreamEvent::Gap { stream: chat(), reason, missed: None, place };
    [StreamEvent::Turn { stream: chat() }, gap]
}
