//! Many clients on one thread, each with its [`Ledger`]. Calls wait with deadlines; between calls
//! the clients run by themselves.

use super::{
    client::{self, Frame},
    http::Request,
    oracle::Ledger,
    wait,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

/// The longest that one client may take to be accepted or refused.
const COMING_IN: Duration = Duration::from_secs(60);

/// A thread that runs clients. They end at drop, by a reset.
pub(crate) struct Crowd {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A client before it connects.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    address: SocketAddr,
    request: Request,
    ledger: Ledger,
    from: Option<IpAddr>,
    narrow: bool,
}

impl Plan {
    pub(crate) fn new(address: SocketAddr, request: Request, ledger: Ledger) -> Self {
        Self { address, request, ledger, from: None, narrow: false }
    }

    /// Connects from this loopback address.
    pub(crate) fn from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// Records the latency of each message.
    pub(crate) fn timed(mut self) -> Self {
        self.ledger.delays = Some(Vec::new());
        self
    }

    /// Uses a receive buffer so small that the gateway soon notices when the client does not read.
    pub(crate) fn narrow(self) -> Self {
        Self { narrow: true, ..self }
    }
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Reads,
    Stops,
    /// Reads this many bytes a second.
    Slow(usize),
    /// Closes as RFC 6455 requires.
    Leaves,
    /// Ends as a crash does.
    Resets,
}

/// Why a client was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Status {
        status: u16,
        retry_after: bool,
    },
    /// No answer at all: refused, reset, or nothing within a minute.
    NoAnswer,
}

/// A client that was accepted.
pub(crate) struct Member {
    ledger: Arc<Mutex<Ledger>>,
    manner: watch::Sender<Manner>,
}

impl Member {
    pub(crate) fn ledger(&self) -> Ledger {
        self.ledger.lock().expect("no holder panics").clone()
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock().expect("no holder panics"))
    }

    /// The latency of each message since the last call, for a client that records it.
    pub(crate) fn take_delays(&self) -> Vec<Duration> {
        let mut ledger = self.ledger.lock().expect("no holder panics");
        let delays = ledger.delays.replace(Vec::new()).expect("it is timed");
        delays.into_iter().map(Duration::from_micros).collect()
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Waits until the connection has ended.
    #[track_caller]
    pub(crate) fn wait_ended(&self) -> Ledger {
        wait::until("the connection has ended", || self.look(|ledger| ledger.ended));
        self.ledger()
    }
}

impl Crowd {
    pub(crate) fn gather() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            // An error means that the crowd was dropped: stop as well.
            let _ = runtime.block_on(stopped);
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    /// Connects them all at once.
    #[track_caller]
    pub(crate) fn come(&self, plans: Vec<Plan>) -> Vec<Result<Member, Refused>> {
        let (count, (sender, results)) = (plans.len(), mpsc::channel());
        for (at, plan) in plans.into_iter().enumerate() {
            let sender = sender.clone();
            self.handle.spawn(async move {
                let entered = timeout(COMING_IN, enter(&plan)).await.unwrap_or(Ok(Err(None)));
                let result = match entered {
                    Ok(Ok((stream, inbox))) => Ok(attend(stream, inbox, plan.ledger)),
                    Ok(Err(Some(refused))) => Err(refused),
                    Ok(Err(None)) | Err(_) => Err(Refused::NoAnswer),
                };
                let _ = sender.send((at, result));
            });
        }
        let limit = COMING_IN + wait::LIMIT;
        let mut all: Vec<_> =
            (0..count).map(|_| results.recv_timeout(limit).expect("a result each")).collect();
        all.sort_by_key(|&(at, _)| at);
        all.into_iter().map(|(_, result)| result).collect()
    }

