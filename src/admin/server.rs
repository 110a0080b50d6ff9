//! The thread behind the private port: accepts, serves HTTP/1.1, ends in an orderly way.

use super::{AdminContext, routes};
use crate::net;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    task::{self, JoinHandle},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Connections at once. For one more the oldest ends, one that has no request first: a client that
/// holds places and says nothing must not keep a health check out. A complete request that has
/// arrived is answered first.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request, idle time between two included.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is asked to end after this long, so that clients that do not read what they asked
/// for cannot use up the connections.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// How long an answer that is under way may take when the connection is asked to end, or its place is
/// needed.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// How long a new connection has for its request before its place can be needed: with many that come at
/// once, the request is a moment behind the connection.
const TIME_TO_ASK: Duration = Duration::from_millis(50);

/// Turns of the runtime after which a connection has read what waits in its socket. In each the runtime
/// asks the kernel which sockets have something; a new one is known to it from its first turn on.
const TURNS_TO_READ: usize = 4;

/// Largest request head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after a failed accept: with no descriptor left it would fail again at once, for ever.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The private port, bound; nothing is answered before [`Admin::start`].
#[derive(Debug)]
pub struct Admin {
    listener: StdListener,
    address: SocketAddr,
}

/// The private port, served. Dropping it ends the thread soon after.
#[derive(Debug)]
pub struct Running {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Admin {
    /// Binds the private port.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = net::listen_tcp(address)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer, on a thread of its own.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(self, context: AdminContext) -> io::Result<Running> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(self.listener)?
        };
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, end) = (stop.clone(), ended.clone().drop_guard());
        thread::Builder::new().name("sockway-admin".to_owned()).spawn(move || {
            // Dropped when the thread ends, by a panic too: that is how its end is noticed.
            let _end = end;
            runtime.block_on(serve(listener, Arc::new(context), stopped));
        })?;
        Ok(Running { stop, ended })
    }
}

impl Running {
    /// Resolves when the thread has ended, which it never does unasked unless something broke.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Closes the port, lets answers that are under way finish, and waits for the thread.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, context: Arc<AdminContext>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, &context, &stop, &connections) => {}
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    context: &Arc<AdminContext>,
    stop: &CancellationToken,
    connections: &TaskTracker,
) {
    let mut open = Vec::with_capacity(MAX_CONNECTIONS);
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                make_room(&mut open).await;
                let connection = Connection {
                    context: Arc::clone(context),
                    peer,
                    answering: Arc::default(),
                    place_needed: CancellationToken::new(),
                };
                let (answering, place_needed) =
                    (Arc::clone(&connection.answering), connection.place_needed.clone());
                let stop = stop.clone();
                let task = connections.spawn(async move { connection.serve(stream, &stop).await });
                open.push(Open { task, since: Instant::now(), answering, place_needed });
            }
            Err(error) => {
                if !failing {
                    warn!(%error, "the admin port cannot accept");
                }
                failing = true;
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection, as the accept loop sees it.
struct Open {
    task: JoinHandle<()>,
    /// When it was accepted.
    since: Instant,
    /// It has sent a request that is not answered yet.
    answering: Arc<AtomicBool>,
    /// Asks it to end, which takes it [`LAST_ANSWER`] at the most.
    place_needed: CancellationToken,
}

/// Forgets the connections that have ended. When there are still as many as there may be, has one end.
/// The oldest stand first.
async fn make_room(open: &mut Vec<Open>) {
    let waits = |one: &Open| !one.answering.load(Relaxed);
    let oldest = loop {
        open.retain(|one| !one.task.is_finished());
        if open.len() < MAX_CONNECTIONS {
            return;
        }
        let oldest = open.iter().position(waits).unwrap_or(0);
        match TIME_TO_ASK.checked_sub(open[oldest].since.elapsed()) {
            Some(left) if waits(&open[oldest]) => time::sleep(left).await,
            _ => break oldest,
        }
    };
    let ends = open.remove(oldest);
    ends.place_needed.cancel();
    // By a panic too, it has ended.
    let _ = ends.task.await;
}

/// A connection, as its own task sees it.
struct Connection {
    context: Arc<AdminContext>,
    peer: SocketAddr,
    answering: Arc<AtomicBool>,
    place_needed: CancellationToken,
}

impl Connection {
    async fn serve(&self, stream: TcpStream, stop: &CancellationToken) {
        let service = service_fn(async |request| {
            self.answering.store(true, Relaxed);
            let response = routes::respond(&self.context, self.peer, request).await;
            self.answering.store(false, Relaxed);
            Ok::<_, Infallible>(response)
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service)
        );
        let over = async {
            tokio::select! {
                () = stop.cancelled() => false,
                () = time::sleep(CONNECTION_LIFETIME) => false,
                has_no_request = self.place_is_needed() => has_no_request,
            }
        };
        let result = tokio::select! {
            biased; // What has arrived is read before anything else is decided.
            result = connection.as_mut() => result,
            at_once = over => if at_once { Ok(()) } else {
                connection.as_mut().graceful_shutdown();
                time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            debug!(%error, "admin connection ended");
        }
    }

    /// Waits until the place is needed; whether the connection has no request then. It may have been
    /// accepted a moment ago, and its request may wait in the socket.
    async fn place_is_needed(&self) -> bool {
        self.place_needed.cancelled().await;
        for _ in 0..TURNS_TO_READ {
            task::yield_now().await;
        }
        !self.answering.load(Relaxed)
    }
}
