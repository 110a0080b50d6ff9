//! Each shape byte by byte, and what a browser makes of it.

use super::*;
use crate::{reason::GapReason, wire};
use std::time::Instant;

fn message(payload: &[u8]) -> Message {
    wire::message(ChannelName::new("orders"), payload, Instant::now())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The event of a body's only chunk.
fn alone(chunk: &Bytes) -> String {
    text(Body::UntilClose.part(chunk))
}

/// What a browser dispatches.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dispatched {
    name: String,
    data: String,
    last_id: String,
    retry: Option<u64>,
}

/// The parser of the HTML standard, "9.2.6 Interpreting an event stream".
fn dispatched(stream: &str) -> Vec<Dispatched> {
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut event, mut id, mut retry) =
        (Vec::new(), Dispatched::default(), String::new(), None);
    for line in lines.split_terminator('\n') {
        if line.is_empty() {
            if let Some(data) = event.data.strip_suffix('\n') {
                let (name, data) = (event.name.clone(), data.to_owned());
                events.push(Dispatched { name, data, last_id: id.clone(), retry });
            }
            event = Dispatched::default();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.name),
            "data" => event.data.push_str(&format!("{value}\n")),
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            "retry" => retry = value.parse().ok().or(retry),
            _ => {}
        }
    }
    events
}

#[test]
fn a_raw_message_is_its_payload_line_by_line_in_one_chunk() {
    for (payload, chunk) in [
        (&b"{\"a\":1}"[..], "f\r\ndata: {\"a\":1}\n\n\r\n"),
        (b"", "8\r\ndata: \n\n\r\n"),
        (b" two\nlines\n", "1f\r\ndata:  two\ndata: lines\ndata: \n\n\r\n"),
        ("gr\u{fc}\u{df}".as_bytes(), "e\r\ndata: gr\u{fc}\u{df}\n\n\r\n"),
        (b"a\rb", "1a\r\nevent: base64\ndata: YQ1i\n\n\r\n"),
        (b"a\r\nb", "1e\r\nevent: base64\ndata: YQ0KYg==\n\n\r\n"),
        (&[0xFF, 0x00], "1a\r\nevent: base64\ndata: /wA=\n\n\r\n"),
    ] {
        assert_eq!(text(&raw_message(&message(payload))), chunk);
    }
}

