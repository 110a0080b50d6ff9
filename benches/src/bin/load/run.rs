//! The steps, one after the other, over one set of sockets.

mod flood;
mod post;
mod resume;

use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use sockway_benches::poll::Poll;
use sockway_benches::report::{Connected, Window};
use sockway_benches::stamp::{self, EVERYBODY, Stamp};
use sockway_benches::{channels, process, token};

use crate::options::{By, Closed, Connect, Content, Idle, Open, Options, Target};
use crate::publisher::Publisher;
use crate::sockets::{self, Frame, Socket};
use crate::windows::{Meter, Tally};
use crate::wire::{self, Wire};

const PUBLISHER: u64 = u64::MAX;
const BUFFER: usize = 1024 * 1024;
/// After this long without progress, missing deliveries count as lost.
const STALLED: Duration = Duration::from_secs(10);
/// A pause before and after each window, so that the server is idle when its CPU time is read.
const SETTLE: Duration = Duration::from_millis(30);
/// How often slow sockets read.
const SLOW_READS: Duration = Duration::from_millis(100);

type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) struct Run<'a> {
    options: &'a Options,
    started: Instant,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    /// `None` after Redis has closed it, as it does when it is restarted.
    publisher: Option<Publisher>,
    publisher_waits: bool,
    sockets: Vec<Socket>,
    shaking_hands: usize,
    slow: Slow,
    channels_of_a_socket: u32,
    tally: Tally,
    buffer: Vec<u8>,
    ready: Vec<u64>,
}

/// Sockets that read a few bytes at a time.
#[derive(Default)]
struct Slow {
    sockets: Vec<Wire>,
    bytes_at_a_time: usize,
    next_read: Option<Instant>,
    closed: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(options: &'a Options) -> Outcome<Self> {
        let to = if options.publish_over_http { options.server } else { options.redis };
        let publisher = Publisher::connect(to, options.publish_over_http)?;
        let poll = Poll::new()?;
        poll.add(&publisher.socket, PUBLISHER)?;
        Ok(Self {
            options,
            started: Instant::now(),
            tls: options.tls_ca.as_deref().map(wire::trusting).transpose()?,
            poll,
            publisher: Some(publisher),
            publisher_waits: false,
            sockets: Vec::new(),
            shaking_hands: 0,
            slow: Slow::default(),
            channels_of_a_socket: 0,
            tally: Tally::new(stamp::LENGTH, 0),
            buffer: vec![0; BUFFER],
            ready: Vec::new(),
        })
    }

    pub(crate) fn connect(&mut self, step: &Connect) -> Outcome<Connected> {
        if let Some(bytes) = step.slow_bytes_per_second {
            return self.connect_slow(step, bytes);
        }
        self.channels_of_a_socket = step.channels;
        let before = self.sockets.len();
        let end = before + step.sockets;
        let path = |index| path(&step.path, step.channels, step.room, index);
        let paths: Vec<String> = (before..end).map(path).collect();
        self.settle()?;
        let memory_before = process::memory(&self.options.pid)?;
        let redis: Vec<u32> = self.options.redis_pid.into_iter().collect();
        let meter = Meter::start(&self.options.pid, &redis)?;
        let start = Instant::now();
        self.open_all(&paths, step.at_once)?;
        let seconds = start.elapsed().as_secs_f64();
        self.settle()?;
        let (cpu, shares) = meter.stop(seconds)?;
        Ok(Connected {
            sockets: self.sockets.len(),
            opened: step.sockets,
            seconds,
            server_cpu_micros_per_connection: cpu as f64 / 1e3 / step.sockets as f64,
            memory_before,
            memory_after: process::memory(&self.options.pid)?,
            shares,
        })
    }

