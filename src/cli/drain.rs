//! `sockway drain`: starts the stop sequence of a running gateway and waits for its end.
//!
//! Meant for a Kubernetes `preStop` hook: SIGTERM is sent only when this has returned.

use super::{Failure, admin_client, runtime};
use hyper::Method;
use serde::Deserialize;
use std::time::Duration;
use tokio::time;

/// Start the stop sequence of a running gateway, and wait for its end.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway's admin port
    #[arg(long, value_name = "ADDR", default_value = admin_client::DEFAULT_ADDRESS)]
    admin: String,
}

/// The end is a process that exits: it takes a moment longer than its own timeout.
const GRACE: Duration = Duration::from_secs(5);

/// How often to look whether the admin port is gone.
const POLL: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Accepted {
    timeout_seconds: f64,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    runtime::block_on_or_signal(drain(&args.admin))
}

async fn drain(admin: &str) -> Result<(), Failure> {
    let answer = admin_client::ask(admin, Method::POST, "/drain").await?;
    let accepted = serde_json::from_str::<Accepted>(&answer.body).ok();
    let timeout = accepted.and_then(|body| Duration::try_from_secs_f64(body.timeout_seconds).ok());
    let Some(timeout) = timeout.filter(|_| answer.status == 202) else {
        return Err(Failure::Running(format!("{} {}", answer.status, answer.body)));
    };
    let limit = timeout.saturating_add(GRACE);
    time::timeout(limit, gone(admin))
        .await
        .map_err(|_| Failure::Running(format!("{admin} still answers after {} s", limit.as_secs())))
}

async fn gone(admin: &str) {
    while admin_client::is_open(admin).await {
        time::sleep(POLL).await;
    }
}
