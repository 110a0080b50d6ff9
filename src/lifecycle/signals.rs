//! Signals: the first asks for the stop sequence, the second for a stop at once.

use super::Stopper;
use std::{io, sync::Arc};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tracing::info;

/// The signals that mean something to us, caught from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    on_hangup: OnHangup,
}

/// What SIGHUP means.
#[derive(Debug, Clone)]
pub enum OnHangup {
    /// For a daemon: reload. Those that come while one is under way are one more.
    Reload(Arc<Notify>),
    /// For a command in a terminal: the terminal has gone.
    Stop,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process. A signal that
    /// comes before [`Signals::run`] is not lost.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn catch(on_hangup: OnHangup) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
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
                    match &self.on_hangup {
                        OnHangup::Stop => stopper.drain.cancel(),
                        OnHangup::Reload(asked) => asked.notify_one(),
                    }
                    continue;
                }
            };
            stops = stops.saturating_add(1);
            info!(signal = name, "stop asked for");
            if stops > 1 { stopper.now.cancel() } else { stopper.drain.cancel() }
        }
    }
}
