//! What one shard counts, and the collector that sums all shards when Prometheus asks.

use super::local_counter::{HistogramTotal, LocalCounter, LocalGauge, LocalHistogram};
use crate::carrier::Carrier;
use crate::reason::{CloseReason, GapReason, MissedReason, RefreshResult, ReplayResult};
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What one shard counts. Written only by that shard's thread.
#[derive(Debug)]
pub struct ShardMetrics {
    /// Gaps that reached a session, by `GapReason::index`.
    pub gaps: [LocalCounter; GapReason::ALL.len()],
    /// `refresh` frames, by `RefreshResult::index`.
    pub refreshes: [LocalCounter; RefreshResult::ALL.len()],
    /// Memory that the sessions' queues hold now, a message that many wait for once.
    pub queued_bytes: LocalGauge,
    /// Out of Redis → flushed to the socket.
    pub delivery_seconds: LocalHistogram,
    /// Accepted → 101 or refusal written.
    pub handshake_seconds: LocalHistogram,
    pub session_seconds: LocalHistogram,
    /// From all topics confirmed → all that was missed read, for sessions that are given some of it.
    pub replay_seconds: LocalHistogram,
    endpoints: Mutex<Vec<(Arc<str>, Arc<EndpointMetrics>)>>,
}

/// What one shard counts for one endpoint.
#[derive(Debug, Default)]
pub struct EndpointMetrics {
    /// By `Carrier::index`.
    pub opened: [LocalCounter; Carrier::ALL.len()],
    /// By `CloseReason::index`.
    pub closed: [LocalCounter; CloseReason::ALL.len()],
    /// Messages flushed to a socket, once for each socket.
    pub deliveries: LocalCounter,
    /// Bytes of those messages' frames.
    pub delivered_bytes: LocalCounter,
    /// By `MissedReason::index`.
    pub missed: [LocalCounter; MissedReason::ALL.len()],
    /// Positions that clients gave, one a stream, by `ReplayResult::index`.
    pub replays: [LocalCounter; ReplayResult::ALL.len()],
    /// Messages from before a session flushed to its socket; they are no deliveries.
    pub replayed: LocalCounter,
}

impl EndpointMetrics {
    /// Sessions open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(LocalCounter::load).sum();
        let opened: u64 = self.opened.iter().map(LocalCounter::load).sum();
        opened.saturating_sub(closed)
    }
}

const fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

const DELIVERY: &[Duration] = &[
    micros(50),
    micros(100),
    micros(250),
    micros(500),
    micros(1_000),
    micros(2_500),
    micros(5_000),
    micros(10_000),
    micros(25_000),
    micros(50_000),
    micros(100_000),
    micros(250_000),
    micros(1_000_000),
    micros(10_000_000),
];

const HANDSHAKE: &[Duration] = &[
    micros(500),
    micros(1_000),
    micros(2_500),
    micros(5_000),
    micros(10_000),
    micros(25_000),
    micros(50_000),
    micros(100_000),
    micros(250_000),
    micros(1_000_000),
    micros(5_000_000),
    micros(10_000_000),
];

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const SESSION: &[Duration] = &[
    secs(1),
    secs(10),
    secs(60),
    secs(300),
    secs(900),
    secs(3_600),
    secs(14_400),
    secs(43_200),
    secs(86_400),
];

impl ShardMetrics {
    pub(super) fn new() -> Self {
        Self {
            gaps: Default::default(),
            refreshes: Default::default(),
            queued_bytes: LocalGauge::default(),
            delivery_seconds: LocalHistogram::new(DELIVERY),
            handshake_seconds: LocalHistogram::new(HANDSHAKE),
            session_seconds: LocalHistogram::new(SESSION),
            replay_seconds: LocalHistogram::new(HANDSHAKE),
            endpoints: Mutex::default(),
        }
    }

    /// This shard's counters of an endpoint; made at the first call and kept for ever, since a
    /// counter must not go back.
    pub fn endpoint(&self, name: &Arc<str>) -> Arc<EndpointMetrics> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, metrics)) = endpoints.iter().find(|(known, _)| known == name) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::new(EndpointMetrics::default());
        endpoints.push((Arc::clone(name), Arc::clone(&metrics)));
        metrics
    }

    fn endpoints(&self) -> Vec<(Arc<str>, Arc<EndpointMetrics>)> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sums what the shards counted.
