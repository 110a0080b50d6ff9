//! What the kernel still holds of a socket's output: bytes that the peer has not acknowledged.
//!
//! Asked of the kernel's `sock_diag` (what `ss` shows as Send-Q), since room in a send buffer says
//! little: it comes back in pieces for which a slow line needs longer than any patience. A question is a
//! handful of system calls, so it is asked about sockets that take nothing, a few times each, and where
//! Server-Sent Events have no pong: once in a `ping_interval`.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    recv, sendto, socket_with,
};
use std::{
    fs::File,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};
use tokio::net::{TcpStream, UnixStream};

/// `SOCK_DIAG_BY_FAMILY`: the type of a question and of its answer.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// Of a netlink message.
const HEADER_BYTES: usize = 16;
/// Where `inet_diag_msg` has `idiag_wqueue`.
const TCP_QUEUE_AT: usize = HEADER_BYTES + 60;
/// `UDIAG_SHOW_RQLEN`: the lengths of both queues, as an attribute behind `unix_diag_msg`.
const SHOW_QUEUES: u32 = 0x10;
const UNIX_QUEUE_AT: usize = HEADER_BYTES + 16 + 4 + 4;
/// No particular socket: the address, or the inode, is enough.
const NO_COOKIE: [u8; 8] = [0xFF; 8];

/// Bytes of a TCP socket that were written and not acknowledged.
///
/// # Errors
/// When the kernel does not tell: netlink may be forbidden here.
pub(super) fn of_tcp(stream: &TcpStream) -> io::Result<u32> {
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    let family = if local.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let scope = match peer {
        SocketAddr::V6(peer) => peer.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let mut question = vec![u8::try_from(family.as_raw()).unwrap_or_default(), TCP, 0, 0];
    question.extend(u32::MAX.to_ne_bytes()); // In whichever state it is.
    question.extend([local, peer].iter().flat_map(|end| end.port().to_be_bytes()));
    question.extend([local, peer].iter().flat_map(|end| octets(end.ip())));
    question.extend(scope.to_ne_bytes());
    question.extend(NO_COOKIE);
    ask(&question, TCP_QUEUE_AT)
}

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Bytes of memory that a unix socket's peer has not read, what the kernel adds to each write
/// included.
///
/// # Errors
/// As [`of_tcp`].
pub(super) fn of_unix(stream: &UnixStream) -> io::Result<u32> {
    let inode = File::from(stream.as_fd().try_clone_to_owned()?).metadata()?.ino();
    let inode = u32::try_from(inode).map_err(io::Error::other)?;
    let mut question =
        vec![u8::try_from(AddressFamily::UNIX.as_raw()).unwrap_or_default(), 0, 0, 0];
    question.extend([u32::MAX, inode, SHOW_QUEUES].iter().flat_map(|word| word.to_ne_bytes()));
    question.extend(NO_COOKIE);
    ask(&question, UNIX_QUEUE_AT)
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// Asks about one socket and returns the word at this place of the answer.
fn ask(question: &[u8], at: usize) -> io::Result<u32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
    let length = u32::try_from(HEADER_BYTES + question.len()).map_err(io::Error::other)?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend([BY_FAMILY, REQUEST].iter().flat_map(|half| half.to_ne_bytes()));
    request.extend([0; 8]); // The sequence number, and no sender's port.
    request.extend(question);
    // The kernel answers within the call, so the answer is there to be received.
    sendto(&netlink, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0; 1_024];
    let (_, length) = recv(&netlink, &mut answer[..], RecvFlags::empty())?;
    word(&answer[..length], at).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The word at a place of an answer; `None` when the kernel has answered with an error.
fn word(answer: &[u8], at: usize) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let word = answer.get(at..at + 4)?.try_into().ok()?;
    (kind == BY_FAMILY).then(|| u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::{sleep, timeout},
    };

    async fn becomes(wanted: u32, of: impl Fn() -> u32) {
        let wait = async {
            while of() != wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_tcp_peer_does_not_take_is_outstanding_over_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            let address = listener.local_addr().unwrap();
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (mut client, ours) = (client.unwrap(), accepted.unwrap().0);
            becomes(0, || of_tcp(&ours).unwrap()).await;
            let mut written = 0;
            while let Ok(more) = ours.try_write(&[0; 64 * 1024]) {
                written += more;
                tokio::task::yield_now().await;
            }
            assert!(of_tcp(&ours).unwrap() > 0);
            client.read_exact(&mut vec![0; written]).await.unwrap();
            becomes(0, || of_tcp(&ours).unwrap()).await;
        }
    }

    #[tokio::test]
    async fn what_a_unix_peer_has_not_read_is_outstanding() {
        let (mut ours, mut client) = UnixStream::pair().unwrap();
        becomes(0, || of_unix(&ours).unwrap()).await;
        ours.write_all(&[0; 10_000]).await.unwrap();
        assert!(of_unix(&ours).unwrap() >= 10_000);
        client.read_exact(&mut [0; 10_000]).await.unwrap();
        becomes(0, || of_unix(&ours).unwrap()).await;
    }
}