    /// Opens a socket for each path, so many at once.
    fn open_all(&mut self, paths: &[String], at_once: usize) -> Outcome<()> {
        let before = self.sockets.len();
        let end = before + paths.len();
        let mut progress = (Instant::now(), 0);
        while self.sockets.len() < end || self.shaking_hands > 0 {
            while self.sockets.len() < end && self.shaking_hands < at_once {
                self.connect_one(&paths[self.sockets.len() - before])?;
            }
            self.turn(Some(STALLED))?;
            let open = self.sockets.len() - self.shaking_hands;
            if open > progress.1 {
                progress = (Instant::now(), open);
            } else if progress.0.elapsed() > STALLED {
                let silent = self.shaking_hands;
                return Err(format!("{open} sockets are open, {silent} get no answer").into());
            }
        }
        Ok(())
    }

    fn connect_one(&mut self, path: &str) -> Outcome<()> {
        let index = self.sockets.len();
        let wire = sockets::connect(self.options.server, index, path, false, self.tls.as_ref())?;
        self.poll.add(&wire, index as u64)?;
        self.shaking_hands += 1;
        self.sockets.push(Socket {
            wire,
            open: false,
            rest: Vec::new(),
            first_channel: index as u32 * self.channels_of_a_socket,
            next_sequence: 0,
            last_arrival: 0,
        });
        Ok(())
    }

