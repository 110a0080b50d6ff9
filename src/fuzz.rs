//! What the fuzz targets do with their bytes: one function for each place where a stranger's bytes
//! come in.
//!
//! Compiled for `cargo fuzz` and for tests only, never into the program. A target panics when a rule
//! is broken, not only when the code under it does. The tests here replay `fuzz/corpus`, so that what
//! a fuzzer once found is tried by every `cargo test`, without a fuzzer.

use crate::{
    auth::Auth,
    channel::ChannelName,
    config,
    endpoint::{ChannelTemplate, RoutePath, Routes, Values},
    identity::{Claims, Identity},
    server, shard, upstream,
    wire::{self, Codec},
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime},
};

/// The secret of [`CONFIGURATION`].
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What requests, tokens and paths are checked against: every source of tokens, every placeholder. The
/// static token is `test`.
const CONFIGURATION: &str = r#"
[server]
allowed_origins = ["https://good.example", "https://*.good.example"]
[auth]
sources = ["query:token", "header", "subprotocol", "cookie:session"]
[auth.jwt]
algorithms = ["HS256"]
secret = "0123456789abcdef0123456789abcdef"
audience = ["us"]
[[auth.token]]
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
user = "42"
claims = { tenant = "acme" }
[[endpoint]]
name = "me"
path = "/me"
channels = ["user:{user}:{claim.tenant}"]
[[endpoint]]
name = "rooms"
path = "/rooms/{room}"
channels = ["room:{path.room}:{query.topic}"]
auth = "none"
[http_publish]
[[http_publish.token]]
sha256 = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
channels = ["chat:*", "log:*", "sockway:*"]
[[http_publish.stream]]
channels = ["log:*"]
keep_entries = 10
[[http_publish.route]]
path = "/room/{room}"
channel = "chat:{path.room}"
"#;

/// [`CONFIGURATION`], checked.
static CONFIG: LazyLock<Arc<config::Config>> = LazyLock::new(|| {
    let loaded = config::parse_with(CONFIGURATION, "fuzz.toml", &|_| None);
    Arc::new(loaded.expect("the configuration above is correct").config)
});

/// A moment in 2027: what a target finds does not depend on the day.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A request's head, and what may stand behind it.
///
/// # Panics
/// When a rule of the handshake is broken.
pub fn request(data: &[u8]) {
    server::fuzz::request(&CONFIG, now(), data);
}

/// A client's frames; the first byte says in how large pieces they come.
///
/// # Panics
/// When the pieces make a difference, or the parser takes or says what it must not.
pub fn frames(data: &[u8]) {
    shard::fuzz::frames(&CONFIG.endpoints[0], data);
}

/// What a Redis server sends; the first two bytes say in how large pieces, and the cap on payloads.
///
/// # Panics
/// When the pieces make a difference, or a cap is exceeded.
pub fn resp(data: &[u8]) {
    upstream::fuzz::resp(data);
}

/// What a Redis server sends on a connection for streams; the first four bytes say in how large pieces,
/// the cap on payloads, and what was asked.
///
/// # Panics
/// When the pieces make a difference, or a cap is exceeded.
pub fn stream_answers(data: &[u8]) {
    upstream::stream_fuzz::stream_answers(data);
}

/// A JSON frame of a client.
///
/// # Panics
/// When another reader finds something else in it, or it is shown to others as something that it is not.
pub fn client_frame(data: &[u8]) {
    wire::fuzz::client_frame(data);
}

/// The path of a request that publishes, and behind the end of the line its body.
///
/// # Panics
/// When another reader finds something else in it, or a name comes of it that the token does not have.
pub fn publish_request(data: &[u8]) {
    server::publish_fuzz::publish_request(&CONFIG, data);
}

/// An announcement of presence; and the prefix and the name of a room.
///
/// # Panics
/// When one is taken that no instance makes, or a key is not what it must be.
pub fn presence(data: &[u8]) {
    upstream::presence_fuzz::presence(data);
}

