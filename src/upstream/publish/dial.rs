//! Dials connections for commands, made of fred.
//!
//! One fresh client for one address, without a reconnect policy: then fred's task ends with the
//! connection, and we dial anew ourselves, with our own back-off. What else fred needs:
//! - It greets with HELLO, which not every server knows, and writes a password into it that must not
//!   have a blank. So: AUTH where there is a password, and the old protocol where HELLO is unknown.
//! - It tries the addresses of a name one after the other, within one limit. So each address gets a
//!   client and its share of the time; the name is resolved for each dial.

use super::commands::{CommandConnection, Mask, Place, resolve};
use crate::{
    config::{self, RedisAddress, RedisTls},
    upstream::link::{Credentials, LinkError, Login, Reply},
};
use fred::{
    clients::Client,
    types::{
        RespVersion,
        config::{
            Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig,
            TlsConnector,
        },
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::OnceCell, task::spawn_blocking, time::timeout};

/// fred makes nine queues of events a client. None is used.
const EVENTS: usize = 16;

/// The least time for a connection to be made, whatever `probe_timeout` says.
const MIN_CONNECT: Duration = Duration::from_secs(2);

/// Authentication and introduction may take so many times as long as the connection itself: they
/// need several round trips, and a Redis that hangs answers the dial that is under way the moment
/// it wakes up.
const SETUP_FACTOR: u32 = 5;

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
        let mask = Mask::new(login);
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

fn is_hello_unknown(error: &str) -> bool {
    ["ERR unknown command", "NOPROTO", "NOPERM"].iter().any(|start| error.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        connect::PublishConnection as _,
        test_server::{configured, fake},
    };
    use std::path::Path;

    #[tokio::test]
    async fn a_server_that_does_not_know_hello_is_published_to() {
        let (_directory, path) = fake(|words| match words[0].as_str() {
            "AUTH" if words[1..] == ["a b"] => "+OK\r\n".to_owned(),
            "PUBLISH" => ":1\r\n".to_owned(),
            _ => format!("-ERR unknown command '{}'\r\n", words[0]),
        });
        let url = format!("url = \"redis+unix://{}\"\npassword = \"a b\"", path.display());
        let settings = configured(Path::new(""), &url);
        let dialler = CommandDialler::new(&settings, Credentials::new(&settings));
        let connection = dialler.dial().await.map_err(|error| error.to_string()).unwrap();
        connection.publish("a", "hello").await.unwrap();
    }
}
