//! The stop sequence: terminating, draining, stopped.

use super::notify;
use crate::{config::Shutdown, phase::Phase};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Asks the process to stop. Cheap to clone; asking twice is the same as asking once.
#[derive(Debug, Clone, Default)]
pub struct Stopper {
    /// Cancelled to start the stop sequence.
    pub drain: CancellationToken,
    /// Cancelled to end at once, whatever is still open.
    pub now: CancellationToken,
}

/// How the stop sequence ended. All of them are a stop as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOutcome {
    /// Everything was closed in time.
    Clean,
    /// `shutdown.timeout` came first.
    TimedOut,
    /// Somebody asked for a stop at once.
    Forced,
}

/// Goes through the phases up to [`Phase::Stopped`].
///
/// `closed` resolves when nothing is open any more; it learns from the phase when to close. It is
/// polled from the start, so that what fails meanwhile is noticed. `shutdown.timeout` counts from
/// this call, not from the closing: a supervisor that sends SIGKILL counts from the signal too.
///
/// # Errors
/// What `closed` fails with; the sequence ends there.
pub async fn stop<E>(
    phase: &watch::Sender<Phase>,
    settings: &Shutdown,
    now: &CancellationToken,
    closed: impl Future<Output = Result<(), E>>,
) -> Result<StopOutcome, E> {
    notify::stopping();
    enter(phase, Phase::Terminating);
    let terminating = async {
        time::sleep(settings.readiness_delay).await;
        enter(phase, Phase::Draining);
        Ok(())
    };
    let outcome = tokio::select! {
        biased; // Closed in the very last moment is still closed.
        result = async { tokio::try_join!(terminating, closed) } => result.map(|_| StopOutcome::Clean)?,
        () = now.cancelled() => StopOutcome::Forced,
        () = time::sleep(settings.timeout) => StopOutcome::TimedOut,
    };
    if outcome != StopOutcome::Clean {
        warn!(ending = ?outcome, "stopping hard: what is still open is cut");
    }
    enter(phase, Phase::Stopped);
    Ok(outcome)
}

fn enter(phase: &watch::Sender<Phase>, next: Phase) {
    phase.send_replace(next);
    info!(phase = next.label(), "phase");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, future::pending, time::Duration};
    use tokio::time::Instant;

    const fn settings(readiness_delay: u64, spread: u64, timeout: u64) -> Shutdown {
        Shutdown {
            readiness_delay: Duration::from_secs(readiness_delay),
            spread: Duration::from_secs(spread),
            timeout: Duration::from_secs(timeout),
        }
    }

    /// Every phase with the second at which it began.
    async fn record(mut phases: watch::Receiver<Phase>, start: Instant) -> Vec<(Phase, u64)> {
        let mut seen = Vec::new();
        while phases.changed().await.is_ok() {
            seen.push((*phases.borrow_and_update(), start.elapsed().as_secs()));
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn readiness_goes_first_then_the_closing_and_its_end_is_awaited() {
        let (phase, phases) = watch::channel(Phase::Running);
        let start = Instant::now();
        let seen = tokio::spawn(record(phases, start));
        let mut draining = phase.subscribe();
        let closed = async {
            let _ = draining.wait_for(|phase| *phase == Phase::Draining).await;
            time::sleep(Duration::from_secs(4)).await;
            Ok::<_, Infallible>(())
        };

        let outcome = stop(&phase, &settings(3, 5, 20), &CancellationToken::new(), closed).await;

        drop(phase);
        assert_eq!(outcome, Ok(StopOutcome::Clean));
        let phases = [(Phase::Terminating, 0), (Phase::Draining, 3), (Phase::Stopped, 7)];
        assert_eq!(seen.await.unwrap(), phases);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_cut_at_the_timeout_counted_from_the_start() {
        let (phase, phases) = watch::channel(Phase::Running);
        let start = Instant::now();
        let hangs = pending::<Result<(), Infallible>>();
        let outcome = stop(&phase, &settings(3, 5, 20), &CancellationToken::new(), hangs).await;
        assert_eq!(outcome, Ok(StopOutcome::TimedOut));
        assert_eq!(start.elapsed(), Duration::from_secs(20));
        assert_eq!(*phases.borrow(), Phase::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_at_once_does_not_wait_for_anything() {
        let (phase, phases) = watch::channel(Phase::Running);
        let (start, now) = (Instant::now(), CancellationToken::new());
        let later = now.clone();
        tokio::spawn(async move {
            time::sleep(Duration::from_secs(1)).await;
            later.cancel();
        });
        let hangs = pending::<Result<(), Infallible>>();
        let outcome = stop(&phase, &settings(3, 5, 20), &now, hangs).await;
        assert_eq!(outcome, Ok(StopOutcome::Forced));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(*phases.borrow(), Phase::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_while_terminating_ends_the_sequence_with_its_error() {
        let (phase, _phases) = watch::channel(Phase::Running);
        let fails = async { Err("shard 1 died") };
        let now = CancellationToken::new();
        assert_eq!(stop(&phase, &settings(3, 5, 20), &now, fails).await, Err("shard 1 died"));
    }
}
