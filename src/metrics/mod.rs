//! Every series that `/metrics` shows: names, help texts, labels and buckets live only here.
//!
//! Labels come from the configuration or from the closed vocabularies of `reason`, never from a
//! user, a channel, a token or an address. Every series exists from the start, at 0.

mod local_counter;
mod process;
mod shard;
#[cfg(test)]
mod tests;

pub use local_counter::{LocalCounter, LocalHistogram};
pub use shard::{EndpointMetrics, ShardMetrics};

use crate::reason::{PublishResult, PublishSource, Refusal};
use prometheus::{
    Counter, Encoder, Gauge, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::sync::Arc;

/// All series of one gateway, and the registry they are shown from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    shards: Vec<Arc<ShardMetrics>>,
    pub upstream: UpstreamMetrics,
    refused: Vec<IntCounter>,
    /// Failed `accept` calls on the public port, such as EMFILE.
    pub accept_errors: IntCounter,
    /// Reloads that were applied, and that were refused as a whole.
    pub reloads_applied: IntCounter,
    pub reloads_refused: IntCounter,
    pub jwks: JwksMetrics,
    /// Log records that were not written, because nobody read them in time.
    pub log_records_dropped: IntCounter,
}

/// What has come of all that was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publishes {
    pub published: u64,
    /// Certainly not published.
    pub refused: u64,
    /// It may have been published or not.
    pub unknown: u64,
}

/// Fetches of the issuer's keys. Clones count together.
#[derive(Debug, Clone)]
pub struct JwksMetrics {
    /// With at least one key that can be used.
    pub fetched: IntCounter,
    pub failed: IntCounter,
}

/// What the Redis side counts. All on one thread: the main one, or the only shard's.
#[derive(Debug)]
pub struct UpstreamMetrics {
    pub messages: IntCounter,
    /// Bytes of payloads.
    pub message_bytes: IntCounter,
    pub channels_wanted: IntGauge,
    pub channels_subscribed: IntGauge,
    pub patterns: IntGauge,
    /// 1 while the subscription is proven alive by probes.
    pub up: IntGauge,
    /// Unix time of the last probe that proved it; 0 before the first.
    pub last_verified: Gauge,
    pub reconnects: IntCounter,
    /// Times that reading was stopped for a shard that had fallen behind.
    pub read_pauses: IntCounter,
    /// Messages dropped because their channel is not confirmed on the node that sent them.
    pub stale_messages: IntCounter,
    /// Times that revocations may have been missed.
    pub revocation_gaps: IntCounter,
    /// Rooms that this instance keeps.
    pub presence_rooms: IntGauge,
    /// Users that sessions of this instance hold in rooms, and those whose time was over and who were taken
    /// out of a room.
    pub presence_members: IntGauge,
    pub presence_swept: IntCounter,
    /// Streams that sessions want, and those whose changes Redis tells.
    pub streams_wanted: IntGauge,
    pub streams_subscribed: IntGauge,
    pub stream_wakes: StreamWakes,
    /// Readings of streams' tails.
    pub stream_reads: IntCounter,
    pub outage_seconds: Counter,
    /// From Redis answering again to every wanted channel subscribed again.
    pub resubscribe_seconds: prometheus::Histogram,
}

/// Why streams were read.
#[derive(Debug)]
pub struct StreamWakes {
    /// Redis told a change, and there was one.
    pub push: IntCounter,
    /// Nobody told anything, and there was something new.
    pub poll: IntCounter,
    /// Redis told that the canary's stream has changed.
    pub canary: IntCounter,
    /// Redis told a change, and there was none.
    pub fruitless: IntCounter,
}

impl Metrics {
    /// Registers every series, each at 0, for these endpoints on these many shards.
    ///
    /// # Panics
    /// When two series share a name, which is a defect of this module.
    #[must_use]
    pub fn new(shards: usize, endpoints: &[Arc<str>]) -> Self {
        Self::register(shards, endpoints).expect("series are named once, by constants")
    }