    fn connect_slow(&mut self, step: &Connect, bytes_per_second: u64) -> Outcome<Connected> {
        for _ in 0..step.sockets {
            let index = self.sockets.len();
            let mut socket =
                sockets::connect(self.options.server, index, &step.path, true, self.tls.as_ref())?;
            let (start, mut arrived) = (Instant::now(), Vec::new());
            while sockets::answered(&arrived)?.is_none() {
                if start.elapsed() > STALLED {
                    return Err("a slow socket gets no answer".into());
                }
                let mut byte = [0];
                match socket.read(&mut byte) {
                    Ok(0) => return Err("a slow socket was closed".into()),
                    Ok(_) => arrived.push(byte[0]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.turn(Some(Duration::from_millis(1)))?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.slow.sockets.push(socket);
        }
        self.slow.bytes_at_a_time = (bytes_per_second / 10).max(1) as usize;
        self.slow.next_read = Some(Instant::now());
        let memory = process::memory(&self.options.pid)?;
        Ok(Connected {
            sockets: self.sockets.len(),
            opened: step.sockets,
            seconds: 0.0,
            server_cpu_micros_per_connection: 0.0,
            memory_before: memory,
            memory_after: memory,
            shares: Default::default(),
        })
    }

    pub(crate) fn closed(&mut self, step: &Closed) -> Outcome<Window> {
        self.window(step.content, |run| {
            let mut progress = (Instant::now(), 0);
            while run.tally.published() < step.messages || run.tally.in_flight > 0 {
                while run.tally.published() < step.messages && run.tally.in_flight < step.in_flight
                {
                    let now = run.now();
                    run.publish(step.content, now)?;
                }
                run.turn(Some(STALLED))?;
                run.watch(&mut progress)?;
            }
            Ok(())
        })
    }

    pub(crate) fn open(&mut self, step: &Open) -> Outcome<Window> {
        let messages = (step.rate * step.seconds).ceil() as u64;
        self.window(step.content, |run| {
            let (start, mut progress) = (run.now(), (Instant::now(), 0));
            // Latency counts from when a message is due, also when this program is late.
            let due = |message: u64| start + (message as f64 / step.rate * 1e9) as u64;
            while run.tally.published() < messages || run.tally.in_flight > 0 {
                while run.tally.published() < messages && due(run.tally.published()) <= run.now() {
                    run.publish(step.content, due(run.tally.published()))?;
                }
                let mut wait = STALLED;
                if run.tally.published() < messages {
                    wait =
                        Duration::from_nanos(due(run.tally.published()).saturating_sub(run.now()));
                }
                run.turn(Some(wait))?;
                run.watch(&mut progress)?;
            }
            Ok(())
        })
    }

    pub(crate) fn idle(&mut self, step: &Idle) -> Outcome<Window> {
        let content =
            Content { size: stamp::LENGTH, to: Target::All, stream: false, by: By::Redis };
        self.window(content, |run| run.turn_for(Duration::from_secs_f64(step.seconds)))
    }

    /// Counts and measures while `publish` runs.
    fn window(
        &mut self,
        content: Content,
        publish: impl FnOnce(&mut Self) -> Outcome<()>,
    ) -> Outcome<Window> {
        if content.size < stamp::LENGTH {
            return Err(format!("a message has at least {} bytes", stamp::LENGTH).into());
        }
        self.tally = Tally::new(content.size, self.tally.next_sequence());
        for socket in &mut self.sockets {
            socket.last_arrival = 0;
        }
        self.settle()?;
        let redis: Vec<u32> = self.options.redis_pid.into_iter().collect();
        let meter = Meter::start(&self.options.pid, &redis)?;
        let start = self.now();
        publish(self)?;
        let end = if self.tally.deliveries > 0 { self.tally.last_arrival } else { self.now() };
        // Anything that arrives now is a duplicate, and the tally rejects it.
        self.settle()?;
        let seconds = (end - start) as f64 / 1e9;
        let (cpu, shares) = meter.stop(seconds)?;
        let tally = &self.tally;
        Ok(Window {
            messages: tally.published(),
            deliveries: tally.deliveries,
            seconds,
            deliveries_per_second: tally.deliveries as f64 / seconds,
            server_cpu_micros_per_delivery: cpu as f64 / 1e3 / tally.deliveries.max(1) as f64,
            latency: tally.latency(),
            until_everybody: tally.until_everybody(),
            longest_silence_millis: tally.longest_silence as f64 / 1e6,
            memory: process::memory(&self.options.pid)?,
            pings: tally.pings,
            gap_notices: tally.gap_notices,
            slow_closed: self.slow.closed,
            shares,
        })
    }

    fn publish(&mut self, content: Content, nanos: u64) -> Outcome<()> {
        if content.by == By::Sockets {
            return self.say(content, nanos);
        }
        let sequence = self.tally.next_sequence();
        let (name, channel, sockets) = match content.to {
            Target::All => (channels::ALL.to_owned(), EVERYBODY, self.sockets.len() as u32),
            Target::Own => {
                let all = self.sockets.len() as u32 * self.channels_of_a_socket;
                let channel = (self.tally.published() % u64::from(all)) as u32;
                (channels::own(channel), channel, 1)
            }
        };
        let mut payload = Vec::with_capacity(content.size);
        Stamp { sequence, channel, nanos }.write(content.size, &mut payload);
        match &mut self.publisher {
            _ if content.by == By::Socket => {
                self.sockets[0].wire.write_all(&sockets::text(&payload))?;
            }
            Some(publisher) if content.stream => publisher.append(&name, "*", &payload),
            Some(publisher) => publisher.add(&name, &payload),
            None => {}
        }
        self.tally.publish(sockets);
        Ok(())
    }

    /// The next socket publishes. The reference is the number of the message in its window.
    fn say(&mut self, content: Content, nanos: u64) -> Outcome<()> {
        let number = self.tally.published();
        let data = "~".repeat(content.size);
        let frame = format!(r#"{{"type":"publish","ref":"{number}","data":"{data}"}}"#);
        let speaker = number as usize % self.sockets.len();
        self.sockets[speaker].wire.write_all(&sockets::text(frame.as_bytes()))?;
        self.tally.ask(1, nanos);
        Ok(())
    }

    /// Fails when messages are in flight and nothing arrives any more.
    fn watch(&self, progress: &mut (Instant, u64)) -> Outcome<()> {
        let done = self.tally.deliveries + self.tally.published();
        if done > progress.1 {
            *progress = (Instant::now(), done);
        } else if self.tally.in_flight > 0 && progress.0.elapsed() >= STALLED {
            return Err(self.tally.complaint().into());
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.turn_for(SETTLE)
    }

    pub(crate) fn turn_for(&mut self, time: Duration) -> Outcome<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            self.turn(Some(left))?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Waits until something is ready, at most for `timeout`, and handles it.
    fn turn(&mut self, timeout: Option<Duration>) -> Outcome<()> {
        self.flush()?;
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.extend(self.poll.wait(self.at_most_until_slow_reads(timeout))?);
        for &token in &ready {
            if token == PUBLISHER {
                self.read_publisher()?;
            } else {
                self.read(token as usize)?;
            }
        }
        self.ready = ready;
        self.slow.read(&mut self.buffer)
    }

    fn at_most_until_slow_reads(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(next) = self.slow.next_read else { return timeout };
        let left = next.saturating_duration_since(Instant::now());
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    /// It may end while nothing is in flight.
    fn read_publisher(&mut self) -> Outcome<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        if publisher.read(&mut self.buffer)? {
            return Ok(());
        }
        self.publisher = None;
        if self.tally.in_flight > 0 {
            Err("the publishing connection was closed".into())
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Outcome<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let waits = !publisher.flush()?;
        if waits != self.publisher_waits {
            self.poll.also_writable(&publisher.socket, PUBLISHER, waits)?;
            self.publisher_waits = waits;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Outcome<()> {
        let socket = &mut self.sockets[index];
        let rest = socket.rest.len();
        self.buffer[..rest].copy_from_slice(&socket.rest);
        let end = match socket.wire.read(&mut self.buffer[rest..]) {
            Ok(0) => {
                return Err(
                    format!("the server closed socket {index} without a close frame").into()
                );
            }
            Ok(length) => rest + length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("socket {index}: {error}").into()),
        };
        let now = self.started.elapsed().as_nanos() as u64;
        let mut at = 0;
        if !socket.open
            && let Some(length) = sockets::answered(&self.buffer[..end])?
        {
            socket.open = true;
            self.shaking_hands -= 1;
            at = length;
        }
        while socket.open
            && let Some((frame, length)) = sockets::frame(&self.buffer[at..end])?
        {
            at += length;
            match frame {
                Frame::Message(payload) => {
                    self.tally.deliver(socket, self.channels_of_a_socket, payload, now)?
                }
                Frame::Ping(payload) => {
                    self.tally.pings += 1;
                    sockets::pong(&mut socket.wire, payload)?;
                }
                Frame::Close(code) => {
                    return Err(format!("the server closed socket {index} with {code}").into());
                }
            }
        }
        socket.rest.clear();
        socket.rest.extend_from_slice(&self.buffer[at..end]);
        Ok(())
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

impl Slow {
    fn read(&mut self, buffer: &mut [u8]) -> Outcome<()> {
        let now = Instant::now();
        if self.next_read.is_none_or(|next| now < next) {
            return Ok(());
        }
        self.next_read = Some(now + SLOW_READS);
        let before = self.sockets.len();
        let bytes = &mut buffer[..self.bytes_at_a_time];
        self.sockets.retain_mut(|socket| match socket.read(bytes) {
            Ok(length) => length > 0,
            Err(error) => error.kind() != ErrorKind::ConnectionReset,
        });
        self.closed += (before - self.sockets.len()) as u64;
        Ok(())
    }
}

fn path(template: &str, channels: u32, room: usize, index: usize) -> String {
    let first = index as u32 * channels;
    let mut path = template.replace("{room}", &(index / room).to_string());
    if path.contains("{ids}") {
        let ids: Vec<String> = (first..first + channels).map(|number| number.to_string()).collect();
        path = path.replace("{ids}", &ids.join(","));
    }
    if path.contains("{token}") {
        path = path.replace("{token}", &token::mint(&first.to_string()));
    }
    path
}
