//! The links, made of fred.
//!
//! One fresh client a link, without a reconnect policy: then fred's task ends with the connection,
//! and we dial anew ourselves, with our own back-off. Aborting that task drops its socket; nothing
//! of a client outlives its link. What else fred needs:
//! - RESP3, so that other commands may share the connection with subscriptions.
//! - `subscribe` resolves when it is written. The PING behind it is the acknowledgement: an error
//!   there is Redis's answer to the SUBSCRIBE.
//! - After such an error the PONG is still to come, and would answer the next command. fred drops it
//!   when it finds no command waiting; [`resynchronise`] goes on only when that has happened.
//! - After a drop fred takes commands and never answers them, so the end of its task is watched.

use super::client::{Arrival, Command, LinkError, Publisher, Redis, Reply, Subscriber};
use crate::{
    config::{self, RedisAddress},
    secret::Secret,
};
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientInterface, ClientLike, PubsubInterface},
    types::{
        ClusterHash, CustomCommand, FromValue, Message, RespVersion, Value,
        config::{
            Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig,
            TlsConnector,
        },
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError, error::TryRecvError},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// Messages that fred may be ahead of us. It can put some 16,000 small ones here before it lets us
/// run; what overflows is lost, and told as a gap. 12 MB.
const MESSAGES: usize = 65_536;

/// fred makes nine such queues a client. Only the one for messages is used.
const OTHER_EVENTS: usize = 16;

/// The least time for a dial, whatever `probe_timeout` says.
const MIN_DIAL: Duration = Duration::from_secs(2);

/// Authentication and introduction may take so many times as long as the connection itself: they
/// need several round trips, and a Redis that hangs answers the dial that is under way the moment
/// it wakes up.
const SETUP_FACTOR: u32 = 5;

/// The kinds of I/O errors, as fred shows them, after which no connection was made.
const UNREACHABLE: [&str; 7] = [
    "ConnectionRefused",
    "NotFound",
    "HostUnreachable",
    "NetworkUnreachable",
    "TimedOut",
    "PermissionDenied",
    "failed to lookup",
];

/// Dials Redis as the configuration says.
pub(super) struct Fred {
    config: Result<Config, LinkError>,
    connection: ConnectionConfig,
    mask: Mask,
}

/// Takes secrets out of what Redis says. Some servers repeat a HELLO that they do not know, the
/// password included.
#[derive(Clone)]
struct Mask(Option<Arc<Secret>>);

impl Fred {
    /// With the certificates of `[redis.tls]`, or the system's, for `rediss://`.
    pub(super) fn new(settings: &config::Redis) -> Self {
        let tls = match settings.address {
            RedisAddress::Tcp { tls: true, .. } => Some(tls_connector(settings)),
            RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => None,
        };
        Self::with_tls(settings, tls)
    }

    fn with_tls(settings: &config::Redis, tls: Option<Result<TlsConnector, Error>>) -> Self {
        let mask = Mask(settings.password.clone().map(Arc::new));
        let server = match &settings.address {
            RedisAddress::Tcp { host, port, .. } => {
                ServerConfig::Centralized { server: Server::new(host.as_str(), *port) }
            }
            RedisAddress::Unix(path) => ServerConfig::Unix { path: path.clone() },
        };
        let config = tls.transpose().map_err(|error| mask.error(&error)).map(|tls| Config {
            version: RespVersion::RESP3,
            server,
            username: settings.username.clone(),
            password: settings.password.as_ref().map(|secret| secret.expose().to_owned()),
            // Not asked for when it is the default, so that the smallest ACL needs no SELECT.
            database: Some(settings.database).filter(|&database| database != 0),
            tls: tls.map(Into::into),
            ..Config::default()
        });
        let connection_timeout = settings.probe_timeout.max(MIN_DIAL);
        let connection = ConnectionConfig {
            connection_timeout,
            internal_command_timeout: connection_timeout * SETUP_FACTOR,
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        Self { config, connection, mask }
    }

    /// Dials, within a time of our own.
    fn dial(&self) -> Reply<Connection> {
        let (config, connection) = (self.config.clone(), self.connection.clone());
        let mask = self.mask.clone();
        Box::pin(async move {
            let limit = connection.connection_timeout + 2 * connection.internal_command_timeout;
            let performance = PerformanceConfig {
                broadcast_channel_capacity: OTHER_EVENTS,
                ..PerformanceConfig::default()
            };
            let client = Client::new(config?, Some(performance), Some(connection), None);
            match timeout(limit, Connection::make(client, mask)).await {
                Ok(result) => result,
                Err(_) => Err(LinkError::Unreachable(format!("no connection within {limit:?}"))),
            }
        })
    }
}

impl Redis for Fred {
    type Subscriber = FredSubscriber;
    type Publisher = Connection;

