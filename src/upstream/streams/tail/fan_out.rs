//! What the answers to readings mean: entries, gaps and places for the shards.

use super::Tail;
use crate::{
    bus::{RejectedBy, StreamEvent},
    stream_id::StreamId,
    upstream::{
        link::LinkError,
        streams::{
            place::Place,
            reading::{HEAVY_PAGE, Reading, ReadingKind},
            table::{FIRST_PAGE, Source, StreamNumber, StreamState},
        },
    },
    wire,
};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{debug, warn};

impl Tail {
    /// An entry of the oldest reading; `None`: its payload is too large.
    pub(in crate::upstream::streams) fn entry(
        &mut self,
        reading: &mut Reading,
        id: StreamId,
        payload: Option<&[u8]>,
    ) {
        reading.received += payload.map_or(0, <[u8]>::len);
        if reading.is_there.is_none() {
            let is_there = id == reading.before.last;
            reading.is_there = Some(is_there);
            if reading.kind == ReadingKind::Both {
                self.judge(reading, Some(id));
            }
            if is_there {
                self.is_of_this_run(reading.number);
                return;
            }
        }
        let is_new = match reading.kind {
            ReadingKind::Place => false,
            ReadingKind::Entries => reading.is_there == Some(true),
            ReadingKind::Both => reading.is_page_new == Some(true),
        };
        if is_new && self.fits(reading) {
            reading.entries += 1;
            // One that is too large was sent all the same.
            reading.weight += payload.map_or(HEAVY_PAGE, <[u8]>::len);
            reading.has_found = true;
            self.new_entry(reading.number, id, payload);
        }
    }

    /// Whether one more entry fits into the rings of the shards that want it. If not, nothing of this reading
    /// does any more.
    fn fits(&self, reading: &mut Reading) -> bool {
        let told = self.table.get(reading.number).map_or(0, |stream| stream.told);
        // Behind a loss that was told, the place must move: it would be told once more.
        let is_first_behind_loss = reading.entries == 0 && reading.has_found;
        if !reading.is_cut && !is_first_behind_loss && !self.queues.has_room(told) {
            (reading.is_cut, reading.has_found) = (true, true);
        }
        !reading.is_cut
    }

    /// The place's own entry is there: this run of the server has the stream that was read before.
    fn is_of_this_run(&mut self, number: StreamNumber) {
        if let Some(stream) = self.table.get_mut(number) {
            stream.is_new_run = false;
        }
    }

    fn new_entry(&mut self, number: StreamNumber, id: StreamId, payload: Option<&[u8]>) {
        let Some(stream) = self.table.get_mut(number) else { return };
        if let Some(place) = &mut stream.place {
            place.read(id);
        }
        if stream.told == 0 {
            return;
        }
        self.metrics.upstream.messages.inc();
        let event = match payload {
            Some(payload) => {
                self.metrics.upstream.message_bytes.inc_by(payload.len() as u64);
                let entry = wire::entry(stream.name.clone(), id, payload, self.received);
                StreamEvent::Entry(Arc::new(entry))
            }
            None => {
                debug!(stream = %stream.name, %id, "entry is larger than redis.max_payload");
                StreamEvent::TooLarge { stream: stream.name.clone(), place: id }
            }
        };
        self.queues.send(stream.told, &event);
    }

    /// Compares the stream with what was read before; `first` is the first entry from the place on. What is
    /// told and what is known change in one step: the link may break behind any entry.
    fn judge(&mut self, reading: &mut Reading, first: Option<StreamId>) {
        let Some(facts) = reading.facts else { return };
        let Some(stream) = self.table.get_mut(reading.number) else { return };
        let is_new_run = std::mem::take(&mut stream.is_new_run);
        let finding = reading.before.judge(first, is_new_run, &facts);
        reading.is_page_new = Some(finding.is_page_new);
        reading.has_found |= finding.is_turn || finding.lost.is_some();
        stream.place = Some(finding.place);
        let (to, name, place) = (stream.told, stream.name.clone(), finding.place.last);
        if finding.is_turn {
            self.turned.push(name.clone());
            self.queues.send(to, &StreamEvent::Turn { stream: name.clone() });
        }
        if let Some(lost) = finding.lost {
            let (reason, missed) = (lost.reason, lost.missed);
            self.queues.send(to, &StreamEvent::Gap { stream: name, reason, missed, place });
        } else if place != reading.before.last {
            self.queues.send(to, &StreamEvent::Place { stream: name, place });
        }
    }

