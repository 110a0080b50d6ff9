//! What one shard counts.

use super::local_counter::{LocalCounter, LocalGauge, LocalHistogram};
use crate::{
    carrier::Carrier,
    reason::{
        CloseReason, GapReason, MissedReason, PublishResult, PublishSource, RefreshResult,
        ReplayResult,
    },
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

mod collector;

pub(super) use collector::ShardCollector;

/// What one shard counts. Written only by that shard's thread.
#[derive(Debug)]
pub struct ShardMetrics {
    /// Gaps that reached a session, by `GapReason::index`.
    pub gaps: [LocalCounter; GapReason::ALL.len()],
    /// `refresh` frames, by `RefreshResult::index`.
    pub refreshes: [LocalCounter; RefreshResult::ALL.len()],
    /// What was to be published, by `PublishSource::index`, then `PublishResult::index`.
    pub publishes: [[LocalCounter; PublishResult::ALL.len()]; PublishSource::ALL.len()],
    /// Memory that the sessions' queues hold now, a message that many wait for once.
    pub queued_bytes: LocalGauge,
    /// Out of Redis → flushed to the socket.
    pub delivery_seconds: LocalHistogram,
    /// Accepted → 101 or refusal written.
    pub handshake_seconds: LocalHistogram,
    pub session_seconds: LocalHistogram,
    /// There is room → all that was missed is read, for sessions that ask for some of it.
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
    /// Messages of clients that mean nothing on a raw endpoint.
    pub ignored: LocalCounter,
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
            publishes: Default::default(),
            queued_bytes: LocalGauge::default(),
            delivery_seconds: LocalHistogram::new(DELIVERY),
            handshake_seconds: LocalHistogram::new(HANDSHAKE),
            session_seconds: LocalHistogram::new(SESSION),
            replay_seconds: LocalHistogram::new(HANDSHAKE),
            endpoints: Mutex::default(),
        }
    }

    /// Counts what came of something that was to be published.
    pub fn published(&self, source: PublishSource, result: PublishResult) {
        debug_assert!(source.can_come_to(result), "{source:?} {result:?} has no series");
        self.publishes[source.index()][result.index()].add(1);
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
