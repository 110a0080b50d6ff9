//! The rules of a listener, with real sockets.

use super::*;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// A path for a socket, in a directory of its own.
fn socket_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ws.sock");
    (directory, path)
}

async fn greeted(listener: &Listener) -> Option<IpAddr> {
    let accepted = timeout(Duration::from_secs(30), listener.accept()).await.unwrap().unwrap();
    let peer = accepted.peer();
    accepted.into_transport(None).unwrap().write_all(b"hello").await.unwrap();
    peer
}

#[tokio::test]
async fn a_connection_comes_with_its_peer_s_address_and_a_unix_socket_has_none() {
    let (_directory, path) = socket_path();
    let unix = Listener::unix(&path, 0o660).unwrap();
    let tcp = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut by_unix = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut by_tcp = tokio::net::TcpStream::connect(tcp.address().unwrap()).await.unwrap();
    assert_eq!(greeted(&unix).await, None);
    assert_eq!(greeted(&tcp).await, Some("127.0.0.1".parse().unwrap()));
    let mut greetings = [[0; 5]; 2];
    by_unix.read_exact(&mut greetings[0]).await.unwrap();
    by_tcp.read_exact(&mut greetings[1]).await.unwrap();
    assert_eq!(greetings, [*b"hello"; 2]);
}

#[tokio::test]
async fn a_socket_file_is_removed_at_the_end() {
    let (_directory, path) = socket_path();
    let listener = Listener::unix(&path, 0o660).unwrap();
    assert!(path.exists());
    assert_eq!(listener.address(), None);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_has_exactly_the_mode_that_was_asked_for() {
    // Some of these have rights that every usual umask takes, others lack rights that it leaves.
    for mode in [0o600, 0o660, 0o666, 0o622, 0o777] {
        let (_directory, path) = socket_path();
        let _listener = Listener::unix(&path, mode).unwrap();
        let real = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(real, mode, "{real:o} instead of {mode:o}");
    }
}

#[tokio::test]
async fn a_stale_socket_file_is_replaced() {
    let (_directory, path) = socket_path();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind");
    let _listener = Listener::unix(&path, 0o660).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_live_socket_is_an_error_and_stays() {
    let (_directory, path) = socket_path();
    let _first = Listener::unix(&path, 0o660).unwrap();
    let error = Listener::unix(&path, 0o660).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_an_error_and_stays() {
    let (_directory, path) = socket_path();
    fs::write(&path, "precious").unwrap();
    for error in [Listener::unix(&path, 0o660).err().unwrap(), try_unix(&path).unwrap_err()] {
        assert!(error.to_string().contains("no socket"), "not an address in use: {error}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn to_try_an_address_listens_nowhere_and_leaves_everything_as_it_was() {
    let (directory, path) = socket_path();
    try_unix(&path).unwrap();
    assert!(!path.exists());
    assert!(try_unix(&directory.path().join("absent/ws.sock")).is_err());
    let listener = Listener::unix(&path, 0o660).unwrap();
    assert_eq!(try_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    UnixStream::connect(&path).unwrap();
    drop(listener);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    try_unix(&path).unwrap();
    assert!(path.exists(), "a stale file is not doctor's to remove");

    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap();
    assert_eq!(try_tcp(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    try_tcp(address).unwrap();
}

#[tokio::test]
async fn the_end_leaves_another_process_s_socket_file_alone() {
    let (directory, path) = socket_path();
    let first = Listener::unix(&path, 0o660).unwrap();
    // Kept under another name, so that the new file cannot get the same inode.
    fs::rename(&path, directory.path().join("moved.sock")).unwrap();
    let _second = Listener::unix(&path, 0o660).unwrap();
    drop(first);
    assert!(path.exists());
}

#[tokio::test]
async fn a_tcp_port_in_use_is_an_error() {
    let holder = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Listener::tcp(holder.address().unwrap()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
