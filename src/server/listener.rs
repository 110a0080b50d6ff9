//! The accept loop, on the main thread.
//!
//! It accepts, counts in, and hands each connection to the next shard; nothing else is awaited
//! here, so no client can hold up another's accept. When accepting fails (no descriptors are left)
//! it pauses instead of spinning: a loop that tries again at once burns a whole core.

use super::{
    ServerState, ServerStateSender, answer,
    handshake::{self, Arrival},
    lingering_close,
    socket::{Accepted, Bound, Listener, Watched},
};
use crate::{
    log_throttle::LogThrottle,
    phase::Phase,
    reason::Refusal,
    shard::{Shard, ShardCommand, ShardHandle},
};
use futures_util::FutureExt as _;
use prometheus::IntCounter;
use rustix::io::Errno;
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant, SystemTime},
};
use tokio::{task::consume_budget, time::sleep};
use tracing::{debug, error, warn};

/// How long to leave the listener alone after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the phase is `Draining`; the listener is closed on return.
pub(super) async fn run(bound: Bound, gates: ServerStateSender, shards: &[ShardHandle]) {
    let Bound { listener, file } = bound;
    let acceptor = match Acceptor::new(listener) {
        Ok(acceptor) => acceptor,
        Err(e) => return error!(error = %e, "the public port cannot be watched"),
    };
    let gate = gates.current();
    let mut phase = gate.phase.clone();
    let mut next = shards.iter().cycle();
    let troubles = Troubles::new(gate.metrics.accept_errors.clone());
    drop(gate);
    let hand_over = |accepted| {
        if let Some(shard) = next.next() {
            hand_over(&gates, shard, accepted);
        }
    };
    tokio::select! {
        biased;
        // An error means that nobody leads the phases any more, which is an end too.
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => {}
        () = accept_all(acceptor, hand_over, troubles) => {}
    }
    drop(file);
}

/// Where connections come from.
trait Accept {
    /// Waits for the next connection. Cancel-safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted>> + Send;
}

/// Takes connection after connection, for ever.
async fn accept_all(
    mut source: impl Accept,
    mut hand_over: impl FnMut(Accepted),
    mut troubles: Troubles,
) {
    loop {
        match source.accept().await {
            Ok(accepted) => hand_over(accepted),
            Err(error) if is_the_client_s(&error) => troubles.count(),
            Err(error) => {
                troubles.report(&error, Instant::now());
                sleep(PAUSE).await;
            }
        }
        // A flood of connections must not keep Redis's messages waiting on this thread.
        consume_budget().await;
    }
}

/// Whether only this one connection failed, before it was accepted; the next may be all right.
fn is_the_client_s(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Counts a connection in and gives it to a shard.
fn hand_over(gates: &ServerStateSender, shard: &ShardHandle, accepted: Accepted) {
    let gate = gates.current();
    let caller = match Arrival::arrive(&gate, accepted.peer()) {
        Ok(caller) => caller,
        Err(refusal) => return turn_away(&gate, &accepted, refusal),
    };
    let work = move |shard: &Shard| match accepted.into_transport(gate.config.server.tls.as_ref()) {
        Ok(transport) => shard.spawn(handshake::run(gate, shard.clone(), transport, caller)),
        Err(e) => debug!(error = %e, "a connection broke before its handshake"),
    };
    shard.tell(ShardCommand::Run(Box::new(work)));
}

/// Answers a connection over the limits for which the reserve has no place either: here and now, so
/// that it costs no task, no memory and no descriptor beyond this call.
fn turn_away(gate: &ServerState, accepted: &Accepted, refusal: Refusal) {
    gate.metrics.handshake_refused(refusal);
    let answer = answer::refused(refusal, None, SystemTime::now());
    // That it is not whole, or not taken, changes nothing: the connection ends now.
    let _ = match accepted {
        // Keys would have to be agreed on for an answer, which is what a flood is after.
        Accepted::Tcp(..) if gate.config.server.tls.is_some() => Ok(()),
        Accepted::Tcp(stream, _) => lingering_close::at_once(stream, &answer, TcpStream::shutdown),
        Accepted::Unix(stream) => lingering_close::at_once(stream, &answer, UnixStream::shutdown),
    };
}

/// A listener and the descriptor that is kept for the day when none is left.
struct Acceptor {
    listener: Watched,
    spare: Option<File>,
}

impl Acceptor {
    fn new(listener: Listener) -> io::Result<Self> {
        Ok(Self { listener: listener.watch()?, spare: spare() })
    }

    /// Closes the connection that waits longest, by means of the spare descriptor: its client can
    /// then go elsewhere instead of waiting for us.
    fn shed(&mut self) {
        drop(self.spare.take());
        drop(self.listener.accept().now_or_never());
        self.spare = spare();
    }
}

impl Accept for Acceptor {
    async fn accept(&mut self) -> io::Result<Accepted> {
        let accepted = self.listener.accept().await;
        if accepted.as_ref().is_err_and(out_of_descriptors) {
            self.shed();
        }
        accepted
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Failed accepts: every one counted, every burst logged once.
struct Troubles {
    counter: IntCounter,
    failures: LogThrottle,
}

impl Troubles {
    fn new(counter: IntCounter) -> Self {
        Self { counter, failures: LogThrottle::default() }
    }

    fn count(&self) {
        self.counter.inc();
    }

    fn report(&mut self, error: &io::Error, now: Instant) {
        self.count();
        if let Some(before) = self.failures.to_log(now) {
            warn!(%error, before, "accepting fails; trying again every {PAUSE:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;
    use std::net::SocketAddr;
    use tokio::time::timeout;

    /// Fails so many times, and then has no connection any more.
    struct Failing(usize, io::ErrorKind);

    impl Accept for Failing {
        async fn accept(&mut self) -> io::Result<Accepted> {
            if self.0 == 0 {
                return std::future::pending().await;
            }
            self.0 -= 1;
            Err(self.1.into())
        }
    }

    fn counter() -> IntCounter {
        IntCounter::new("errors", "errors").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_is_left_alone_for_a_while_and_every_failure_counts() {
        let errors = counter();
        let troubles = Troubles::new(errors.clone());
        let accepting = accept_all(Failing(usize::MAX, io::ErrorKind::Other), |_| (), troubles);
        assert!(timeout(Duration::from_secs(1), accepting).await.is_err());
        assert!((9..=11).contains(&errors.get()), "{} accepts in a second", errors.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_failed_alone_does_not_pause_the_next() {
        let errors = counter();
        let source = Failing(1000, io::ErrorKind::ConnectionAborted);
        let accepting = accept_all(source, |_| (), Troubles::new(errors.clone()));
        assert!(timeout(Duration::from_millis(1), accepting).await.is_err());
        assert_eq!(errors.get(), 1000);
    }

    #[tokio::test]
    async fn shedding_closes_one_waiting_connection_and_keeps_a_spare() {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = Bound::bind(&any).unwrap();
        let address = bound.address().unwrap();
        let mut acceptor = Acceptor::new(bound.listener).unwrap();
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let taken = accepted_from(&mut acceptor).await;
        acceptor.shed();
        assert!(acceptor.spare.is_some());
        let next = accepted_from(&mut acceptor).await;
        assert_eq!([taken, next], [0, 2].map(|n: usize| clients[n].local_addr().unwrap()));
    }

    async fn accepted_from(acceptor: &mut Acceptor) -> SocketAddr {
        match timeout(Duration::from_secs(5), acceptor.accept()).await {
            Ok(Ok(Accepted::Tcp(stream, _))) => stream.peer_addr().unwrap(),
            other => panic!("not accepted: {other:?}"),
        }
    }
}
