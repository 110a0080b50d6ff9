//! A fuzz target: the bytes of a request's head, from the socket to the grant.

use super::{
    answer, client, decision, origin,
    request::{NoRequest, Received, receive},
    upgrade,
};
use crate::{config::Config, endpoint::Routes, reason::Refusal, shard::Transport};
use futures_util::FutureExt as _;
use hyper::http::request::Parts;
use std::{
    future::pending, io::Write as _, os::unix::net::UnixStream as StdStream, time::SystemTime,
};
use tokio::{net::UnixStream, runtime};

/// Reads a request as a handshake does, with a client that stops sending behind it.
///
/// # Panics
/// When a rule of the handshake is broken.
pub(crate) fn request(config: &Config, now: SystemTime, data: &[u8]) {
    thread_local! {
        static RUNTIME: runtime::Runtime =
            runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    }
    let Received { request, early, .. } = RUNTIME.with(|runtime| {
        runtime.block_on(async { receive(Transport::Unix(sent(data)), pending()).await })
    });
    assert!(data.ends_with(&early), "what is early is the end of what was sent");
    match request {
        Ok(parts) => judge(config, now, &parts),
        Err(NoRequest::Refused(refusal)) => assert_answer(refusal, None, now),
        Err(NoRequest::Gone) => {}
    }
}

/// A connection on which these bytes have come, and then the end.
fn sent(data: &[u8]) -> UnixStream {
    let (ours, mut theirs) = StdStream::pair().expect("a pair of sockets");
    ours.set_nonblocking(true).expect("a socket can be told");
    theirs.set_nonblocking(true).expect("a socket can be told");
    // What does not fit is cut off, which is a request like any other.
    let _ = theirs.write(data);
    UnixStream::from_std(ours).expect("inside a runtime")
}

fn judge(config: &Config, now: SystemTime, parts: &Parts) {
    let routes = Routes::new(config.endpoints.clone());
    let server = &config.server;
    let _ = client::forwarded(None, &parts.headers, &server.trusted_proxies)
        .map(client::AddressKey::new);
    let upgraded = upgrade::check(parts);
    let allowed = origin::allowed(&server.allowed_origins, &parts.headers);
    let granted = decision::find(&routes, parts).and_then(|matched| {
        let granted = decision::grant(&config.auth, &matched, parts).now_or_never();
        granted.expect("with keys of its own nothing is waited for")
    });
    match (upgraded, allowed, granted) {
        (Ok(upgrade), true, Ok(grant)) => {
            let head = answer::switching(&upgrade);
            assert_eq!(head.windows(4).filter(|end| *end == b"\r\n\r\n").count(), 1);
            let user = grant.identity.map(|identity| identity.user);
            assert!(user.is_none_or(|user| &*user == "42"), "nobody else has a token");
            assert!(!grant.channels.is_empty());
        }
        (Err(refusal), ..) | (.., Err(refusal)) => assert_answer(refusal, Some(parts), now),
        _ => {}
    }
}

/// An answer is one head and one problem document, whatever the request was.
fn assert_answer(refusal: Refusal, parts: Option<&Parts>, now: SystemTime) {
    let bytes = answer::refused(refusal, parts.map(|parts| &parts.method), now);
    let text = String::from_utf8(bytes).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 "));
    assert!(body.is_empty() || body.contains(refusal.label()), "{text}");
}