    fn register(shards: usize, endpoints: &[Arc<str>]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let shards: Vec<_> = (0..shards).map(|_| Arc::new(ShardMetrics::new())).collect();
        for shard in &shards {
            endpoints.iter().for_each(|name| drop(shard.endpoint(name)));
        }
        registry.register(Box::new(shard::ShardCollector::new(shards.clone())?))?;
        registry.register(Box::new(process::ProcessCollector::new()?))?;

        let refused = counters(
            &registry,
            Opts::new("sockway_handshakes_refused_total", "Handshakes refused, by reason."),
            "reason",
        )?;
        let reloads = counters(
            &registry,
            Opts::new("sockway_config_reloads_total", "Reloads of the configuration, by result."),
            "result",
        )?;
        let jwks = counters(
            &registry,
            Opts::new("sockway_jwks_fetches_total", "Fetches of auth.jwt.jwks_url, by result."),
            "result",
        )?;
        let build = IntGaugeVec::new(
            Opts::new("sockway_build_info", "Always 1; the labels say what runs."),
            &["version", "revision"],
        )?;
        build.with_label_values(&[crate::VERSION, crate::REVISION]).set(1);
        registry.register(Box::new(build))?;

        Ok(Self {
            upstream: UpstreamMetrics::register(&registry)?,
            refused: Refusal::ALL.iter().map(|r| refused.with_label_values(&[r.label()])).collect(),
            accept_errors: counter(
                &registry,
                "sockway_accept_errors_total",
                "Failed accept calls on the public port.",
            )?,
            reloads_applied: reloads.with_label_values(&["applied"]),
            reloads_refused: reloads.with_label_values(&["refused"]),
            jwks: JwksMetrics {
                fetched: jwks.with_label_values(&["fetched"]),
                failed: jwks.with_label_values(&["failed"]),
            },
            log_records_dropped: counter(
                &registry,
                "sockway_log_records_dropped_total",
                "Log records dropped because stderr was not read in time.",
            )?,
            registry,
            shards,
        })
    }

    /// The counters of one shard, for that shard's thread alone.
    #[must_use]
    pub fn shard(&self, id: usize) -> Arc<ShardMetrics> {
        Arc::clone(&self.shards[id])
    }

    /// Shows the series of these endpoints too, at 0 when they are new.
    pub fn show_endpoints(&self, names: &[Arc<str>]) {
        for shard in &self.shards {
            names.iter().for_each(|name| drop(shard.endpoint(name)));
        }
    }

    /// Counts a handshake that was refused.
    pub fn handshake_refused(&self, refusal: Refusal) {
        self.refused[refusal.index()].inc();
    }

    /// Sessions open now at an endpoint, over all shards.
    #[must_use]
    pub fn sessions_open(&self, endpoint: &Arc<str>) -> u64 {
        self.shards.iter().map(|shard| shard.endpoint(endpoint).open()).sum()
    }

    /// What has come of all that this source wanted published.
    #[must_use]
    pub fn publishes(&self, source: PublishSource) -> Publishes {
        let total = |result: PublishResult| {
            let counted =
                |shard: &Arc<ShardMetrics>| shard.publishes[source.index()][result.index()].load();
            self.shards.iter().map(counted).sum::<u64>()
        };
        let all: u64 = PublishResult::ALL.iter().map(|&result| total(result)).sum();
        let (published, unknown) =
            (total(PublishResult::Published), total(PublishResult::OutcomeUnknown));
        Publishes { published, unknown, refused: all.saturating_sub(published + unknown) }
    }

