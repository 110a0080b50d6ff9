//! The answers to a request for Server-Sent Events: the head of the stream, and a preflight.

use super::{Cors, push};
use crate::wire::sse::Body;
use std::time::SystemTime;

/// The head of a response whose body are events.
pub(in crate::server) fn event_stream(body: Body, cors: &Cors, now: SystemTime) -> Vec<u8> {
    let mut head = String::with_capacity(384);
    head.push_str("HTTP/1.1 200 OK\r\n");
    push(&mut head, "Content-Type", "text/event-stream");
    push(&mut head, "Cache-Control", "no-store");
    // nginx would keep events back until its buffer is full.
    push(&mut head, "X-Accel-Buffering", "no");
    push(&mut head, "Date", &httpdate::fmt_http_date(now));
    cors.push(&mut head);
    if body == Body::Chunked {
        push(&mut head, "Transfer-Encoding", "chunked");
    }
    push(&mut head, "Connection", "close");
    head.push_str("\r\n");
    head.into_bytes()
}

/// The answer to a browser that asks whether a page of another origin may send its request.
pub(in crate::server) fn preflight(cors: &Cors, now: SystemTime) -> Vec<u8> {
    let mut head = String::with_capacity(384);
    head.push_str("HTTP/1.1 204 No Content\r\n");
    push(&mut head, "Date", &httpdate::fmt_http_date(now));
    cors.push_preflight(&mut head);
    push(&mut head, "Connection", "close");
    head.push_str("\r\n");
    head.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    #[test]
    fn the_head_of_a_stream_keeps_it_out_of_caches_and_buffers_and_has_no_length() {
        let cors = Cors::new(&HeaderMap::new(), true, false);
        let head =
            |body| String::from_utf8(event_stream(body, &cors, SystemTime::UNIX_EPOCH)).unwrap();
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
            Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n\
            Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nVary: Origin\r\n";
        let chunked = format!("{expected}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        assert_eq!(head(Body::Chunked), chunked);
        assert_eq!(head(Body::UntilClose), format!("{expected}Connection: close\r\n\r\n"));
    }
}
