//! Dials our own connection to a Redis server: TCP, unix socket or TLS, then the login.

use super::{
    LinkError, Pending, Target,
    addresses::{self, Turns},
    buffered_stream::{BufferedStream, Stream, lost},
    command_link::CommandLink,
    connection::Connection,
    dial_settings::{DialSettings, Tls, silent},
    login::{Protocol, log_in},
    redactor::Redactor,
    stream_link::StreamLink,
};
use crate::{config::RedisAddress, error_chain::words};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::rustls::pki_types::ServerName;

/// Dials connections of our own.
#[derive(Clone)]
pub(in crate::upstream) struct Dialler {
    settings: DialSettings,
    /// In bytes.
    max_payload: usize,
    turns: Turns,
}

/// A connection on which nothing is asked.
struct LoggedIn {
    stream: BufferedStream,
    redactor: Redactor,
    protocol: Protocol,
}

impl Dialler {
    /// Messages of more than `max_payload` bytes will be skipped.
    pub(in crate::upstream) fn new(settings: DialSettings, max_payload: usize) -> Self {
        Self { settings, max_payload, turns: Turns::default() }
    }

    /// Dials the connection that subscribes. It is logged in and has answered a PING.
    ///
    /// # Errors
    /// - [`LinkError::Unreachable`]: no connection was made.
    /// - [`LinkError::Lost`]: TLS failed, Redis hung up, or did not answer in time.
    /// - [`LinkError::Answered`]: Redis refuses the login, or is of no use now.
    pub(in crate::upstream) fn dial(&self, target: &Target) -> Pending<Connection> {
        let (dialler, target) = (self.clone(), target.clone());
        Box::pin(async move {
            let LoggedIn { stream, redactor, .. } = dialler.log_in(&target).await?;
            Ok(Connection::new(stream, redactor))
        })
    }

    /// Dials a connection for streams, in whose entries `field` is the payload.
    ///
    /// # Errors
    /// As [`Dialler::dial`].
    pub(in crate::upstream) fn dial_streams(
        &self,
        target: &Target,
        field: &str,
    ) -> Pending<StreamLink> {
        let (dialler, target, field) = (self.clone(), target.clone(), field.to_owned());
        Box::pin(async move {
            let LoggedIn { stream, redactor, protocol } = dialler.log_in(&target).await?;
            Ok(StreamLink::new(stream, redactor, protocol, &field, dialler.max_payload))
        })
    }

    /// Dials a connection for commands whose answers are small.
    ///
    /// # Errors
    /// As [`Dialler::dial`].
    pub(in crate::upstream) fn dial_commands(&self, target: &Target) -> Pending<CommandLink> {
        let (dialler, target) = (self.clone(), target.clone());
        Box::pin(async move {
            let LoggedIn { stream, redactor, .. } = dialler.log_in(&target).await?;
            Ok(CommandLink::new(stream, redactor))
        })
    }

    async fn log_in(&self, target: &Target) -> Result<LoggedIn, LinkError> {
        match self.settings.address(target) {
            RedisAddress::Unix(path) => {
                let stream = connect_unix(&path, self.settings.connect_limit).await?;
                self.set_up(async { Ok(stream) }, self.settings.setup_limit).await
            }
            RedisAddress::Tcp { host, port, .. } => self.by_name(&host, port).await,
        }
    }

    async fn by_name(&self, host: &str, port: u16) -> Result<LoggedIn, LinkError> {
        let deadline = Instant::now() + self.settings.connect_limit;
        let mut addresses = addresses::resolve(host, port, self.settings.connect_limit).await?;
        self.turns.order(&mut addresses);
        self.by_addresses(&addresses, deadline).await
    }

    /// Each address has until `deadline` for the connection, and its share of the time for the rest.
    async fn by_addresses(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<LoggedIn, LinkError> {
        let share = self.settings.setup_share(addresses.len());
        let limit = self.settings.connect_limit;
        addresses::race(addresses, limit, |address| self.by_address(address, deadline, share)).await
    }

    async fn by_address(
        &self,
        address: SocketAddr,
        deadline: Instant,
        limit: Duration,
    ) -> Result<LoggedIn, LinkError> {
        let late = |_| self.settings.not_connected();
        let stream = timeout_at(deadline, TcpStream::connect(address)).await.map_err(late)?;
        let stream = stream.map_err(|error| LinkError::Unreachable(words(&error)))?;
        stream.set_nodelay(true).map_err(|error| lost(&error))?;
        match &self.settings.tls {
            Some(tls) => self.set_up(handshake(tls, stream), limit).await,
            None => self.set_up(async { Ok(stream) }, limit).await,
        }
    }

    /// Everything behind the connection itself, within `limit`.
    async fn set_up<S: Stream + 'static>(
        &self,
        stream: impl Future<Output = Result<S, LinkError>>,
        limit: Duration,
    ) -> Result<LoggedIn, LinkError> {
        let set_up = async {
            let mut stream = BufferedStream::new(stream.await?, self.max_payload);
            let login = self.settings.credentials.current();
            let redactor = Redactor::new(login.password.clone());
            let database = self.settings.database;
            let protocol = log_in(&mut stream, &login, database, &redactor).await?;
            Ok(LoggedIn { stream, redactor, protocol })
        };
        timeout(limit, set_up).await.map_err(|_| silent(limit))?
    }
}

async fn connect_unix(path: &Path, limit: Duration) -> Result<UnixStream, LinkError> {
    match timeout(limit, UnixStream::connect(path)).await {
        Ok(connected) => connected.map_err(|error| LinkError::Unreachable(words(&error))),
        Err(_) => Err(LinkError::Unreachable(format!("no connection within {limit:?}"))),
    }
}

async fn handshake(tls: &Tls, stream: TcpStream) -> Result<impl Stream + use<>, LinkError> {
    let name = ServerName::try_from(tls.host.clone());
    let name = name.map_err(|error| LinkError::Lost(format!("{}: {error}", tls.host)))?;
    tls.connector().await?.connect(name, stream).await.map_err(|error| lost(&error))
}

#[cfg(test)]
mod tests;