#[derive(Debug)]
pub(super) struct ShardCollector {
    shards: Vec<Arc<ShardMetrics>>,
    sessions: Desc,
    opened: Desc,
    closed: Desc,
    deliveries: Desc,
    delivered_bytes: Desc,
    missed: Desc,
    gaps: Desc,
    refreshes: Desc,
    queued_bytes: Desc,
    delivery_seconds: Desc,
    handshake_seconds: Desc,
    session_seconds: Desc,
    replays: Desc,
    replayed: Desc,
    replay_seconds: Desc,
}

impl ShardCollector {
    pub(super) fn new(shards: Vec<Arc<ShardMetrics>>) -> prometheus::Result<Self> {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            Desc::new(format!("sockway_{name}"), help.to_owned(), labels, Default::default())
        };
        Ok(Self {
            shards,
            sessions: desc("sessions", "Sessions open now.", &["endpoint"])?,
            opened: desc(
                "sessions_opened_total",
                "Sessions opened, over WebSockets and over Server-Sent Events.",
                &["endpoint", "transport"],
            )?,
            closed: desc(
                "sessions_closed_total",
                "Sessions ended, by reason.",
                &["endpoint", "reason"],
            )?,
            deliveries: desc(
                "deliveries_total",
                "Messages flushed to a socket, once for each socket.",
                &["endpoint"],
            )?,
            delivered_bytes: desc(
                "delivered_bytes_total",
                "Bytes of the frames of those messages.",
                &["endpoint"],
            )?,
            missed: desc(
                "missed_messages_total",
                "Messages that a session had in its queue, or should have had, and never got.",
                &["endpoint", "reason"],
            )?,
            gaps: desc(
                "gaps_total",
                "Gaps that reached a session: messages may have been missed there.",
                &["reason"],
            )?,
            refreshes: desc(
                "refreshes_total",
                "New tokens that clients sent within their sessions, by what came of them.",
                &["result"],
            )?,
            queued_bytes: desc(
                "queued_bytes",
                "Memory that the sessions' queues hold, a message that many wait for once a shard.",
                &[],
            )?,
            delivery_seconds: desc(
                "delivery_seconds",
                "From out of Redis to flushed to the socket.",
                &[],
            )?,
            handshake_seconds: desc(
                "handshake_seconds",
                "From accepted to answered, subscription included.",
                &[],
            )?,
            session_seconds: desc("session_seconds", "How long sessions were open.", &[])?,
            replays: desc(
                "replays_total",
                "Positions that clients came back with, one a stream, by what came of them.",
                &["endpoint", "result"],
            )?,
            replayed: desc(
                "replayed_messages_total",
                "Messages from before a session that were flushed to its socket.",
                &["endpoint"],
            )?,
            replay_seconds: desc(
                "replay_seconds",
                "From subscribed to ready, for sessions that asked for messages from before them.",
                &[],
            )?,
        })
    }

    fn by_endpoint(&self) -> Vec<(Arc<str>, Vec<Arc<EndpointMetrics>>)> {
        let mut names: Vec<(Arc<str>, Vec<Arc<EndpointMetrics>>)> = Vec::new();
        for (name, metrics) in self.shards.iter().flat_map(|shard| shard.endpoints()) {
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(metrics),
                None => names.push((name, vec![metrics])),
            }
        }
        names
    }

    fn histogram(
        &self,
        desc: &Desc,
        pick: fn(&ShardMetrics) -> &LocalHistogram,
        bounds: &'static [Duration],
    ) -> MetricFamily {
        let mut total = HistogramTotal::new(bounds);
        self.shards.iter().for_each(|shard| pick(shard).add_to(&mut total));
        let mut metric = Metric::default();
        metric.set_histogram(total.to_proto());
        family(desc, MetricType::HISTOGRAM, vec![metric])
    }
}

