//! An issuer of tokens with a key set at a URL, which can also be down, slow, huge or wrong.

use super::{token::now, wait::LIMIT};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A signing key of the issuer.
pub(crate) struct Key {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { kid, pair: Ed25519KeyPair::generate().expect("a key") }
    }

    /// The public half, as it is published.
    pub(crate) fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x })
    }

    /// A valid token of this user, for an hour.
    pub(crate) fn token(&self, user: &str) -> String {
        self.signed(json!({}), &json!({ "sub": user, "exp": now() + 3600 }))
    }

    /// A token with these claims, and these header members besides `alg` and `kid`.
    pub(crate) fn signed(&self, mut header: Value, claims: &Value) -> String {
        let members = header.as_object_mut().expect("an object");
        members.insert("alg".to_owned(), "EdDSA".into());
        members.entry("kid").or_insert_with(|| self.kid.into());
        let text = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let body = format!("{}.{}", text(&header), text(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(body.as_bytes()));
        format!("{body}.{signature}")
    }
}

/// What the issuer does when it is asked.
#[derive(Clone)]
enum Manner {
    Says(Vec<u8>),
    HangsUp,
    SaysNothing,
}

/// An issuer on a port of its own. Ends at drop.
pub(crate) struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    tls: bool,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Mutex<Manner>,
    asked: AtomicUsize,
    ended: AtomicBool,
}

impl Issuer {
    /// An issuer that publishes these keys.
    pub(crate) fn of(keys: &[&Key]) -> Self {
        let issuer = Self::start(None);
        issuer.publish(keys);
        issuer
    }

    /// … over TLS.
    pub(crate) fn with_tls(config: ServerConfig, keys: &[&Key]) -> Self {
        let issuer = Self::start(Some(Arc::new(config)));
        issuer.publish(keys);
        issuer
    }

    /// An issuer that accepts connections and closes them.
    pub(crate) fn down() -> Self {
        Self::start(None)
    }

    fn start(config: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::HangsUp),
            asked: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let (served, tls) = (Arc::clone(&shared), config.is_some());
        let thread = thread::spawn(move || serve(&listener, &served, config.as_ref()));
        Self { address, shared, tls, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://localhost:{}/keys", self.address.port())
    }

    /// Answers with these keys from now on.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.say("200 OK", &json!({ "keys": keys }).to_string());
    }

    /// Answers from now on with this status line, which may include headers, and this body.
    pub(crate) fn say(&self, status: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.set(Manner::Says(answer.into_bytes()));
    }

    pub(crate) fn hang_up(&self) {
        self.set(Manner::HangsUp);
    }

    pub(crate) fn say_nothing(&self) {
        self.set(Manner::SaysNothing);
    }

    fn set(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no holder panics") = manner;
    }

    /// How many connections it has accepted.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread out of its accept.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, shared: &Shared, tls: Option<&Arc<ServerConfig>>) {
    let mut silent = Vec::new();
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let stream = stream.expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("an option");
        shared.asked.fetch_add(1, Ordering::Relaxed);
        let manner = shared.manner.lock().expect("no holder panics").clone();
        match (manner, tls) {
            (Manner::HangsUp, _) => {}
            (Manner::SaysNothing, _) => silent.push(stream),
            (Manner::Says(answer), None) => reply(stream, &answer),
            (Manner::Says(answer), Some(config)) => {
                let session = ServerConnection::new(Arc::clone(config)).expect("a session");
                reply(StreamOwned::new(session, stream), &answer);
            }
        }
    }
}

/// Reads one request and answers it. A client that disconnects early is ignored.
fn reply(mut stream: impl Read + Write, answer: &[u8]) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let _ = stream.write_all(answer).and_then(|()| stream.flush());
}
