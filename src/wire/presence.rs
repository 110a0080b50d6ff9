//! Who is in a room, as a client is told: `presence`, then `join` and `leave`. Only in JSON.

use super::{Codec, frame, json, sse};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

impl Codec {
    /// `{"type":"presence","channel":"…","count":2,"users":["41","42"]}`; without `users` where there are too
    /// many for a list. `None`: this codec has no such frame.
    #[must_use]
    pub fn presence(
        self,
        channel: &str,
        count: usize,
        users: Option<&[Arc<str>]>,
    ) -> Option<Bytes> {
        #[derive(Serialize)]
        struct Presence<'a> {
            r#type: &'static str,
            channel: &'a str,
            count: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            users: Option<Vec<&'a str>>,
        }
        let users = users.map(|users| users.iter().map(|user| &**user).collect());
        self.named("presence", &Presence { r#type: "presence", channel, count, users })
    }

    /// `{"type":"join","channel":"…","user":"43"}` or `{"type":"leave",…}`. `None`: this codec has no such
    /// frame.
    #[must_use]
    pub fn presence_change(self, channel: &str, user: &str, is_join: bool) -> Option<Bytes> {
        #[derive(Serialize)]
        struct Change<'a> {
            r#type: &'static str,
            channel: &'a str,
            user: &'a str,
        }
        let name = if is_join { "join" } else { "leave" };
        self.named(name, &Change { r#type: name, channel, user })
    }

    fn named(self, name: &'static str, shape: &impl Serialize) -> Option<Bytes> {
        match self {
            Self::WsJson => Some(frame::text(&json::encode(shape))),
            Self::SseJson(body) => Some(sse::named(body, name, &json::encode(shape))),
            Self::WsRaw | Self::WsBinary | Self::SseRaw(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Option<Bytes>) -> String {
        String::from_utf8(frame.unwrap()[2..].to_vec()).unwrap()
    }

    #[test]
    fn a_roster_has_its_users_or_only_their_number_and_a_change_its_user() {
        let users = ["41".into(), "a\"b".into()];
        let shown = text(Codec::WsJson.presence("c", 2, Some(&users)));
        let expected = r#"{"type":"presence","channel":"c","count":2,"users":["41","a\"b"]}"#;
        assert_eq!(shown, expected);
        let shown = text(Codec::WsJson.presence("c", 2_000, None));
        assert_eq!(shown, r#"{"type":"presence","channel":"c","count":2000}"#);
        let shown = text(Codec::WsJson.presence_change("c", "43", true));
        assert_eq!(shown, r#"{"type":"join","channel":"c","user":"43"}"#);
        assert_eq!(Codec::WsRaw.presence("c", 0, None), None);
    }

    #[test]
    fn over_server_sent_events_each_is_an_event_of_its_name() {
        let event = Codec::SseJson(sse::Body::UntilClose).presence_change("c", "43", false);
        let expected =
            "event: leave\ndata: {\"type\":\"leave\",\"channel\":\"c\",\"user\":\"43\"}\n\n";
        assert_eq!(event.unwrap(), expected);
        let event = Codec::SseJson(sse::Body::UntilClose).presence("c", 0, Some(&[]));
        assert!(event.unwrap().starts_with(b"event: presence\ndata: {"));
    }
}
