//! A WebSocket client over TLS: tokio-tungstenite and rustls, driven one step at a time.

use super::{client::Frame, wait::LIMIT};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{self, Message},
};

/// An open WebSocket over TLS.
pub(crate) struct Wss {
    runtime: Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wss {
    /// Opens `wss://localhost` at this address, or returns why it failed.
    pub(crate) fn open(
        address: SocketAddr,
        target: &str,
        trust: ClientConfig,
    ) -> Result<Self, tungstenite::Error> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("wss://localhost:{}{target}", address.port());
        let opening = async {
            let stream = TcpStream::connect(address).await?;
            let connector = Connector::Rustls(Arc::new(trust));
            client_async_tls_with_config(url, stream, None, Some(connector)).await
        };
        let opened = runtime.block_on(async { timeout(LIMIT, opening).await });
        let (socket, _answer) = opened.expect("an answer in time")?;
        Ok(Self { runtime, socket })
    }

    /// The next frame that is neither ping nor pong.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Frame {
        loop {
            let next = async { timeout(LIMIT, self.socket.next()).await };
            match self.runtime.block_on(next).expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Frame::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => return Frame::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Frame::Close(close.code.into(), close.reason.as_str().to_owned());
                }
                Some(Ok(Message::Close(None))) => return Frame::Close(1005, String::new()),
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{error}"),
                None => return Frame::End,
            }
        }
    }

    #[track_caller]
    pub(crate) fn text(&mut self) -> String {
        match self.event() {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of text"),
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, message: Message) {
        self.runtime.block_on(self.socket.send(message)).expect("taken");
    }
}
