//! A session by Server-Sent Events.

use super::{
    HANDSHAKE_TIMEOUT, SHORTEST_SILENCE,
    event::{Event, EventReader},
    no_answer, print, refusal,
    target::Target,
    watched::heartbeat,
};
use crate::{VERSION, cli::Failure, error_chain::error_chain};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde::Deserialize;
use std::{error::Error, ops::ControlFlow, sync::Arc, time::Duration};
use tokio::{net::TcpStream, task::spawn_blocking, time};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;
use tokio_util::task::AbortOnDropHandle;

/// How long an endpoint that does not say how often its heartbeats come may be silent.
const SILENCE: Duration = Duration::from_millis(62_500);

/// Largest body of a refusal that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;

/// The stream of an answer, and what keeps its connection going.
pub(super) struct Events {
    body: Incoming,
    reader: EventReader,
    silence: Duration,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

pub(super) async fn connect(target: Target) -> Result<Events, Failure> {
    let uri = uri(&target)?;
    let asked = time::timeout(HANDSHAKE_TIMEOUT, ask(&uri, target)).await;
    let (response, connection) = asked
        .map_err(|_| no_answer())?
        .map_err(|error| Failure::Running(format!("cannot connect: {}", error_chain(&*error))))?;
    let body = accepted(response).await?;
    let reader = EventReader::default();
    Ok(Events { body, reader, silence: SILENCE, _connection: connection })
}

fn uri(target: &Target) -> Result<Uri, Failure> {
    let uri: Option<Uri> = target.url.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("ws" | "wss" | "http" | "https")))
        .filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| Failure::Running("not a URL of http, https, ws or wss".to_owned()))
}

async fn ask(
    uri: &Uri,
    target: Target,
) -> Result<(Response<Incoming>, AbortOnDropHandle<hyper::Result<()>>), BoxError> {
    let stream = stream(uri).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(USER_AGENT, format!("sockway/{VERSION}"))
        .header(ACCEPT, "text/event-stream");
    if let Some(authorization) = target.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    Ok((response, connection))
}

async fn stream(uri: &Uri) -> Result<MaybeTlsStream<TcpStream>, BoxError> {
    let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    if !secure {
        return Ok(MaybeTlsStream::Plain(stream));
    }
    let name = ServerName::try_from(host.to_owned())?;
    let stream = tls().await?.connect(name, stream).await?;
    Ok(MaybeTlsStream::Rustls(stream))
}

async fn tls() -> Result<TlsConnector, BoxError> {
    // Some hundred files, so not on this thread.
    let certificates = spawn_blocking(rustls_native_certs::load_native_certs).await?.certs;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err("this system has no root certificates".into());
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The events' body, or why there are none.
async fn accepted(response: Response<Incoming>) -> Result<Incoming, Failure> {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
    if status == StatusCode::OK && is_stream {
        return Ok(response.into_body());
    }
    if status == StatusCode::OK {
        return Err(Failure::Running("refused: the answer is no text/event-stream".to_owned()));
    }
    let body = Limited::new(response.into_body(), MAX_REFUSAL).collect();
    let body = time::timeout(HANDSHAKE_TIMEOUT, body).await;
    let body = body.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    Err(refusal(status.as_u16(), &body))
}

pub(super) async fn print_all(mut events: Events) -> Result<(), Failure> {
    loop {
        for event in events.next().await? {
            if print_one(&event).await?.is_break() {
                return Ok(());
            }
        }
    }
}

impl Events {
    /// The events of the next bytes; often none.
    ///
    /// # Errors
    /// When the answer ends, and after two and a half times the silence in which a heartbeat should have come.
    async fn next(&mut self) -> Result<Vec<Event>, Failure> {
        let silence = self.silence;
        let Ok(frame) = time::timeout(silence, self.body.frame()).await else {
            return Err(Failure::Running(format!("cut off: nothing came for {silence:?}")));
        };
        let bytes = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                return Err(Failure::Running(format!("cut off: {}", error_chain(&error))));
            }
            None => return Err(Failure::Running("cut off without a close event".to_owned())),
        };
        let events = self.reader.read(&bytes).map_err(|_| {
            Failure::Running("cut off: an event is larger than any message".to_owned())
        })?;
        for ready in events.iter().filter(|event| event.name == "ready") {
            self.silence = silence_of(&ready.data);
        }
        Ok(events)
    }
}

fn silence_of(ready: &[u8]) -> Duration {
    let heartbeat = std::str::from_utf8(ready).ok().and_then(heartbeat);
    heartbeat.map_or(SILENCE, |heartbeat| heartbeat.mul_f64(2.5).max(SHORTEST_SILENCE))
}

/// Prints what the event carries: of `base64` the bytes, of any other its data. `close` ends it.
async fn print_one(event: &Event) -> Result<ControlFlow<()>, Failure> {
    match event.name.as_str() {
        "close" => Err(Failure::Running(closed(&event.data))),
        "base64" => {
            let bytes = BASE64_STANDARD.decode(&event.data);
            print(bytes.unwrap_or_else(|_| event.data.clone())).await
        }
        _ => print(&event.data).await,
    }
}

fn closed(data: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Close {
        code: u16,
        reason: String,
    }
    match serde_json::from_slice(data) {
        Ok(Close { code, reason }) => format!("closed: {code} {reason}"),
        Err(_) => "closed without a code".to_owned(),
    }
}