    /// … and all must be accepted.
    #[track_caller]
    pub(crate) fn all_in(&self, plans: Vec<Plan>) -> Vec<Member> {
        let results = self.come(plans).into_iter();
        results.map(|result| result.unwrap_or_else(|why| panic!("not let in: {why:?}"))).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Entered = Result<(TcpStream, Vec<u8>), Option<Refused>>;

async fn enter(plan: &Plan) -> io::Result<Entered> {
    let socket = TcpSocket::new_v4()?;
    if plan.narrow {
        socket.set_recv_buffer_size(4096)?;
    }
    if let Some(from) = plan.from {
        socket.bind((from, 0).into())?;
    }
    let mut stream = socket.connect(plan.address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&plan.request.encode()).await?;
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(Err(None));
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
    if status == 101 {
        return Ok(Ok((stream, bytes.split_off(head))));
    }
    Ok(Err(Some(Refused::Status { status, retry_after: text.contains("\r\nretry-after: ") })))
}

/// Runs a client on this runtime.
fn attend(stream: TcpStream, inbox: Vec<u8>, ledger: Ledger) -> Member {
    let (manner, manners) = watch::channel(Manner::Reads);
    let ledger = Arc::new(Mutex::new(ledger));
    let life = Life { stream, inbox, ledger: Arc::clone(&ledger), manners };
    tokio::spawn(async move {
        let ledger = Arc::clone(&life.ledger);
        // An error is also an end: the gateway has reset the connection.
        let _ = life.live().await;
        ledger.lock().expect("no holder panics").take(&Frame::End);
    });
    Member { ledger, manner }
}

struct Life {
    stream: TcpStream,
    inbox: Vec<u8>,
    ledger: Arc<Mutex<Ledger>>,
    manners: watch::Receiver<Manner>,
}

impl Life {
    async fn live(mut self) -> io::Result<()> {
        loop {
            self.take_frames().await?;
            let manner = *self.manners.borrow_and_update();
            let most = match manner {
                Manner::Reads => usize::MAX,
                Manner::Stops => {
                    // An error means that the test has dropped it and needs nothing more.
                    if self.manners.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                    continue;
                }
                Manner::Slow(rate) => {
                    sleep(Duration::from_millis(100)).await;
                    rate.div_ceil(10)
                }
                Manner::Leaves => return self.leave().await,
                Manner::Resets => return self.stream.set_zero_linger(),
            };
            tokio::select! {
                biased;
                Ok(()) = self.manners.changed() => {}
                read = read_some(&mut self.stream, &mut self.inbox, most) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn leave(&mut self) -> io::Result<()> {
        let frame = client::encode(client::CLOSE, &1000_u16.to_be_bytes());
        self.stream.write_all(&frame).await?;
        while read_some(&mut self.stream, &mut self.inbox, usize::MAX).await? > 0 {
            self.take_frames().await?;
        }
        Ok(())
    }

    async fn take_frames(&mut self) -> io::Result<()> {
        let mut taken = 0;
        while let Some((frame, len)) = client::parse(&self.inbox[taken..]) {
            taken += len;
            self.ledger.lock().expect("no holder panics").take(&frame);
            match frame {
                Frame::Ping(payload) => self.send(client::PONG, &payload).await?,
                Frame::Close(code, _) => self.send(client::CLOSE, &code.to_be_bytes()).await?,
                _ => {}
            }
        }
        self.inbox.drain(..taken);
        Ok(())
    }

    async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&client::encode(first, payload)).await
    }
}

async fn read_some(stream: &mut TcpStream, inbox: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    inbox.reserve(4096);
    stream.take(most as u64).read_buf(inbox).await
}

/// Waits until each of these has the message with this number from a channel.
#[track_caller]
pub(crate) fn wait_all_have(members: &[Member], channel: &str, last: u64) {
    wait::within(Duration::from_secs(60), &format!("all have {last} of {channel}"), || {
        let has = |one: &Member| one.look(|ledger| ledger.last(channel) == Some(last));
        members.iter().all(has).then_some(())
    });
}
