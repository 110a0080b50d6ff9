//! The thread behind the private port: accepts, serves HTTP/1.1, ends in an orderly way.

use super::{AdminContext, routes};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::Semaphore,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Connections at once; more wait in the kernel's queue.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request, idle time between two included.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

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
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut failing = false;
    // The semaphore is never closed, so this loop does not end by itself.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                failing = false;
                let (context, stop) = (Arc::clone(context), stop.clone());
                connections.spawn(async move {
                    connection(stream, &context, &stop).await;
                    drop(place);
                });
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

async fn connection(stream: TcpStream, context: &AdminContext, stop: &CancellationToken) {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(routes::respond(context, request).await));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = time::sleep(CONNECTION_LIFETIME) => {} } } => {
            connection.as_mut().graceful_shutdown();
            time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%error, "admin connection ended");
    }
}
