//! Connections for commands, made of fred.
//!
//! One fresh client for one address, without a reconnect policy: then fred's task ends with the
//! connection, and we dial anew ourselves, with our own back-off. Aborting that task drops its socket;
//! nothing of a client outlives its connection. What else fred needs:
//! - It greets with HELLO, which not every server knows, and writes a password into it that must not
//!   have a blank. So: AUTH where there is a password, and the old protocol where HELLO is unknown.
//! - It tries the addresses of a name one after the other, within one limit. So each address gets a
//!   client and its share of the time; the name is resolved for each dial, and again for each PUBLISH.
//! - After a drop it takes commands and never answers them, so the end of its task is watched.

use super::PublishConnection;
use crate::{
    config::{self, RedisAddress, RedisTls},
    error_chain::spell,
    upstream::link::{Credentials, LinkError, Login, Reply},
};
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientInterface, ClientLike, PubsubInterface},
    types::{
        ClusterHash, CustomCommand, FromValue, RespVersion,
        config::{
            Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig,
            TlsConnector,
        },
    },
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::lookup_host, sync::OnceCell, task::spawn_blocking, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// fred makes nine queues of events a client. None is used.
const EVENTS: usize = 16;

/// The least time for a connection to be made, whatever `probe_timeout` says.
const MIN_CONNECT: Duration = Duration::from_secs(2);

/// How long a PUBLISH waits to know where its name leads now.
const RESOLVE_PATIENCE: Duration = Duration::from_millis(500);

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

/// Dials one server. Clones share the login and whose turn it is among its addresses.
#[derive(Clone)]
pub(in crate::upstream) struct CommandDialler {
    address: RedisAddress,
    /// `None`: plain TCP, or a unix socket.
    tls: Option<Arc<Tls>>,
    credentials: Credentials,
    database: u8,
    /// For the connection; the rest may take [`SETUP_FACTOR`] times that.
    limit: Duration,
    /// Dials so far: each begins with another address of the name.
    dials: Arc<AtomicUsize>,
}

struct Tls {
    settings: RedisTls,
    /// The name in the server's certificate: the configured host, whatever address is dialled.
    host: String,
    /// Made by the first dial: the system's roots are some hundred files.
    connector: OnceCell<TlsConnector>,
}

/// A connected client and its task. Dropping it closes the connection.
pub(in crate::upstream) struct CommandConnection {
    client: Client,
    task: AbortOnDropHandle<Result<(), Error>>,
    mask: Mask,
    /// Where its name led; `None` where there is no name.
    place: Option<Place>,
}

#[derive(Clone)]
struct Place {
    host: String,
    port: u16,
    address: SocketAddr,
}

/// Takes the password out of what Redis says.
#[derive(Clone, Default)]
struct Mask(Option<Arc<Login>>);

impl CommandDialler {
    pub(in crate::upstream) fn new(settings: &config::Redis, credentials: Credentials) -> Self {
        let tls = match &settings.address {
            RedisAddress::Tcp { host, tls: true, .. } => Some(Arc::new(Tls {
                settings: settings.tls.clone(),
                host: host.clone(),
                connector: OnceCell::new(),
            })),
            RedisAddress::Tcp { .. } | RedisAddress::Unix(_) => None,
        };
        Self {
            address: settings.address.clone(),
            tls,
            credentials,
            database: settings.database,
            limit: settings.probe_timeout.max(MIN_CONNECT),
            dials: Arc::default(),
        }
    }

    /// Dials another server in the same way: the primary that a replica has named.
    pub(in crate::upstream) fn follow(&self, host: String, port: u16) -> Self {
        let address = RedisAddress::Tcp { host, port, tls: self.tls.is_some() };
        Self { address, dials: Arc::default(), ..self.clone() }
    }

