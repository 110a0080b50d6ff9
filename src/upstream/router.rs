//! What arrives from Redis, and where it goes: the path of every message.
//!
//! Never waits; allocates nothing but the message and its frame.

use super::{probe::Probe, shard_queues::ShardQueues, table::Table};
use crate::{
    bus::Event, channel::ChannelName, config, log_throttle::LogThrottle, metrics::UpstreamMetrics,
    reason::GapReason, wire,
};
use std::{sync::Arc, time::Instant};
use tracing::{debug, warn};

/// The channels that are not for sessions, and the limits of those that are.
#[derive(Debug)]
pub(super) struct Router {
    prefix: String,
    probe: Option<String>,
    control: Option<ChannelName>,
    max_payload: usize,
    /// Control messages that are larger.
    oversized: LogThrottle,
    received: Instant,
    /// Since the last [`Router::count`].
    messages: u64,
    bytes: u64,
}

/// Where the router puts things.
pub(super) struct Sinks<'a> {
    pub(super) table: &'a Table,
    pub(super) queues: &'a ShardQueues,
    pub(super) probe: &'a mut Probe,
}

impl Router {
    pub(super) fn new(settings: &config::Redis) -> Self {
        Self {
            prefix: settings.channel_prefix.clone(),
            probe: settings.probe_channel.clone(),
            control: settings.control_channel.as_deref().map(ChannelName::new),
            max_payload: settings.max_payload.get(),
            oversized: LogThrottle::default(),
            received: Instant::now(),
            messages: 0,
            bytes: 0,
        }
    }

    /// The channel as Redis knows it.
    pub(super) fn redis_name(&self, channel: &str) -> String {
        [&self.prefix, channel].concat()
    }

    /// Looks at the clock, once for a whole burst of messages.
    pub(super) fn start_burst(&mut self) {
        self.received = Instant::now();
    }

    /// Adds the burst to the metrics.
    pub(super) fn count(&mut self, metrics: &UpstreamMetrics) {
        metrics.messages.inc_by(std::mem::take(&mut self.messages));
        metrics.message_bytes.inc_by(std::mem::take(&mut self.bytes));
    }

    /// Routes one message. `channel` is as Redis knows it.
    pub(super) fn message(&mut self, channel: &str, payload: &[u8], to: &mut Sinks<'_>) {
        let Some(channel) = channel.strip_prefix(self.prefix.as_str()) else { return };
        if let Some((name, shards)) = to.table.route(channel) {
            self.messages += 1;
            self.bytes += payload.len() as u64;
            if shards == 0 {
                // It lingers; nobody is there to miss anything.
            } else if payload.len() > self.max_payload {
                debug!(channel, bytes = payload.len(), "message is larger than redis.max_payload");
                to.queues.gap(shards, name.clone(), GapReason::PayloadTooLarge);
            } else {
                let message = Arc::new(wire::message(name.clone(), payload, self.received));
                to.queues.send(shards, Event::Message(message));
            }
        } else if self.probe.as_deref() == Some(channel) {
            to.probe.arrived(payload);
        } else if self.control.as_ref().is_some_and(|name| name.as_str() == channel) {
            self.messages += 1;
            self.bytes += payload.len() as u64;
            self.control(payload, to.queues);
        }
    }

    fn control(&mut self, payload: &[u8], queues: &ShardQueues) {
        let Some(control) = self.control.clone() else { return };
        let bytes = payload.len();
        if bytes > self.max_payload {
            if let Some(before) = self.oversized.to_log(self.received) {
                warn!(bytes, before, "control message is larger than redis.max_payload");
            }
            return;
        }
        let message = wire::message(control, payload, self.received);
        queues.send_all(&Event::Control(Arc::new(message)));
    }
}
