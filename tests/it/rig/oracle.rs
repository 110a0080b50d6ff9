//! Checks what clients receive. Every message contains its channel, its number in it and its time;
//! a [`Ledger`] reads what one client receives and records every broken promise: another's message
//! (I1), a wrong order (I2), a duplicate (I3), a hole without a gap notice (I4).

use super::{
    client::Frame,
    redis::Redis,
    resp::Connection,
    wait::{LIMIT, until},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The random numbers of one test, seeded by `SEED` if set; the seed is printed.
#[expect(clippy::print_stderr, reason = "shown by the test harness when a test fails")]
pub(crate) fn seeded() -> fastrand::Rng {
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SEED={seed} replays this");
    fastrand::Rng::with_seed(seed)
}

/// The payload of message `number` on `channel`, sent now, with this many bytes of padding.
pub(crate) fn payload(channel: &str, number: u64, ballast: usize) -> String {
    let (at, pad) = (micros(), "x".repeat(ballast));
    format!(r#"{{"oracle":"{channel}","number":{number},"at":{at},"pad":"{pad}"}}"#)
}

fn micros() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(elapsed.as_micros()).expect("before the year 500,000")
}

/// What one client got, and what was wrong with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    channels: BTreeMap<String, Place>,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    /// Messages that never arrived; the client was told of each hole.
    pub(crate) missing: u64,
    /// The latency of each message in microseconds; only in a ledger that records it.
    pub(crate) delays: Option<Vec<u64>>,
    pub(crate) close: Option<(u16, String)>,
    pub(crate) ended: bool,
    violations: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    /// The next number, once it is known.
    next: Option<u64>,
    /// Whether a gap was announced since the last message.
    told: bool,
}

impl Ledger {
    /// A client of these channels. With a number, the first message must be that one.
    pub(crate) fn of(channels: &[(&str, Option<u64>)]) -> Self {
        let places = channels.iter().map(|&(name, next)| {
            let place = Place { next, told: false };
            (name.to_owned(), place)
        });
        Self { channels: places.collect(), ..Self::default() }
    }

    /// The number of the last message of a channel.
    pub(crate) fn last(&self, channel: &str) -> Option<u64> {
        self.channels[channel].next.and_then(|next| next.checked_sub(1))
    }

    /// Takes one frame in.
    pub(crate) fn take(&mut self, frame: &Frame) {
        if self.close.is_some() && !matches!(frame, Frame::End) {
            self.violations.push(format!("{frame:?} after the close frame"));
        }
        match frame {
            Frame::Text(text) => match serde_json::from_str(text) {
                Ok(value) => self.json(&value),
                Err(error) => self.violations.push(format!("{error} in {text}")),
            },
            Frame::Binary(_) => self.violations.push("a binary frame".to_owned()),
            Frame::Close(code, reason) => self.close = Some((*code, reason.clone())),
            Frame::End => self.ended = true,
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
    }

    fn json(&mut self, value: &Value) {
        match value["type"].as_str() {
            Some("ready" | "heartbeat") => {}
            Some("gap") => self.gap(value["channel"].as_str()),
            Some("message") => {
                let data = &value["data"];
                if value["channel"] != data["oracle"] {
                    self.violations.push(format!("on another channel: {value}"));
                }
                self.message(data);
            }
            _ => self.message(value),
        }
    }

    /// A gap of one channel, or, in the raw format, of any.
    fn gap(&mut self, channel: Option<&str>) {
        self.gaps += 1;
        let concerned = self.channels.iter_mut();
        let concerned = concerned.filter(|(name, _)| channel.is_none_or(|one| one == *name));
        concerned.for_each(|(_, place)| place.told = true);
    }

    fn message(&mut self, data: &Value) {
        let (Some(channel), Some(number)) = (data["oracle"].as_str(), data["number"].as_u64())
        else {
            return self.violations.push(format!("nobody's message: {data}"));
        };
        let Some(place) = self.channels.get_mut(channel) else {
            return self.violations.push(format!("a stranger's message: {data}"));
        };
        match place.next {
            Some(next) if number < next => {
                self.violations.push(format!("{channel}: {number} where {next} is due"));
            }
            Some(next) if number > next && !place.told => {
                self.violations.push(format!("{channel}: {number} after {next} was not told"));
            }
            _ => {}
        }
        self.missing += place.next.map_or(0, |next| number.saturating_sub(next));
        *place = Place { next: Some(number + 1), told: false };
        self.delivered += 1;
        let sent = data["at"].as_u64().unwrap_or(0);
        let delay = micros().saturating_sub(sent);
        self.delays.iter_mut().for_each(|delays| delays.push(delay));
    }

    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        let shown = &self.violations[..self.violations.len().min(5)];
        assert!(shown.is_empty(), "{} violations: {shown:#?}", self.violations.len());
    }
}