    /// A reading is answered.
    pub(in crate::upstream::streams) fn read(&mut self, mut reading: Reading) {
        let Some(stream) = self.table.get_mut(reading.number) else { return };
        stream.is_asked = false;
        let is_over = match reading.kind {
            ReadingKind::Place => {
                stream.place = reading.facts.as_ref().map(Place::newest);
                true
            }
            ReadingKind::Entries if reading.is_there == Some(true) => !reading.has_more(),
            ReadingKind::Entries => {
                // The place's own entry is gone: why, only facts can tell.
                stream.with_facts = true;
                reading.has_found = true;
                false
            }
            ReadingKind::Both => self.read_with_facts(&mut reading),
        };
        self.count(&reading);
        if is_over { self.caught_up(reading.number) } else { self.read_on(&reading) }
    }

    /// Returns whether everything was read.
    fn read_with_facts(&mut self, reading: &mut Reading) -> bool {
        if reading.is_page_new.is_none() {
            self.judge(reading, None);
        }
        let (Some(facts), Some(true)) = (reading.facts, reading.is_page_new) else { return true };
        let Some(stream) = self.table.get_mut(reading.number) else { return true };
        if reading.has_more() {
            // Only the last page can go on to where the stream ends.
            stream.with_facts = true;
            return false;
        }
        let Some(place) = &mut stream.place else { return true };
        let last = place.last;
        *place = Place::newest(&facts);
        if last != facts.last {
            let event = StreamEvent::Place { stream: stream.name.clone(), place: facts.last };
            self.queues.send(stream.told, &event);
        }
        true
    }

    fn count(&mut self, reading: &Reading) {
        let wakes = &self.metrics.upstream.stream_wakes;
        let is_fruitless = !reading.has_found && reading.kind != ReadingKind::Place;
        if self.order.answered(reading.source, is_fruitless) {
            wakes.fruitless.inc();
        } else if reading.source == Source::Push {
            wakes.push.inc();
        } else if reading.source == Source::Poll && reading.has_found {
            wakes.poll.inc();
        }
    }

    fn read_on(&mut self, reading: &Reading) {
        let Some(stream) = self.table.get_mut(reading.number) else { return };
        if reading.has_more() {
            stream.page = reading.next_page(stream.page);
        }
        self.order.add(reading.number, stream, Source::Other);
    }

    /// Everything in a stream is read, and its next change is told.
    fn caught_up(&mut self, number: StreamNumber) {
        self.table.set_state(number, StreamState::Armed);
        let Some(stream) = self.table.get_mut(number) else { return };
        stream.page = FIRST_PAGE;
        let to = stream.wanted & !stream.told;
        stream.told |= to;
        self.queues.subscribed(to, stream);
        if self.marks.end(number, &mut self.queues) {
            self.order.add(number, stream, Source::Other);
        } else if let Some(source) = stream.dirty {
            self.order.add(number, stream, source);
        }
    }

    /// A reading is answered by an error.
    pub(in crate::upstream::streams) fn not_read(
        &mut self,
        reading: &Reading,
        error: &LinkError,
        now: Instant,
    ) {
        self.order.answered(reading.source, false);
        let Some(stream) = self.table.get_mut(reading.number) else { return };
        stream.is_asked = false;
        if !error.passes() {
            return self.refuse(reading.number, error);
        }
        stream.with_facts |= reading.kind == ReadingKind::Both;
        stream.dirty = Some(Source::Other);
        self.order.put_off(reading.number, stream, now);
        self.log_put_off(error);
    }

    /// Redis refuses a stream: WRONGTYPE, NOPERM.
    fn refuse(&mut self, number: StreamNumber, error: &LinkError) {
        self.table.set_state(number, StreamState::Refused);
        let Some(stream) = self.table.get_mut(number) else { return };
        (stream.place, stream.told, stream.dirty) = (None, 0, None);
        stream.with_facts = false;
        if let Some(before) = self.refusals.to_log(self.received) {
            warn!(stream = %stream.name, reason = %error, before, "Redis refuses a stream");
        }
        self.queues.rejected(stream.wanted, &stream.name, RejectedBy::Redis);
        self.marks.give_up(number, RejectedBy::Redis, &mut self.queues);
    }
}
