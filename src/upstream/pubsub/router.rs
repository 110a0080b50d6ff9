//! Routes what arrives from Redis into the shards' rings: the path of every message.
//!
//! Never waits; allocates nothing but the message and its frame.

use super::{
    probe::Probe,
    table::{NodeId, Route, Table},
};
use crate::{
    bus::{Event, Revoke},
    channel::ChannelName,
    config::{self, OnRevocationGap},
    endpoint::ReservedNames,
    log_throttle::LogThrottle,
    metrics::UpstreamMetrics,
    reason::GapReason,
    upstream::{
        control_message::{self, ControlMessage},
        shard_queues::ShardQueues,
    },
    wire,
};
use std::{sync::Arc, time::Instant};
use tracing::{debug, warn};

/// The channels that are not for sessions, and what is counted.
#[derive(Debug)]
pub(super) struct Router {
    prefix: String,
    probe: Option<String>,
    control: Option<String>,
    reserved: ReservedNames,
    /// Control messages that are larger than `redis.max_payload`.
    oversized: LogThrottle,
    /// Control messages that mean nothing.
    unclear: LogThrottle,
    /// Control messages that are somebody else's.
    unrelated: LogThrottle,
    received: Instant,
    /// Since the last [`Router::count`].
    messages: u64,
    bytes: u64,
    stale: u64,
    unread_revocations: u64,
    on_revocation_gap: OnRevocationGap,
}

/// Where the router puts things.
pub(super) struct Sinks<'a> {
    pub(super) node: NodeId,
    pub(super) table: &'a Table,
    pub(super) queues: &'a mut ShardQueues,
    pub(super) probe: &'a mut Probe,
}

impl Router {
    pub(super) fn new(settings: &config::Redis) -> Self {
        Self {
            prefix: settings.channel_prefix.clone(),
            probe: settings.probe_channel.clone(),
            control: settings.control_channel.clone(),
            reserved: settings.reserved_names(),
            oversized: LogThrottle::default(),
            unclear: LogThrottle::default(),
            unrelated: LogThrottle::default(),
            received: Instant::now(),
            messages: 0,
            bytes: 0,
            stale: 0,
            unread_revocations: 0,
            on_revocation_gap: settings.on_revocation_gap,
        }
    }

    /// The channel as Redis knows it.
    pub(super) fn redis_name(&self, channel: &str) -> Box<str> {
        [&self.prefix, channel].concat().into()
    }

    /// The channel as sessions know it. `None`: it is not ours.
    pub(super) fn own_name<'a>(&self, channel: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(channel.strip_prefix(self.prefix.as_bytes())?).ok()
    }

    /// Looks at the clock, once for a whole burst of messages.
    pub(super) fn start_burst(&mut self) {
        self.received = Instant::now();
    }

    /// Adds the burst to the metrics.
    pub(super) fn count(&mut self, metrics: &UpstreamMetrics) {
        metrics.messages.inc_by(std::mem::take(&mut self.messages));
        metrics.message_bytes.inc_by(std::mem::take(&mut self.bytes));
        metrics.stale_messages.inc_by(std::mem::take(&mut self.stale));
        metrics.revocation_gaps.inc_by(std::mem::take(&mut self.unread_revocations));
    }

    /// Routes one message. `channel` is as Redis knows it.
    pub(super) fn message(&mut self, channel: &[u8], payload: &[u8], to: &mut Sinks<'_>) {
        let Some(channel) = self.own_name(channel) else { return };
        match to.table.route(to.node, channel) {
            // It lingers: nobody is there to miss anything.
            Route::To(_, 0) => {}
            Route::To(name, shards) => {
                self.arrived(payload.len() as u64);
                let message = wire::message(name.clone(), payload, self.received);
                to.queues.send(shards, Event::Message(Arc::new(message)));
            }
            Route::Stale => self.stale += 1,
            Route::Unknown if self.probe.as_deref() == Some(channel) => to.probe.arrived(payload),
            Route::Unknown if self.control.as_deref() == Some(channel) => {
                self.control(payload, to.queues);
            }
            Route::Unknown => {}
        }
    }

    /// Routes one message that a pattern matched. What is Sockway's or Redis's own goes through none.
    pub(super) fn matched(
        &mut self,
        pattern: &[u8],
        channel: &[u8],
        payload: &[u8],
        to: &mut Sinks<'_>,
    ) {
        let (Some(pattern), Some(channel)) =
            (self.own_name(pattern), channel.strip_prefix(self.prefix.as_bytes()))
        else {
            return;
        };
        // A backend may name a channel by any bytes. They are shown as far as they are text.
        let channel = String::from_utf8_lossy(channel);
        match to.table.route(to.node, pattern) {
            Route::To(_, 0) | Route::Unknown => {}
            Route::To(_, _) if self.is_reserved(&channel) => {}
            Route::To(name, shards) => {
                self.arrived(payload.len() as u64);
                let channel = ChannelName::new(&*channel);
                let message = wire::matched(name.clone(), channel, payload, self.received);
                to.queues.send(shards, Event::Message(Arc::new(message)));
            }
            Route::Stale => self.stale += 1,
        }
    }

    /// Whether a channel, as Redis knows it, goes through no pattern.
    pub(super) fn is_own(&self, channel: &[u8]) -> bool {
        self.own_name(channel).is_some_and(|channel| self.is_reserved(channel))
    }

    fn is_reserved(&self, channel: &str) -> bool {
        self.reserved.reason(channel).is_some()
    }

    /// Takes a message of the control channel.
    fn control(&mut self, payload: &[u8], queues: &ShardQueues) {
        match control_message::parse(payload) {
            ControlMessage::Revoke(revoke) => queues.revoke(&revoke),
            ControlMessage::Unclear => {
                if let Some(before) = self.unclear.to_log(self.received) {
                    warn!(
                        before,
                        "a message on the control channel means nothing: a revocation may have been missed"
                    );
                }
                self.unread_revocation(queues);
            }
            ControlMessage::Unrelated => {
                if let Some(before) = self.unrelated.to_log(self.received) {
                    warn!(
                        before,
                        "a message on the control channel orders nothing; it was ignored"
                    );
                }
            }
        }
    }

    /// Tells of a message that was too large to be received.
    pub(super) fn oversized(&mut self, channel: &[u8], bytes: u64, to: &mut Sinks<'_>) {
        let Some(channel) = self.own_name(channel) else { return };
        match to.table.route(to.node, channel) {
            Route::To(_, 0) => {}
            Route::To(name, shards) => {
                self.arrived(bytes);
                debug!(channel, bytes, "message is larger than redis.max_payload");
                to.queues.gap(shards, name.clone(), GapReason::PayloadTooLarge);
            }
            Route::Stale => self.stale += 1,
            Route::Unknown => {
                if self.control.as_deref() == Some(channel) {
                    self.oversized_control(bytes, to.queues);
                }
            }
        }
    }

    fn oversized_control(&mut self, bytes: u64, queues: &ShardQueues) {
        if let Some(before) = self.oversized.to_log(self.received) {
            warn!(
                bytes,
                before,
                "control message is larger than redis.max_payload: a revocation may have been missed"
            );
        }
        self.unread_revocation(queues);
    }

    /// What a control message said is not known: it is as if it had been missed.
    fn unread_revocation(&mut self, queues: &ShardQueues) {
        self.unread_revocations += 1;
        if self.on_revocation_gap == OnRevocationGap::Close {
            queues.revoke(&Revoke::Everyone);
        }
    }

    /// Counts a message for sessions.
    fn arrived(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}
