//! What carries a session: a WebSocket, or a response of Server-Sent Events.

use strum::{IntoStaticStr, VariantArray};

/// What carries a session. Labels are stable, like those of `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(const_into_str)]
pub enum Carrier {
    #[strum(serialize = "websocket")]
    WebSocket,
    #[strum(serialize = "sse")]
    EventStream,
}

impl Carrier {
    /// Every word, each at its [`Carrier::index`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Position in [`Carrier::ALL`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Metric label and log field (`transport`).
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.into_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_documented_ones() {
        let labels: Vec<_> = Carrier::ALL.iter().map(|carrier| carrier.label()).collect();
        assert_eq!(labels, ["websocket", "sse"]);
    }
}
