//! The addresses of a name, and a TCP connection to one of them.

use super::LinkError;
use crate::error_chain::words;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpStream, lookup_host},
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

/// Connects to the first address that answers, within `limit`. The next address is tried after a head
/// start, or at once when one fails: a dead address costs at most the head start, and all are tried.
///
/// # Errors
/// [`LinkError::Unreachable`], with what became of each address.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<TcpStream, LinkError> {
    let mut failures = Vec::new();
    match timeout(limit, race(addresses, limit, &mut failures)).await {
        Ok(Some(stream)) => Ok(stream),
        Ok(None) => Err(LinkError::Unreachable(failures.join("; "))),
        Err(_) => {
            failures.push(format!("no connection within {limit:?}"));
            Err(LinkError::Unreachable(failures.join("; ")))
        }
    }
}

/// `None` when all have failed.
async fn race(
    addresses: &[SocketAddr],
    limit: Duration,
    failures: &mut Vec<String>,
) -> Option<TcpStream> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let head_start = HEAD_START.min(limit / count);
    let (mut waiting, mut attempts) = (addresses.iter(), FuturesUnordered::new());
    let mut next = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some((address, result)) = attempts.next() => match result {
                Ok(stream) => return Some(stream),
                Err(error) => {
                    failures.push(failure(address, &error, addresses.len()));
                    next = Instant::now();
                }
            },
            () = sleep_until(next), if waiting.len() > 0 => {
                let address = *waiting.next()?;
                attempts.push(async move { (address, TcpStream::connect(address).await) });
                next = Instant::now() + head_start;
            }
            else => return None,
        }
    }
}

/// A single address needs not be named: it is the one that was configured.
fn failure(address: SocketAddr, error: &io::Error, addresses: usize) -> String {
    let text = words(error);
    if addresses > 1 { format!("{address}: {text}") } else { text }
}

#[cfg(test)]
mod tests;