impl Collector for ShardCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![
            &self.sessions,
            &self.opened,
            &self.closed,
            &self.deliveries,
            &self.delivered_bytes,
            &self.missed,
            &self.gaps,
            &self.refreshes,
            &self.queued_bytes,
            &self.delivery_seconds,
            &self.handshake_seconds,
            &self.session_seconds,
            &self.replays,
            &self.replayed,
            &self.replay_seconds,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let endpoints = self.by_endpoint();
        let per_endpoint = |desc: &Desc, kind: MetricType, count: fn(&EndpointMetrics) -> u64| {
            let metrics = endpoints
                .iter()
                .map(|(name, all)| {
                    let total = all.iter().map(|one| count(one)).sum();
                    sample(kind, &[("endpoint", name)], total)
                })
                .collect();
            family(desc, kind, metrics)
        };
        let per_word =
            |desc: &Desc,
             (label, words): (&str, &[&str]),
             counter: fn(&EndpointMetrics, usize) -> &LocalCounter| {
                let mut metrics = Vec::new();
                for (name, all) in &endpoints {
                    for (at, word) in words.iter().enumerate() {
                        let total = all.iter().map(|one| counter(one, at).load()).sum();
                        let labels = [("endpoint", &**name), (label, word)];
                        metrics.push(sample(MetricType::COUNTER, &labels, total));
                    }
                }
                family(desc, MetricType::COUNTER, metrics)
            };
        let carriers: Vec<_> = Carrier::ALL.iter().map(|carrier| carrier.label()).collect();
        let closed: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
        let missed: Vec<_> = MissedReason::ALL.iter().map(|reason| reason.label()).collect();
        let replays: Vec<_> = ReplayResult::ALL.iter().map(|result| result.label()).collect();
        let gaps = GapReason::ALL
            .iter()
            .map(|reason| {
                let total = self.shards.iter().map(|shard| shard.gaps[reason.index()].load()).sum();
                sample(MetricType::COUNTER, &[("reason", reason.label())], total)
            })
            .collect();
        let refreshes = RefreshResult::ALL
            .iter()
            .map(|result| {
                let count = |shard: &Arc<ShardMetrics>| shard.refreshes[result.index()].load();
                let total = self.shards.iter().map(count).sum();
                sample(MetricType::COUNTER, &[("result", result.label())], total)
            })
            .collect();
        let queued = self.shards.iter().map(|shard| shard.queued_bytes.load()).sum();

        vec![
            per_endpoint(&self.sessions, MetricType::GAUGE, EndpointMetrics::open),
            per_word(&self.opened, ("transport", &carriers), |one, at| &one.opened[at]),
            per_endpoint(&self.deliveries, MetricType::COUNTER, |one| one.deliveries.load()),
            per_endpoint(&self.delivered_bytes, MetricType::COUNTER, |one| {
                one.delivered_bytes.load()
            }),
            per_word(&self.closed, ("reason", &closed), |one, at| &one.closed[at]),
            per_word(&self.missed, ("reason", &missed), |one, at| &one.missed[at]),
            per_word(&self.replays, ("result", &replays), |one, at| &one.replays[at]),
            per_endpoint(&self.replayed, MetricType::COUNTER, |one| one.replayed.load()),
            family(&self.gaps, MetricType::COUNTER, gaps),
            family(&self.refreshes, MetricType::COUNTER, refreshes),
            family(
                &self.queued_bytes,
                MetricType::GAUGE,
                vec![sample(MetricType::GAUGE, &[], queued)],
            ),
            self.histogram(&self.delivery_seconds, |one| &one.delivery_seconds, DELIVERY),
            self.histogram(&self.handshake_seconds, |one| &one.handshake_seconds, HANDSHAKE),
            self.histogram(&self.session_seconds, |one| &one.session_seconds, SESSION),
            self.histogram(&self.replay_seconds, |one| &one.replay_seconds, HANDSHAKE),
        ]
    }
}

fn family(desc: &Desc, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn sample(kind: MetricType, labels: &[(&str, &str)], value: u64) -> Metric {
    let mut metric = Metric::default();
    let pairs = labels.iter().map(|&(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    metric.set_label(pairs.collect());
    if kind == MetricType::GAUGE {
        let mut gauge = Gauge::default();
        gauge.set_value(value as f64);
        metric.set_gauge(gauge);
    } else {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        metric.set_counter(counter);
    }
    metric
}