    fn subscriber(&self) -> Reply<FredSubscriber> {
        let dial = self.dial();
        Box::pin(async move { dial.await.map(FredSubscriber::new) })
    }

    fn publisher(&self) -> Reply<Connection> {
        self.dial()
    }
}

fn tls_connector(settings: &config::Redis) -> Result<TlsConnector, Error> {
    let config = settings.tls.client_config();
    config
        .map(|config| tokio_rustls::TlsConnector::from(config).into())
        .map_err(|problem| Error::new(ErrorKind::Tls, problem))
}

/// A connected client and its task. Dropping it closes the connection.
pub(super) struct Connection {
    client: Client,
    task: AbortOnDropHandle<Result<(), Error>>,
    mask: Mask,
}

impl Connection {
    async fn make(client: Client, mask: Mask) -> Result<Self, LinkError> {
        let mut task = AbortOnDropHandle::new(client.connect());
        let connected = tokio::select! {
            biased;
            ended = &mut task => Err(why(ended)),
            connected = client.wait_for_connect() => connected,
        };
        connected.map_err(|error| mask.error(&error))?;
        // For whoever looks at CLIENT LIST. An ACL may forbid it, and that is no harm.
        let _: Result<(), Error> = client.client_setname(env!("CARGO_PKG_NAME")).await;
        // Connected is not enough: a Redis that loads, or wants a password, says so only here.
        barrier(&client, "dial", &mask).await?;
        Ok(Self { client, task, mask })
    }
}

impl Connection {
    /// Any other command.
    pub(super) fn ask<T: FromValue + Send + 'static>(
        &self,
        command: &'static str,
        arguments: &[&str],
    ) -> Reply<T> {
        let (client, mask) = (self.client.clone(), self.mask.clone());
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        Box::pin(async move {
            let command = CustomCommand::new_static(command, ClusterHash::Random, false);
            client.custom(command, arguments).await.map_err(|error| mask.error(&error))
        })
    }
}

impl Publisher for Connection {
    fn publish(&self, channel: &str, payload: &str) -> Reply<()> {
        if self.task.is_finished() {
            return Box::pin(async { Err(LinkError::Lost("the connection is closed".to_owned())) });
        }
        let (client, mask) = (self.client.clone(), self.mask.clone());
        let (channel, payload) = (channel.to_owned(), payload.to_owned());
        Box::pin(async move {
            client.publish::<(), _, _>(channel, payload).await.map_err(|error| mask.error(&error))
        })
    }
}

/// The connection that receives.
pub(super) struct FredSubscriber {
    connection: Connection,
    messages: broadcast::Receiver<Message>,
    /// Makes each PING's nonce its own.
    commands: u64,
}

impl FredSubscriber {
    fn new(connection: Connection) -> Self {
        // fred sizes all of a client's queues alike; a large one is needed only here. Nothing is
        // subscribed yet, so nothing is lost in the exchange.
        let (sender, messages) = broadcast::channel(MESSAGES);
        connection.client.inner().notifications.pubsub.store(Arc::new(sender));
        Self { connection, messages, commands: 0 }
    }
}

