//! A session by WebSocket.

use super::{
    HANDSHAKE_TIMEOUT, no_answer, print, publisher::Publisher, refusal, target::Target,
    watched::Watched,
};
use crate::{cli::Failure, error_chain::error_chain};
use std::{future::pending, ops::ControlFlow};
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message, client::IntoClientRequest, handshake::client::Request,
        http::header::AUTHORIZATION, protocol::CloseFrame,
    },
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) async fn connect(target: Target) -> Result<Socket, Failure> {
    match time::timeout(HANDSHAKE_TIMEOUT, connect_async(request(target)?)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(refusal(response.status().as_u16(), body))
        }
        Ok(Err(error)) => Err(Failure::Running(format!("cannot connect: {}", error_chain(&error)))),
        Err(_) => Err(no_answer()),
    }
}

fn request(target: Target) -> Result<Request, Failure> {
    let mut request = target.url.into_client_request().map_err(|error| {
        Failure::Running(format!("not a WebSocket URL: {}", error_chain(&error)))
    })?;
    if let Some(authorization) = target.authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    Ok(request)
}

/// Prints what arrives, and sends what is to be published, to the end.
pub(super) async fn print_all(
    socket: Socket,
    mut publisher: Option<Publisher>,
) -> Result<(), Failure> {
    let mut socket = Watched::new(socket);
    loop {
        let message = tokio::select! {
            biased;
            message = socket.next() => message?,
            line = next_line(publisher.as_mut()) => {
                socket.send(line?).await?;
                continue;
            }
        };
        if let (Message::Text(text), Some(publisher)) = (&message, &mut publisher) {
            publisher.heard(text);
        }
        if print_one(message).await?.is_break() {
            return Ok(());
        }
    }
}

async fn next_line(publisher: Option<&mut Publisher>) -> Result<Message, Failure> {
    match publisher {
        Some(publisher) => publisher.next().await,
        None => pending().await,
    }
}

/// Breaks when nobody reads any more.
async fn print_one(message: Message) -> Result<ControlFlow<()>, Failure> {
    match message {
        Message::Text(text) => print(text.as_str()).await,
        Message::Binary(bytes) => print(bytes).await,
        Message::Close(frame) => Err(Failure::Running(closed(frame.as_ref()))),
        _ => Ok(ControlFlow::Continue(())),
    }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    match frame {
        Some(frame) => format!("closed: {} {}", u16::from(frame.code), frame.reason),
        None => "closed without a code".to_owned(),
    }
}
