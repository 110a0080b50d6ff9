//! A burst: what is handled of what has arrived on a connection, before requests and timers get their turn
//! again. Pure: it reads no clock.

/// Arrivals of a burst …
const ARRIVALS: usize = 256;

/// … or so many bytes of them that are staged for shards: a ring's last quarter must have room for a burst.
const BYTES: usize = 256 * 1024;

/// Bursts that are still handled when a link is given up.
pub(super) const LAST_BURSTS: usize = 64;

/// What came of a burst.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Burst<E> {
    /// More may have arrived than was handled.
    pub(super) is_behind: bool,
    /// Why the link must be given up, if so.
    pub(super) end: Option<E>,
}

/// Handles one burst: `next` takes one arrival, if there is any, and returns how many bytes are staged.
pub(super) fn take<E>(mut next: impl FnMut() -> Option<Result<usize, E>>) -> Burst<E> {
    for _ in 0..ARRIVALS {
        match next() {
            Some(Ok(staged)) if staged > BYTES => break,
            Some(Ok(_)) => {}
            Some(Err(why)) => return Burst { is_behind: true, end: Some(why) },
            None => return Burst { is_behind: false, end: None },
        }
    }
    Burst { is_behind: true, end: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_ends_by_number_by_bytes_with_the_link_or_when_nothing_is_left() {
        let burst = |arrivals: usize, each: usize, fails_at: usize| {
            let mut taken = 0;
            let burst = take(|| {
                taken += 1;
                match taken {
                    _ if taken == fails_at => Some(Err("lost")),
                    _ if taken > arrivals => None,
                    _ => Some(Ok(taken * each)),
                }
            });
            (taken, burst.is_behind, burst.end)
        };
        assert_eq!(burst(3, 1, 0), (4, false, None));
        assert_eq!(burst(1_000, 1, 0), (ARRIVALS, true, None));
        assert_eq!(burst(1_000, BYTES / 2, 0), (3, true, None));
        assert_eq!(burst(3, 1, 2), (2, true, Some("lost")));
    }
}
