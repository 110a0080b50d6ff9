//! Stops reading from a node for a moment when a shard has fallen behind.
//!
//! While a ring is three quarters full, reading stops: what Redis sends then waits in the socket and
//! in Redis's own buffer. For [`MOST`] at most in any [`WINDOW`]: a shard that is slow all the time must
//! not slow the node down for ever. Beyond that the ring overruns, and the shard tells a gap.
//!
//! Pure: it reads no clock.

use crate::bus::Fill;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// In which pauses may add up to [`MOST`].
const WINDOW: Duration = Duration::from_secs(5);

/// How long reading may be stopped within a window. Redis ends a subscriber whose output buffer
/// stays above its soft limit for a minute, so this is far from it.
const MOST: Duration = Duration::from_millis(500);

/// How often a shard's progress is looked at during a pause.
const STEP: Duration = Duration::from_millis(1);

/// The pauses of one link.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Since when reading is stopped.
    began: Option<Instant>,
    /// Those that ended within the window, by begin and end.
    past: VecDeque<(Instant, Instant)>,
}

impl Pauses {
    /// Whether reading is stopped.
    pub(super) fn is_paused(&self) -> bool {
        self.began.is_some()
    }

    /// When [`Pauses::update`] must be called next, if reading is stopped.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.is_paused().then_some(now + STEP)
    }

    /// Starts or ends a pause, as the fullest ring and the time ask for. Returns whether one began.
    pub(super) fn update(&mut self, fill: Fill, now: Instant) -> bool {
        let left = self.left(now);
        match self.began {
            None if fill == Fill::High && !left.is_zero() => {
                self.began = Some(now);
                return true;
            }
            // It ends well below where it began, or each message would make a pause of its own.
            Some(_) if fill == Fill::Low || left.is_zero() => self.end(now),
            _ => {}
        }
        false
    }

    /// Ends the pause, if there is one.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(began) = self.began.take() {
            self.past.push_back((began, now));
        }
    }

    /// How long reading may still be stopped now.
    fn left(&mut self, now: Instant) -> Duration {
        let start = now.checked_sub(WINDOW);
        let is_over = |end: Instant| start.is_some_and(|start| end <= start);
        while self.past.front().is_some_and(|(_, end)| is_over(*end)) {
            self.past.pop_front();
        }
        let running = self.began.map(|began| (began, now));
        let within =
            |(began, end): (Instant, Instant)| end - start.map_or(began, |it| it.max(began));
        let spent: Duration = self.past.iter().copied().chain(running).map(within).sum();
        MOST.saturating_sub(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    /// Updates once a millisecond; the milliseconds of each in which reading was stopped.
    fn run(pauses: &mut Pauses, from: Instant, fills: impl Iterator<Item = Fill>) -> Vec<bool> {
        let mut now = from;
        let step = |fill| {
            pauses.update(fill, now);
            now += TICK;
            pauses.is_paused()
        };
        fills.map(step).collect()
    }

    #[test]
    fn a_pause_begins_at_three_quarters_and_ends_below_half() {
        let mut pauses = Pauses::default();
        let now = Instant::now();
        assert!(!pauses.update(Fill::Middle, now));
        assert!(pauses.update(Fill::High, now));
        assert!(!pauses.update(Fill::Middle, now), "it goes on");
        assert!(pauses.is_paused());
        pauses.update(Fill::Low, now);
        assert!(!pauses.is_paused());
    }

    #[test]
    fn reading_stops_for_half_a_second_at_most_in_any_five() {
        for period in [1, 7, 400, 10_000] {
            let mut pauses = Pauses::default();
            // High nearly always, with moments in which the shard has caught up.
            let fill = |ms| if ms % period == period - 1 { Fill::Low } else { Fill::High };
            let stopped = run(&mut pauses, Instant::now(), (0..20_000).map(fill));
            for window in stopped.windows(5_000) {
                let sum = window.iter().filter(|&&it| it).count();
                assert!(sum <= 501, "{sum} ms with period {period}");
            }
            if period > 1 {
                let sum = stopped.iter().filter(|&&it| it).count();
                assert!(sum >= 1_900, "{sum} ms in all with period {period}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_by_the_window() {
        let mut pauses = Pauses::default();
        let fill = |ms| if ms % 2 == 0 { Fill::High } else { Fill::Low };
        run(&mut pauses, Instant::now(), (0..60_000).map(fill));
        assert!(pauses.past.len() <= 501, "{}", pauses.past.len());
    }
}
