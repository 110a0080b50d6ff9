//! `sockway dev`: everything on one machine with nothing prepared.
//!
//! A private Redis, a made-up secret and demo endpoints; it prints what to type to see a message
//! arrive. Listens on loopback only. Promises: no existing Redis is ever touched, and when it ends,
//! however it ends, nothing is left: no process, no file.

mod banner;
mod playground;
mod redis;
mod scratch;
mod settings;

use super::{Failure, logging, output, runtime};
use crate::{
    app::Gateway,
    auth,
    config::{self, Config},
    error_chain::error_chain,
    lifecycle::{OnHangup, Signals},
    upstream::{LinkStatus, Status},
};
use banner::Banner;
use redis::PrivateRedis;
use settings::Ports;
use std::{
    future::pending,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Try Sockway on this machine: a private Redis, a made-up token, demo endpoints.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The public port; without it 8080, or any free port when that is taken
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The admin port; without it 9090, or any free port when that is taken
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
}

/// Whose token is printed.
const USER: &str = "42";

const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    runtime::block_on(async {
        // Before Redis is started: from here on a signal is a request, not the end.
        let signals = Signals::catch(OnHangup::Stop).map_err(|error| Failure::running(&error))?;
        let mut redis = PrivateRedis::start().map_err(|error| Failure::running(&error))?;
        let result = serve(args, signals, &mut redis).await;
        redis.stop();
        result
    })
}

async fn serve(args: &Args, signals: Signals, redis: &mut PrivateRedis) -> Result<(), Failure> {
    let ports = Ports::of(args.port, args.admin_port);
    let logging = logging::start(&demo(ports, redis.port())?.log)?;
    let (gateway, token) = bind(ports, redis.port())?;
    logging.count_dropped_in(&gateway.metrics().log_records_dropped);
    let _signals = AbortOnDropHandle::new(tokio::spawn(signals.run(gateway.stopper())));
    let address = gateway.address().expect("the demo configuration listens on TCP");
    let gateway = gateway.with_playground(playground::of(address, redis.port(), token.clone()));
    let banner = Banner {
        address,
        admin: gateway.admin_address(),
        redis_port: redis.port(),
        user: USER,
        token,
    };
    let status = gateway.status();
    tokio::select! {
        result = gateway.run(pending()) => result.map(drop).map_err(|error| Failure::running(&error)),
        failure = say_where_and_ready(&banner, status) => Err(failure),
        () = redis.ended() => Err(Failure::Running("the private redis-server has ended".to_owned())),
    }
}

fn demo(ports: Ports, redis_port: u16) -> Result<Config, Failure> {
    Ok(config::parse(&settings::text(ports, redis_port), "sockway dev")?.config)
}

/// The gateway, on the usual ports or, where they are taken, on free ones, and a token for it. A port
/// is known to be free only when it is bound: another `sockway dev` may start at the same time.
fn bind(mut ports: Ports, redis_port: u16) -> Result<(Gateway, String), Failure> {
    loop {
        let config = demo(ports, redis_port)?;
        let settings = config.auth.jwt_settings().expect("the demo configuration has a secret");
        let token = auth::mint(settings, USER, TOKEN_LIFETIME, &[], SystemTime::now())
            .map_err(|error| Failure::Running(error_chain(&error)))?;
        match Gateway::bind(config) {
            Ok(gateway) => return Ok((gateway, token)),
            Err(error) if ports.give_way(&error) => {}
            Err(error) => return Err(Failure::running(&error)),
        }
    }
}

/// Says where everything is, and once, when a message published now would arrive, that it is ready.
/// Resolves only when nobody reads that.
async fn say_where_and_ready(banner: &Banner, mut status: watch::Receiver<Status>) -> Failure {
    if let Err(error) = output::line_later(banner.text()).await {
        return Failure::running(&error);
    }
    if status.wait_for(|status| status.link == LinkStatus::Up).await.is_err() {
        return pending().await; // The Redis side has ended, which others notice.
    }
    match output::line_later("ready").await {
        Ok(()) => pending().await,
        Err(error) => Failure::running(&error),
    }
}