/// A token as a client sends it, and the parts of a token that its issuer did sign.
///
/// # Panics
/// When a token that nobody signed is accepted, or an identity has no user.
pub fn token(data: &[u8]) {
    let auth: &Auth = &CONFIG.auth;
    let text = String::from_utf8_lossy(data);
    if let Ok(identity) = auth.verify(&text, now()) {
        let parts: Vec<_> = text.split('.').collect();
        let message = parts[..parts.len() - 1].join(".");
        assert!(text == "test" || signed(&message) == text, "forged: {text:?}");
        assert!(!identity.user.is_empty());
    }
    let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, &text));
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    if let Ok(identity) = auth.verify(&signed(&message), now()) {
        assert!(!identity.user.is_empty());
        assert!(identity.expires.is_some_and(|expires| expires > now()));
    }
}

fn signed(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An endpoint's path and template, then a request's path, query and user, a line each.
///
/// # Panics
/// When a value makes a channel of another form than its template's.
pub fn path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, template) = (line(), line());
    let (Ok(path), Ok(template)) = (RoutePath::parse(path), ChannelTemplate::parse(template))
    else {
        return;
    };
    let mut endpoint = (*CONFIG.endpoints[0]).clone();
    assert!(path.overlaps(&path), "{path:?}");
    endpoint.path = path;
    endpoint.channels = vec![template.clone()];
    let Some(found) = Routes::new(vec![Arc::new(endpoint)]).find(line()) else { return };
    let (query, user) = (line(), line());
    let claims = Claims::from_iter([("tenant", user)]);
    let identity = Identity {
        user: user.into(),
        claims,
        token_id: None,
        static_token: None,
        expires: None,
        fingerprint: None,
    };
    let values = Values { identity: Some(&identity), path: &found.parameters, query };
    let channels = found.endpoint.topics_for(&values).unwrap_or_default().channels;
    assert!(channels.len() <= 32, "{} channels", channels.len());
    for channel in &channels {
        assert_channel(channel, &template);
    }
    assert!(found.endpoint.still_gives(&identity, &channels, &[]), "{channels:?} of {template:?}");
}

/// A value adds no `:`, nothing that Redis takes for a pattern, and nothing that a log would stumble over.
fn assert_channel(channel: &str, template: &ChannelTemplate) {
    let colons = |text: &str| text.bytes().filter(|&byte| byte == b':').count();
    assert_eq!(colons(channel), colons(template.as_str()), "{channel:?} of {template:?}");
    assert!(!channel.starts_with("sockway:"), "reserved: {channel:?} of {template:?}");
    let literal = template.as_str();
    let escapes = literal.contains("|escape");
    let is_plain =
        |c: char| c.is_ascii_graphic() && !"*?[]{}\\\"".contains(c) && (escapes || c != '%');
    let strange = channel.chars().find(|&c| !is_plain(c) && !literal.contains(c));
    assert_eq!(strange, None, "in {channel:?} of {template:?}");
    let name = ChannelTemplate::parse(&channel.replace('{', "{{").replace('}', "}}"));
    let can_meet = name.is_ok_and(|name| template.can_meet(&name));
    assert!(can_meet, "{template:?} denies {channel:?}");
}

/// A configuration. Files that it names are read, so paths are kept away.
///
/// # Panics
/// When a configuration is refused without a problem, or its effective form is not TOML.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("_file") {
        return;
    }
    match config::parse_with(text, "fuzz.toml", &|name| (name == "SET").then(|| "value".to_owned()))
    {
        Ok(loaded) => {
            let effective = config::effective(&loaded);
            assert!(effective.parse::<toml::Table>().is_ok(), "{effective}");
        }
        Err(config::ConfigError::Invalid { problems, .. }) => {
            assert!(!problems.is_empty());
            drop(problems.iter().map(ToString::to_string).collect::<String>());
        }
        Err(error) => panic!("{error}"),
    }
}

