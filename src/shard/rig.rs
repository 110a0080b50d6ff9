//! For tests: a shard without threads and without Redis, its other ends in the test's hands.

use super::{PendingSession, Resume, SessionSpec, Shard, Subscription, registry::Registry, thread};
pub(super) use crate::testing::endpoint;
use crate::{
    auth::{Auth, Reject},
    bus::{
        Event, Request, RequestBatch, Revoke, SubscriptionEvent, SubscriptionEvents, UpstreamEnd,
        queues_for_tests,
    },
    channel::ChannelName,
    config::Config,
    endpoint::{Endpoint, Format},
    identity::{Claims, Identity},
    liveness::Liveness,
    message::Message,
    metrics::{EndpointMetrics, Metrics},
    net::Transport,
    reason::CloseReason,
    testing, wire,
};
use bytes::Bytes;
use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime::{Builder, LocalOptions},
};

/// Runs a test on a runtime as a shard has it, with the clock in the test's hands.
pub(super) fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap()
        .block_on(test);
}

/// The configuration of this generation, whose endpoint is at this path.
pub(super) fn config(generation: u64, path: &str) -> Arc<Config> {
    let text = format!(
        "[[endpoint]]\nname = \"{}\"\npath = \"{path}\"\nchannels = [\"orders\"]\nauth = \"none\"",
        endpoint().name
    );
    Arc::new(Config { generation, ..testing::config(&text) })
}

pub(super) fn message(channel: &str, payload: &str) -> Arc<Message> {
    Arc::new(wire::message(ChannelName::new(channel), payload.as_bytes(), Instant::now()))
}

/// A shard whose upstream is the test.
pub(super) struct Rig {
    pub(super) shard: Shard,
    pub(super) upstream: UpstreamEnd,
    read_up_to: u64,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_queue_memory(256 << 20)
    }

    /// A shard whose queues may hold this much together, in bytes.
    pub(super) fn with_queue_memory(limit: usize) -> Self {
        let (upstream, mut ends) = queues_for_tests(1);
        let end = ends.remove(0);
        let metrics = Metrics::new(1, &["test".into()]);
        let registry = Rc::new(Registry::new(end.id, metrics.shard(0), limit, Arc::default()));
        thread::spawn_tasks(&registry, end, Liveness::default().part("shard")).detach_all();
        Self { shard: Shard { registry }, upstream, read_up_to: 0 }
    }

    pub(super) fn metrics(&self) -> Arc<EndpointMetrics> {
        self.shard.metrics().endpoint(&"test".into())
    }

    /// What the shard asks of upstream next.
    pub(super) async fn requested(&mut self) -> Vec<Request> {
        let RequestBatch { sequence, requests, .. } = self.upstream.requests.recv().await.unwrap();
        self.read_up_to = sequence;
        requests
    }

    pub(super) fn subscription_event(&self, event: SubscriptionEvent) {
        let events = SubscriptionEvents { read_up_to: self.read_up_to, events: vec![event] };
        self.upstream.subscription_events[0].send(events).unwrap();
    }

    pub(super) fn event(&self, event: Event) {
        self.upstream.rings[0].send(event);
    }

    /// Opens this many sessions in `orders` whose 101 is not out yet.
    pub(super) async fn open_many(&mut self, sessions: usize) -> Vec<PendingSession> {
        let mut pending = Vec::with_capacity(sessions);
        let _first = self.connect(endpoint()).await;
        for _ in 0..sessions {
            let subscription = self.shard.subscribe(vec![orders()].into()).await.unwrap();
            pending.push(open(subscription, spec(endpoint(), identity())).await);
        }
        pending
    }

    pub(super) fn revoke(&self, revoke: Revoke) {
        self.upstream.revocations[0].send(revoke).unwrap();
    }

    pub(super) fn publish(&self, channel: &str, payload: &str) {
        self.event(Event::Message(message(channel, payload)));
    }

    /// Opens a session in `orders` and returns the client's side of it.
    pub(super) async fn connect(&mut self, endpoint: Endpoint) -> Client {
        self.connect_as(endpoint, identity()).await
    }

    /// … and takes what it begins with.
    pub(super) async fn connect_ready(&mut self, endpoint: Endpoint) -> Client {
        let mut client = self.connect(endpoint).await;
        assert!(matches!(client.next().await, Frame::Text(_)), "ready");
        client
    }

    pub(super) async fn connect_as(&mut self, endpoint: Endpoint, identity: Identity) -> Client {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.start(Transport::Unix(ours), endpoint, identity).await;
        Client(theirs)
    }

    /// Starts a session in `orders` over a transport, of which the test has the other end.
    pub(super) async fn start(
        &mut self,
        transport: Transport,
        endpoint: Endpoint,
        identity: Identity,
    ) {
        let shard = self.shard.clone();
        let subscribe = shard.subscribe(vec![orders()].into());
        let confirm = async {
            if self.shard.registry.hub.borrow().members("orders").len() == 0 {
                self.requested().await;
                self.subscription_event(SubscriptionEvent::Confirmed(ChannelName::new("orders")));
            }
        };
        let (subscription, ()) = tokio::join!(subscribe, confirm);
        let pending = open(subscription.unwrap(), spec(endpoint, identity)).await;
        pending.start(transport, &Bytes::new());
    }
}

