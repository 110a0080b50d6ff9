//! Waiting for facts, with deadlines. No test relies on a fixed sleep.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long any fact may take before the test fails. Generous: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Polls until the probe returns a value.
///
/// # Panics
/// After `limit` without one, with `what` in the message.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Polls until the fact holds, at most [`LIMIT`].
#[track_caller]
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    within(LIMIT, what, || fact().then_some(()));
}