/// A payload from Redis.
///
/// # Panics
/// When a frame does not carry exactly the payload.
pub fn payload(data: &[u8]) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope<'a> {
        r#type: &'a str,
        channel: &'a str,
        #[serde(borrow, default, deserialize_with = "present")]
        data: Option<&'a RawValue>,
        data_base64: Option<String>,
    }
    let message = wire::message(ChannelName::new("a:b"), data, Instant::now());
    assert_eq!(message.payload(), data);
    let text = std::str::from_utf8(data).ok();
    let (opcode, raw) = unframed(Codec::WsRaw.message(&message));
    assert_eq!((opcode, raw), (if text.is_some() { 1 } else { 2 }, data));
    assert_eq!(unframed(Codec::WsBinary.message(&message)), (2, data));
    let (opcode, json) = unframed(Codec::WsJson.message(&message));
    assert_eq!(opcode, 1);
    let envelope: Envelope<'_> = serde_json::from_slice(json).expect("an envelope is JSON");
    assert_eq!((envelope.r#type, envelope.channel), ("message", "a:b"));
    match (text, envelope.data, envelope.data_base64) {
        (Some(text), Some(sent), None) => assert_carries(sent.get(), text),
        (None, None, Some(sent)) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(sent);
            assert_eq!(decoded.as_deref(), Ok(data));
        }
        _ => panic!("the envelope has not one form of data: {json:?}"),
    }
}

/// What is there, `null` included.
fn present<'a, D: serde::Deserializer<'a>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// JSON is carried as it is, all else as a string.
fn assert_carries(sent: &str, text: &str) {
    let blank = [' ', '\t', '\r', '\n'];
    if sent != text.trim_matches(blank) {
        assert_eq!(serde_json::from_str::<String>(sent).ok().as_deref(), Some(text));
    }
}

/// Opcode and payload of a final, unmasked frame, read without our own code.
fn unframed(frame: &[u8]) -> (u8, &[u8]) {
    let (len, rest) = match (frame[1], &frame[2..]) {
        (126, rest) => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
        (127, rest) => (rest[..8].iter().fold(0, |n, &b| n << 8 | u64::from(b)), &rest[8..]),
        (short, rest) => (u64::from(short), rest),
    };
    assert_eq!((frame[0] & 0xF0, len), (0x80, rest.len() as u64));
    (frame[0] & 0x0F, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path, time::Instant};

    /// Replays every input of a target's corpus; a seeded mutation of each goes along.
    fn replay(name: &str, target: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut inputs = 0;
        for entry in fs::read_dir(corpus).expect("every target has a corpus") {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let start = Instant::now();
            target(&bytes);
            let mut random = fastrand::Rng::with_seed(inputs);
            for _ in 0..20 {
                if !bytes.is_empty() {
                    let at = random.usize(..bytes.len());
                    bytes[at] = random.u8(..);
                }
                target(&bytes);
            }
            assert!(start.elapsed().as_secs() < 10, "{} takes too long", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {name} is empty");
    }

    #[test]
    fn no_request_of_the_corpus_breaks_a_rule() {
        replay("request", request);
    }

    #[test]
    fn no_token_of_the_corpus_breaks_a_rule() {
        replay("token", token);
    }

    #[test]
    fn no_path_of_the_corpus_breaks_a_rule() {
        replay("path", path);
    }

    #[test]
    fn no_configuration_of_the_corpus_breaks_a_rule() {
        replay("configuration", configuration);
    }

    #[test]
    fn no_payload_of_the_corpus_breaks_a_rule() {
        replay("payload", payload);
    }

    #[test]
    fn no_frames_of_the_corpus_break_a_rule() {
        replay("frames", frames);
    }

    #[test]
    fn no_resp_of_the_corpus_breaks_a_rule() {
        replay("resp", resp);
    }

    #[test]
    fn no_client_frame_of_the_corpus_breaks_a_rule() {
        replay("client_frame", client_frame);
    }

    #[test]
    fn no_publish_request_of_the_corpus_breaks_a_rule() {
        replay("publish_request", publish_request);
    }

    #[test]
    fn no_presence_of_the_corpus_breaks_a_rule() {
        replay("presence", presence);
    }

    #[test]
    fn no_stream_answers_of_the_corpus_break_a_rule() {
        replay("stream_answers", stream_answers);
    }
}
