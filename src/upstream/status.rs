//! What the rest of the program may know of the Redis side.

use std::time::Instant;

/// What upstream knows of its link, for `readyz`, `/status` and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub link: LinkStatus,
    /// When a probe last proved the subscription alive.
    pub verified: Option<Instant>,
    /// Channels that some session wants.
    pub wanted: usize,
    /// Channels that Redis has confirmed.
    pub subscribed: usize,
    /// Why Redis refuses the control channel, in its words, if it does.
    pub control_refused: Option<String>,
    /// Why Redis lets no stream be followed, if it refuses what all of them need: telling which change, or a
    /// command.
    pub tracking_refused: Option<String>,
}

/// The state of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkStatus {
    /// Connected, and the last probe proved the subscription alive.
    Up,
    /// Not proven alive, with the reason in words (never a secret).
    Down(String),
}