#[test]
fn a_json_message_is_one_line_whatever_white_space_its_payload_has() {
    for (payload, data) in
        [("{\n  \"a\":\r\n1}", r#"{   "a":  1}"#), ("two\r\nlines", r#""two\r\nlines""#)]
    {
        let event = alone(&json_message(&message(payload.as_bytes())));
        let expected = format!(r#"data: {{"type":"message","channel":"orders","data":{data}}}"#);
        assert_eq!(event, format!("{expected}\n\n"));
    }
}

#[test]
fn an_entry_of_a_stream_has_its_place_as_id() {
    let mut entry = message(b"hi");
    entry.id = StreamId::parse("1795769041120-0");
    assert_eq!(alone(&raw_message(&entry)), "id: 1795769041120-0\ndata: hi\n\n");
    assert!(alone(&json_message(&entry)).starts_with("id: 1795769041120-0\ndata: {"));
}

#[test]
fn the_first_event_says_when_to_come_back_and_what_ready_says() {
    let heartbeat = Some(Duration::from_secs(25));
    let ready = |body| ready(body, 7, &[ChannelName::new("orders")], &[], heartbeat);
    let data = r#"{"type":"ready","session":"7","channels":["orders"],"heartbeat_ms":25000}"#;
    let mut seen = Vec::new();
    for _ in 0..100 {
        let chunk = ready(Body::Chunked);
        let [event] = &dispatched(&alone(&chunk))[..] else { panic!("{chunk:?}") };
        assert_eq!((event.name.as_str(), event.data.as_str()), ("ready", data));
        seen.push(event.retry.unwrap());
    }
    seen.sort_unstable();
    assert!(seen[0] >= 1_000 && seen[99] <= 5_000 && seen[0] + 1_000 < seen[99], "{seen:?}");
    assert!(text(&ready(Body::UntilClose)).starts_with("retry: "));
}

#[test]
fn ready_has_the_place_before_what_follows_as_id_and_says_what_came_of_a_position() {
    use crate::{reason::ReplayResult, wire::Recovery};
    let stream = ChannelName::new("chat:7");
    let id = StreamId::parse("1795769041120-0");
    let told = |streams: &[StreamReady], channels: &[ChannelName]| {
        let event = text(&ready(Body::UntilClose, 7, channels, streams, None));
        let (retry, rest) = event.split_once('\n').unwrap();
        assert!(retry.starts_with("retry: "), "{event}");
        rest.to_owned()
    };
    let said = |id: Option<StreamId>, recovery, replayed| StreamReady {
        stream: stream.clone(),
        id,
        recovery,
        replayed,
    };
    let recovered = Recovery { result: ReplayResult::Recovered, missed: None };
    let lost = Recovery { result: ReplayResult::Trimmed, missed: None };
    let head = r#"data: {"type":"ready","session":"7","streams":{"chat:7":{"#;
    for (stream, lines) in [
        (
            said(id, Some(recovered), Some(2)),
            format!(
                "event: ready\nid: 1795769041120-0\n{head}\"id\":\"1795769041120-0\",\"recovered\":true,\"replayed\":2}}}}}}\n\n"
            ),
        ),
        (
            said(id, Some(lost), None),
            format!(
                "event: ready\nid: 1795769041120-0\n{head}\"id\":\"1795769041120-0\",\"recovered\":false,\"reason\":\"trimmed\",\"missed\":null}}}}}}\n\n"
            ),
        ),
        // Nobody can know what stands before the newest of a stream that was trimmed: there is no id, and
        // never an empty one, which would make a browser forget the one that it has.
        (said(None, None, Some(3)), format!("event: ready\n{head}\"replayed\":3}}}}}}\n\n")),
    ] {
        assert_eq!(told(&[stream], &[]), lines);
    }
    let channel = [ChannelName::new("news")];
    assert_eq!(
        told(&[StreamReady::at(stream.clone(), StreamId::parse("5-0").unwrap())], &channel),
        "event: ready\nid: 5-0\ndata: {\"type\":\"ready\",\"session\":\"7\",\"channels\":[\"news\"],\"streams\":{\"chat:7\":{\"id\":\"5-0\"}}}\n\n"
    );
}

#[test]
fn a_gap_of_a_stream_has_the_place_behind_what_is_missing_as_id() {
    let id = StreamId::parse("1795769051044-3");
    let loss = wire::Loss { reason: GapReason::StreamTrimmed, missed: Some(12), id };
    let told = gap(Body::Chunked, &Gap { channel: ChannelName::new("chat:7"), loss });
    let event = "event: gap\nid: 1795769051044-3\ndata: {\"type\":\"gap\",\"channel\":\"chat:7\",\"reason\":\"stream_trimmed\",\"missed\":12,\"id\":\"1795769051044-3\"}\n\n";
    assert_eq!(text(&told), format!("{:x}\r\n{event}\r\n", event.len()));
}

#[test]
fn notices_are_events_of_their_own_names() {
    let told =
        Gap { channel: ChannelName::new("orders"), loss: GapReason::RedisReconnected.into() };
    let data = r#"{"type":"gap","channel":"orders","reason":"redis_reconnected","missed":null}"#;
    assert_eq!(text(&gap(Body::UntilClose, &told)), format!("event: gap\ndata: {data}\n\n"));
    let beat = "event: heartbeat\ndata: {\"type\":\"heartbeat\"}\n\n";
    assert_eq!(text(heartbeat(Body::UntilClose)), beat);
    assert_eq!(text(heartbeat(Body::Chunked)), format!("2d\r\n{beat}\r\n"));
}

#[test]
fn a_close_ends_the_body_and_keeps_away_who_should_not_come_back_by_itself() {
    let restarting = "event: close\ndata: {\"code\":1012,\"reason\":\"restarting\"}\n\n";
    let closed = |body, reason| text(&close(body, reason).unwrap());
    let chunks = format!("38\r\n{restarting}\r\n0\r\n\r\n");
    assert_eq!(closed(Body::Chunked, CloseReason::Restarting), chunks);
    assert_eq!(closed(Body::UntilClose, CloseReason::Restarting), restarting);
    let mut kept_away = Vec::new();
    for &reason in CloseReason::ALL.iter().filter(|reason| reason.code().is_some()) {
        let stream = closed(Body::UntilClose, reason);
        let [event] = &dispatched(&stream)[..] else { panic!("{stream}") };
        assert_eq!(event.name, "close");
        match event.retry {
            None => {}
            Some(retry) => {
                assert_eq!(retry, 86_400_000);
                kept_away.push(reason.code().unwrap());
            }
        }
    }
    kept_away.sort_unstable();
    kept_away.dedup();
    assert_eq!(kept_away, [1003, 1008, 3000, 3003, 4011]);
    assert_eq!(close(Body::Chunked, CloseReason::PeerGone), None);
}

#[test]
fn what_time_may_cure_is_told_in_a_body_and_the_rest_by_its_status() {
    for &refusal in Refusal::ALL {
        let told = refused_for_now(Body::UntilClose, refusal);
        assert_eq!(told.is_some(), matches!(refusal.status(), 429 | 500 | 503), "{refusal:?}");
        let Some(told) = told else { continue };
        let code = match refusal {
            Refusal::Draining => 1012,
            Refusal::InternalError => 1011,
            _ => 1013,
        };
        let [event] = &dispatched(&text(&told))[..] else { panic!("{told:?}") };
        assert_eq!(event.name, "close");
        assert_eq!(event.data, format!(r#"{{"code":{code},"reason":"{}"}}"#, refusal.label()));
        let least = refusal.retry_after().map_or(1_000, |wait| wait.as_millis() as u64);
        assert!((least..=5_000).contains(&event.retry.unwrap()), "{event:?}");
    }
}

/// Pieces of which a payload could make lines of its own, if it could end one.
const PIECES: [&str; 12] = [
    "\r",
    "\n",
    "\r\n",
    "event: close",
    "id: 9-9",
    "id:",
    "retry: 0",
    "data: x",
    ":",
    " ",
    "{",
    "\0",
];

#[test]
fn no_payload_makes_more_than_the_one_event_that_carries_it() {
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..20_000 {
        let payload: String = (0..random.usize(..9)).map(|_| PIECES[random.usize(..12)]).collect();
        let mut entry = message(payload.as_bytes());
        entry.id = StreamId::parse("5-0");
        let stream = alone(&raw_message(&entry));
        let [event] = &dispatched(&stream)[..] else { panic!("{payload:?}: {stream:?}") };
        assert_eq!((event.last_id.as_str(), event.retry), ("5-0", None), "{payload:?}");
        let data = match event.name.as_str() {
            "" => event.data.clone().into_bytes(),
            "base64" => STANDARD.decode(&event.data).unwrap(),
            name => panic!("{payload:?} made an event {name}"),
        };
        assert_eq!(data, payload.as_bytes());
        let stream = alone(&json_message(&entry));
        let [event] = &dispatched(&stream)[..] else { panic!("{payload:?}: {stream:?}") };
        assert_eq!((event.name.as_str(), event.last_id.as_str()), ("", "5-0"));
        let whole: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(whole["channel"], "orders");
    }
}

/// What a caller says is split at every end of a line that a browser knows, too.
#[test]
fn data_is_split_at_every_end_of_a_line() {
    let event = Event { data: b"a\rb\nc\r\nd\n\re", ..Event::default() };
    assert_eq!(text(&event.encode()), "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n");
}

#[test]
fn all_sessions_share_the_bytes_of_a_message_whatever_their_body_is() {
    use wire::Codec::{SseJson, SseRaw};
    let message = message(b"1");
    for [chunked, until_close] in [
        [SseRaw(Body::Chunked), SseRaw(Body::UntilClose)],
        [SseJson(Body::Chunked), SseJson(Body::UntilClose)],
    ] {
        let chunk = chunked.message(&message);
        assert_eq!(chunk.as_ptr(), chunked.message(&message).as_ptr());
        let event = until_close.message(&message);
        assert!(chunk.as_ptr_range().contains(&event.as_ptr()));
        assert_eq!(chunk.len(), event.len() + format!("{:x}", event.len()).len() + 4);
    }
}