/// Opens a session that asks for nothing from before it.
pub(super) async fn open(subscription: Subscription, spec: SessionSpec) -> PendingSession {
    subscription.open(spec, &Resume::default()).await.unwrap()
}

/// An endpoint whose clients are answered.
pub(super) fn json() -> Endpoint {
    Endpoint { format: Format::Json, ..endpoint() }
}

pub(super) fn orders() -> ChannelName {
    ChannelName::new("orders")
}

pub(super) fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned())
}

pub(super) fn close(reason: CloseReason) -> Frame {
    Frame::Close(reason.code().unwrap(), reason.label().to_owned())
}

/// Larger than any socket buffer of the pair together with its kernel's tolerance.
pub(super) fn bulky() -> String {
    "x".repeat(400_000)
}

/// Resolves when everything has been done that can be done without time passing.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_nanos(1)).await;
}

pub(super) fn identity() -> Identity {
    Identity {
        user: "42".into(),
        claims: Claims::default(),
        token_id: None,
        static_token: None,
        expires: None,
        fingerprint: None,
    }
}

pub(super) fn spec(endpoint: Endpoint, identity: Identity) -> SessionSpec {
    SessionSpec {
        codec: endpoint.format.over_websocket(),
        endpoint: Arc::new(endpoint),
        identity: Some(identity),
        auth: Arc::new(Auth::new(vec![], Reject::Status, None, vec![])),
        began: tokio::time::Instant::now(),
        generation: 0,
        publish: None,
        origin: None,
    }
}

/// The client's end of a connection: bytes and frames, no protocol of its own.
pub(super) struct Client(UnixStream);

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
    /// The connection ended.
    End,
}

impl Client {
    /// Starts a session over one end of a socket pair; the client is the other.
    pub(super) fn start(pending: PendingSession) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        pending.start(Transport::Unix(ours), &Bytes::new());
        Self(theirs)
    }

    pub(super) async fn next(&mut self) -> Frame {
        let Ok(first) = self.0.read_u8().await else { return Frame::End };
        let len = match self.0.read_u8().await.unwrap() {
            126 => usize::from(self.0.read_u16().await.unwrap()),
            127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
            short => usize::from(short),
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).await.unwrap();
        match first {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Frame::Close(code, String::from_utf8(payload[2..].to_vec()).unwrap())
            }
            0x89 => Frame::Ping,
            0x8A => Frame::Pong(payload),
            other => panic!("an unexpected frame {other:#x}"),
        }
    }

    /// Sends a frame as it must be: masked, by a key of zeros.
    pub(super) async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.send_bytes(&frame).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Sends what the socket takes at once. Returns how many bytes that are.
    pub(super) fn try_send(&self, bytes: &[u8]) -> usize {
        self.0.try_write(bytes).unwrap_or(0)
    }

    /// Sends so many frames that each are answered by a refusal.
    pub(super) async fn ask_nonsense(&mut self, times: usize) {
        self.send_bytes(&[0x81, 0x82, 0, 0, 0, 0, b'{', b'}'].repeat(times)).await;
        settle().await;
    }
}
