//! What is wrong with a handshake that is not correct, and what to do about it: mostly to tell a proxy.

/// The first thing that is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(strum::VariantArray))]
pub(in crate::server) enum HandshakeFault {
    Http10,
    Host,
    Connection,
    Version,
    Key,
    Body,
    /// Not a handshake at all, where events could be asked for.
    Accept,
}

impl HandshakeFault {
    /// One sentence for the person who reads the answer.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Http10 => {
                "The request is HTTP/1.0 and a WebSocket needs HTTP/1.1: a proxy on the way must be told so (nginx: proxy_http_version 1.1)."
            }
            Self::Host => "The header Host is missing, or stands there twice.",
            Self::Connection => {
                "The header Connection does not say upgrade: a proxy on the way must be told to pass that on (nginx: proxy_set_header Connection \"upgrade\")."
            }
            Self::Version => "The header Sec-WebSocket-Version is missing, or is not 13.",
            Self::Key => {
                "The header Sec-WebSocket-Key is missing, stands there twice, or is not the base64 of 16 bytes."
            }
            Self::Body => {
                "A handshake has no body: it must not have the headers Content-Length or Transfer-Encoding."
            }
            Self::Accept => {
                "The request asks neither for a WebSocket (the headers Upgrade and Connection, which a proxy on the way may have to be told to pass on) nor for events (Accept: text/event-stream)."
            }
        }
    }
}
