//! Asks the admin port of a gateway that runs somewhere.

use super::Failure;
use crate::error_chain::error_chain;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use std::{error::Error, time::Duration};
use tokio::{net::TcpStream, time};
use tokio_util::task::AbortOnDropHandle;

/// Where the admin port is unless the configuration says otherwise.
pub(super) const DEFAULT_ADDRESS: &str = "127.0.0.1:9090";

/// For the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What the admin port answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends one request and waits, 5 seconds at the most, for its answer.
pub(super) async fn ask(address: &str, method: Method, path: &str) -> Result<Reply, Failure> {
    let failed = |why: String| Failure::Running(format!("no answer from {address}: {why}"));
    match time::timeout(TIMEOUT, exchange(address, method, path)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failed(error_chain(&*error))),
        Err(_) => Err(failed(format!("gave up after {} s", TIMEOUT.as_secs()))),
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

async fn exchange(address: &str, method: Method, path: &str) -> Result<Reply, BoxError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    Ok(Reply { status, body: String::from_utf8_lossy(&body).trim_end().to_owned() })
}

/// Whether anything still accepts connections there.
pub(super) async fn is_open(address: &str) -> bool {
    matches!(time::timeout(TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_)) | Err(_))
}
