//! `/livez`: whether every part that serves still runs.
//!
//! Asked are the shards, the listener and the Redis side. One whose last sign of life is older than a
//! second gets half a second more to give one: a process that was stopped and goes on finds all signs
//! old, and that is no reason to kill it.

use super::response::{self, AdminResponse};
use crate::liveness::Liveness;
use hyper::StatusCode;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A sign of life older than this proves nothing.
const LIMIT: Duration = Duration::from_secs(1);

/// How much longer a sign is waited for. Together with an answer less than the second that a kubelet
/// waits by default, or its log would not have the reason.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// How often to look while waiting.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn respond(liveness: &Liveness) -> AdminResponse {
    let asked = Instant::now();
    loop {
        let silent = liveness.silent_for(LIMIT);
        if silent.is_empty() {
            return response::json(StatusCode::OK, &json!({"alive": true}));
        }
        if asked.elapsed() >= LAST_CHANCE {
            return dead(&silent);
        }
        sleep(LOOK).await;
    }
}

fn dead(silent: &[&str]) -> AdminResponse {
    let reason = |part| {
        let detail = format!("{part} has given no sign of life for more than a second");
        json!({"code": "no_sign_of_life", "detail": detail})
    };
    let reasons: Vec<_> = silent.iter().map(reason).collect();
    response::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"alive": false, "reasons": reasons}))
}
