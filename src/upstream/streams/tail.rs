//! What is known of streams, from one link to the next: who wants them, how far they are read, what is
//! to be read next.
//!
//! Requests of shards, answers of Redis and the loss of a link all change it here, and what they mean
//! for the shards is staged. It sends nothing to Redis.

use super::{
    canary::Canary,
    marks::Marks,
    reading_order::ReadingOrder,
    stream_queues::StreamQueues,
    table::{Source, StreamNumber, StreamState, Table},
};
use crate::{
    bus::{RejectedBy, RingSender, StreamEvent},
    channel::ChannelName,
    config,
    log_throttle::LogThrottle,
    metrics::Metrics,
    upstream::link::LinkError,
};
use std::{borrow::Cow, sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::warn;

mod fan_out;
#[cfg(test)]
mod link_tests;
mod polling;
#[cfg(test)]
mod tests;
mod wanted;

use polling::Polling;

/// How long a refusal is remembered before Redis is asked again.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// Streams as their task knows them.
pub(super) struct Tail {
    pub(super) table: Table,
    pub(super) order: ReadingOrder,
    pub(super) queues: StreamQueues,
    pub(super) marks: Marks,
    pub(super) canary: Canary,
    pub(super) metrics: Arc<Metrics>,
    /// Streams that are, or may be, other ones; until this is taken.
    pub(super) turned: Vec<ChannelName>,
    prefix: String,
    canary_key: String,
    polling: Polling,
    /// Why a shard that asks for a stream is turned away at once.
    pub(super) closed: Option<RejectedBy>,
    /// Which run of a server was read last.
    run: Option<String>,
    has_warned_of_run: bool,
    is_linked: bool,
    refusals: LogThrottle,
    put_offs: LogThrottle,
    /// When a burst of answers began.
    received: std::time::Instant,
}

impl Tail {
    pub(super) fn new(
        settings: &config::Redis,
        rings: Vec<RingSender<StreamEvent>>,
        metrics: Arc<Metrics>,
        now: Instant,
    ) -> Self {
        let instance = fastrand::u64(..);
        let prefix = settings.channel_prefix.clone();
        Self {
            table: Table::new(settings.max_streams.get(), settings.linger),
            order: ReadingOrder::new(now),
            queues: StreamQueues::new(rings),
            marks: Marks::default(),
            canary: Canary::new(settings.probe_interval, settings.probe_timeout, now),
            metrics,
            turned: Vec::new(),
            canary_key: format!("{prefix}sockway:probe:stream:{instance:016x}"),
            prefix,
            polling: Polling::new(settings.stream_poll, now),
            closed: None,
            run: None,
            has_warned_of_run: false,
            is_linked: false,
            refusals: LogThrottle::default(),
            put_offs: LogThrottle::default(),
            received: std::time::Instant::now(),
        }
    }

    /// The stream as Redis knows it.
    pub(super) fn key<'a>(&self, stream: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            return stream.into();
        }
        [&self.prefix, stream].concat().into()
    }

    pub(super) fn canary_key(&self) -> &str {
        &self.canary_key
    }

    /// Looks at the clock, once for a whole burst of answers.
    pub(super) fn start_burst(&mut self) {
        self.received = std::time::Instant::now();
        self.queues.look();
    }

    // ---- links ----

    /// There is a link: everything is to be read, which also arms it.
    pub(super) fn linked(&mut self, now: Instant) {
        (self.is_linked, self.closed) = (true, None);
        self.canary.linked(now);
        self.polling.start(now);
        self.order.clear(now);
        for (number, stream) in self.table.all() {
            self.order.add(number, stream, Source::Other);
        }
    }

    /// Which run of a server this link is to; `None`: it does not say, so it may be any.
    pub(super) fn run(&mut self, run: Option<String>) {
        if run.is_none() && !std::mem::replace(&mut self.has_warned_of_run, true) {
            warn!(
                "Redis does not answer INFO: after a lost link, entries that were trimmed meanwhile are told as a reset"
            );
        }
        if run.is_none() || run != self.run {
            self.table.all().for_each(|(_, stream)| stream.is_new_run = stream.place.is_some());
        }
        self.run = run;
    }

    /// There is no link. Live sessions are told nothing: it is read on from the same place. Those who
    /// wait for their first place are turned away, and so are all who come until there is a link.
    pub(super) fn link_lost(&mut self, by: RejectedBy, now: Instant) {
        (self.is_linked, self.closed) = (false, Some(by));
        self.order.clear(now);
        self.table.link_lost();
        for number in self.marks.streams() {
            self.marks.give_up(number, by, &mut self.queues);
        }
        for (_, stream) in self.table.all() {
            self.queues.rejected(stream.wanted & !stream.told, &stream.name, by);
        }
    }

    // ---- what is to be read ----

    /// Redis has told that a key has changed; `None`: any may have.
    pub(super) fn changed(&mut self, key: Option<&[u8]>) {
        let Some(key) = key else { return self.all_changed() };
        if key == self.canary_key.as_bytes() {
            self.metrics.upstream.stream_wakes.canary.inc();
            return self.canary.changed();
        }
        let name = key.strip_prefix(self.prefix.as_bytes());
        let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) else { return };
        let Some(number) = self.table.find(name) else { return };
        self.stream_changed(number, Source::Push);
    }

    fn all_changed(&mut self) {
        self.canary.changed();
        (0..self.table.bound()).for_each(|number| self.stream_changed(number, Source::Other));
    }

    fn stream_changed(&mut self, number: StreamNumber, source: Source) {
        let Some(stream) = self.table.get_mut(number) else { return };
        // A change that stands before the answer to a reading is in that answer.
        if !stream.is_asked && stream.state != StreamState::Refused {
            self.order.add(number, stream, source);
        }
    }

    /// The canary's stream was read.
    pub(super) fn canary_read(&mut self, payload: Option<&[u8]>, now: Instant) {
        self.canary.read(payload, now);
    }

    /// Reads streams that nobody has told of for long.
    pub(super) fn poll(&mut self, now: Instant) {
        if !self.is_linked {
            return;
        }
        for number in self.polling.take(self.table.bound(), now) {
            let Some(stream) = self.table.get_mut(number) else { continue };
            if stream.state == StreamState::Armed && stream.dirty.is_none() && !stream.is_asked {
                self.order.add(number, stream, Source::Poll);
            }
        }
    }

    /// Asks once more for the streams that were refused; for those that nobody wants just now, when a session
    /// next asks for one. Else sessions that come again and again would keep one refused for ever.
    pub(super) fn retry_refused(&mut self) {
        if !self.is_linked {
            return;
        }
        for number in 0..self.table.bound() {
            let Some(stream) = self.table.get(number) else { continue };
            if stream.state != StreamState::Refused {
                continue;
            }
            self.table.set_state(number, StreamState::Unknown);
            if let Some(stream) = self.table.get_mut(number).filter(|stream| stream.wanted != 0) {
                self.order.add(number, stream, Source::Other);
            }
        }
    }

    /// A reading failed for a reason that passes.
    pub(super) fn log_put_off(&mut self, reason: &LinkError) {
        if let Some(before) = self.put_offs.to_log(self.received) {
            warn!(%reason, before, "Redis reads no stream now; it is asked again");
        }
    }

    /// Keeps the metrics current.
    pub(super) fn report(&self) {
        let upstream = &self.metrics.upstream;
        upstream.streams_wanted.set(self.table.wanted as i64);
        upstream.streams_subscribed.set(self.table.armed as i64);
    }

    /// When something is due by the passing of time alone.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let expiry = self.table.next_expiry();
        if !self.is_linked {
            return expiry;
        }
        let poll = self.polling.deadline(self.table.bound());
        [expiry, poll, self.order.deadline(now)].into_iter().flatten().min()
    }
}
