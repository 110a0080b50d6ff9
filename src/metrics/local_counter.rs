//! Counters and histograms with a single writer, for what a shard counts.
//!
//! A shard counts on its own thread, so it needs no atomic read-modify-write: a relaxed load and
//! store are enough, and a scrape on another thread reads a value that was true a moment ago.
//!
//! Why not those of the `prometheus` crate: its `IntCounter` costs about four times as much, a locked
//! instruction for each delivery; its `local` types are as cheap only between two flushes, are
//! invisible to a scrape until then, and a flush of a histogram costs more than all of these. Here
//! every count is exact at every scrape.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct LocalCounter(AtomicU64);

impl LocalCounter {
    /// Adds `n`. Only ever call this from the one thread that owns the counter.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down, which one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct LocalGauge(AtomicU64);

impl LocalGauge {
    /// Counts what has grown from one size to another, or shrunk. Only ever call this from the one
    /// thread that owns the gauge.
    pub fn resize(&self, before: usize, now: usize) {
        let sum = self.load().wrapping_sub(before as u64).wrapping_add(now as u64);
        self.0.store(sum, Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A sum of durations that one thread writes and any thread reads.
///
/// In floating point, as Prometheus has it: a whole number of nanoseconds would wrap once 100,000
/// sessions have been open for two days each, and a sum that goes back looks like a restart.
#[derive(Debug, Default)]
struct LocalSum(AtomicU64);

impl LocalSum {
    fn add(&self, value: Duration) {
        self.0.store((self.nanos() + value.as_nanos() as f64).to_bits(), Relaxed);
    }

    fn nanos(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

/// A histogram of durations that one thread writes and any thread reads.
#[derive(Debug)]
pub struct LocalHistogram {
    /// Upper bounds, ascending.
    bounds: &'static [Duration],
    /// One a bound and one for all that is longer; not cumulative.
    buckets: Vec<LocalCounter>,
    sum: LocalSum,
}

impl LocalHistogram {
    pub(super) fn new(bounds: &'static [Duration]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| LocalCounter::default()).collect();
        Self { bounds, buckets, sum: LocalSum::default() }
    }

    /// Records one duration. Only ever call this from the one thread that owns the histogram.
    pub fn observe(&self, value: Duration) {
        let longer = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[longer].add(1);
        self.sum.add(value);
    }

    /// Adds what was recorded to a total over all shards.
    pub(super) fn add_to(&self, total: &mut HistogramTotal) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load();
        }
        total.nanos += self.sum.nanos();
    }
}

/// Several shards' histograms as one.
#[derive(Debug)]
pub(super) struct HistogramTotal {
    bounds: &'static [Duration],
    buckets: Vec<u64>,
    nanos: f64,
}

impl HistogramTotal {
    pub(super) fn new(bounds: &'static [Duration]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], nanos: 0.0 }
    }

    /// The histogram as Prometheus wants it: cumulative, in seconds.
    pub(super) fn to_proto(&self) -> prometheus::proto::Histogram {
        let mut proto = prometheus::proto::Histogram::default();
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bound, n) in self.bounds.iter().zip(&self.buckets) {
            count += n;
            let mut bucket = prometheus::proto::Bucket::default();
            bucket.set_upper_bound(bound.as_secs_f64());
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        proto.set_bucket(buckets);
        proto.set_sample_count(count + self.buckets[self.bounds.len()]);
        proto.set_sample_sum(self.nanos / 1e9);
        proto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(60)];

    fn shown(histograms: &[LocalHistogram]) -> prometheus::proto::Histogram {
        let mut total = HistogramTotal::new(BOUNDS);
        histograms.iter().for_each(|one| one.add_to(&mut total));
        total.to_proto()
    }

    #[test]
    fn a_duration_counts_in_its_bucket_its_bound_included_and_shards_add_up() {
        let shards = [LocalHistogram::new(BOUNDS), LocalHistogram::new(BOUNDS)];
        shards[0].observe(Duration::from_secs(1));
        shards[0].observe(Duration::from_millis(1_001));
        shards[1].observe(Duration::from_secs(61));
        let total = shown(&shards);
        let cumulative: Vec<_> =
            total.get_bucket().iter().map(prometheus::proto::Bucket::cumulative_count).collect();
        assert_eq!((cumulative, total.get_sample_count()), (vec![1, 2], 3));
        assert!((total.get_sample_sum() - 63.001).abs() < 1e-9);
    }

    #[test]
    fn the_sum_of_long_sessions_never_goes_back_and_still_counts_short_ones() {
        let histogram = LocalHistogram::new(BOUNDS);
        let (mut last, year) = (0.0, Duration::from_secs(365 * 24 * 60 * 60));
        for _ in 0..1_000_000 {
            histogram.observe(year);
        }
        for _ in 0..10 {
            histogram.observe(Duration::from_secs(1));
            let sum = shown(std::slice::from_ref(&histogram)).get_sample_sum();
            assert!(sum > last && sum >= 1e6 * year.as_secs_f64(), "{sum} after {last}");
            last = sum;
        }
    }
}