    /// Dials. The connection is logged in.
    ///
    /// # Errors
    /// - [`LinkError::Unreachable`]: no connection was made.
    /// - [`LinkError::Lost`]: TLS failed, Redis hung up, or did not answer in time.
    /// - [`LinkError::Answered`]: Redis refuses the login.
    pub(in crate::upstream) fn dial(&self) -> Reply<CommandConnection> {
        let dialler = self.clone();
        Box::pin(async move {
            match &dialler.address {
                RedisAddress::Unix(path) => {
                    let server = ServerConfig::Unix { path: path.clone() };
                    dialler.connect(server, dialler.limit).await
                }
                RedisAddress::Tcp { host, port, .. } => dialler.by_name(host, *port).await,
            }
        })
    }

    /// Tries each address of a name, within its share of the time.
    async fn by_name(&self, host: &str, port: u16) -> Result<CommandConnection, LinkError> {
        let unknown = |why| LinkError::Unreachable(format!("cannot resolve {host}: {why}"));
        let late = |_| unknown(format!("no answer within {:?}", self.limit));
        let mut addresses = timeout(self.limit, resolve(host, port)).await.map_err(late)?;
        if addresses.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        let count = addresses.len();
        addresses.rotate_left(self.dials.fetch_add(1, Ordering::Relaxed) % count);
        let share = self.limit / u32::try_from(count).unwrap_or(u32::MAX);
        let mut failures = Vec::new();
        for address in addresses {
            let server = Server {
                host: address.ip().to_string().into(),
                port,
                tls_server_name: self.tls.as_ref().map(|tls| tls.host.as_str().into()),
            };
            match self.connect(ServerConfig::Centralized { server }, share).await {
                Ok(mut connection) => {
                    connection.place = Some(Place { host: host.to_owned(), port, address });
                    return Ok(connection);
                }
                Err(LinkError::Unreachable(why)) => failures.push(why),
                Err(error) => return Err(error),
            }
        }
        Err(LinkError::Unreachable(failures.join("; ")))
    }

    /// Connects to one address; first as any server understands it that has a password.
    async fn connect(
        &self,
        server: ServerConfig,
        limit: Duration,
    ) -> Result<CommandConnection, LinkError> {
        let login = self.credentials.current();
        if login.password.is_some() {
            return self.make(server, limit, login, RespVersion::RESP2).await;
        }
        match self.make(server.clone(), limit, login.clone(), RespVersion::RESP3).await {
            Err(LinkError::Answered(text)) if is_hello_unknown(&text) => {
                self.make(server, limit, login, RespVersion::RESP2).await
            }
            made => made,
        }
    }

