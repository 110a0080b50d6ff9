//! `sockway doctor`: tries everything that a configuration needs, before clients do.
//!
//! Every finding is one line, ok, warn or fail, and what to do about it. Promises: it changes
//! nothing but one canary on the probe's channel, one in a stream and one in a room that are gone after a
//! second; every wait has an end; no secret is printed.

mod advice;
mod expiry;
mod http_publish;
mod issuer;
mod listen;
mod machine;
mod own_certificate;
mod presence;
mod public;
mod publishing;
mod redis;
mod report;
mod streams;
mod tracking;

use super::{Failure, runtime};
use crate::{config, secret::Secret};
use report::{Report, count};
use std::{env, path::PathBuf};

const EXIT_STATUS: &str = "Exit status: 0 when nothing failed (a warning is no failure), 1 when \
something did, 64 for wrong usage, 78 for a wrong configuration.";

/// Try everything that a configuration needs: Redis, rights, limits, keys, and the public URL.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also open a socket through the public URL of an endpoint, ws:// or wss://. A certificate of
    /// your own authority is trusted when the environment variable `SSL_CERT_FILE` names that (PEM)
    #[arg(long)]
    url: Option<String>,
    /// For --url; the environment variable `SOCKWAY_TOKEN` does the same and is not seen by other
    /// users of this machine. Without either, one is minted when the configuration has a secret
    #[arg(long, requires = "url")]
    token: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let loaded = config::load(&args.config)?;
    let token = args.token.clone().or_else(|| env::var("SOCKWAY_TOKEN").ok()).map(Secret::new);
    let mut report = Report::start();
    let endpoints = count(loaded.config.endpoints.len() as u64, "endpoint");
    report.ok("configuration", &format!("{}, {endpoints}", args.config.display()));
    for warning in &loaded.warnings {
        report.warn("configuration", warning, "see `config/sockway.toml` for what this key does");
    }
    let config = &loaded.config;
    machine::examine(config, &mut report);
    let failed = runtime::block_on_or_signal(async {
        listen::examine(config, &mut report).await;
        issuer::examine(config, &mut report).await;
        redis::examine(config, &mut report).await;
        http_publish::examine(config, &mut report).await;
        if let Some(url) = &args.url {
            public::examine(config, url, token.as_ref(), &mut report).await;
        }
        Ok(report.failed())
    })?;
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Running(format!("{} failed", count(failed, "check")))),
    }
}