    /// All series in Prometheus's text format.
    ///
    /// # Panics
    /// Never: encoding into memory cannot fail, and the format is UTF-8.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("encoding into memory cannot fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

impl UpstreamMetrics {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let channels = IntGaugeVec::new(
            Opts::new(
                "sockway_channels",
                "Channels that sessions want, and that Redis has confirmed.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(channels.clone()))?;
        let streams = IntGaugeVec::new(
            Opts::new(
                "sockway_streams",
                "Streams that sessions want, and those whose changes Redis tells.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(streams.clone()))?;
        let wakes = counters(
            registry,
            Opts::new(
                "sockway_stream_wakes_total",
                "Why streams were read: a change that Redis told, one that it did not tell (poll), \
                 the canary, or none at all (fruitless).",
            ),
            "source",
        )?;
        let resubscribe_seconds = prometheus::Histogram::with_opts(
            HistogramOpts::new(
                "sockway_redis_resubscribe_seconds",
                "From Redis answering again to every wanted channel subscribed again.",
            )
            .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
        )?;
        registry.register(Box::new(resubscribe_seconds.clone()))?;
        let up = IntGauge::new("sockway_redis_up", "1 while probes prove the subscription alive.")?;
        registry.register(Box::new(up.clone()))?;
        let last_verified = Gauge::new(
            "sockway_redis_last_verified_timestamp_seconds",
            "Unix time of the last probe that proved the subscription alive; 0 before the first.",
        )?;
        registry.register(Box::new(last_verified.clone()))?;
        let presence_members = IntGauge::new(
            "sockway_presence_members",
            "Users that sessions of this instance hold in rooms with presence.",
        )?;
        registry.register(Box::new(presence_members.clone()))?;
        let presence_rooms = IntGauge::new(
            "sockway_presence_rooms",
            "Rooms with presence that this instance keeps: users of its sessions are there, or just left.",
        )?;
        registry.register(Box::new(presence_rooms.clone()))?;
        let outage_seconds = Counter::new(
            "sockway_redis_outage_seconds_total",
            "Time without a Redis link that is proven alive, the running outage included.",
        )?;
        registry.register(Box::new(outage_seconds.clone()))?;
        let patterns = IntGauge::new(
            "sockway_patterns",
            "Patterns of channels that sessions are in, or that linger.",
        )?;
        registry.register(Box::new(patterns.clone()))?;
        Ok(Self {
            messages: counter(
                registry,
                "sockway_redis_messages_total",
                "Messages received from Redis for channels that sessions are in.",
            )?,
            message_bytes: counter(
                registry,
                "sockway_redis_message_bytes_total",
                "Payload bytes received from Redis.",
            )?,
            streams_wanted: streams.with_label_values(&["wanted"]),
            streams_subscribed: streams.with_label_values(&["subscribed"]),
            stream_wakes: StreamWakes {
                push: wakes.with_label_values(&["push"]),
                poll: wakes.with_label_values(&["poll"]),
                canary: wakes.with_label_values(&["canary"]),
                fruitless: wakes.with_label_values(&["fruitless"]),
            },
            stream_reads: counter(
                registry,
                "sockway_stream_reads_total",
                "Readings of streams behind what was read before.",
            )?,
            patterns,
            channels_wanted: channels.with_label_values(&["wanted"]),
            channels_subscribed: channels.with_label_values(&["subscribed"]),
            up,
            last_verified,
            reconnects: counter(
                registry,
                "sockway_redis_reconnects_total",
                "Redis links lost and made again.",
            )?,
            read_pauses: counter(
                registry,
                "sockway_redis_read_pauses_total",
                "Times that reading from Redis was stopped for a shard that had fallen behind.",
            )?,
            stale_messages: counter(
                registry,
                "sockway_redis_stale_messages_total",
                "Messages dropped because their channel was not confirmed where they came from.",
            )?,
            revocation_gaps: counter(
                registry,
                "sockway_revocation_gaps_total",
                "Times that revocations may have been missed.",
            )?,
            presence_rooms,
            presence_members,
            presence_swept: counter(
                registry,
                "sockway_presence_swept_total",
                "Users taken out of a room because their time was over.",
            )?,
            outage_seconds,
            resubscribe_seconds,
        })
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(registry: &Registry, opts: Opts, label: &str) -> prometheus::Result<IntCounterVec> {
    let counters = IntCounterVec::new(opts, &[label])?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}
