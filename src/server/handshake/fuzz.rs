//! A fuzz target: the bytes of a request's head, from the socket to the grant.

use super::{
    decide, event_stream, origin,
    upgrade::{self, NoUpgrade},
};
use crate::{
    config::Config,
    endpoint::Routes,
    net::Transport,
    reason::Refusal,
    server::{
        admission::{AddressKey, reported},
        head::{NoRequest, Received, RequestHead, receive},
        response::{self, Cors, HandshakeFault},
    },
};
use futures_util::FutureExt as _;
use hyper::Method;
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
    let received = RUNTIME.with(|runtime| {
        runtime.block_on(async { receive(&mut Transport::Unix(sent(data)), pending()).await })
    });
    match received {
        Ok(Received { head, early, .. }) => {
            assert!(data.ends_with(&early), "what is early is the end of what was sent");
            judge(config, now, &head);
        }
        Err(NoRequest::Refused(refusal)) => assert_answer(refusal, None, None, now),
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

fn judge(config: &Config, now: SystemTime, head: &RequestHead) {
    let routes = Routes::new(config.endpoints.clone());
    let server = &config.server;
    let _ = reported(None, &head.headers, &server.trusted_proxies).map(AddressKey::new);
    let upgraded = upgrade::check_version(head).and_then(|()| upgrade::check(head));
    let allowed = origin::allowed(&server.allowed_origins, &head.headers);
    let cors = Cors::new(&head.headers, allowed, true);
    assert_one_head(&response::preflight(&cors, now));
    if let (true, Ok(body)) = (event_stream::is_asked_for(head), event_stream::check(head)) {
        assert_one_head(&response::event_stream(body, &cors, now));
    }
    let granted = decide::find(&routes, head).and_then(|matched| {
        let granted = decide::grant(&config.auth, &matched, head, || Some(())).now_or_never();
        let granted = granted.expect("with keys of its own nothing is waited for");
        granted.map_err(|denied| denied.refusal)
    });
    match (upgraded, allowed, granted) {
        (Ok(upgrade), true, Ok(grant)) => {
            assert_one_head(&response::switching(&upgrade.accept_key, upgrade.subprotocol));
            let user = grant.identity.map(|identity| identity.user);
            assert!(user.is_none_or(|user| &*user == "42"), "nobody else has a token");
            assert!(!grant.topics.channels.is_empty());
        }
        (Err(NoUpgrade::NotAsked), ..) => {
            assert_answer(Refusal::UpgradeRequired, None, Some(head), now);
        }
        (Err(NoUpgrade::Faulty(fault)), ..) => {
            assert_answer(Refusal::BadHandshake, Some(fault), Some(head), now);
        }
        (.., Err(refusal)) => assert_answer(refusal, None, Some(head), now),
        _ => {}
    }
}

/// Nothing that a request says ends a head before its end.
fn assert_one_head(answer: &[u8]) {
    assert_eq!(answer.windows(4).filter(|end| *end == b"\r\n\r\n").count(), 1);
}

/// An answer is one head and one problem document, whatever the request was.
fn assert_answer(
    refusal: Refusal,
    fault: Option<HandshakeFault>,
    request: Option<&RequestHead>,
    now: SystemTime,
) {
    let cors = request.map(|request| Cors::new(&request.headers, true, true));
    let is_head = request.is_some_and(|request| request.method == Method::HEAD);
    let bytes = response::refused(refusal, fault, is_head, cors.as_ref(), now);
    let text = String::from_utf8(bytes).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.1 "));
    assert!(body.is_empty() || body.contains(refusal.label()), "{text}");
}
