//! Durations, counted in buckets that are at most 1.6 % wide.

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;

/// A histogram of nanoseconds.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, largest: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.largest = self.largest.max(nanos);
    }

    /// The value below which a `share` (0 to 1) of all values lie, in microseconds; 0 when there are none.
    #[must_use]
    pub fn micros_at(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return upper_end(index).min(self.largest) as f64 / 1e3;
            }
        }
        0.0
    }

    #[must_use]
    pub fn largest_micros(&self) -> f64 {
        self.largest as f64 / 1e3
    }
}

/// Up to 63 each value has its bucket; above, each power of two has 64.
fn bucket(nanos: u64) -> usize {
    let magnitude = 63 - nanos.max(1).leading_zeros();
    if magnitude < SUB_BITS {
        return nanos as usize;
    }
    let shift = magnitude - SUB_BITS;
    ((u64::from(shift) + 1) * SUB + ((nanos >> shift) - SUB)) as usize
}

fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let (shift, sub) = (index / SUB - 1, index % SUB);
    ((u128::from(SUB + sub + 1) << shift) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_at_most_two_percent_above_what_is_in_it() {
        for nanos in (0..60).flat_map(|bits| [1u64 << bits, (1 << bits) + 1, (3 << bits) / 2]) {
            let end = upper_end(bucket(nanos));
            assert!(end >= nanos && end as f64 <= nanos as f64 * 1.02 + 1.0, "{nanos} → {end}");
        }
    }

    #[test]
    fn percentiles_of_a_known_series() {
        let mut histogram = Histogram::default();
        (1..=1000u64).for_each(|micros| histogram.add(micros * 1000));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.micros_at(share);
            assert!((found / micros - 1.0).abs() < 0.02, "{share}: {found}");
        }
    }
}
