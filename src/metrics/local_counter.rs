//! Counters and histograms with one writer.
//!
//! A shard counts on its own thread, so it needs no atomic read-modify-write: a relaxed load and
//! store are enough, and a scrape on another thread reads a value that was true a moment ago.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only ever call this from the one thread that owns the cell.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram of durations that one thread writes and any thread reads.
#[derive(Debug)]
pub struct Histogram {
    /// Upper bounds, ascending.
    bounds: &'static [Duration],
    /// One a bound and one for all that is longer; not cumulative.
    buckets: Vec<Cell>,
    nanos: Cell,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [Duration]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| Cell::default()).collect();
        Self { bounds, buckets, nanos: Cell::default() }
    }

    /// Records one duration. Only ever call this from the one thread that owns the histogram.
    pub fn observe(&self, value: Duration) {
        let longer = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[longer].add(1);
        self.nanos.add(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what was recorded to a sum over all shards.
    pub(super) fn add_to(&self, sum: &mut Sum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load();
        }
        sum.nanos += u128::from(self.nanos.load());
    }
}

/// Several shards' histograms as one.
#[derive(Debug)]
pub(super) struct Sum {
    bounds: &'static [Duration],
    buckets: Vec<u64>,
    nanos: u128,
}

impl Sum {
    pub(super) fn new(bounds: &'static [Duration]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len() + 1], nanos: 0 }
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
        proto.set_sample_sum(self.nanos as f64 / 1e9);
        proto
    }
}
