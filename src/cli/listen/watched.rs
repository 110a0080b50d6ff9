//! A WebSocket whose other end must give signs of life: a network that swallows without closing ends it.

use super::SHORTEST_SILENCE;
use crate::{cli::Failure, error_chain::error_chain};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{self, Instant},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message},
};

/// Nothing came for this long: a ping asks whether anybody is there. Not that of the gateway is waited
/// for, whose `ping_interval` may be hours.
const QUIET: Duration = Duration::from_secs(25);

/// The least that [`Watched`] waits, whatever the first message says: on a raw endpoint it may come from anybody.
const SHORTEST_QUIET: Duration = Duration::from_secs(1);

/// A WebSocket that counts as dead when nothing comes for too long.
pub(super) struct Watched<S> {
    socket: WebSocketStream<S>,
    quiet: Duration,
    /// Whether what comes next is the first message, which may tell of heartbeats.
    first: bool,
    /// Since when the next message is waited for; `None` while it is not.
    waits_since: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, quiet: QUIET, first: true, waits_since: None }
    }

    /// The next message, or control frame. Time counts only while this waits, so that a slow reader of
    /// what is printed is not taken for a dead network. Cancel-safe: the time goes on with the next call.
    ///
    /// # Errors
    /// When the connection has ended without a close frame, and after two and a half times the silence
    /// in which a heartbeat or an answer to our ping should have come.
    pub(super) async fn next(&mut self) -> Result<Message, Failure> {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let message = match time::timeout_at(since + self.quiet, self.socket.next()).await {
            Ok(message) => message,
            Err(_) => time::timeout_at(since + self.silence(), self.ask())
                .await
                .map_err(|_| Failure::Running(self.dead()))?,
        };
        self.waits_since = None;
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                return Err(Failure::Running(format!("cut off: {}", error_chain(&error))));
            }
            None => return Err(Failure::Running("cut off without a close frame".to_owned())),
        };
        if let (true, Message::Text(text)) = (self.first, &message) {
            self.first = false;
            self.quiet = heartbeat(text).map_or(QUIET, |it| it.clamp(SHORTEST_QUIET, QUIET));
        }
        Ok(message)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection has ended, and when the other end takes nothing for too long.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Failure> {
        let sent = time::timeout(self.silence(), self.socket.send(message)).await;
        let sent = sent.map_err(|_| Failure::Running(self.dead()))?;
        match sent {
            // It has closed: what comes next says why.
            Ok(()) | Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_)) => Ok(()),
            Err(error) => Err(Failure::Running(format!("cannot send: {}", error_chain(&error)))),
        }
    }

    async fn ask(&mut self) -> Option<Result<Message, Error>> {
        if let Err(error) = self.socket.send(Message::Ping(Vec::new().into())).await {
            return Some(Err(error));
        }
        self.socket.next().await
    }

    /// After so long without anything the connection is dead.
    fn silence(&self) -> Duration {
        self.quiet.mul_f64(2.5).max(SHORTEST_SILENCE)
    }

    fn dead(&self) -> String {
        let silence = self.silence();
        format!("cut off: nothing came for {silence:?}, not even the answer to a ping")
    }
}

/// How often the gateway says something, by the first message of a json endpoint, or the first event.
pub(super) fn heartbeat(first: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Ready {
        r#type: String,
        heartbeat_ms: u64,
    }
    let ready: Ready = serde_json::from_str(first).ok()?;
    let heartbeat = Duration::from_millis(ready.heartbeat_ms);
    (ready.r#type == "ready" && !heartbeat.is_zero()).then_some(heartbeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn pair() -> (Watched<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = duplex(64 * 1024);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        (Watched::new(near), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_that_swallows_without_closing_ends_it_and_is_named() {
        let (mut near, _silent) = pair().await;
        let began = Instant::now();
        let Err(Failure::Running(said)) = near.next().await else { panic!("it did not end") };
        assert_eq!(said, "cut off: nothing came for 62.5s, not even the answer to a ping");
        let took = began.elapsed();
        assert!(took >= 5 * QUIET / 2 && took < 3 * QUIET, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_gateway_that_answers_pings_is_listened_to_for_hours() {
        let (mut near, mut far) = pair().await;
        let hours = Duration::from_secs(3 * 60 * 60);
        let answering = tokio::spawn(async move {
            let _ = time::timeout(hours, async { while far.next().await.is_some() {} }).await;
            far.send(Message::text("news")).await.expect("it is open");
            far
        });
        loop {
            match near.next().await {
                Ok(Message::Pong(_)) => {}
                Ok(message) => break assert_eq!(message, Message::text("news")),
                Err(_) => panic!("given up"),
            }
        }
        answering.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_meanwhile_does_not_make_a_dead_network_look_alive() {
        let (mut near, _far) = pair().await;
        let began = Instant::now();
        let ended = loop {
            assert!(began.elapsed() < 10 * QUIET, "it is still taken for alive");
            match time::timeout(Duration::from_secs(1), near.next()).await {
                Ok(ended) => break ended,
                Err(_) => near.send(Message::text("hello?")).await.expect("nobody takes it yet"),
            }
        };
        assert!(ended.is_err());
        let late = began.elapsed().checked_sub(5 * QUIET / 2).expect("not early");
        assert!(late < Duration::from_secs(2), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_heartbeats_that_the_first_message_promises_set_the_deadline() {
        let second = Duration::from_secs(1);
        for (first, deadline) in [
            (r#"{"type":"ready","session":"9","channels":[],"heartbeat_ms":2000}"#, 5 * second),
            (r#"{"type":"ready","heartbeat_ms":1}"#, 5 * SHORTEST_QUIET / 2),
            (r#"{"type":"ready","heartbeat_ms":86400000}"#, 5 * QUIET / 2),
            (r#"{"type":"ready"}"#, 5 * QUIET / 2),
            (r#"{"type":"news","heartbeat_ms":2000}"#, 5 * QUIET / 2),
            ("no JSON", 5 * QUIET / 2),
        ] {
            let (mut near, mut far) = pair().await;
            far.send(Message::text(first)).await.expect("it is open");
            assert!(near.next().await.is_ok(), "{first}");
            let began = Instant::now();
            assert!(near.next().await.is_err(), "{first}");
            let late = began.elapsed().checked_sub(deadline).expect("not early");
            assert!(late < second, "{first}: {late:?}");
        }
    }
}
