//! What counts as progress of a client: bytes that it has acknowledged, not room in our kernel's buffer.

use super::rig::{Rig, endpoint, identity, run};
use crate::{endpoint::Endpoint, net::Transport, reason::CloseReason};
use std::time::Duration;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream, UnixStream},
    time::{Instant, sleep},
};

const BURST: usize = 600_000;

/// Either end of a connection.
type Ends<Client> = (Transport, Client);

fn unix() -> Ends<UnixStream> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Transport::Unix(ours), theirs)
}

/// A client whose kernel takes little more than it has read.
async fn tcp() -> Ends<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let connect = socket.connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connect, listener.accept());
    (Transport::Tcp(accepted.unwrap().0), client.unwrap())
}

/// A client that reads 8,000 bytes each second gets all of a burst.
async fn reads_slowly((transport, mut client): Ends<impl AsyncReadExt + Unpin>) {
    let mut rig = Rig::new();
    // It answers no pings, which are not what is tested.
    let quiet = Endpoint { ping_interval: Duration::from_secs(3600), ..endpoint() };
    rig.start(transport, quiet, identity()).await;
    rig.publish("orders", &"x".repeat(BURST));
    let mut left = BURST;
    while left > 0 {
        sleep(Duration::from_secs(1)).await;
        let read = client.read(&mut [0; 8_000]).await.unwrap();
        assert_ne!(read, 0, "hung up with {left} bytes unread");
        left = left.saturating_sub(read);
        assert_eq!(rig.metrics().open(), 1, "closed with {left} bytes unread");
    }
    assert_eq!(rig.metrics().closed[CloseReason::WriteTimeout.index()].load(), 0);
}

/// A client that takes longer for what is before a ping than it has for the pong stays.
async fn reads_towards_a_ping((transport, mut client): Ends<impl AsyncReadExt + Unpin>) {
    let mut rig = Rig::new();
    rig.start(transport, endpoint(), identity()).await;
    // The kernel takes it at once, so that a ping is written behind it; and more comes than is read.
    rig.publish("orders", &"x".repeat(80_000));
    for second in 0..60 {
        sleep(Duration::from_secs(1)).await;
        rig.publish("orders", &"x".repeat(4_000));
        let read = client.read(&mut [0; 3_000]).await.unwrap();
        assert_ne!(read, 0, "hung up after {second} s");
    }
    let timeouts = rig.metrics().closed[CloseReason::PingTimeout.index()].load();
    assert_eq!((rig.metrics().open(), timeouts), (1, 0));
}

/// A client that takes nothing any more is closed, though what it is sent fits into the kernel's buffer.
async fn hangs_with_little_unread((transport, _client): Ends<impl AsyncReadExt>) {
    let mut rig = Rig::new();
    rig.start(transport, endpoint(), identity()).await;
    let began = Instant::now();
    while rig.metrics().open() == 1 {
        rig.publish("orders", "more");
        sleep(Duration::from_secs(1)).await;
        let longest = endpoint().ping_interval + endpoint().ping_timeout + Duration::from_secs(3);
        assert!(began.elapsed() < longest, "not closed");
    }
    assert_eq!(rig.metrics().closed[CloseReason::PingTimeout.index()].load(), 1);
}

/// A client that reads nothing is closed, not much later than `write_timeout` says.
async fn reads_nothing((transport, _client): Ends<impl AsyncReadExt>) {
    let mut rig = Rig::new();
    rig.start(transport, endpoint(), identity()).await;
    rig.publish("orders", &"x".repeat(4 * BURST));
    let (began, timeout) = (Instant::now(), endpoint().write_timeout);
    while rig.metrics().open() == 1 {
        sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < 3 * timeout, "not closed");
    }
    // The last five seconds are for the close frame.
    let open = began.elapsed() - Duration::from_secs(5);
    assert!(open >= timeout - Duration::from_secs(1), "{open:?}");
    // The test's clock runs ahead of the kernel's, which acknowledges a little later than it has taken.
    assert!(open <= 2 * timeout, "{open:?}");
    assert_eq!(rig.metrics().closed[CloseReason::WriteTimeout.index()].load(), 1);
}

#[test]
fn a_client_that_reads_slowly_all_the_time_is_not_closed() {
    run(async { reads_slowly(tcp().await).await });
}

#[test]
fn a_client_on_a_unix_socket_that_reads_slowly_all_the_time_is_not_closed() {
    run(async { reads_slowly(unix()).await });
}

#[test]
fn a_client_that_reads_nothing_is_closed_after_write_timeout() {
    run(async { reads_nothing(tcp().await).await });
}

#[test]
fn a_client_on_a_unix_socket_that_reads_nothing_is_closed_after_write_timeout() {
    run(async { reads_nothing(unix()).await });
}

#[test]
fn a_ping_behind_much_that_a_slow_client_reads_all_the_time_does_not_close_it() {
    run(async { reads_towards_a_ping(tcp().await).await });
    run(async { reads_towards_a_ping(unix()).await });
}

#[test]
fn a_client_that_hangs_is_closed_by_the_ping_timeout_though_messages_go_on() {
    run(async { hangs_with_little_unread(unix()).await });
}
