//! The addresses of a name, and a connection to one of them.

use super::LinkError;
use crate::error_chain::words;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::lookup_host,
    time::{Instant, sleep_until, timeout},
};

/// How long an address is tried alone.
const HEAD_START: Duration = Duration::from_millis(250);

/// Resolves a name: one address or more, in any order, some perhaps twice.
///
/// # Errors
/// [`LinkError::Unreachable`] when there is no address, or no answer within `limit`.
pub(in crate::upstream) async fn resolve(
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<Vec<SocketAddr>, LinkError> {
    let unknown = |why| LinkError::Unreachable(format!("cannot resolve {host}: {why}"));
    let found = timeout(limit, lookup_host((host, port))).await;
    let found = found.map_err(|_| unknown(format!("no answer within {limit:?}")))?;
    let addresses: Vec<_> = found.map_err(|error| unknown(words(&error)))?.collect();
    if addresses.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok(addresses) }
}

/// Whose turn it is among the addresses of a name: each dial begins with another one. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub(in crate::upstream) struct Turns(Arc<AtomicUsize>);

impl Turns {
    /// Puts the addresses into the order of the next dial, each once.
    pub(in crate::upstream) fn order(&self, addresses: &mut Vec<SocketAddr>) {
        // Sorted, for a resolver that turns them too would undo it.
        addresses.sort_unstable();
        addresses.dedup();
        let (turn, count) = (self.0.fetch_add(1, Ordering::Relaxed), addresses.len());
        addresses.rotate_left(turn % count.max(1));
    }
}

/// Makes a connection to one of the addresses: the first that is of use. The next address is tried after
/// a head start, or at once when one fails: a dead address, or one that accepts and says nothing, costs
/// the head start. All are tried within `limit`.
///
/// # Errors
/// - [`LinkError::Answered`]: Redis refuses. No other address is waited for.
/// - [`LinkError::Lost`] and [`LinkError::Unreachable`]: all have failed, with what became of each.
pub(in crate::upstream) async fn race<T, A: Future<Output = Result<T, LinkError>>>(
    addresses: &[SocketAddr],
    limit: Duration,
    attempt: impl Fn(SocketAddr) -> A,
) -> Result<T, LinkError> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let head_start = HEAD_START.min(limit / count);
    let mut failures = Failures::default();
    let (mut waiting, mut attempts) = (addresses.iter(), FuturesUnordered::new());
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some((address, result)) = attempts.next() => match result {
                Ok(connection) => return Ok(connection),
                Err(LinkError::Unreachable(why)) => failures.add(address, why, false),
                Err(LinkError::Lost(why)) => failures.add(address, why, true),
                Err(refused) => return Err(refused),
            },
            () = sleep_until(next), if waiting.len() > 0 => {
                // There is one: that was the condition.
                if let Some(&address) = waiting.next() {
                    let attempt = attempt(address);
                    attempts.push(async move { (address, attempt.await) });
                }
                next = Instant::now() + head_start;
                continue;
            }
            else => return Err(failures.error()),
        }
        next = Instant::now();
    }
}

/// What became of the addresses that have failed.
#[derive(Default)]
struct Failures {
    texts: Vec<(SocketAddr, String)>,
    /// Whether one of them was connected to.
    lost: bool,
}

impl Failures {
    fn add(&mut self, address: SocketAddr, why: String, lost: bool) {
        self.texts.push((address, why));
        self.lost |= lost;
    }

    /// A single address needs not be named: it is the one that was configured.
    fn error(mut self) -> LinkError {
        let text = match self.texts.len() {
            1 => self.texts.remove(0).1,
            _ => self
                .texts
                .iter()
                .map(|(at, why)| format!("{at}: {why}"))
                .collect::<Vec<_>>()
                .join("; "),
        };
        if self.lost { LinkError::Lost(text) } else { LinkError::Unreachable(text) }
    }
}

#[cfg(test)]
mod tests;
