//! The open-files limit: every connection is an open file, so it bounds how many there can be.

use crate::{admin, server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::num::NonZeroUsize;
use tracing::warn;

/// Files that are open for other purposes, at the most: the answers to connections over the limits, the admin
/// port's connections, and 64 for Redis, the logs, the keys' fetches and the runtimes.
const RESERVE: u64 = (server::MAX_REFUSALS + admin::MAX_CONNECTIONS + 64) as u64;

/// Files that each shard's runtime keeps open.
const RESERVE_PER_SHARD: u64 = 8;

/// Raises the soft limit to the hard one, and says how many files may be open; `None`: no limit.
pub(super) fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current == raised.current {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, "cannot raise the open-files limit");
            limit.current
        }
    }
}

/// As many connections as asked for, or as the limit on open files allows.
pub(super) fn fit(asked: NonZeroUsize, limit: Option<u64>, shards: NonZeroUsize) -> NonZeroUsize {
    let Some(limit) = limit else { return asked };
    let room = room(limit, shards);
    let fitting = asked.min(NonZeroUsize::new(room).unwrap_or(NonZeroUsize::MIN));
    if fitting < asked {
        warn!(
            max_connections = fitting.get(),
            configured = asked.get(),
            open_files = limit,
            "server.max_connections is lowered to what the open-files limit allows"
        );
    }
    fitting
}

/// How many connections there can be once the soft limit is raised to the hard one; `None`: no
/// limit. Changes nothing.
#[must_use]
pub fn room_for_connections(shards: NonZeroUsize) -> Option<usize> {
    getrlimit(Resource::Nofile).maximum.map(|limit| room(limit, shards))
}

fn room(limit: u64, shards: NonZeroUsize) -> usize {
    let reserve = RESERVE + RESERVE_PER_SHARD * shards.get() as u64;
    usize::try_from(limit.saturating_sub(reserve)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(asked: usize, limit: Option<u64>) -> usize {
        let shards = NonZeroUsize::new(2).unwrap();
        fit(NonZeroUsize::new(asked).unwrap(), limit, shards).get()
    }

    #[test]
    fn connections_are_lowered_to_what_the_limit_leaves_and_never_raised() {
        assert_eq!(fitting(100_000, None), 100_000);
        assert_eq!(fitting(100, Some(1_024)), 100);
        assert_eq!(fitting(100_000, Some(1_024)), 1_024 - 192 - 16);
        assert_eq!(fitting(100_000, Some(u64::MAX)), 100_000);
    }

    #[test]
    fn one_connection_is_always_left_so_that_the_error_is_the_systems_own() {
        assert_eq!(fitting(100_000, Some(16)), 1);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise(), hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
