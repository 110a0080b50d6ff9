//! Fetches one document over HTTP with narrow bounds: 2 s for everything that the network and the issuer do, 16 KiB of head,
//! 64 KiB of body, no redirect, no connection kept.
//!
//! By hand and not by a client library: those follow redirects, obey proxies from the environment,
//! unpack what is compressed, and pool connections, none of which is wanted here.

use super::JwksUrl;
use crate::VERSION;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// For a whole fetch: the name, the connection, TLS, the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// For one of several addresses: an address that does not answer must leave time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// For the system's certificates, some hundred files.
const ROOTS_TIMEOUT: Duration = Duration::from_secs(30);

const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the host's name cannot be resolved")]
    Resolve(#[source] io::Error),
    #[error("the host has no address that http:// is allowed to (or none at all)")]
    NoAddress,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("this system has no root certificates")]
    NoRoots,
    #[error("the system's root certificates could not be read within {} s", ROOTS_TIMEOUT.as_secs())]
    RootsTimeout,
    #[error("the host's name cannot stand in a certificate")]
    Name,
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    #[error("the answer is not HTTP, or not whole")]
    Http(#[from] hyper::Error),
    #[error("the answer is a redirect ({0}), which is not followed")]
    Redirect(StatusCode),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer is larger than {} KiB", MAX_BODY_BYTES / 1024)]
    TooLarge,
}

/// Fetches key sets.
#[derive(Default)]
pub(super) struct Client {
    /// Made with the first fetch that needs it, then kept.
    tls: Option<TlsConnector>,
}

impl Client {
    /// Fetches one document. Cancel-safe.
    pub(super) async fn fetch(&mut self, url: &JwksUrl) -> Result<Vec<u8>, FetchError> {
        // Not within the issuer's time: on a busy machine the certificates alone take longer, and each
        // fetch would begin with them anew.
        let tls = if url.tls { Some(self.tls().await?) } else { None };
        timeout(TIMEOUT, get(url, tls)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn tls(&mut self) -> Result<TlsConnector, FetchError> {
        if let Some(tls) = &self.tls {
            return Ok(tls.clone());
        }
        // So many files are not read on this thread.
        let roots = timeout(ROOTS_TIMEOUT, spawn_blocking(system_roots)).await;
        let roots = roots.map_err(|_| FetchError::RootsTimeout)?;
        let roots = roots.unwrap_or_else(|_| RootCertStore::empty());
        if roots.is_empty() {
            return Err(FetchError::NoRoots);
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(self.tls.insert(TlsConnector::from(Arc::new(config))).clone())
    }
}

async fn get(url: &JwksUrl, tls: Option<TlsConnector>) -> Result<Vec<u8>, FetchError> {
    let stream = connect(url).await?;
    let Some(tls) = tls else { return exchange(stream, url).await };
    let name = ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Name)?;
    let stream = tls.connect(name, stream).await.map_err(FetchError::Tls)?;
    exchange(stream, url).await
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

async fn connect(url: &JwksUrl) -> Result<TcpStream, FetchError> {
    let found = lookup_host((url.host.as_str(), url.port)).await.map_err(FetchError::Resolve)?;
    let allowed = |address: &SocketAddr| url.tls || address.ip().to_canonical().is_loopback();
    let mut last = FetchError::NoAddress;
    for address in found.filter(allowed) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = FetchError::Connect(error),
            Err(_late) => last = FetchError::Connect(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &JwksUrl,
) -> Result<Vec<u8>, FetchError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    let request = Request::get(&url.target)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, format!("sockway/{VERSION}"))
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a checked URL and constants make a request");
    let answer = async {
        let answer = sender.send_request(request).await?;
        match answer.status() {
            StatusCode::OK => whole(answer.into_body()).await,
            status if status.is_redirection() => Err(FetchError::Redirect(status)),
            status => Err(FetchError::Status(status)),
        }
    };
    let driven = async {
        // What is wrong with the connection is told to the answer, too.
        let _ = connection.await;
        future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = driven => never,
    }
}

/// The body, as long as it is small enough, whatever its announced length is.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(FetchError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
