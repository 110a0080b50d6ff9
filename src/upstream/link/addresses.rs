//! A TCP connection to one of several addresses of a name.

use super::LinkError;
use crate::error_chain::words;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

/// How long an address is tried alone.
const HEAD_START: Duration = Duration::from_millis(250);

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
