//! `sockway health`: a container's health check.

use super::{Failure, admin_client, output, runtime};
use hyper::Method;

/// Ask a running gateway whether it is alive, or ready.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask whether new clients should be sent there, not only whether it can answer
    #[arg(long)]
    ready: bool,
    /// The gateway's admin port
    #[arg(long, value_name = "ADDR", default_value = admin_client::DEFAULT_ADDRESS)]
    admin: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let path = if args.ready { "/readyz" } else { "/livez" };
    let answer = runtime::block_on_or_signal(admin_client::ask(&args.admin, Method::GET, path))?;
    if answer.status != 200 {
        return Err(Failure::Running(format!("{} {}", answer.status, answer.body)));
    }
    output::line(answer.body).map_err(|error| Failure::running(&error))
}
