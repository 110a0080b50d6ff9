//! For tests: a server over a real shard, the test in Redis's place, clients that are bare sockets.

use super::PublicServer;
use crate::{
    bus::{
        Event, Page, PageError, PageRequest, RejectedBy, Request, RingSender, StreamEvent,
        StreamRequest, StreamRequests, StreamUpstreamEnd, SubscriptionEvent, SubscriptionEvents,
        UpstreamEnd, queues_for_tests,
    },
    channel::ChannelName,
    config::Config,
    liveness::Liveness,
    metrics::Metrics,
    phase::Phase,
    shard::ShardThread,
    stream_id::StreamId,
    testing::{self, AUTH},
    wire,
};
use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything here takes; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What the test's Redis does when a channel is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redis {
    Confirms,
    IsDown,
    Refuses,
    SaysNothing,
}

/// A server that runs.
pub(super) struct Rig {
    pub(super) address: Option<SocketAddr>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: watch::Sender<Phase>,
    ring: RingSender<Event>,
    changes: Arc<Mutex<Vec<Request>>>,
    running: JoinHandle<()>,
    _shard: ShardThread,
}

impl Rig {
    /// Starts with [`configuration`], after a change.
    pub(super) fn start(redis: Redis, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = configuration("");
        change(&mut config);
        let names: Vec<_> = config.endpoints.iter().map(|e| Arc::clone(&e.name)).collect();
        let metrics = Arc::new(Metrics::new(1, &names));
        let (mut upstream, mut ends) = queues_for_tests(1);
        let floods = Arc::default();
        let shard = ShardThread::start(
            ends.remove(0),
            metrics.shard(0),
            Liveness::default().part("shard 0"),
            256 << 20,
            Arc::clone(&floods),
        )
        .unwrap();
        let (phase, phases) = watch::channel(Phase::Running);
        let shards = vec![shard.handle()];
        let config = Arc::new(config);
        let server = PublicServer::bind(config, Arc::clone(&metrics), shards, phases, floods)
            .map_err(|error| format!("{error:?}"))
            .unwrap();
        let changes = Arc::default();
        let ring = upstream.rings.remove(0);
        tokio::spawn(play_redis(upstream, redis, Arc::clone(&changes)));
        let address = server.address();
        let running = tokio::spawn(server.run(Liveness::default().part("listener")));
        Self { address, metrics, phase, ring, changes, running, _shard: shard }
    }

    pub(super) fn publish(&self, channel: &str, payload: &str) {
        let message = wire::message(ChannelName::new(channel), payload.as_bytes(), Instant::now());
        self.ring.send(Event::Message(Arc::new(message)));
    }

    /// Waits until the shard has asked for this change.
    pub(super) async fn wait_for_change(&self, change: &Request) {
        self.wait_until(|| self.changes.lock().unwrap().contains(change)).await;
    }

    pub(super) fn changes(&self) -> Vec<Request> {
        self.changes.lock().unwrap().clone()
    }

    /// Waits until a line stands in the metrics.
    pub(super) async fn wait_for_metric(&self, line: &str) {
        self.wait_until(|| self.metrics.render().lines().any(|known| known == line)).await;
    }

    async fn wait_until(&self, mut condition: impl FnMut() -> bool) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("what the test waits for never came");
    }

    /// Tells the server to drain and waits until it has closed its listener.
    pub(super) async fn drain(&mut self) {
        self.phase.send(Phase::Draining).unwrap();
        timeout(PATIENCE, &mut self.running).await.unwrap().unwrap();
    }

    pub(super) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address.unwrap()).await.unwrap())
    }

    /// Connects, sends, and reads the answer.
    pub(super) async fn ask(&self, request: &[u8]) -> HttpAnswer {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    /// The code of the refusal of a handshake, or `101`.
    pub(super) async fn code(&self, target: &str, headers: &[&str]) -> String {
        self.ask(&handshake(target, headers)).await.code()
    }
}

async fn play_redis(mut upstream: UpstreamEnd, redis: Redis, changes: Arc<Mutex<Vec<Request>>>) {
    tokio::spawn(play_streams(upstream.streams, redis));
    while let Some(request) = upstream.requests.recv().await {
        let wanted = request.requests.iter().filter_map(|change| match change {
            Request::Subscribe(channel) => Some(channel.clone()),
            Request::Unsubscribe(_) => None,
        });
        let subscription_events = wanted.filter_map(|channel| match redis {
            Redis::Confirms => Some(SubscriptionEvent::Confirmed(channel)),
            Redis::IsDown => Some(SubscriptionEvent::Rejected(channel, RejectedBy::LinkDown)),
            Redis::Refuses => Some(SubscriptionEvent::Rejected(channel, RejectedBy::Redis)),
            Redis::SaysNothing => None,
        });
        let subscription_events = SubscriptionEvents {
            read_up_to: request.sequence,
            events: subscription_events.collect(),
        };
        changes.lock().unwrap().extend(request.requests);
        // The shard may have ended with its test.
        let _ = upstream.subscription_events[0].send(subscription_events);
    }
}

