//! A TCP proxy between the gateway and Redis, or between a client and the gateway, that simulates
//! network faults.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// What the network does to bytes, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Pass,
    /// Everything arrives this much later.
    Delay(Duration),
    /// Nothing arrives, and neither side is told. Data is kept, as TCP would, until this ends.
    BlackHole,
    /// A few bytes at a time.
    Drip,
    /// This many bytes a second.
    Rate(usize),
}

/// A running proxy. Ends at drop.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    target: String,
    weather: Mutex<Weather>,
    open: AtomicBool,
    /// Connections older than this many cuts are to be reset.
    cuts: AtomicUsize,
    /// … and half closed, towards the client.
    halves: AtomicUsize,
    /// Bytes towards the client after which everything is reset; negative: never.
    budget: AtomicI64,
    dials: AtomicUsize,
}

impl Proxy {
    pub(crate) fn to(target: &impl ToString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            target: target.to_string(),
            weather: Mutex::new(Weather::Pass),
            open: AtomicBool::new(true),
            cuts: AtomicUsize::new(0),
            halves: AtomicUsize::new(0),
            budget: AtomicI64::new(-1),
            dials: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &shared));
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// From now on the network is like this, for open connections, too.
    pub(crate) fn set(&self, weather: Weather) {
        *self.state.weather.lock().expect("no holder panics") = weather;
    }

    /// Resets every open connection.
    pub(crate) fn cut(&self) {
        self.state.cuts.fetch_add(1, SeqCst);
    }

    /// Ends every open connection with a FIN, towards the client only.
    pub(crate) fn half_close(&self) {
        self.state.halves.fetch_add(1, SeqCst);
    }

    /// Resets every open connection once, when the target has sent this many more bytes.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.state.budget.store(bytes, SeqCst);
    }

    /// Whether the cut of [`Proxy::cut_after`] has happened.
    pub(crate) fn has_cut(&self) -> bool {
        self.state.budget.load(SeqCst) < 0
    }

    /// How many connections were made so far.
    pub(crate) fn dials(&self) -> usize {
        self.state.dials.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.open.store(false, SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the accept loop
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming() {
        if !state.open.load(SeqCst) {
            return;
        }
        state.dials.fetch_add(1, SeqCst);
        let Ok(client) = client else { continue };
        // If the target refuses, the client is disconnected.
        if let Ok(server) = TcpStream::connect(&state.target) {
            join(&client, &server, state);
        }
    }
}

fn join(client: &TcpStream, server: &TcpStream, state: &Arc<State>) {
    for (from, to, counted) in [(client, server, false), (server, client, true)] {
        let pump = Pump {
            from: from.try_clone().expect("a descriptor"),
            to: to.try_clone().expect("a descriptor"),
            state: Arc::clone(state),
            born: state.cuts.load(SeqCst),
            whole: state.halves.load(SeqCst),
            counted,
            delayed: VecDeque::new(),
        };
        thread::spawn(move || pump.run());
    }
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    state: Arc<State>,
    born: usize,
    whole: usize,
    counted: bool,
    /// Data in flight, with its time of arrival.
    delayed: VecDeque<(Instant, Vec<u8>)>,
}

/// How soon a pump notices a change made on [`Proxy`].
const TICK: Duration = Duration::from_millis(5);

impl Pump {
    fn run(mut self) {
        let _ = self.from.set_read_timeout(Some(TICK));
        let _ = self.from.set_nodelay(true);
        let mut chunk = [0; 16 * 1024];
        while self.is_alive() && self.arrive(false).is_ok() {
            if self.counted && self.state.halves.load(SeqCst) != self.whole {
                let _ = self.to.shutdown(Shutdown::Write);
                return;
            }
            match self.from.read(&mut chunk) {
                Ok(0) => {
                    let _ = self.arrive(true).and_then(|()| self.to.shutdown(Shutdown::Write));
                    return;
                }
                Ok(read) if self.carry(&chunk[..read]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => break,
            }
        }
        let is_cut = !self.is_alive();
        for stream in [&self.from, &self.to] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // A cut becomes a reset when both pumps have dropped their descriptors; a FIN before
            // it would make it an orderly end. Otherwise the other pump must notice the end.
            if !is_cut {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn carry(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.weather() {
                Weather::Delay(delay) => {
                    self.delayed.push_back((Instant::now() + delay, bytes.to_vec()));
                    return Ok(());
                }
                Weather::BlackHole if self.is_alive() => thread::sleep(TICK),
                Weather::BlackHole | Weather::Pass => {
                    self.arrive(true)?;
                    return self.count(bytes.len()).and_then(|()| self.to.write_all(bytes));
                }
                Weather::Drip => return self.pieces(bytes, 7, Duration::from_millis(1)),
                Weather::Rate(rate) => {
                    return self.pieces(bytes, rate.div_ceil(50), Duration::from_millis(20));
                }
            }
        }
    }

    fn weather(&self) -> Weather {
        *self.state.weather.lock().expect("no holder panics")
    }

    /// Writes the data that is due; with `all`, waits for the rest to become due.
    fn arrive(&mut self, all: bool) -> io::Result<()> {
        while let Some((at, _)) = self.delayed.front() {
            let left = at.saturating_duration_since(Instant::now());
            if !all && !left.is_zero() {
                break;
            }
            thread::sleep(left);
            let (_, bytes) = self.delayed.pop_front().expect("just seen");
            self.count(bytes.len()).and_then(|()| self.to.write_all(&bytes))?;
        }
        Ok(())
    }

    fn pieces(&mut self, bytes: &[u8], len: usize, pause: Duration) -> io::Result<()> {
        for piece in bytes.chunks(len) {
            if !self.is_alive() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.to.write_all(piece)?;
            thread::sleep(pause);
        }
        Ok(())
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        if !self.counted || self.state.budget.load(SeqCst) < 0 {
            return Ok(());
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.state.budget.fetch_sub(bytes, SeqCst) < bytes {
            self.state.cuts.fetch_add(1, SeqCst);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.state.open.load(SeqCst) && self.state.cuts.load(SeqCst) == self.born
    }
}