    async fn make(
        &self,
        server: ServerConfig,
        limit: Duration,
        login: Login,
        version: RespVersion,
    ) -> Result<CommandConnection, LinkError> {
        let tls = match &self.tls {
            Some(tls) => Some(tls.connector().await?.into()),
            None => None,
        };
        let setup = self.limit * SETUP_FACTOR;
        let connection = ConnectionConfig {
            connection_timeout: limit,
            internal_command_timeout: setup,
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let config = Config {
            version,
            server,
            username: login.username.clone(),
            password: login.password.as_ref().map(|secret| secret.expose().to_owned()),
            // Not asked for when it is the default, so that the smallest ACL needs no SELECT.
            database: Some(self.database).filter(|&database| database != 0),
            tls,
            ..Config::default()
        };
        let performance = PerformanceConfig {
            broadcast_channel_capacity: EVENTS,
            ..PerformanceConfig::default()
        };
        let client = Client::new(config, Some(performance), Some(connection), None);
        let mask = Mask(Some(Arc::new(login)));
        let late = |_| LinkError::Unreachable(format!("no connection within {limit:?}"));
        timeout(limit + setup, CommandConnection::make(client, mask)).await.map_err(late)?
    }
}

impl Tls {
    async fn connector(&self) -> Result<TlsConnector, LinkError> {
        let make = || async {
            let settings = self.settings.clone();
            // Not on this thread, for its many files.
            let config = spawn_blocking(move || settings.client_config()).await;
            let config = config.map_err(|error| LinkError::Lost(error.to_string()))?;
            let config = config.map_err(LinkError::Lost)?;
            Ok(TlsConnector::Rustls(tokio_rustls::TlsConnector::from(config)))
        };
        self.connector.get_or_try_init(make).await.cloned()
    }
}

/// The addresses of a name, each once; none where it cannot be resolved.
async fn resolve(host: &str, port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> =
        lookup_host((host, port)).await.map(Iterator::collect).unwrap_or_default();
    // Sorted, for a resolver that turns them too would undo the turns of our own.
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn is_hello_unknown(error: &str) -> bool {
    ["ERR unknown command", "NOPROTO", "NOPERM"].iter().any(|start| error.starts_with(start))
}

impl CommandConnection {
    async fn make(client: Client, mask: Mask) -> Result<Self, LinkError> {
        let mut task = AbortOnDropHandle::new(client.connect());
        let connected = tokio::select! {
            biased;
            ended = &mut task => Err(why(ended)),
            connected = client.wait_for_connect() => connected,
        };
        connected.map_err(|error| mask.error(&error))?;
        // For those who look at CLIENT LIST. An ACL may forbid it, and that is no harm.
        let _: Result<(), Error> = client.client_setname(env!("CARGO_PKG_NAME")).await;
        Ok(Self { client, task, mask, place: None })
    }

    /// Any other command.
    pub(in crate::upstream) fn ask<T: FromValue + Send + 'static>(
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

impl PublishConnection for CommandConnection {
    fn publish(&self, channel: &str, payload: &str) -> Reply<()> {
        let (client, mask, place) = (self.client.clone(), self.mask.clone(), self.place.clone());
        let (channel, payload) = (channel.to_owned(), payload.to_owned());
        Box::pin(async move {
            if let Some(place) = place
                && place.is_left().await
            {
                let text = format!("{} leads elsewhere now", place.host);
                return Err(LinkError::Lost(text));
            }
            client.publish::<(), _, _>(channel, payload).await.map_err(|error| mask.error(&error))
        })
    }

    async fn closed(&mut self) {
        if !self.task.is_finished() {
            // Why it ended is of no interest: it is dialled anew.
            let _ = (&mut self.task).await;
        }
    }
}

impl Place {
    /// Whether the name now leads to other addresses only: the primary may be there.
    async fn is_left(&self) -> bool {
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            return false;
        }
        // A resolver that says nothing says nothing about Redis.
        let found = timeout(RESOLVE_PATIENCE, resolve(&self.host, self.port)).await;
        let addresses = found.unwrap_or_default();
        !addresses.is_empty() && !addresses.contains(&self.address)
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
            _ => LinkError::Answered(text),
        }
    }

    fn text(&self, text: &str) -> String {
        let text = text.split(", with args beginning with").next().unwrap_or_default();
        let password = self.0.as_ref().and_then(|login| login.password.as_ref());
        match password {
            Some(secret) if !secret.expose().is_empty() => text.replace(secret.expose(), "***"),
            _ => text.to_owned(),
        }
    }
}

/// fred shows an I/O error as `Os { …, message: "Connection refused" }` or `Custom { …, error:
/// InvalidCertificate(UnknownIssuer) }`: the message, or the error in words, is enough.
fn system_text(text: &str) -> String {
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    let custom = text.strip_prefix("Custom {").and_then(|rest| rest.split_once("error: "));
    match (message, custom) {
        (Some((message, _)), _) => message.to_owned(),
        (None, Some((_, error))) => spell(error.trim_end_matches([' ', '}']).trim_matches('"')),
        (None, None) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_password_never_leaves_in_an_error() {
        let password = Some(Secret::new("hunter2".to_owned()));
        let mask = Mask(Some(Arc::new(Login { username: None, password })));
        for text in [
            "ERR unknown command 'AUTH', with args beginning with: 'default' 'hunter2'",
            "ERR bad hunter2 here",
        ] {
            let error = mask.error(&Error::new(ErrorKind::Unknown, text));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
