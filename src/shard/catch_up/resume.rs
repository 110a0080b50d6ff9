//! What a client says of where it left off.

use crate::{channel::ChannelName, stream_id::StreamId};
use std::collections::HashMap;

/// What a client asks for from before its session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resume {
    pub since: Since,
    /// The newest so many of each stream, where no position is given or the given one does not recover; `None`:
    /// as many as the endpoint says.
    pub last: Option<usize>,
}

/// Where a client says that it left off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Since {
    /// It does not say.
    #[default]
    Unsaid,
    /// At this position of every stream that it has: there is one at the most.
    At(StreamId),
    /// At these positions, by the names of streams, some of them perhaps not the session's.
    Each(HashMap<String, StreamId>),
    /// It says something that is no position, and could not help it.
    Malformed,
}

impl Since {
    /// Where it left off in one of its streams; `None`: it does not say. The error: by no position at all.
    pub(super) fn of(&self, stream: &ChannelName) -> Option<Result<StreamId, ()>> {
        match self {
            Self::Unsaid => None,
            Self::At(position) => Some(Ok(*position)),
            Self::Each(positions) => positions.get(stream.as_str()).map(|&position| Ok(position)),
            Self::Malformed => Some(Err(())),
        }
    }
}
