//! How much a session may be given of what came before it: bytes of payload, and memory.

use super::read::Read;
use crate::{
    endpoint::ReplayLimits,
    message::Message,
    shard::memory::{PLACE, REPLAYED},
};

/// About what a frame has beside the payload.
const ENVELOPE: usize = 128;

/// How much more a session may be given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Of payload.
    pub(super) bytes: usize,
    /// Of all that replays may ever hold.
    pub(super) memory: usize,
}

impl Left {
    pub(super) fn has(&self, read: &Read) -> bool {
        read.bytes <= self.bytes && read.memory <= self.memory
    }
}

/// The memory that a replay may take: of each message two frames, the payload's own and the session's, and
/// what holds them. One of messages that grow a lot in an envelope takes more.
pub(in crate::shard) fn most_memory(limits: &ReplayLimits) -> usize {
    let each = size_of::<Message>() + REPLAYED + PLACE + ENVELOPE;
    limits.bytes.saturating_mul(2).saturating_add(limits.messages.saturating_mul(each))
}
