//! Dials the connection for commands, which is made of fred.
//!
//! One fresh client for one address, without a reconnect policy: then fred's task ends with the
//! connection, and we dial anew ourselves, with our own back-off. What else fred needs:
//! - It greets with HELLO, which not every server knows, and writes a password into it that must not
//!   have a blank. So: AUTH where there is a password, and the old protocol where HELLO is unknown.
//! - It tries the addresses of a name one after the other, within one limit. So each address gets a
//!   client and its share of the time; the name is resolved for each dial.

use super::command_connection::{CommandConnection, Place};
use crate::{
    config::RedisAddress,
    upstream::link::{
        DialSettings, LinkError, Login, Pending, Redactor, Target, Turns, is_hello_unknown, resolve,
    },
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
use std::time::Duration;
use tokio::time::timeout;

/// fred makes nine queues of events a client. None is used.
const EVENTS: usize = 16;

/// Dials the connection for commands.
#[derive(Clone)]
pub(in crate::upstream) struct CommandDialler {
    settings: DialSettings,
    turns: Turns,
}

impl CommandDialler {
    pub(in crate::upstream) fn new(settings: DialSettings) -> Self {
        Self { settings, turns: Turns::default() }
    }

    /// Dials. The connection is logged in.
    ///
    /// # Errors
    /// - [`LinkError::Unreachable`]: no connection was made.
    /// - [`LinkError::Lost`]: TLS failed, Redis hung up, or did not answer in time.
    /// - [`LinkError::Answered`]: Redis refuses the login.
    pub(in crate::upstream) fn dial(&self, target: &Target) -> Pending<CommandConnection> {
        let (dialler, address) = (self.clone(), self.settings.address(target));
        Box::pin(async move {
            match address {
                RedisAddress::Unix(path) => {
                    let server = ServerConfig::Unix { path };
                    dialler.connect(server, dialler.settings.connect_limit).await
                }
                RedisAddress::Tcp { host, port, .. } => dialler.by_name(&host, port).await,
            }
        })
    }

    /// Tries each address of a name, within its share of the time.
    async fn by_name(&self, host: &str, port: u16) -> Result<CommandConnection, LinkError> {
        let limit = self.settings.connect_limit;
        let mut addresses = resolve(host, port, limit).await?;
        self.turns.order(&mut addresses);
        let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failures = Vec::new();
        for address in addresses {
            let server = Server {
                host: address.ip().to_string().into(),
                port,
                tls_server_name: self.settings.tls.as_ref().map(|tls| tls.host.as_str().into()),
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
        let login = self.settings.credentials.current();
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
        let tls = match &self.settings.tls {
            Some(tls) => Some(TlsConnector::Rustls(tls.connector().await?).into()),
            None => None,
        };
        let setup = self.settings.setup_limit;
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
            database: Some(self.settings.database).filter(|&database| database != 0),
            tls,
            ..Config::default()
        };
        let performance = PerformanceConfig {
            broadcast_channel_capacity: EVENTS,
            ..PerformanceConfig::default()
        };
        let client = Client::new(config, Some(performance), Some(connection), None);
        let redactor = Redactor::new(login.password);
        let late = |_| LinkError::Unreachable(format!("no connection within {limit:?}"));
        timeout(limit + setup, CommandConnection::make(client, redactor)).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        connect::PublishConnection as _,
        link::Credentials,
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
        let dialler =
            CommandDialler::new(DialSettings::new(&settings, Credentials::new(&settings)));
        let connection =
            dialler.dial(&Target::Configured).await.map_err(|error| error.to_string()).unwrap();
        connection.publish("a", "hello").await.unwrap();
    }
}
