//! Requests as they come in on a connection, whole, in pieces and never complete.

use super::*;
use crate::{
    config::OriginRule,
    server::{
        admission::reported,
        handshake::{origin, upgrade},
    },
};
use hyper::{HeaderMap, Uri};
use std::{future::pending, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{sleep, timeout},
};

/// What becomes of these bytes when the client then stays, or leaves.
async fn received(bytes: &[u8], stays: bool) -> Result<Received, NoRequest> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let bytes = bytes.to_vec();
    let client = tokio::spawn(async move {
        // Fails where we stop reading, which is the point of some of these tests.
        let _ = theirs.write_all(&bytes).await;
        if stays {
            pending::<()>().await;
        }
    });
    let mut transport = Transport::Unix(ours);
    let reading = receive(&mut transport, pending());
    let received = timeout(Duration::from_secs(30), reading).await.unwrap();
    client.abort();
    received
}

async fn refusal(bytes: &[u8]) -> Option<NoRequest> {
    received(bytes, true).await.err()
}

fn request(lines: impl IntoIterator<Item = String>) -> Vec<u8> {
    let mut request = "GET /ws HTTP/1.1\r\n".to_owned();
    lines.into_iter().for_each(|line| request.push_str(&(line + "\r\n")));
    (request + "\r\n").into_bytes()
}

#[tokio::test]
async fn a_request_is_received_and_what_follows_it_is_kept() {
    let bytes = b"\r\nGET /ws?a=b HTTP/1.1\r\nhost: x\r\nUPGRADE: websocket\r\n\r\n\x81\x80mask";
    let Received { head, early, .. } = received(bytes, true).await.ok().unwrap();
    assert_eq!(head.uri, "/ws?a=b");
    assert_eq!(head.headers["upgrade"], "websocket");
    assert_eq!(early, b"\x81\x80mask"[..]);
}

#[tokio::test]
async fn a_request_is_received_byte_by_byte_and_from_a_client_that_stopped_sending() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let client = tokio::spawn(async move {
        for byte in request(["Host: x".to_owned()]) {
            theirs.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        theirs.shutdown().await.unwrap();
        theirs
    });
    let received = receive(&mut Transport::Unix(ours), pending()).await;
    assert_eq!(received.ok().unwrap().head.uri, "/ws");
    client.await.unwrap();
}

#[tokio::test]
async fn what_is_no_http_1_request_is_a_bad_handshake() {
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /ws\r\n\r\n",
        b"GET /ws HTTP/3.7\r\n\r\n",
        b"GET /w s HTTP/1.1\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nname : space\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nx: \0\r\n\r\n",
        b"POST /ws HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /ws HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
    ] {
        let text = String::from_utf8_lossy(bytes);
        let refused = Some(NoRequest::Refused(Refusal::BadHandshake));
        assert_eq!(refusal(bytes).await, refused, "{text}");
    }
}

const CORRECT: &[u8] = b"GET /ws?a=%41&b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: https://x\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";

/// A correct head with a few bytes changed, left out or cut off.
fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = CORRECT.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] = random.u8(..),
            1 => drop(bytes.remove(at)),
            _ => bytes.truncate(at.max(8)),
        }
    }
    bytes
}

#[tokio::test]
async fn no_bytes_make_a_panic() {
    for seed in 0..3000 {
        let bytes = mutated(&mut fastrand::Rng::with_seed(seed));
        // A panic in any of these fails the test.
        if let Ok(Received { head, .. }) = received(&bytes, false).await {
            let _ = upgrade::check(&head);
            let _ = reported(None, &head.headers, &[]);
            origin::allowed(&[OriginRule::Exact("https://x".to_owned())], &head.headers);
        }
    }
}

/// What becomes of a head that comes in pieces of this size, and then nothing more.
fn in_pieces(bytes: &[u8], size: usize) -> Result<(Uri, HeaderMap), NoRequest> {
    let mut reader = HeadReader::default();
    for piece in bytes.chunks(size) {
        reader.bytes.extend_from_slice(piece);
        if let Some(end) = reader.scanner.scan(&reader.bytes)? {
            let head = reader.parse(end)?.head;
            return Ok((head.uri, head.headers));
        }
    }
    Err(reader.ended())
}

#[test]
fn a_head_comes_to_the_same_however_it_is_cut() {
    for seed in 0..3000 {
        let bytes = mutated(&mut fastrand::Rng::with_seed(seed));
        let whole = in_pieces(&bytes, bytes.len());
        for size in [1, 2, 7, 50] {
            assert_eq!(in_pieces(&bytes, size), whole, "{size}: {}", bytes.escape_ascii());
        }
    }
}

#[tokio::test]
async fn sizes_and_counts_are_kept_exactly() {
    let header = |n: usize| format!("x{n}: y");
    let long = |start: &str, bytes: usize| format!("{start}{}", "a".repeat(bytes - start.len()));
    let uri = |bytes| format!("{} HTTP/1.1\r\n\r\n", long("GET /", bytes)).into_bytes();
    for (bytes, expected) in [
        (request((0..64).map(header)), None),
        (request((0..65).map(header)), Some(Refusal::HeadersTooLarge)),
        (request([long("x: ", 8188)]), None),
        (request([long("x: ", 8189)]), Some(Refusal::HeadersTooLarge)),
        (request([long("x: ", 20_000_000)]), Some(Refusal::HeadersTooLarge)),
        (uri(8 * 1024 - 11), None),
        (uri(8 * 1024 - 10), Some(Refusal::UriTooLong)),
        (uri(9 * 1024), Some(Refusal::UriTooLong)),
        (vec![b'a'; 1_000_000], Some(Refusal::UriTooLong)),
        // Too many although the head is not complete.
        (
            [&uri(8 * 1024 - 11)[..8 * 1024 - 2], b"\r\n", &b"x: y\r\n".repeat(66)].concat(),
            Some(Refusal::HeadersTooLarge),
        ),
    ] {
        let refused = refusal(&bytes).await;
        assert_eq!(refused, expected.map(NoRequest::Refused), "{} bytes", bytes.len());
    }
}

#[tokio::test]
async fn a_client_that_closes_without_a_word_is_gone_and_one_that_closes_midway_is_answered() {
    let gone = received(b"", false).await.err();
    assert_eq!(gone, Some(NoRequest::Gone));
    let midway = received(b"GET /ws HT", false).await.err();
    assert_eq!(midway, Some(NoRequest::Refused(Refusal::BadHandshake)));
}

#[tokio::test]
async fn nothing_is_answered_while_a_request_is_read() {
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"POST /ws HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    ] {
        let (ours, mut client) = UnixStream::pair().unwrap();
        client.write_all(bytes).await.unwrap();
        drop(receive(&mut Transport::Unix(ours), pending()).await);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"", "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_complete_in_time_ends_as_the_caller_says() {
    for sent in [&b""[..], b"GET /ws HTTP/1.1\r\nhost: x\r\n"] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(sent).await.unwrap();
        let end = async {
            sleep(Duration::from_secs(10)).await;
            Refusal::RequestTimeout
        };
        let received = receive(&mut Transport::Unix(ours), end).await;
        let refused = Some(NoRequest::Refused(Refusal::RequestTimeout));
        assert_eq!(received.err(), refused);
    }
}
