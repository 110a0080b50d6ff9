//! `sockway listen`: a WebSocket client that prints what arrives.

use super::{Failure, output, runtime};
use crate::{error_chain::error_chain, lifecycle, secret::Secret};
use serde_json::Value;
use std::{env, io, time::Duration};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, Response, header::AUTHORIZATION},
        protocol::CloseFrame,
    },
};
use watched::Watched;

mod watched;

/// Open a WebSocket and print every message on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Args {
    /// ws:// or wss://. A certificate of your own authority is trusted when the environment variable
    /// `SSL_CERT_FILE` names that (PEM)
    url: String,
    /// Sent as `Authorization: Bearer …`; the environment variable `SOCKWAY_TOKEN` does the same
    /// and is not seen by other users of this machine
    #[arg(long)]
    token: Option<String>,
}

const EXIT_STATUS: &str = "Exit status: 0 when you end it (Ctrl-C, SIGTERM, or the reader of its \
output leaves), 1 when it is refused, when the server closes the session, whatever the code (a revoked \
token: `closed: 3000 revoked`), or when the connection breaks or falls silent, so that not even a ping is answered; \
the reason is the last line of stderr. 64 for wrong usage.";

/// Until the server has answered the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let token = args.token.clone().or_else(|| env::var("SOCKWAY_TOKEN").ok()).map(Secret::new);
    let request = request(&args.url, token.as_ref())?;
    runtime::block_on(async {
        let asked = lifecycle::end_asked().map_err(|error| Failure::running(&error))?;
        tokio::select! {
            result = listen(request) => result,
            _ = asked => Ok(()),
            () = output::reader_left() => Ok(()), // `sockway listen … | head`
        }
    })
}

async fn listen(request: Request) -> Result<(), Failure> {
    let socket = connect(request).await?;
    let noted = output::note_later("connected");
    let result = print_all(socket).await;
    noted.await; // The reason is the last line.
    result
}

fn request(url: &str, token: Option<&Secret>) -> Result<Request, Failure> {
    let mut request = url.into_client_request().map_err(|error| {
        Failure::Running(format!("not a WebSocket URL: {}", error_chain(&error)))
    })?;
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| Failure::Running("the token cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn connect(request: Request) -> Result<Socket, Failure> {
    match time::timeout(HANDSHAKE_TIMEOUT, connect_async(request)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => Err(Failure::Running(refusal(&response))),
        Ok(Err(error)) => Err(Failure::Running(format!("cannot connect: {}", error_chain(&error)))),
        Err(_) => Err(Failure::Running("cannot connect: no answer in time".to_owned())),
    }
}

/// `refused: 401 token_missing`, with what else the problem body says.
fn refusal(response: &Response<Option<Vec<u8>>>) -> String {
    let body = response.body().as_deref().unwrap_or_default();
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = format!("refused: {}", response.status().as_u16());
    for field in ["code", "detail"] {
        if let Some(value) = problem[field].as_str() {
            text.push(' ');
            text.push_str(value);
        }
    }
    text
}

async fn print_all(socket: Socket) -> Result<(), Failure> {
    let mut socket = Watched::new(socket);
    loop {
        let printed = match socket.next().await? {
            Message::Text(text) => output::line_later(text.as_str()).await,
            Message::Binary(bytes) => output::line_later(bytes).await,
            Message::Close(frame) => return Err(Failure::Running(closed(frame.as_ref()))),
            _ => Ok(()),
        };
        match printed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::Running(format!("cannot write to stdout: {error}"))),
        }
    }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    match frame {
        Some(frame) => format!("closed: {} {}", u16::from(frame.code), frame.reason),
        None => "closed without a code".to_owned(),
    }
}
