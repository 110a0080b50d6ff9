//! The thread behind the private port: accepts, serves HTTP/1.1, ends in an orderly way.

use super::{AdminContext, routes};
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
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinHandle,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Connections at once. For one more the oldest is cut, one that waits for a request first: a client
/// that holds places and says nothing must not keep a health check out.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request, idle time between two included.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection is asked to end after this long, so that clients that do not read what they asked
/// for cannot use up the connections.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// How long an answer that is under way may take when the connection is asked to end.
const LAST_ANSWER: Duration = Duration::from_millis(500);

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
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
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
                make_room(&mut open);
                let (context, stop) = (Arc::clone(context), stop.clone());
                let answering = Arc::new(AtomicBool::new(false));
                let connection = Connection { context, peer, answering: Arc::clone(&answering) };
                let task = connections.spawn(async move { connection.serve(stream, &stop).await });
                open.push(Open { task, answering });
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
    /// It has sent a request that is not answered yet.
    answering: Arc<AtomicBool>,
}

/// Forgets the connections that have ended. When there are still as many as there may be, cuts one.
/// The oldest stand first.
fn make_room(open: &mut Vec<Open>) {
    open.retain(|one| !one.task.is_finished());
    if open.len() < MAX_CONNECTIONS {
        return;
    }
    let waits = |one: &Open| !one.answering.load(Relaxed);
    open.remove(open.iter().position(waits).unwrap_or(0)).task.abort();
}

/// A connection, as its own task sees it.
struct Connection {
    context: Arc<AdminContext>,
    peer: SocketAddr,
    answering: Arc<AtomicBool>,
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
            let lifetime = time::timeout(CONNECTION_LIFETIME, stop.cancelled());
            let _ = lifetime.await;
        };
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = over => {
                connection.as_mut().graceful_shutdown();
                time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            debug!(%error, "admin connection ended");
        }
    }
}
