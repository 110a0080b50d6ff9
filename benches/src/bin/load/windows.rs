//! The measurements of one window: deliveries, latencies, and CPU time from the kernel.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::io;

use sockway_benches::histogram::Histogram;
use sockway_benches::process;
use sockway_benches::report::{Latency, Shares};
use sockway_benches::stamp::{EVERYBODY, Stamp};

use crate::sockets::Socket;

/// The server counts as idle below the one share of a core, its driver as busy above the other.
const FULL: f64 = 0.9;

/// How answers to what a client publishes begin; the number of the message is next.
const PUBLISHED: &[u8] = br#"{"type":"published","ref":""#;

/// What a json session is told beside messages, and need not be counted.
const TOLD: [&[u8]; 5] = [
    br#"{"type":"ready""#,
    br#"{"type":"presence""#,
    br#"{"type":"join""#,
    br#"{"type":"leave""#,
    br#"{"type":"heartbeat""#,
];

/// The deliveries of one window. Each message must reach each of its sockets exactly once and in order:
/// a socket takes only rising sequence numbers, and of a message only as many as it has sockets.
#[derive(Default)]
pub(crate) struct Tally {
    size: usize,
    first_sequence: u32,
    /// For each message, the number of sockets that have not received it yet.
    missing: Vec<u32>,
    /// For each message that is answered instead of delivered, when it was due.
    due: Vec<u64>,
    pub(crate) in_flight: u64,
    pub(crate) deliveries: u64,
    pub(crate) last_arrival: u64,
    pub(crate) longest_silence: u64,
    pub(crate) pings: u64,
    pub(crate) gap_notices: u64,
    latencies: Histogram,
    until_everybody: Histogram,
}

impl Tally {
    pub(crate) fn new(size: usize, first_sequence: u32) -> Self {
        Self { size, first_sequence, ..Self::default() }
    }

    pub(crate) fn published(&self) -> u64 {
        self.missing.len() as u64
    }

    pub(crate) fn next_sequence(&self) -> u32 {
        self.first_sequence + self.missing.len() as u32
    }

    /// One more message, for this many sockets.
    pub(crate) fn publish(&mut self, sockets: u32) {
        self.missing.push(sockets);
        self.in_flight += 1;
    }

    /// One more request, with this many messages, which is to be answered.
    pub(crate) fn ask(&mut self, messages: u32, due: u64) {
        self.due.push(due);
        self.publish(messages);
    }

    /// The request of this number of the window is answered: its messages are taken.
    pub(crate) fn taken(&mut self, number: usize, now: u64) -> Result<(), Box<dyn Error>> {
        let asked = self.missing.get_mut(number).filter(|missing| **missing > 0);
        let (Some(asked), Some(due)) = (asked, self.due.get(number)) else {
            return Err(format!("request {number} was answered once too often").into());
        };
        self.deliveries += u64::from(std::mem::take(asked));
        self.in_flight -= 1;
        self.latencies.add(now.saturating_sub(*due));
        self.last_arrival = now;
        Ok(())
    }

