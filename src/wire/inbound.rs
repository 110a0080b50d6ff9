//! What a client may ask of its session.

use super::json;

/// A message of a client that means something.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// A newer token of the same user, which is to lengthen the session's life. Not yet verified.
    Refresh { token: String },
}

/// Reads a text message of a json session.
pub(super) fn json(text: &str) -> Option<ClientFrame> {
    json::refresh_token(text).map(|token| ClientFrame::Refresh { token })
}
