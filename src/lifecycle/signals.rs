//! Signals: the first asks for the stop sequence, the second for a stop at once.

use super::Stopper;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// The signals that mean something to us, caught from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process. A signal that
    /// comes before [`Signals::run`] is not lost.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Passes signals on until dropped. A drain that was asked for over the admin port does not
    /// count: the SIGTERM that follows a `preStop` hook must not cut what the hook began.
    pub async fn run(mut self, stopper: Stopper) {
        let mut stops = 0_u32;
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    warn!("SIGHUP: this version does not reload; restart to change the configuration");
                    continue;
                }
            };
            stops = stops.saturating_add(1);
            info!(signal = name, "stop asked for");
            if stops > 1 { stopper.now.cancel() } else { stopper.drain.cancel() }
        }
    }
}
