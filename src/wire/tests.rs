//! Each shape of each codec, byte by byte.

use super::*;
use tungstenite::Message as Inbound;

fn orders() -> ChannelName {
    ChannelName::new("orders")
}

fn message_of(payload: &[u8]) -> Message {
    message(orders(), payload, Instant::now())
}

#[test]
fn a_message_is_framed_as_its_codec_says() {
    let json = |data: &str| format!(r#"{{"type":"message","channel":"orders","data{data}}}"#);
    for (payload, raw_opcode, data) in [
        ("grüß".as_bytes(), 0x81, r#"":"grüß""#),
        (b"{\"a\":1}", 0x81, r#"":{"a":1}"#),
        (b"", 0x81, r#"":"""#),
        (&[0xFF, 0x00], 0x82, r#"_base64":"/wA=""#),
    ] {
        let message = message_of(payload);
        assert_eq!(message.payload(), payload);
        let raw = [&[raw_opcode, payload.len() as u8], payload].concat();
        assert_eq!(Codec::WsRaw.message(&message), &raw);
        let binary = [&[0x82, payload.len() as u8], payload].concat();
        assert_eq!(Codec::WsBinary.message(&message), &binary);
        let json = json(data);
        let json = [&[0x81, json.len() as u8], json.as_bytes()].concat();
        assert_eq!(Codec::WsJson.message(&message), &json);
    }
}

#[test]
fn a_message_is_encoded_once_however_often_it_is_asked_for() {
    let message = message_of(b"1");
    for codec in [Codec::WsRaw, Codec::WsBinary, Codec::WsJson] {
        assert_eq!(codec.message(&message).as_ptr(), codec.message(&message).as_ptr());
    }
    let no_text = message_of(b"\xFF");
    let [raw, binary] = [Codec::WsRaw, Codec::WsBinary].map(|it| it.message(&no_text).as_ptr());
    assert_eq!(raw, binary, "what is binary anyhow is shared");
    assert_eq!(message.payload().as_ptr(), Codec::WsRaw.message(&message)[2..].as_ptr());
}

#[test]
fn only_a_json_session_is_told_ready() {
    let heartbeat = Some(Duration::from_secs(25));
    for codec in [Codec::WsRaw, Codec::WsBinary] {
        assert_eq!(codec.ready(7, &[orders()], &[], heartbeat), None);
    }
    let ready = br#"{"type":"ready","session":"7","channels":["orders"],"heartbeat_ms":25000}"#;
    assert_eq!(Codec::WsJson.ready(7, &[orders()], &[], heartbeat).unwrap(), frame::text(ready));
}

#[test]
fn a_heartbeat_is_json_or_the_notice_of_the_endpoint_if_there_is_one() {
    let notice = HeartbeatNotice::new("beat");
    for notice in [None, Some(&notice)] {
        let json = Codec::WsJson.heartbeat(notice).unwrap();
        assert_eq!(json, &frame::text(br#"{"type":"heartbeat"}"#));
    }
    for codec in [Codec::WsRaw, Codec::WsBinary] {
        assert_eq!(codec.heartbeat(Some(&notice)).unwrap(), &b"\x81\x04beat"[..]);
        assert_eq!(codec.heartbeat(None), None);
    }
}

#[test]
fn a_raw_gap_is_the_notice_of_the_endpoint_and_shares_its_bytes() {
    let notice = GapNotice::new("lost");
    let gap = Gap { channel: orders(), loss: GapReason::ShardLagged.into() };
    for codec in [Codec::WsRaw, Codec::WsBinary] {
        let encoded = codec.gap(&gap, &notice);
        assert_eq!(encoded, &b"\x81\x04lost"[..], "a text frame");
        assert_eq!(encoded.as_ptr(), notice.0.as_ptr());
        assert_eq!(codec.not_recovered(&notice).unwrap(), encoded);
        assert!(!codec.gap_names_channel());
    }
    let json = br#"{"type":"gap","channel":"orders","reason":"shard_lagged","missed":null}"#;
    assert_eq!(Codec::WsJson.gap(&gap, &notice), frame::text(json));
}

#[test]
fn raw_gaps_include_each_other_and_json_gaps_those_of_the_same_channel_and_reason() {
    let (told, other) = (GapReason::SlowConsumer, GapReason::RedisReconnected);
    let gap = Gap { channel: orders(), loss: told.into() };
    let news = ChannelName::new("news");
    for (channel, reason, json) in
        [(&orders(), told, true), (&news, told, false), (&orders(), other, false)]
    {
        assert!(Codec::WsRaw.gap_includes(&gap, channel, reason));
        assert!(Codec::WsBinary.gap_includes(&gap, channel, reason));
        assert_eq!(Codec::WsJson.gap_includes(&gap, channel, reason), json);
    }
}

#[test]
fn pings_and_closes_are_the_same_for_all_websocket_sessions() {
    for codec in [Codec::WsRaw, Codec::WsBinary, Codec::WsJson] {
        assert_eq!(codec.ping().unwrap(), &[0x89, 0][..]);
        assert_eq!(codec.close(CloseReason::Bye).unwrap(), &b"\x88\x05\x03\xe8bye"[..]);
        assert_eq!(codec.close(CloseReason::PeerGone), None);
    }
}

#[test]
fn only_a_text_message_of_a_json_session_is_understood() {
    let text = r#"{"type":"refresh","token":"t"}"#;
    let refresh = ClientFrame::Refresh { token: "t".to_owned() };
    let not_understood = || Err(InvalidFrame::default());
    assert_eq!(Codec::WsJson.client_frame(&Inbound::text(text)), Ok(refresh));
    assert_eq!(Codec::WsJson.client_frame(&Inbound::binary(text)), not_understood());
    assert_eq!(Codec::WsJson.client_frame(&Inbound::text("hello")), not_understood());
    assert_eq!(Codec::WsRaw.client_frame(&Inbound::text(text)), not_understood());
    assert_eq!(Codec::WsBinary.client_frame(&Inbound::text(text)), not_understood());
}

#[test]
fn json_frame_in_protocol_is_the_one_that_is_sent() {
    let payload = br#"{"type":"order_shipped"}"#;
    let channel = ChannelName::new("user:42:notifications");
    let message = message(channel, payload, Instant::now());
    let frame = String::from_utf8_lossy(Codec::WsJson.message(&message));
    let shown = frame.split_once('{').expect("a JSON object").1;
    let protocol = include_str!("../../docs/protocol.md");
    assert!(protocol.contains(&format!("\n{{{shown}\n")), "{shown}");
}
