//! `sockway publish`: publishes to a channel, or adds to a stream, with the Redis of a configuration.

use super::{Failure, input::Lines, output, runtime};
use crate::{
    bus::{Destination, Publication, Published},
    config,
    reason::PublishResult,
    upstream::{PublishError, RedisPublisher},
};
use destination::{Kind, destination};
use serde_json::{Value, json};
use std::path::PathBuf;

mod destination;

/// Publish a message, or every line of stdin, with the Redis of a configuration.
///
/// As a backend would: a name that the configuration lists as a stream gets an entry (XADD), any other a PUBLISH.
/// `redis.channel_prefix` is prepended. Each message is answered with a line:
/// {"channel":"chat:7","receivers":2}, gateways and not sockets, or {"channel":"chat:7","id":"1795769040539-0"}
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A channel or a stream, by the name that clients see
    channel: String,
    /// The message; without it, or with `-`, each line of stdin is one
    data: Option<String>,
    /// What the name is, whatever the configuration says
    #[arg(long = "as", value_name = "KIND")]
    kind: Option<Kind>,
}

const EXIT_STATUS: &str = "Exit status: 0 when Redis has taken every message, 1 at the first that it has not \
(with outcome_unknown that one may have been published), 64 for wrong usage, 78 for a wrong configuration.";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = config::load(&args.config)?.config;
    let to = destination(&config, &args.channel, args.kind)?;
    runtime::block_on_or_signal(async {
        let mut redis = RedisPublisher::dial(&config.redis)
            .await
            .map_err(|error| Failure::Running(format!("cannot connect: {error}")))?;
        match args.data.as_deref() {
            Some(data) if data != "-" => publish(&mut redis, &to, data.to_owned().into()).await,
            _ => publish_lines(&mut redis, &to).await,
        }
    })
}

/// Publishes each line of stdin, up to the first that fails.
async fn publish_lines(redis: &mut RedisPublisher, to: &Destination) -> Result<(), Failure> {
    let mut lines = Lines::of_stdin();
    let unread = |error| Failure::Running(format!("cannot read stdin: {error}"));
    while let Some(line) = lines.next().await.map_err(unread)? {
        publish(redis, to, line).await.map_err(|failure| match failure {
            Failure::Running(text) => Failure::Running(format!("line {}: {text}", lines.number)),
            other => other,
        })?;
    }
    Ok(())
}

async fn publish(
    redis: &mut RedisPublisher,
    to: &Destination,
    payload: Vec<u8>,
) -> Result<(), Failure> {
    let publication = Publication { to: to.clone(), payload: payload.into() };
    let published = redis.publish(&publication).await.map_err(|error| failure(&error))?;
    let written = output::line_later(answer(to, published).to_string()).await;
    written.map_err(|error| Failure::Running(format!("cannot write to stdout: {error}")))
}

fn answer(to: &Destination, published: Published) -> Value {
    let channel = to.name().as_str();
    match published {
        Published::Receivers(receivers) => json!({"channel": channel, "receivers": receivers}),
        Published::Id(id) => json!({"channel": channel, "id": id.to_string()}),
    }
}

fn failure(error: &PublishError) -> Failure {
    Failure::Running(format!("{}: {error}", PublishResult::from(error.why).label()))
}