/// Publishes numbered messages; the numbers of a channel continue across outages.
pub(crate) struct Source {
    socket: PathBuf,
    connection: Option<Connection>,
    next: BTreeMap<String, u64>,
    pub(crate) ballast: usize,
}

impl Source {
    pub(crate) fn new(redis: &Redis) -> Self {
        Self { socket: redis.socket(), connection: None, next: BTreeMap::new(), ballast: 0 }
    }

    /// The number that the next message of this channel will have.
    pub(crate) fn next(&self, channel: &str) -> u64 {
        self.next.get(channel).copied().unwrap_or(0)
    }

    /// Publishes one message on each of these channels, in one go. A number is used up even
    /// when this fails.
    ///
    /// # Errors
    /// When Redis cannot be reached, or the connection breaks.
    pub(crate) fn try_round(&mut self, channels: &[String]) -> io::Result<Vec<i64>> {
        let mut batch = Vec::new();
        for channel in channels {
            let number = self.next.entry(channel.clone()).or_default();
            batch.push((channel.as_str(), payload(channel, *number, self.ballast)));
            *number += 1;
        }
        let result = reach(&mut self.connection, &self.socket)
            .and_then(|connection| connection.try_publish_batch(&batch));
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    /// … which must succeed.
    #[track_caller]
    pub(crate) fn round(&mut self, channels: &[String]) -> Vec<i64> {
        self.try_round(channels).expect("redis answers")
    }

    /// Publishes a round every `pause` until told to stop, whatever happens to Redis.
    pub(crate) fn keep_on(self, channels: Vec<String>, pause: Duration) -> Chatter {
        let all = channels.len();
        self.keep_on_by_turns(channels, all, pause)
    }

    /// … `some` channels in each round, taking turns.
    pub(crate) fn keep_on_by_turns(
        mut self,
        channels: Vec<String>,
        some: usize,
        pause: Duration,
    ) -> Chatter {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for turn in channels.chunks(some).cycle() {
                if stopped.load(SeqCst) {
                    break;
                }
                let begun = Instant::now();
                let _ = self.try_round(turn);
                thread::sleep(pause.saturating_sub(begun.elapsed()));
            }
            self
        });
        Chatter { stop, thread }
    }
}

fn reach<'a>(
    connection: &'a mut Option<Connection>,
    socket: &Path,
) -> io::Result<&'a mut Connection> {
    if connection.is_none() {
        *connection = Some(Connection::open(socket)?);
    }
    Ok(connection.as_mut().expect("just made"))
}

/// A source that publishes by itself.
pub(crate) struct Chatter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Source>,
}

impl Chatter {
    pub(crate) fn stop(self) -> Source {
        self.stop.store(true, SeqCst);
        self.thread.join().expect("the source does not panic")
    }
}

/// Waits until the channels have exactly so many subscribers each (I7).
#[track_caller]
pub(crate) fn wait_numsub(redis: &Redis, channels: &[String], expected: i64) {
    let mut connection = redis.connect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let start = Instant::now();
    until(&format!("{} channels have {expected} subscribers each", names.len()), || {
        assert!(start.elapsed() < 2 * LIMIT);
        connection.numsub(&names).iter().all(|&count| count == expected)
    });
}