/// Streams without entries, whose place is 5-0.
async fn play_streams(mut streams: StreamUpstreamEnd, redis: Redis) {
    loop {
        tokio::select! {
            Some(StreamRequests { shard, sequence, requests }) = streams.requests.recv() => {
                let events = requests.into_iter().filter_map(|it| answer(redis, it, sequence));
                streams.rings[shard].append(&mut events.collect());
            }
            Some(PageRequest { answer, .. }) = streams.pages.recv() => {
                let page = Page { entries: vec![], found: true, is_full: false, facts: None };
                let page = if redis == Redis::Confirms { Ok(page) } else { Err(PageError::LinkDown) };
                // The handshake may have ended.
                let _ = answer.send(page);
            }
            else => return,
        }
    }
}

fn answer(redis: Redis, request: StreamRequest, read_up_to: u64) -> Option<StreamEvent> {
    let rejected = |stream, by| Some(StreamEvent::Rejected { stream, by, read_up_to });
    match (request, redis) {
        (StreamRequest::Subscribe(stream), Redis::Confirms) => {
            let place = StreamId { milliseconds: 5, sequence: 0 };
            Some(StreamEvent::Subscribed { stream, place, read_up_to })
        }
        (StreamRequest::Subscribe(stream), Redis::IsDown) => rejected(stream, RejectedBy::LinkDown),
        (StreamRequest::Subscribe(stream), Redis::Refuses) => rejected(stream, RejectedBy::Redis),
        (StreamRequest::Mark { number, .. }, _) => Some(StreamEvent::Marker(number)),
        (StreamRequest::Subscribe(_) | StreamRequest::Unsubscribe(_), _) => None,
    }
}

/// A client's socket.
pub(super) struct Client(pub(super) TcpStream);

impl Client {
    /// Sends as much as the other side takes.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.unwrap();
    }

    /// Reads one head, and the body that it announces.
    pub(super) async fn answer(&mut self) -> HttpAnswer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let more = self.up_to_the_end_of_a_head(&head).await;
            head.extend(self.take(more).await);
        }
        let head = String::from_utf8(head).unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = String::from_utf8(self.take(length).await).unwrap();
        HttpAnswer { head, body }
    }

    /// How many bytes of what has come belong to the head that begins so; at the end of the connection 1,
    /// which cannot be read.
    async fn up_to_the_end_of_a_head(&self, head: &[u8]) -> usize {
        let mut bytes = [0; 1024];
        let come = timeout(PATIENCE, self.0.peek(&mut bytes)).await.unwrap().unwrap();
        let whole = [head, &bytes[..come]].concat();
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        (end.unwrap_or(whole.len()) - head.len()).max(1)
    }

    /// Reads exactly this many bytes.
    pub(super) async fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = vec![0; bytes];
        timeout(PATIENCE, self.0.read_exact(&mut taken)).await.unwrap().unwrap();
        taken
    }

    /// Reads until the other side closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.unwrap().unwrap();
        rest
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) head: String,
    pub(super) body: String,
}

impl HttpAnswer {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The `code` of the problem body; `101` when there is none.
    pub(super) fn code(&self) -> String {
        if self.status() == 101 {
            return "101".to_owned();
        }
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], self.status());
        problem["code"].as_str().unwrap().to_owned()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

/// A correct handshake, with more headers.
pub(super) fn handshake(target: &str, headers: &[&str]) -> Vec<u8> {
    let mut request = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
    (request + "\r\n").into_bytes()
}

pub(super) fn number(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// A configuration with three endpoints: `/ws`, which needs a token, `/open/{room}`, which does not, and
/// `/chat/{room}`, which has a stream.
pub(super) fn configuration(auth: &str) -> Config {
    testing::config(&format!(
        r#"
[server]
listen = "127.0.0.1:0"
shards = 1
trusted_proxies = ["127.0.0.0/8"]
[auth]
{auth}
{AUTH}
[[endpoint]]
name = "notifications"
path = "/ws"
channels = ["user:{{user}}"]
[[endpoint]]
name = "rooms"
path = "/open/{{room}}"
channels = ["room:{{path.room}}"]
auth = "none"
[[endpoint]]
name = "chat"
path = "/chat/{{room}}"
streams = ["chat:{{path.room}}"]
auth = "none"
format = "json"
"#
    ))
}
