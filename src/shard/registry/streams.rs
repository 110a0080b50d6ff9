//! Fan-out of streams: what comes through the stream ring moves the shard's places, settles what was asked
//! of upstream, and goes into the queues of sessions.

use super::Registry;
use crate::{
    bus::StreamEvent,
    channel::ChannelName,
    message::Message,
    reason::{GapReason, MissedReason, Refusal},
    shard::memory::Queued,
    stream_id::StreamId,
    wire::Loss,
};
use std::{rc::Rc, sync::Arc};

impl Registry {
    /// Takes what came through the stream ring; the keys of sessions that it dirties go into `dirty`.
    pub(in crate::shard) fn take_stream_event(
        self: &Rc<Self>,
        event: &StreamEvent,
        dirty: &mut Vec<u32>,
    ) {
        match event {
            StreamEvent::Entry(message) => self.entry(message, dirty),
            StreamEvent::Place { stream, place } => self.move_to(stream, *place),
            StreamEvent::Turn { stream } => {
                if let Some((progress, _)) = self.streams.hub.borrow().find(stream) {
                    progress.turn();
                }
            }
            StreamEvent::Gap { stream, reason, missed, place } => {
                let loss = Loss { reason: *reason, missed: *missed, id: Some(*place) };
                self.stream_gap(stream, loss, dirty);
            }
            StreamEvent::TooLarge { stream, place } => {
                let id = Some(*place);
                let loss = Loss { id, ..GapReason::PayloadTooLarge.into() };
                self.stream_gap(stream, loss, dirty);
            }
            StreamEvent::Marker(number) => self.streams.marked(*number, Ok(())),
            StreamEvent::NoMarker(number, by) => {
                self.streams.marked(*number, Err(Refusal::from(*by)));
            }
            StreamEvent::Subscribed { stream, place, read_up_to } => {
                let is_news = self.streams.hub.borrow_mut().confirm(stream, *read_up_to);
                if is_news {
                    self.move_to(stream, *place);
                }
            }
            StreamEvent::Rejected { stream, by, read_up_to } => {
                let mut hub = self.streams.hub.borrow_mut();
                if hub.reject(stream, *by, *read_up_to) {
                    let members = hub.members(stream).keys();
                    let ended = Rc::clone(self).end_members(members, stream.clone());
                    tokio::task::spawn_local(ended);
                }
            }
        }
    }

    fn entry(&self, message: &Arc<Message>, dirty: &mut Vec<u32>) {
        let hub = self.streams.hub.borrow();
        let Some((progress, members)) = hub.find(&message.channel) else { return };
        if let Some(id) = message.id {
            progress.move_to(id);
        }
        self.deliver_to(members, message, dirty);
        if !self.streams.holding.is_empty() {
            let memory = Rc::clone(&self.context.memory);
            self.streams.holding.message(&Rc::new(Queued::new(Arc::clone(message), memory)));
        }
    }

    fn move_to(&self, stream: &ChannelName, place: StreamId) {
        if let Some((progress, _)) = self.streams.hub.borrow().find(stream) {
            progress.move_to(place);
        }
    }

    /// Tells the sessions of a stream what they miss, and moves the place behind that.
    fn stream_gap(&self, stream: &ChannelName, loss: Loss, dirty: &mut Vec<u32>) {
        let hub = self.streams.hub.borrow();
        let Some((progress, members)) = hub.find(stream) else { return };
        if let Some(place) = loss.id {
            progress.move_to(place);
        }
        self.streams.holding.gap(stream, loss);
        self.queue_for(members, dirty, |one| {
            if loss.reason == GapReason::PayloadTooLarge {
                one.count_missed(MissedReason::PayloadTooLarge, 1);
            }
            one.gap(stream, loss)
        });
    }
}
