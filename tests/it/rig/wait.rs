//! Waiting for facts. Nothing here or in the tests sleeps a while and hopes.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long any fact may take before the test fails. Generous: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Asks again and again until the probe has an answer.
///
/// # Panics
/// After `limit` without one, with `what` was waited for.
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

/// Asks again and again until the fact holds, at most [`LIMIT`].
#[track_caller]
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    within(LIMIT, what, || fact().then_some(()));
}
