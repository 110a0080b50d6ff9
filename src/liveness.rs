//! Signs of life: each part that serves says now and then that it still runs.
//!
//! A part that stands still cannot say so itself: its last sign grows old, which the admin port sees
//! from a thread of its own. A sign costs one store; nobody waits for anybody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// How often a part gives a sign that has nothing else to do it by.
const INTERVAL: Duration = Duration::from_millis(250);

/// The time of the last sign of a part that has ended as it should: it is not asked any more.
const ENDED: u64 = u64::MAX;

/// The last signs of all parts.
#[derive(Debug)]
pub struct Liveness {
    started: Instant,
    parts: Vec<(String, Arc<AtomicU64>)>,
}

/// A part's own end. Dropping it says that the part has ended, which is noticed elsewhere when it
/// should not have.
#[derive(Debug)]
pub struct SignOfLife {
    started: Instant,
    /// In milliseconds since `started`.
    last: Arc<AtomicU64>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { started: Instant::now(), parts: Vec::new() }
    }
}

impl Liveness {
    /// One more part. This counts as its first sign.
    pub fn part(&mut self, name: impl Into<String>) -> SignOfLife {
        let sign = SignOfLife { started: self.started, last: Arc::default() };
        sign.give();
        self.parts.push((name.into(), Arc::clone(&sign.last)));
        sign
    }

    /// The parts that have given no sign for longer than `limit`.
    #[must_use]
    pub fn silent_for(&self, limit: Duration) -> Vec<&str> {
        let now = self.started.elapsed();
        let is_silent = |last: &AtomicU64| {
            let last = last.load(Relaxed);
            last != ENDED && now.saturating_sub(Duration::from_millis(last)) > limit
        };
        let silent = self.parts.iter().filter(|(_, last)| is_silent(last));
        silent.map(|(name, _)| name.as_str()).collect()
    }
}

impl SignOfLife {
    /// The part runs.
    pub fn give(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(ENDED - 1);
        self.last.store(now, Relaxed);
    }

    /// Gives signs for as long as it is polled: to be polled in the task of the part itself.
    pub async fn keep_giving(&self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.give();
        }
    }
}

impl Drop for SignOfLife {
    fn drop(&mut self) {
        self.last.store(ENDED, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// Far below what a part may be silent for, so that this test is not slow.
    const LIMIT: Duration = Duration::from_millis(20);

    #[test]
    fn a_part_that_gives_no_sign_is_named_until_it_gives_one_or_ends() {
        let mut liveness = Liveness::default();
        let (silent, ending) = (liveness.part("shard 0"), liveness.part("shard 1"));
        while liveness.silent_for(LIMIT).len() < 2 {
            thread::yield_now();
        }
        drop(ending);
        assert_eq!(liveness.silent_for(LIMIT), ["shard 0"]);
        silent.give();
        assert!(liveness.silent_for(Duration::from_secs(20)).is_empty());
    }
}
