//! How an endpoint's sessions and their clients find out that the other is gone: pings and heartbeats.

use super::delivery::LARGEST_NOTICE;
use crate::{
    config::{reader::Table, units},
    endpoint::Format,
    wire::{GapNotice, HeartbeatNotice},
};
use std::time::Duration;

/// The good values; `None` for one of which a problem was recorded.
pub(super) struct Keepalive {
    pub(super) ping_interval: Option<Duration>,
    pub(super) ping_timeout: Option<Duration>,
    pub(super) heartbeat: Option<Heartbeat>,
}

/// How often there is one, if any, and what it says where there are no envelopes.
pub(super) type Heartbeat = (Option<Duration>, Option<HeartbeatNotice>);

/// Reads the keys. `form`: `format` and `sse`.
pub(super) fn read(
    table: &mut Table<'_, '_>,
    form: (Option<Format>, Option<bool>),
    gap_notice: Option<&GapNotice>,
) -> Keepalive {
    Keepalive {
        ping_interval: table.amount("ping_interval", "25s", units::positive_wait),
        ping_timeout: table.amount("ping_timeout", "20s", units::positive_wait),
        heartbeat: heartbeat(table, form, gap_notice),
    }
}

/// Reads `heartbeat`, where zero is none, and `heartbeat_notice`. The former is shown as zero where no
/// session would get one: a WebSocket session without envelopes needs a notice for it, an event stream does not.
fn heartbeat(
    table: &mut Table<'_, '_>,
    (format, sse): (Option<Format>, Option<bool>),
    gap_notice: Option<&GapNotice>,
) -> Option<Heartbeat> {
    let heartbeat = table.amount("heartbeat", "25s", units::wait);
    let notice = table.text("heartbeat_notice", "", heartbeat_notice)?;
    if let (Some(notice), Some(gap)) = (&notice, gap_notice)
        && notice.looks_like(gap)
    {
        table.problem(
            "heartbeat_notice",
            "must differ from gap_notice: a client cannot tell them apart",
        );
    }
    if format? != Format::Json && notice.is_none() && !sse? {
        table.show_instead("heartbeat", "0s");
    }
    Some((Some(heartbeat?).filter(|heartbeat| !heartbeat.is_zero()), notice))
}

fn heartbeat_notice(text: &str) -> Result<Option<HeartbeatNotice>, String> {
    match text.len() {
        0 => Ok(None),
        1..=LARGEST_NOTICE => Ok(Some(HeartbeatNotice::new(text))),
        _ => Err(format!("must be at most {LARGEST_NOTICE} bytes")),
    }
}
