//! Dials the connection for commands, which is made of fred.
//!
//! One fresh client for one address, without a reconnect policy: then fred's task ends with the
//! connection, and we dial anew ourselves, with our own back-off. What else fred needs:
//! - Its HELLO is an inline command, which not every server knows, with a password in it that must not
//!   have a blank. So it speaks RESP2: AUTH, or PING where there is no password. It takes an error for
//!   the end where that PING is answered by one that is no harm; there, HELLO proves the connection.
//! - It tries the addresses of a name one after the other, within one limit. So each address gets a
//!   client and its share of the time; the name is resolved for each dial.

use super::command_connection::{CommandConnection, Place};
use crate::{
    config::RedisAddress,
    upstream::link::{
        DialSettings, LinkError, Login, Pending, Redactor, Target, Turns, race, resolve, silent,
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
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, timeout};

/// fred makes nine queues of events a client. None is used.
const EVENTS: usize = 16;

/// fred takes no time at all for no limit.
const LEAST: Duration = Duration::from_millis(1);

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
            let setup = dialler.settings.setup_limit;
            match address {
                RedisAddress::Unix(path) => {
                    let server = ServerConfig::Unix { path };
                    let deadline = Instant::now() + dialler.settings.connect_limit;
                    dialler.connect(server, deadline, setup).await
                }
                RedisAddress::Tcp { host, port, .. } => dialler.by_name(&host, port).await,
            }
        })
    }

    async fn by_name(&self, host: &str, port: u16) -> Result<CommandConnection, LinkError> {
        let deadline = Instant::now() + self.settings.connect_limit;
        let mut addresses = resolve(host, port, self.settings.connect_limit).await?;
        self.turns.order(&mut addresses);
        self.by_addresses(host, &addresses, deadline).await
    }

    /// Each address has until `deadline` for the connection, and its share of the time for the rest.
    async fn by_addresses(
        &self,
        host: &str,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<CommandConnection, LinkError> {
        let share = self.settings.setup_share(addresses.len());
        race(addresses, self.settings.connect_limit, |address| async move {
            let mut connection = self.connect(self.server(address), deadline, share).await?;
            let place = Place { host: host.to_owned(), port: address.port(), address };
            connection.place = Some(place);
            Ok(connection)
        })
        .await
    }

    fn server(&self, address: SocketAddr) -> ServerConfig {
        let server = Server {
            host: address.ip().to_string().into(),
            port: address.port(),
            tls_server_name: self.settings.tls.as_ref().map(|tls| tls.host.as_str().into()),
        };
        ServerConfig::Centralized { server }
    }

    async fn connect(
        &self,
        server: ServerConfig,
        deadline: Instant,
        setup: Duration,
    ) -> Result<CommandConnection, LinkError> {
        /// Answers to a PING on a connection that is of use.
        const HARMLESS: [&str; 4] = ["MISCONF", "LOADING", "MASTERDOWN", "NOPERM"];
        let login = self.settings.credentials.current();
        let limits = (deadline, setup);
        match self.make(server.clone(), limits, login.clone(), RespVersion::RESP2).await {
            Err(LinkError::Answered(text))
                if login.password.is_none() && HARMLESS.iter().any(|it| text.starts_with(it)) =>
            {
                self.make(server, limits, login, RespVersion::RESP3).await
            }
            made => made,
        }
    }

    async fn make(
        &self,
        server: ServerConfig,
        (deadline, setup): (Instant, Duration),
        login: Login,
        version: RespVersion,
    ) -> Result<CommandConnection, LinkError> {
        let tls = match &self.settings.tls {
            Some(tls) => Some(TlsConnector::Rustls(tls.connector().await?).into()),
            None => None,
        };
        let connect = deadline.saturating_duration_since(Instant::now()).max(LEAST);
        let connection = ConnectionConfig {
            connection_timeout: connect,
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
        let made = timeout(connect + setup, CommandConnection::make(client, redactor)).await;
        made.map_err(|_| silent(setup))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        connect::PublishConnection as _,
        link::Credentials,
        test_server::{HeldPort, Server, configured, fake},
    };
    use std::{net::TcpListener, path::Path};

    fn dialler(url: &str) -> CommandDialler {
        let settings = configured(Path::new(""), url);
        CommandDialler::new(DialSettings::new(&settings, Credentials::new(&settings)))
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_hello_is_published_to() {
        for (password, expected) in [("password = \"a b\"", "AUTH"), ("", "PING")] {
            let (_directory, path) = fake(move |words| match words[0].as_str() {
                "AUTH" if words[1..] == ["a b"] => "+OK\r\n".to_owned(),
                "PING" if expected == "PING" => "+PONG\r\n".to_owned(),
                "PUBLISH" => ":1\r\n".to_owned(),
                _ => format!("-ERR unknown command '{}'\r\n", words[0]),
            });
            let url = format!("url = \"redis+unix://{}\"\n{password}", path.display());
            let connection = dialler(&url).dial(&Target::Configured).await;
            let connection = connection.map_err(|error| error.to_string()).unwrap();
            connection.publish("a", "hello").await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_that_accepts_and_says_nothing_does_not_keep_the_dial_from_the_next() {
        let held = HeldPort::new().unwrap();
        let good = held.address();
        let _server = Server::start(&["--port", &good.port().to_string()]);
        let silent = TcpListener::bind("127.0.0.2:0").unwrap();
        let addresses = [silent.local_addr().unwrap(), good];
        let dialler = dialler("url = \"redis://name\"");
        let started = Instant::now();
        let deadline = started + dialler.settings.connect_limit;
        let connection = dialler.by_addresses("name", &addresses, deadline).await;
        let connection = connection.map_err(|error| error.to_string()).unwrap();
        assert_eq!(connection.place.map(|place| place.address), Some(good));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}
