//! One request: read from a connection, parsed by hyper.
//!
//! hyper parses (strictly, and well tried), and that is all it does here: it is given the bytes that
//! have come in, never the connection. Its service puts the request aside, what it would write is
//! dropped. So nothing of hyper is kept while a client is slow, nothing of it is left behind in a
//! session, and no answer depends on hyper's.

use super::head::HeadReader;
use crate::{reason::Refusal, shard::Transport};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response, body::Incoming, http::request::Parts, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, pending},
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Header lines that a request may have.
const MAX_HEADERS: usize = 64;

/// Bytes of a head that hyper may buffer: more than the intake takes, so that the intake's limits
/// are always the ones that are met.
const MAX_BUFFER_BYTES: usize = 24 * 1024;

/// What came in on a connection, and the connection itself.
pub(super) struct Received {
    pub(super) transport: Transport,
    /// What the client sent behind its request.
    pub(super) early: Bytes,
    pub(super) request: Result<Parts, NoRequest>,
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// The client left without a word, or the connection broke: nobody is there to be answered.
    Gone,
    /// What came is to be answered with this.
    Refused(Refusal),
}

/// Reads one request's head. When `end` comes first, its value is the refusal.
pub(super) async fn receive(
    mut transport: Transport,
    end: impl Future<Output = Refusal>,
) -> Received {
    let mut intake = HeadReader::default();
    let parsed = tokio::select! {
        biased;
        parsed = read(&mut transport, &mut intake) => parsed,
        refusal = end => Err(NoRequest::Refused(refusal)),
    };
    let (request, early) = match parsed {
        Ok((request, early)) => (Ok(request), early),
        Err(why) => (Err(why), 0),
    };
    let early = Bytes::copy_from_slice(&intake.bytes[intake.bytes.len() - early..]);
    Received { transport, early, request }
}

/// A request, and how many of the bytes that have come in stand behind it.
type Parsed = Result<(Parts, usize), NoRequest>;

/// Reads until what has come in is a request, or can be none any more. Asks the parser at the end of
/// each line, of which there are [`MAX_HEADERS`] and two at the most.
async fn read(transport: &mut Transport, intake: &mut HeadReader) -> Parsed {
    loop {
        let lines = intake.meter.lines();
        let read = intake.read(transport).await.map_err(|_broken| NoRequest::Gone)?;
        if let Some(excess) = intake.meter.excess() {
            return Err(NoRequest::Refused(excess));
        }
        let (ended, decided) = (read == 0, intake.meter.is_decided());
        // Of a long head the parser sees only whether it is complete: it cannot hold this bound.
        if !decided && intake.meter.lines() > MAX_HEADERS + 1 {
            return Err(NoRequest::Refused(Refusal::HeadersTooLarge));
        }
        if !ended && !decided && intake.meter.lines() == lines {
            continue;
        }
        match parse(&intake.bytes, ended) {
            Some(parsed) => return parsed,
            None if decided => return Err(NoRequest::Refused(Refusal::BadHandshake)),
            None => {}
        }
    }
}

/// Has hyper parse what has come in; `None`: something is missing yet.
fn parse(bytes: &[u8], ended: bool) -> Option<Parsed> {
    let arrived = Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        arrived.set(Some(request));
        pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let replay = Replay { bytes, ended };
    let mut connection = builder().serve_connection(TokioIo::new(replay), service);
    // Nobody is to be woken: more comes only with the next read.
    let polled = connection.poll_without_shutdown(&mut Context::from_waker(Waker::noop()));
    let parts = connection.into_parts();
    let early = parts.read_buf.len() + parts.io.into_inner().bytes.len();
    match (arrived.take(), polled) {
        (Some(request), _) => Some(Ok((request.into_parts().0, early))),
        (None, Poll::Pending) => None,
        (None, Poll::Ready(Ok(()))) => Some(Err(NoRequest::Gone)),
        (None, Poll::Ready(Err(error))) => Some(Err(NoRequest::because(&error))),
    }
}

/// What has come in, as a connection that hyper can read; what it writes is dropped, since it answers
/// a request that it cannot parse by itself and without a body.
struct Replay<'a> {
    bytes: &'a [u8],
    /// Whether nothing follows.
    ended: bool,
}