impl Subscriber for FredSubscriber {
    fn send(&mut self, command: Command) -> Reply<()> {
        self.commands += 1;
        let nonce = self.commands.to_string();
        let (client, mask) = (self.connection.client.clone(), self.connection.mask.clone());
        Box::pin(async move {
            // Polled in this order, so that both are handed to fred at once and in this order: it
            // then writes them together.
            let (written, answered) = futures_util::future::join(
                async {
                    match command {
                        Command::Ping => Ok(()),
                        Command::Subscribe(channels) => client.subscribe(channels).await,
                        Command::Unsubscribe(channels) => client.unsubscribe(channels).await,
                    }
                },
                barrier(&client, &nonce, &mask),
            )
            .await;
            if let Err(LinkError::ChannelRefused(_)) = answered {
                resynchronise(&client, &nonce, &mask).await?;
            }
            written.map_err(|error| mask.error(&error))?;
            answered
        })
    }

    async fn next(&mut self) -> Arrival {
        tokio::select! {
            // Everything received before the end comes before the end.
            biased;
            message = self.messages.recv() => match message {
                Ok(message) => arrival(message),
                Err(RecvError::Lagged(missed)) => Arrival::Lagged(missed),
                Err(RecvError::Closed) => {
                    Arrival::Ended(LinkError::Lost("the connection is closed".to_owned()))
                }
            },
            ended = &mut self.connection.task => {
                Arrival::Ended(self.connection.mask.error(&why(ended)))
            }
        }
    }

    fn try_next(&mut self) -> Option<Arrival> {
        match self.messages.try_recv() {
            Ok(message) => Some(arrival(message)),
            Err(TryRecvError::Lagged(missed)) => Some(Arrival::Lagged(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

fn arrival(message: Message) -> Arrival {
    let payload = match message.value {
        Value::String(text) => text.into_inner(),
        Value::Bytes(bytes) => bytes,
        // Redis publishes nothing else.
        other => other.into_string().unwrap_or_default().into(),
    };
    Arrival::Message { channel: message.channel, payload }
}

/// Sends a PING that nobody else sends and waits for its echo.
async fn barrier(client: &Client, nonce: &str, mask: &Mask) -> Result<(), LinkError> {
    let echo = client.ping::<String>(Some(nonce.to_owned())).await;
    match echo.map_err(|error| mask.error(&error))? {
        echo if echo == nonce => Ok(()),
        _ => Err(LinkError::Lost("Redis's answers are out of order".to_owned())),
    }
}

/// Waits until no answer is on its way any more. The caller's timeout bounds it.
async fn resynchronise(client: &Client, nonce: &str, mask: &Mask) -> Result<(), LinkError> {
    let mut pause = Duration::from_millis(1);
    loop {
        let own = format!("{nonce} {}", pause.as_millis());
        let echo = client.ping::<String>(Some(own.clone())).await;
        if echo.map_err(|error| mask.error(&error))? == own {
            return Ok(());
        }
        // That was the PONG before ours; ours comes now, and finds nobody waiting.
        sleep(pause).await;
        pause *= 2;
    }
}

/// Why fred's task has ended.
fn why(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => Error::new(ErrorKind::IO, "the connection is closed"),
        Err(_) => Error::new(ErrorKind::IO, "the Redis client's task has panicked"),
    }
}

impl Mask {
    /// Puts one of fred's errors into our words, without secrets.
    fn error(&self, error: &Error) -> LinkError {
        let text = self.text(error.details());
        match error.kind() {
            ErrorKind::Timeout => LinkError::Unreachable(text),
            ErrorKind::IO if UNREACHABLE.iter().any(|kind| text.contains(kind)) => {
                LinkError::Unreachable(system_text(&text))
            }
            ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Tls => {
                LinkError::Lost(system_text(&text))
            }
            // "… has no permissions to access the 'x' channel", in all of Redis's versions; the
            // other NOPERM is about a command, and then no channel can be had.
            _ if text.starts_with("NOPERM") && text.contains("channel") => {
                LinkError::ChannelRefused(text)
            }
            _ => LinkError::Answered(text),
        }
    }

    fn text(&self, text: &str) -> String {
        let text = text.split(", with args beginning with").next().unwrap_or_default();
        match &self.0 {
            Some(secret) if !secret.expose().is_empty() => text.replace(secret.expose(), "***"),
            _ => text.to_owned(),
        }
    }
}

/// fred shows an I/O error as `Os { …, message: "Connection refused" }`: the message is enough.
fn system_text(text: &str) -> String {
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    message.map_or(text, |(message, _)| message).to_owned()
}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
