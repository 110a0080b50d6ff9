//! A gateway's metrics and log, checked against what its clients saw: the promises I1 to I8 of
//! `docs/architecture.md`, with every counter exact to the last message.

use crate::rig::{
    Gateway, Redis,
    crowd::Member,
    metrics::Metrics,
    oracle::{Ledger, wait_numsub},
};
use std::{iter::Sum, ops::AddAssign};

/// What some clients of one endpoint saw, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Clients that were accepted …
    pub(crate) came: u64,
    /// … and those of them whose connection has ended.
    pub(crate) ended: u64,
    pub(crate) delivered: u64,
    /// Messages that never arrived; the client was told of each hole.
    pub(crate) missing: u64,
    pub(crate) gaps: u64,
}

impl Seen {
    /// No client may have seen another's message, a wrong order, a duplicate, or a hole that it was
    /// not told of (I1 to I4).
    #[track_caller]
    pub(crate) fn by<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        members.into_iter().map(|member| member.look(Self::of)).sum()
    }

    #[track_caller]
    fn of(ledger: &Ledger) -> Self {
        ledger.assert_kept();
        Self {
            came: 1,
            ended: ledger.ended.into(),
            delivered: ledger.delivered,
            missing: ledger.missing,
            gaps: ledger.gaps,
        }
    }

    /// … all of which have disconnected by now.
    pub(crate) fn all_left(self) -> Self {
        Self { ended: self.came, ..self }
    }
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.came += other.came;
        self.ended += other.ended;
        self.delivered += other.delivered;
        self.missing += other.missing;
        self.gaps += other.gaps;
    }
}

impl Sum for Seen {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// The sum over all series of one name and one endpoint.
pub(crate) fn of_endpoint(metrics: &Metrics, name: &str, endpoint: &str) -> u64 {
    let label = format!("endpoint=\"{endpoint}\"");
    metrics.all(name).filter(|(series, _)| series.contains(&label)).map(|(_, n)| n as u64).sum()
}

/// If these clients are all that an endpoint ever had, and have read everything sent to them, then
/// its counters equal what they saw, and count `missed` messages as missed.
#[track_caller]
pub(crate) fn assert_counted(gateway: &Gateway, endpoint: &str, seen: &Seen, missed: u64) {
    let counted = |gateway: &Gateway| {
        let metrics = gateway.metrics();
        let count = |name| of_endpoint(&metrics, name, endpoint);
        [
            count("sockway_sessions_opened_total"),
            count("sockway_sessions_closed_total"),
            count("sockway_sessions"),
            count("sockway_deliveries_total"),
            count("sockway_missed_messages_total"),
        ]
    };
    let expected = [seen.came, seen.ended, seen.came - seen.ended, seen.delivered, missed];
    let mut last = [0; 5];
    let mut tries = 0;
    // A client may see a message, or its own end, before the gateway has counted it.
    while last != expected && tries < 100 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        (last, tries) = (counted(gateway), tries + 1);
    }
    assert_eq!(last, expected, "opened, closed, open, delivered, missed of {endpoint}");
}

/// Redis has one subscription for each of these channels, and the gateway has no other (I7).
#[track_caller]
pub(crate) fn assert_subscribed(gateway: &Gateway, redis: &Redis, channels: &[String]) {
    wait_numsub(redis, channels, 1);
    for state in ["wanted", "subscribed"] {
        let series = format!("sockway_channels{{state=\"{state}\"}}");
        gateway.wait_metric(&series, channels.len() as f64);
    }
}

/// … and none for these.
#[track_caller]
pub(crate) fn assert_unsubscribed(redis: &Redis, channels: &[String]) {
    wait_numsub(redis, channels, 0);
}

/// Redis sent `received` messages; each was delivered to or missed by `each` sessions (I8).
#[track_caller]
pub(crate) fn assert_balanced(gateway: &Gateway, received: u64, each: u64) {
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("sockway_redis_messages_total"), received as f64, "all was received");
    let ended =
        metrics.sum("sockway_deliveries_total") + metrics.sum("sockway_missed_messages_total");
    assert_eq!(ended, (received * each) as f64, "received = delivered + missed");
}

/// It ran without a panic, stops when asked to, and exits with status 0 (I5).
#[track_caller]
pub(crate) fn assert_ends_well(mut gateway: Gateway) {
    assert!(gateway.process.is_running(), "it has ended");
    gateway.terminate();
    assert_eq!(gateway.process.exit_code(), 0);
    let panics = gateway.process.stderr.find(|line| line.contains("panic").then(|| line.clone()));
    assert_eq!(panics, None);
}
