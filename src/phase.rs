//! Where the process is in its life. One `watch` channel carries it to every part that must know.

/// The phases, in their order; a process never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving. Ready when Redis and the issuer's keys are, too.
    Running,
    /// Asked to stop: `readyz` is 503, new sockets are still accepted.
    Terminating,
    /// The listener is closed and sessions are being closed.
    Draining,
    /// Everything is closed.
    Stopped,
}

impl Phase {
    /// Log field and the `phase` of `/status`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Terminating => "terminating",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}