    /// Takes what is no message.
    fn told(&mut self, text: &[u8], now: u64) -> Result<(), Box<dyn Error>> {
        if text == br#"{"type":"gap"}"# {
            self.gap_notices += 1;
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix(PUBLISHED) {
            let number = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
            return self.taken(std::str::from_utf8(number)?.parse()?, now);
        }
        if TOLD.iter().any(|kind| text.starts_with(kind)) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text);
        Err(format!("not a payload of {} bytes: {text}", self.size).into())
    }

    /// Counts a payload that `socket`, which owns `channels` channels, received at `now`.
    pub(crate) fn deliver(
        &mut self,
        socket: &mut Socket,
        channels: u32,
        payload: &[u8],
        now: u64,
    ) -> Result<(), Box<dyn Error>> {
        let Some(stamp) = Stamp::read(payload, self.size) else {
            return self.told(payload, now);
        };
        let owned = socket.first_channel..socket.first_channel + channels;
        if stamp.channel != EVERYBODY && !owned.contains(&stamp.channel) {
            return Err(format!(
                "a message of channel {} came to the owner of {owned:?}",
                stamp.channel
            )
            .into());
        }
        if stamp.sequence < socket.next_sequence {
            let (sequence, next) = (stamp.sequence, socket.next_sequence);
            return Err(format!(
                "message {sequence} came twice or out of order: {next} would be next"
            )
            .into());
        }
        socket.next_sequence = stamp.sequence + 1;
        let missing = stamp.sequence.checked_sub(self.first_sequence);
        let missing = missing
            .and_then(|at| self.missing.get_mut(at as usize))
            .filter(|missing| **missing > 0);
        let missing =
            missing.ok_or_else(|| format!("message {} came once too often", stamp.sequence))?;
        *missing -= 1;
        let latency = now.saturating_sub(stamp.nanos);
        if *missing == 0 {
            self.in_flight -= 1;
            self.until_everybody.add(latency);
        }
        self.deliveries += 1;
        self.latencies.add(latency);
        if socket.last_arrival != 0 {
            self.longest_silence =
                self.longest_silence.max(now.saturating_sub(socket.last_arrival));
        }
        socket.last_arrival = now;
        self.last_arrival = now;
        Ok(())
    }

    /// A description of the missing deliveries.
    pub(crate) fn complaint(&self) -> String {
        let missing: u64 = self.missing.iter().map(|count| u64::from(*count)).sum();
        let first = self.missing.iter().position(|count| *count > 0).unwrap_or(0);
        format!(
            "{missing} deliveries of {} messages are missing; the first is message {first} of this window, which {} sockets lack",
            self.in_flight,
            self.missing.get(first).unwrap_or(&0)
        )
    }

    pub(crate) fn latency(&self) -> Latency {
        summary(&self.latencies)
    }

    pub(crate) fn until_everybody(&self) -> Latency {
        summary(&self.until_everybody)
    }
}

fn summary(histogram: &Histogram) -> Latency {
    Latency {
        p50: histogram.micros_at(0.50),
        p95: histogram.micros_at(0.95),
        p99: histogram.micros_at(0.99),
        p999: histogram.micros_at(0.999),
        largest: histogram.largest_micros(),
    }
}

/// CPU time since its creation.
pub(crate) struct Meter<'a> {
    server: &'a [u32],
    redis: &'a [u32],
    server_before: HashMap<OsString, u64>,
    others_before: (u64, u64),
}

impl<'a> Meter<'a> {
    /// Create it while the server is idle: only then are the kernel's figures exact.
    pub(crate) fn start(server: &'a [u32], redis: &'a [u32]) -> io::Result<Self> {
        let server_before = process::cpu_of_threads(server)?;
        Ok(Self { server, redis, server_before, others_before: others(redis)? })
    }

    /// The server's CPU nanoseconds, and everybody's shares of `seconds`. The server waits again.
    pub(crate) fn stop(self, seconds: f64) -> io::Result<(u64, Shares)> {
        let (load, redis) = others(self.redis)?;
        let used = |(thread, nanos): (OsString, u64)| {
            nanos - self.server_before.get(&thread).unwrap_or(&0)
        };
        let threads: Vec<u64> =
            process::cpu_of_threads(self.server)?.into_iter().map(used).collect();
        let share = |nanos: u64| nanos as f64 / 1e9 / seconds;
        let server = threads.iter().sum();
        let mut shares = Shares {
            load: share(load - self.others_before.0),
            redis: share(redis - self.others_before.1),
            server: share(server),
            server_threads: threads.into_iter().filter(|nanos| *nanos > 0).map(share).collect(),
            bottleneck_was_load: false,
        };
        shares.bottleneck_was_load = shares.server < FULL && shares.load + shares.redis > FULL;
        Ok((server, shares))
    }
}