impl AsyncRead for Replay<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bytes.is_empty() && !this.ended {
            return Poll::Pending;
        }
        let (now, later) = this.bytes.split_at(this.bytes.len().min(buf.remaining()));
        buf.put_slice(now);
        this.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl NoRequest {
    fn because(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            // The intake keeps the sizes, so these were too many headers.
            Self::Refused(Refusal::HeadersTooLarge)
        } else if error.is_parse() || error.is_incomplete_message() {
            Self::Refused(Refusal::BadHandshake)
        } else {
            Self::Gone
        }
    }
}

/// hyper for one request. No timer: the caller bounds the whole handshake, not only this part.
/// Half closed is not gone: who asks and stops sending still gets the answer.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(false)
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER_BYTES);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::OriginRule,
        server::{client, origin, upgrade},
    };
    use std::time::Duration;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        time::{sleep, timeout},
    };

    /// What becomes of these bytes when the client then stays, or leaves.
    async fn received(bytes: &[u8], stays: bool) -> Received {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        let client = tokio::spawn(async move {
            // Fails where we stop reading, which is the point of some of these tests.
            let _ = theirs.write_all(&bytes).await;
            if stays {
                pending::<()>().await;
            }
        });
        let reading = receive(Transport::Unix(ours), pending());
        let received = timeout(Duration::from_secs(5), reading).await.unwrap();
        client.abort();
        received
    }

    async fn refusal(bytes: &[u8]) -> Option<NoRequest> {
        received(bytes, true).await.request.err()
    }

    fn request(lines: impl IntoIterator<Item = String>) -> Vec<u8> {
        let mut request = "GET /ws HTTP/1.1\r\n".to_owned();
        lines.into_iter().for_each(|line| request.push_str(&(line + "\r\n")));
        (request + "\r\n").into_bytes()
    }

    #[tokio::test]
    async fn a_request_is_received_and_what_follows_it_is_kept() {
        let bytes =
            b"\r\nGET /ws?a=b HTTP/1.1\r\nhost: x\r\nUPGRADE: websocket\r\n\r\n\x81\x80mask";
        let received = received(bytes, true).await;
        let parts = received.request.unwrap();
        assert_eq!(parts.uri, "/ws?a=b");
        assert_eq!(parts.headers["upgrade"], "websocket");
        assert_eq!(received.early[..], b"\x81\x80mask"[..]);
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
        let received = receive(Transport::Unix(ours), pending()).await;
        assert_eq!(received.request.unwrap().uri, "/ws");
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

    #[tokio::test]
    async fn no_bytes_make_a_panic() {
        let correct = b"GET /ws?a=%41&b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: https://x\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
        for seed in 0..3000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = correct.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(8)),
                }
            }
            // A panic in any of these fails the test.
            if let Ok(parts) = received(&bytes, false).await.request {
                let _ = upgrade::check(&parts);
                let _ = client::forwarded(None, &parts.headers, &[]);
                origin::allowed(&[OriginRule::Exact("https://x".to_owned())], &parts.headers);
            }
        }
    }

    #[tokio::test]
    async fn sizes_and_counts_are_kept_exactly() {
        let header = |n: usize| format!("x{n}: y");
        let long =
            |start: &str, bytes: usize| format!("{start}{}", "a".repeat(bytes - start.len()));
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
            // Behind so long a line the parser alone would wait for the end of the head.
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
    async fn who_leaves_without_a_word_is_gone_and_who_leaves_midway_is_answered() {
        let gone = received(b"", false).await.request.err();
        assert_eq!(gone, Some(NoRequest::Gone));
        let midway = received(b"GET /ws HT", false).await.request.err();
        assert_eq!(midway, Some(NoRequest::Refused(Refusal::BadHandshake)));
    }

    #[tokio::test]
    async fn hyper_never_answers() {
        for bytes in [
            &b"hello\r\n\r\n"[..],
            b"POST /ws HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        ] {
            let (ours, mut client) = UnixStream::pair().unwrap();
            client.write_all(bytes).await.unwrap();
            drop(receive(Transport::Unix(ours), pending()).await);
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
            let received = receive(Transport::Unix(ours), end).await;
            let refused = Some(NoRequest::Refused(Refusal::RequestTimeout));
            assert_eq!(received.request.err(), refused);
        }
    }
}
