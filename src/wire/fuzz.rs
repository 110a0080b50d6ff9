//! A fuzz target: a client's JSON frame, and what others and its sender are shown of it.

use super::{
    Codec, Sent, Stamp,
    inbound::{self, ClientFrame, InvalidFrame, Reference},
    publish::refused,
};
use crate::{channel::ChannelName, reason::PublishResult};
use serde_json::{Map, Value};
use std::time::{Instant, SystemTime};

/// Reads a frame, and compares it with what another reader finds in it.
///
/// # Panics
/// When they differ, or what is shown of it is not what it must be.
pub(crate) fn client_frame(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Another reader may refuse what this one leaves alone: a number that it cannot hold.
    let other: Option<Value> = serde_json::from_str(text).ok();
    match inbound::json(text) {
        Ok(frame) => {
            assert_says(&frame, text, other.as_ref());
            if let ClientFrame::Publish { data, .. } = &frame {
                assert_stamped(data);
            }
        }
        Err(InvalidFrame { reference }) => {
            assert_reference(reference.as_ref(), other.as_ref());
            let answer = refused(reference.as_ref(), PublishResult::FrameInvalid, None);
            let answer: Value = serde_json::from_slice(behind_head(&answer)).expect("JSON");
            let told = reference.as_ref().map(|it| Value::from(it.as_str()));
            assert_eq!(answer.get("ref"), told.as_ref());
        }
    }
}

fn assert_says(frame: &ClientFrame, text: &str, other: Option<&Value>) {
    let (kind, reference) = match frame {
        ClientFrame::Refresh { .. } => ("refresh", None),
        ClientFrame::Publish { reference, .. } => ("publish", reference.as_ref()),
        ClientFrame::Subscribe { reference, .. } => ("subscribe", reference.as_ref()),
        ClientFrame::Unsubscribe { reference, .. } => ("unsubscribe", reference.as_ref()),
    };
    if let ClientFrame::Publish { data, .. } = frame {
        assert!(text.contains(&**data), "data is as the client wrote it");
    }
    let Some(other) = other else { return };
    assert_eq!(other["type"], kind);
    if !matches!(frame, ClientFrame::Refresh { .. }) {
        assert_reference(reference, Some(other));
    }
    let is = |name: &str, text: Option<&str>| {
        assert_eq!(other.get(name).and_then(Value::as_str), text, "{name}");
    };
    match frame {
        ClientFrame::Refresh { token } => is("token", Some(token)),
        ClientFrame::Publish { channel, data, .. } => {
            is("channel", channel.as_deref());
            assert_eq!(serde_json::from_str::<Value>(data).ok().as_ref(), other.get("data"));
        }
        ClientFrame::Subscribe { channel, since, last, .. } => {
            is("channel", Some(channel));
            is("since", since.as_deref());
            assert_eq!(other.get("last").and_then(Value::as_u64), *last);
        }
        ClientFrame::Unsubscribe { channel, .. } => is("channel", Some(channel)),
    }
}

fn assert_reference(reference: Option<&Reference>, other: Option<&Value>) {
    let Some(reference) = reference else { return };
    assert!(reference.as_str().chars().count() <= 64);
    if let Some(other) = other {
        assert_eq!(other["ref"], reference.as_str());
    }
}

/// What others get has our words outside and the client's inside, in whatever it sends.
fn assert_stamped(data: &str) {
    let claims: Map<_, _> = [("name".to_owned(), "Ann".into())].into_iter().collect();
    let stamp = Stamp::new("42", &[("room".to_owned(), "7".to_owned())], &claims);
    let shown = stamp.around(Sent::Json(data), SystemTime::UNIX_EPOCH);
    let start =
        r#"{"type":"message","user":"42","room":"7","at":0,"claims":{"name":"Ann"},"data":"#;
    assert_eq!(shown, format!("{start}{data}}}"));
    let message = super::message(ChannelName::new("c"), &shown, Instant::now());
    let shown: Value = match serde_json::from_slice(behind_head(Codec::WsJson.message(&message))) {
        Ok(shown) => shown,
        // A number that this reader cannot hold.
        Err(_) => return,
    };
    // Nested too deep by our own words, it is a string there.
    let stamped = match &shown["data"] {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(stamped) => stamped,
            Err(_) => return,
        },
        stamped => stamped.clone(),
    };
    assert_eq!((&stamped["user"], &stamped["room"]), (&"42".into(), &"7".into()));
    let members: Vec<_> = stamped.as_object().expect("an object").keys().collect();
    assert_eq!(members.len(), 6, "{members:?}");
}

/// The payload of a frame of ours.
pub(crate) fn behind_head(frame: &[u8]) -> &[u8] {
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}
