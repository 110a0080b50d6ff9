//! The way that clients come: name, connection, TLS and handshake of a public URL.

use super::{expiry, report::Report};
use crate::{
    auth::{Source, mint},
    config::Config,
    error_chain::error_chain,
    secret::Secret,
};
use futures_util::StreamExt;
use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, Response, Uri, header::AUTHORIZATION},
    },
};

/// Whom a minted token is for, and how long it lasts.
const USER: &str = "sockway-doctor";
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// For looking a name up and for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For TLS and the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// With `auth.reject = "close"` a refusal comes within a second after the 101.
const REFUSAL: Duration = Duration::from_millis(1_200);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) async fn examine(
    config: &Config,
    url: &str,
    token: Option<&Secret>,
    report: &mut Report,
) {
    let Some(request) = request(url) else {
        let advice = "such as wss://example.com/ws/notifications";
        return report.fail("url", "is not a WebSocket URL", advice);
    };
    let secure = request.uri().scheme_str() == Some("wss");
    let Some(stream) = connect(request.uri(), secure, report).await else { return };
    let Some(request) = with_token(config, request, token, report) else { return };
    if let Some(socket) = shake_hands(request, stream, report).await {
        certificate(&socket, report);
        stays_open(socket, report).await;
    }
}

fn request(url: &str) -> Option<Request> {
    let request = url.into_client_request().ok()?;
    let scheme = request.uri().scheme_str();
    (matches!(scheme, Some("ws" | "wss")) && request.uri().host().is_some()).then_some(request)
}

async fn connect(uri: &Uri, secure: bool, report: &mut Report) -> Option<TcpStream> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let addresses: Vec<SocketAddr> = match in_time(lookup_host((host, port))).await {
        Ok(found) => found.collect(),
        Err(error) => {
            report.fail("url name", &format!("{host}: {error}"), "is its DNS record there?");
            return None;
        }
    };
    let shown: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
    report.ok("url name", &format!("{host} is {}", shown.join(", ")));
    match in_time(TcpStream::connect(&*addresses)).await {
        Ok(stream) => {
            report.ok("url connection", &format!("port {port} accepts connections"));
            Some(stream)
        }
        Err(error) => {
            let advice =
                "does the proxy or the gateway listen there, and does the firewall let it through?";
            report.fail("url connection", &format!("port {port}: {error}"), advice);
            None
        }
    }
}

async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(CONNECT_TIMEOUT, what).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Adds the token as a header: in the URL it would end up in the logs of every proxy on the way.
fn with_token(
    config: &Config,
    mut request: Request,
    token: Option<&Secret>,
    report: &mut Report,
) -> Option<Request> {
    let takes_headers = config.auth.sources.contains(&Source::Header);
    let token = match token {
        Some(token) => Some(token.clone()),
        None if takes_headers && request.uri().query().is_none() => minted(config),
        None => None,
    };
    if let Some(token) = token {
        let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
            report.fail("url token", "cannot stand in a header", "give a token as it was issued");
            return None;
        };
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Some(request)
}

fn minted(config: &Config) -> Option<Secret> {
    let settings = config.auth.jwt_settings()?;
    mint(settings, USER, TOKEN_LIFETIME, &[], SystemTime::now()).ok().map(Secret::new)
}

async fn shake_hands(request: Request, stream: TcpStream, report: &mut Report) -> Option<Socket> {
    let started = Instant::now();
    let (subject, said, advice) = match timeout(
        HANDSHAKE_TIMEOUT,
        client_async_tls(request, stream),
    )
    .await
    {
        Ok(Ok((socket, _))) => {
            let time = started.elapsed().as_secs_f64() * 1e3;
            report.ok("url handshake", &format!("101 in {time:.1} ms"));
            return Some(socket);
        }
        Ok(Err(tungstenite::Error::Http(response))) => {
            let (said, advice) = refusal(&response);
            ("url handshake", said, advice)
        }
        Ok(Err(error)) if is_tls(&error) => {
            let said = error_chain(&error);
            let advice = certificate_advice(&said);
            ("url tls", said, advice)
        }
        Ok(Err(error)) => {
            let advice =
                "is it the gateway that answers there, and with or without TLS as the URL says?";
            ("url handshake", error_chain(&error), advice)
        }
        Err(_) => {
            let advice = "a proxy on the way must pass on WebSocket upgrades";
            ("url handshake", "no answer in time".to_owned(), advice)
        }
    };
    report.fail(subject, &said, advice);
    None
}

/// rustls's own errors come as such or wrapped into an I/O error.
fn is_tls(error: &tungstenite::Error) -> bool {
    match error {
        tungstenite::Error::Tls(_) => true,
        tungstenite::Error::Io(error) => {
            error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        }
        _ => false,
    }
}

/// What to do about a certificate that was not accepted, by what rustls says of it.
fn certificate_advice(said: &str) -> &'static str {
    if said.contains("ca used as end entity") {
        "it is an authority's certificate: make a server's own, with basicConstraints CA:FALSE \
         (docs/operations.md, TLS)"
    } else {
        "the certificate must be valid now, for this host name, and from an authority that this \
         machine trusts, with those in between; SSL_CERT_FILE names an authority of your own (PEM)"
    }
}

/// `401 token_missing …` of a problem body, and what to do.
fn refusal(response: &Response<Option<Vec<u8>>>) -> (String, &'static str) {
    let body = response.body().as_deref().unwrap_or_default();
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let field =
        |name: &str| problem[name].as_str().map(|text| format!(" {text}")).unwrap_or_default();
    let status = response.status().as_u16();
    let advice = match (status, problem["code"].as_str()) {
        (_, None) => {
            "that is not Sockway's answer: a proxy on the way must pass on WebSocket upgrades to it"
        }
        (401, _) => "give a token that this endpoint accepts: --token or SOCKWAY_TOKEN",
        (
            403,
            Some("claim_missing" | "claim_unusable" | "value_not_allowed" | "too_many_values"),
        ) => {
            "give the token of a real user, with the claims that the channels name: --token or SOCKWAY_TOKEN"
        }
        (404, _) => "the URL's path must be that of an endpoint; does the proxy change it?",
        (429 | 503, _) => {
            "docs/protocol.md says what this code means; the gateway's log and /readyz say why"
        }
        _ => "docs/protocol.md says what this code means",
    };
    (format!("{status}{}{}", field("code"), field("detail")), advice)
}

/// How long the certificate that was just verified will do.
fn certificate(socket: &Socket, report: &mut Report) {
    let MaybeTlsStream::Rustls(stream) = socket.get_ref() else { return };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if let Some(first) = certificates.first() {
        expiry::examine("url tls", "trusted by this machine, ", first, report);
    }
}

/// A refusal may come as a close frame, too.
async fn stays_open(mut socket: Socket, report: &mut Report) {
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map_or_else(String::new, |frame| {
                    format!(" {} {}", u16::from(frame.code), frame.reason)
                });
            }
        }
        String::new()
    };
    match timeout(REFUSAL, closed).await {
        Ok(reason) => report.fail(
            "url session",
            &format!("closed at once:{reason}"),
            "docs/protocol.md says what the code means; a token is given by --token or SOCKWAY_TOKEN",
        ),
        Err(_) => {
            report.ok("url session", "open and subscribed");
            // A polite end; whatever comes of it changes no finding.
            let _ = timeout(CONNECT_TIMEOUT, socket.close(None)).await;
        }
    }
}
