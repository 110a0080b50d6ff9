//! Where the body of a request ends.

use crate::server::head::RequestHead;
use hyper::{
    Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// How long the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Neither `Content-Length` nor `Transfer-Encoding` is given.
    None,
    Known(u64),
    Chunked,
}

/// hyper gives larger values meanings of their own.
const LARGEST: u64 = u64::MAX - 2;

impl Length {
    /// The length that a head gives. `None`: it is given twice, or in a way that a proxy may read differently.
    pub(super) fn of(head: &RequestHead) -> Option<Self> {
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
        let codings = head.headers.get_all(TRANSFER_ENCODING).iter().count();
        match (lengths.next(), codings) {
            (None, 0) => Some(Self::None),
            (Some(length), 0) if lengths.next().is_none() => {
                let length = length.to_str().ok()?.parse().ok()?;
                (length <= LARGEST).then_some(Self::Known(length))
            }
            // HTTP/1.0 has no chunks: they would be the message.
            (None, 1) if head.version == Version::HTTP_11 => Some(Self::Chunked),
            _ => None,
        }
    }

    /// Whether there is nothing to read.
    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Known(0))
    }
}
