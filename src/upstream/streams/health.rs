//! Reports of the links for streams: status, and a log line as an outage begins and ends.

use crate::upstream::{link::LinkError, status::Status};
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// What was reported last.
#[derive(Debug)]
pub(super) struct StreamHealth {
    status: watch::Sender<Status>,
    is_up: bool,
    is_announced: bool,
    is_refused: bool,
}

impl StreamHealth {
    pub(super) fn new(status: watch::Sender<Status>) -> Self {
        Self { status, is_up: false, is_announced: false, is_refused: false }
    }

    /// Streams can be followed, or Redis refuses what all of them need, for this reason.
    pub(super) fn tracking(&mut self, refused: Option<&str>) {
        if self.is_up && !self.is_refused && refused.is_none() {
            return;
        }
        let is_back = refused.is_none() && !std::mem::replace(&mut self.is_up, true);
        if is_back && std::mem::take(&mut self.is_announced) {
            info!("Redis link for streams is up");
        }
        self.is_refused = refused.is_some();
        self.status.send_if_modified(|status| {
            let changed = status.tracking_refused.as_deref() != refused;
            if changed {
                status.tracking_refused = refused.map(str::to_owned);
            }
            changed
        });
    }

    /// Whether Redis has refused what all streams need, the last time that it was asked.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// There is no link.
    pub(super) fn down(&mut self, reason: &LinkError) {
        self.is_up = false;
        if std::mem::replace(&mut self.is_announced, true) {
            debug!(%reason, "Redis link for streams is still down");
        } else {
            warn!(%reason, "Redis link for streams is down");
        }
    }
}
