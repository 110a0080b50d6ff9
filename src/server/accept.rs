//! The accept loop, on the main thread.
//!
//! It accepts, counts, and hands each connection to the next shard. It waits for no client: only,
//! when it has to refuse more connections than may be refused at a time, for a shard to end one of
//! those. When accepting fails (no descriptors are left) it pauses; a loop that tries again at once
//! burns a whole core, and the clients wait in the kernel's queue meanwhile.

use super::{
    handshake::{self, Door},
    state::{ServerHandle, ServerState},
};
use crate::{
    config::Tls,
    log_throttle::LogThrottle,
    net::{Accepted, Listener},
    phase::Phase,
    shard::{Shard, ShardCommand, ShardHandle},
};
use prometheus::IntCounter;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::consume_budget, time::sleep};
use tracing::{debug, warn};

/// How long to leave the listener alone after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the phase is `Draining`; the listener is closed on return.
pub(super) async fn run(
    listener: Listener,
    door: Door,
    server: ServerHandle,
    shards: &[ShardHandle],
) {
    let state = server.state();
    let mut phase = state.phase.clone();
    let failures = AcceptFailures::new(state.metrics.accept_errors.clone());
    drop(state);
    tokio::select! {
        biased;
        // An error means that nobody leads the phases any more, which is an end too.
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => {}
        () = accept_all((&listener, door), &server, shards, failures) => {}
    }
}

/// Takes connection after connection, for ever.
async fn accept_all(
    (listener, door): (&Listener, Door),
    server: &ServerHandle,
    shards: &[ShardHandle],
    mut failures: AcceptFailures,
) {
    for shard in shards.iter().cycle() {
        let accepted = loop {
            match listener.accept().await {
                Ok(accepted) => break accepted,
                Err(error) => failures.handle(&error).await,
            }
        };
        hand_over(server.state(), shard, accepted, door).await;
        // A flood of connections must not keep Redis's messages waiting on this thread.
        consume_budget().await;
    }
}

/// Whether only this one connection failed, before it was accepted; the next may be all right.
fn failed_alone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Counts a connection and gives it to a shard, to be let in or refused there.
async fn hand_over(state: Arc<ServerState>, shard: &ShardHandle, accepted: Accepted, door: Door) {
    // Callers that publish are not counted by their address.
    let peer = accepted.peer().filter(|_| door == Door::Public);
    let arrival = state.admission.arrive(peer).await;
    let home = shard.clone();
    let work = move |shard: &Shard| {
        let tls = state.config.server.tls.as_ref().filter(|_| door == Door::Public);
        let tls = tls.map(Tls::config);
        match accepted.into_transport(tls) {
            Ok(transport) => {
                let from = (arrival, door);
                shard.spawn(handshake::run(state, shard.clone(), home, transport, from));
            }
            Err(e) => debug!(error = %e, "a connection broke before its handshake"),
        }
    };
    shard.tell(ShardCommand::Run(Box::new(work)));
}

/// Failed accepts: every one counted, every burst logged once.
struct AcceptFailures {
    counter: IntCounter,
    log: LogThrottle,
}

impl AcceptFailures {
    fn new(counter: IntCounter) -> Self {
        Self { counter, log: LogThrottle::default() }
    }

    /// Counts it. Pauses, unless it was the one connection that failed.
    async fn handle(&mut self, error: &io::Error) {
        self.counter.inc();
        if failed_alone(error) {
            // Many of these must not keep this thread either.
            return consume_budget().await;
        }
        if let Some(before) = self.log.to_log(Instant::now()) {
            warn!(%error, before, "accepting fails; trying again every {PAUSE:?}");
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these failures are handled in a second.
    async fn in_a_second(kind: io::ErrorKind) -> u64 {
        let errors = IntCounter::new("errors", "errors").unwrap();
        let mut failures = AcceptFailures::new(errors.clone());
        let start = tokio::time::Instant::now();
        while start.elapsed() < Duration::from_secs(1) && errors.get() < 1000 {
            failures.handle(&kind.into()).await;
        }
        errors.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_is_left_alone_for_a_while_and_every_failure_counts() {
        let count = in_a_second(io::ErrorKind::Other).await;
        assert!((9..=11).contains(&count), "{count} accepts in a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_failed_alone_does_not_pause_the_next() {
        assert_eq!(in_a_second(io::ErrorKind::ConnectionAborted).await, 1000);
    }
}
