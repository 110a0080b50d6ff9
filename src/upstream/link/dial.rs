//! Dials our own connection to a Redis server: TCP, unix socket or TLS, then the login.

use super::{
    LinkError, Pending, Target,
    addresses::{self, Turns},
    buffered_stream::{BufferedStream, Stream, lost},
    connection::Connection,
    dial_settings::{DialSettings, Tls},
    login::log_in,
    redactor::Redactor,
};
use crate::{config::RedisAddress, error_chain::words};
use std::{path::Path, time::Duration};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};
use tokio_rustls::rustls::pki_types::ServerName;

/// Dials the connection that subscribes.
#[derive(Clone)]
pub(in crate::upstream) struct Dialler {
    settings: DialSettings,
    /// In bytes.
    max_payload: usize,
    turns: Turns,
}

impl Dialler {
    /// Messages of more than `max_payload` bytes will be skipped.
    pub(in crate::upstream) fn new(settings: DialSettings, max_payload: usize) -> Self {
        Self { settings, max_payload, turns: Turns::default() }
    }

    /// Dials. The connection is logged in and has answered a PING.
    ///
    /// # Errors
    /// - [`LinkError::Unreachable`]: no connection was made.
    /// - [`LinkError::Lost`]: TLS failed, Redis hung up, or did not answer in time.
    /// - [`LinkError::Answered`]: Redis refuses the login, or is of no use now.
    pub(in crate::upstream) fn dial(&self, target: &Target) -> Pending<Connection> {
        let (dialler, address) = (self.clone(), self.settings.address(target));
        Box::pin(async move {
            match address {
                RedisAddress::Unix(path) => {
                    let stream = connect_unix(&path, dialler.settings.connect_limit).await?;
                    dialler.set_up(async { Ok(stream) }).await
                }
                RedisAddress::Tcp { host, port, .. } => {
                    let stream = dialler.connect_tcp(&host, port).await?;
                    match &dialler.settings.tls {
                        Some(tls) => dialler.set_up(handshake(tls, stream)).await,
                        None => dialler.set_up(async { Ok(stream) }).await,
                    }
                }
            }
        })
    }

    /// Everything behind the connection itself.
    async fn set_up<S: Stream + 'static>(
        &self,
        stream: impl Future<Output = Result<S, LinkError>>,
    ) -> Result<Connection, LinkError> {
        let limit = self.settings.setup_limit;
        let set_up = async {
            let mut stream = BufferedStream::new(stream.await?, self.max_payload);
            let login = self.settings.credentials.current();
            let redactor = Redactor::new(login.password.clone());
            log_in(&mut stream, &login, self.settings.database, &redactor).await?;
            Ok(Connection::new(stream, redactor))
        };
        let late = |_| LinkError::Lost(format!("Redis accepts, but says nothing within {limit:?}"));
        timeout(limit, set_up).await.map_err(late)?
    }

    async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpStream, LinkError> {
        let (started, limit) = (Instant::now(), self.settings.connect_limit);
        let mut addresses = addresses::resolve(host, port, limit).await?;
        self.turns.order(&mut addresses);
        let left = limit.saturating_sub(started.elapsed());
        let stream = addresses::connect(&addresses, left).await?;
        stream.set_nodelay(true).map_err(|error| lost(&error))?;
        Ok(stream)
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
