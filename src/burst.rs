//! Log lines for what can come in floods: one at the beginning of each burst.
//!
//! Never silent about how much it was: the next line says how many the burst before it had.

use std::time::{Duration, Instant};

/// Whatever comes with less than this after the one before belongs to the same burst.
const BURST: Duration = Duration::from_secs(10);

/// Things of one kind, as they come.
#[derive(Debug, Default)]
pub struct Bursts {
    latest: Option<Instant>,
    unsaid: u64,
}

impl Bursts {
    /// Takes one more. `Some`: it begins a burst and is to be logged, together with how many have
    /// come unsaid since the last one that was.
    pub fn begins(&mut self, now: Instant) -> Option<u64> {
        let latest = self.latest.replace(now);
        if latest.is_some_and(|latest| now.duration_since(latest) < BURST) {
            self.unsaid += 1;
            return None;
        }
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_once_and_its_size_with_the_next() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let logged = [0, 1, 9, 12, 21, 31, 60]
            .map(|seconds| bursts.begins(start + Duration::from_secs(seconds)));
        assert_eq!(logged, [Some(0), None, None, None, None, Some(4), Some(0)]);
    }
}