fn others(redis: &[u32]) -> io::Result<(u64, u64)> {
    let sum = |pids: &[u32]| Ok::<u64, io::Error>(process::cpu_of_threads(pids)?.values().sum());
    Ok((sum(&[std::process::id()])?, sum(redis)?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use sockway_benches::stamp::LENGTH;

    use super::*;
    use crate::wire::Wire;

    fn socket(first_channel: u32) -> Socket {
        let file = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
        Socket {
            wire: Wire::Plain(file.into()),
            open: true,
            rest: Vec::new(),
            first_channel,
            next_sequence: 0,
            last_arrival: 0,
        }
    }

    fn payload(sequence: u32, channel: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        Stamp { sequence, channel, nanos: 0 }.write(LENGTH, &mut payload);
        payload
    }

    /// Two messages to all, that is, to two sockets.
    fn two_messages() -> (Tally, [Socket; 2]) {
        let mut tally = Tally::new(LENGTH, 0);
        tally.publish(2);
        tally.publish(2);
        (tally, [socket(0), socket(1)])
    }

    #[test]
    fn every_message_at_every_socket_once_is_complete() {
        let (mut tally, mut sockets) = two_messages();
        for socket in &mut sockets {
            for sequence in 0..2 {
                tally.deliver(socket, 1, &payload(sequence, EVERYBODY), 1).expect("it is due");
            }
        }
        assert_eq!((tally.in_flight, tally.deliveries), (0, 4));
    }

    #[test]
    fn a_missing_delivery_keeps_its_message_in_flight() {
        let (mut tally, mut sockets) = two_messages();
        tally.deliver(&mut sockets[0], 1, &payload(0, EVERYBODY), 1).expect("it is due");
        tally.deliver(&mut sockets[0], 1, &payload(1, EVERYBODY), 1).expect("it is due");
        tally.deliver(&mut sockets[1], 1, &payload(1, EVERYBODY), 1).expect("it is due");
        assert_eq!(tally.in_flight, 1);
        assert!(
            tally.complaint().starts_with("1 deliveries of 1 messages are missing"),
            "{}",
            tally.complaint()
        );
    }

    #[test]
    fn twice_and_out_of_order_and_too_often_are_refused() {
        let (mut tally, [mut one, mut two]) = two_messages();
        tally.deliver(&mut one, 1, &payload(1, EVERYBODY), 1).expect("it is due");
        assert!(tally.deliver(&mut one, 1, &payload(1, EVERYBODY), 1).is_err(), "twice");
        assert!(tally.deliver(&mut one, 1, &payload(0, EVERYBODY), 1).is_err(), "out of order");
        assert!(tally.deliver(&mut two, 1, &payload(2, EVERYBODY), 1).is_err(), "never published");
    }

    #[test]
    fn what_a_client_publishes_is_delivered_when_it_is_answered_once() {
        let (mut tally, [mut one, _]) = (Tally::new(LENGTH, 0), [socket(0), socket(1)]);
        tally.ask(1, 1_000);
        let answer = br#"{"type":"published","ref":"0","id":"5-0"}"#;
        tally.deliver(&mut one, 1, answer, 3_000).expect("it is due");
        assert_eq!((tally.in_flight, tally.deliveries, tally.latency().largest), (0, 1, 2.0));
        assert!(tally.deliver(&mut one, 1, answer, 3_000).is_err(), "twice");
        let refused = br#"{"type":"refused","ref":"0","code":"rate_limited"}"#;
        assert!(tally.deliver(&mut one, 1, refused, 3_000).is_err(), "refused");
    }

    #[test]
    fn what_is_damaged_or_for_another_is_refused() {
        let (mut tally, [mut one, _]) = two_messages();
        assert!(tally.deliver(&mut one, 1, &payload(0, 1), 1).is_err(), "another's channel");
        assert!(tally.deliver(&mut one, 1, &payload(0, EVERYBODY)[1..], 1).is_err(), "cut");
    }
}
