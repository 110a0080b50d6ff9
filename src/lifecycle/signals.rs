//! Signals: for a daemon the first asks for the stop sequence, the second for a stop at once; for any
//! other command they are the end.

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

/// Takes the signals over that ask a command to end, and resolves with the name of the first. As the
/// first process of a container a command would not hear of them otherwise.
///
/// # Errors
/// When the operating system refuses a handler.
pub fn end_asked() -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => "SIGHUP",
        }
    })
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
