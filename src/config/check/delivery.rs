//! How messages reach an endpoint's sessions: their queue, what a slow one gets, gaps, and replays.

use super::one_of;
use crate::{
    config::{reader::Table, units},
    endpoint::{Format, OnGap, OnSlow, ReplayLimits},
    wire::GapNotice,
};
use std::{num::NonZeroUsize, time::Duration};

/// A client is told of gaps by frames of this size at most; more would be a payload.
pub(super) const LARGEST_NOTICE: usize = 64 << 10;

const MOST_QUEUED_MESSAGES: usize = 1_000_000;

/// The good values; `None` for one of which a problem was recorded.
pub(super) struct Delivery {
    pub(super) queue_messages: Option<NonZeroUsize>,
    pub(super) queue_bytes: Option<NonZeroUsize>,
    pub(super) on_slow: Option<OnSlow>,
    pub(super) on_gap: Option<OnGap>,
    pub(super) gap_notice: Option<GapNotice>,
    pub(super) write_timeout: Option<Duration>,
}

/// Reads the keys.
pub(super) fn read(table: &mut Table<'_, '_>) -> Delivery {
    let on_slow = [("close", OnSlow::Close), ("skip", OnSlow::Skip), ("latest", OnSlow::Latest)];
    let on_gap = [("notice", OnGap::Notice), ("close", OnGap::Close), ("ignore", OnGap::Ignore)];
    Delivery {
        queue_messages: table.count("queue_messages", 16_384, MOST_QUEUED_MESSAGES),
        queue_bytes: table.amount("queue_bytes", "4MiB", units::size),
        on_slow: table.text("on_slow", "close", one_of(&on_slow)),
        on_gap: table.text("on_gap", "notice", one_of(&on_gap)),
        gap_notice: table.text("gap_notice", r#"{"type":"gap"}"#, gap_notice),
        write_timeout: table.amount("write_timeout", "10s", units::positive_wait),
    }
}

fn gap_notice(text: &str) -> Result<GapNotice, String> {
    match text.len() {
        0 => Err("must not be empty; on_gap = \"ignore\" tells nothing".to_owned()),
        1..=LARGEST_NOTICE => Ok(GapNotice::new(text)),
        _ => Err(format!("must be at most {LARGEST_NOTICE} bytes")),
    }
}

/// `queue_part`: each shard's part of the memory of queues, where there is something to replay.
pub(super) fn replay(
    table: &mut Table<'_, '_>,
    format: Option<Format>,
    queue_part: Option<usize>,
) -> Option<ReplayLimits> {
    let messages = table.number("replay_messages", 1_000, 0..=MOST_QUEUED_MESSAGES);
    let bytes = table.amount("replay_bytes", "1MiB", units::size);
    let last = table.number("replay_last", 0, 0..=MOST_QUEUED_MESSAGES);
    if last > messages && messages.is_some() {
        table.problem("replay_last", "must be at most replay_messages");
    }
    let limits = ReplayLimits { messages: messages?, bytes: bytes?.get(), last: last? };
    if let Some(room) = queue_part.map(|part| part / 2)
        && limits.messages > 0
        && limits.bytes.saturating_mul(frames(format?)) > room
    {
        let message = format!(
            "in frames, it is more than replays may hold: half of a shard's part of server.max_queue_memory, {room} bytes; a client that missed more than fits there is told too_many"
        );
        table.warning("replay_bytes", message);
    }
    Some(limits)
}

/// Frames of a message that a replay holds: the payload's own, and the envelope's or a binary one.
const fn frames(format: Format) -> usize {
    match format {
        Format::Raw => 1,
        Format::Json | Format::Binary => 2,
    }
}
