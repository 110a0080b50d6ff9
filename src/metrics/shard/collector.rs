//! Sums what all shards count when Prometheus asks.

use super::{DELIVERY, EndpointMetrics, HANDSHAKE, SESSION, ShardMetrics};
use crate::{
    carrier::Carrier,
    metrics::local_counter::{HistogramTotal, LocalCounter, LocalHistogram},
    reason::{
        CloseReason, GapReason, MissedReason, PublishResult, PublishSource, RefreshResult,
        ReplayResult,
    },
};
use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use std::{sync::Arc, time::Duration};

/// Sums what the shards counted.
#[derive(Debug)]
pub(in crate::metrics) struct ShardCollector {
    shards: Vec<Arc<ShardMetrics>>,
    sessions: Desc,
    opened: Desc,
    closed: Desc,
    deliveries: Desc,
    delivered_bytes: Desc,
    missed: Desc,
    gaps: Desc,
    refreshes: Desc,
    publishes: Desc,
    ignored: Desc,
    queued_bytes: Desc,
    delivery_seconds: Desc,
    handshake_seconds: Desc,
    session_seconds: Desc,
    replays: Desc,
    replayed: Desc,
    replay_seconds: Desc,
}

impl ShardCollector {
    pub(in crate::metrics) fn new(shards: Vec<Arc<ShardMetrics>>) -> prometheus::Result<Self> {
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
            publishes: desc(
                "publishes_total",
                "What clients and HTTP callers wanted published, by what came of it.",
                &["source", "result"],
            )?,
            ignored: desc(
                "client_messages_ignored_total",
                "Messages of clients that mean nothing on their raw endpoint.",
                &["endpoint"],
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
                "How long reading took of what sessions asked for from before them, without their wait for room.",
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
            &self.publishes,
            &self.ignored,
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
        let publishes = PublishSource::ALL
            .iter()
            .flat_map(|source| PublishResult::ALL.iter().map(move |result| (source, result)))
            .filter(|&(source, &result)| source.can_come_to(result))
            .map(|(source, result)| {
                let (from, at) = (source.index(), result.index());
                let total = self.shards.iter().map(|shard| shard.publishes[from][at].load()).sum();
                let labels = [("source", source.label()), ("result", result.label())];
                sample(MetricType::COUNTER, &labels, total)
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
            family(&self.publishes, MetricType::COUNTER, publishes),
            per_endpoint(&self.ignored, MetricType::COUNTER, |one| one.ignored.load()),
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
