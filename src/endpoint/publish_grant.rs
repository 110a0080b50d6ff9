//! What one session may publish: its endpoint's rules with the values of its token and its path.

use super::{
    DataKind, Endpoint, NoPlace, PathParameters, PublishPlace, PublishRules, Unfilled, Values,
};
use crate::{
    bus::{Destination, Publication},
    identity::Identity,
    reason::PublishResult,
    wire::{Sent, Stamp, is_sound_json},
};
use serde_json::value::RawValue;
use std::time::SystemTime;

/// What one session may publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishGrant {
    is_permitted: bool,
    place: PublishPlace,
    stamp: Option<Stamp>,
    path: PathParameters,
}

impl PublishGrant {
    /// What a session of this endpoint may publish that has these values; `None`: nothing.
    ///
    /// # Errors
    /// As [`Endpoint::topics_for`]: the place to publish to has no name.
    pub fn new(endpoint: &Endpoint, values: &Values<'_>) -> Result<Option<Self>, Unfilled> {
        let (Some(rules), Some(identity)) = (&endpoint.publish, values.identity) else {
            return Ok(None);
        };
        Ok(Some(Self {
            is_permitted: endpoint.may_publish(rules, identity),
            place: endpoint.publish_place(&rules.to, values)?,
            stamp: stamp(endpoint, rules, identity, values)?,
            path: values.path.clone(),
        }))
    }

    /// Takes over a newer token. Nothing may be published with one that a handshake would refuse.
    pub fn renew(&mut self, endpoint: &Endpoint, identity: &Identity) {
        let values = Values { identity: Some(identity), path: &self.path, query: "" };
        match Self::new(endpoint, &values) {
            Ok(Some(grant)) => *self = grant,
            Ok(None) | Err(_) => self.is_permitted = false,
        }
    }

    /// Makes the publication for a client's message, which may name a channel; `has` says whether the session is
    /// subscribed to that.
    ///
    /// # Errors
    /// Why the message is refused.
    pub fn publication(
        &self,
        sent: Sent<'_>,
        named: Option<&str>,
        has: impl Fn(&str) -> bool,
        now: SystemTime,
    ) -> Result<Publication, PublishResult> {
        if !self.is_permitted {
            return Err(PublishResult::NotPermitted);
        }
        let to = self.place.find(named).map_err(|no_place| match no_place {
            NoPlace::Frame => PublishResult::FrameInvalid,
            NoPlace::NotAllowed => PublishResult::ChannelNotAllowed,
        })?;
        if named.is_some_and(|named| !has(named)) {
            return Err(PublishResult::ChannelNotAllowed);
        }
        Ok(self.publication_to(to, sent, now))
    }

    fn publication_to(&self, to: Destination, sent: Sent<'_>, now: SystemTime) -> Publication {
        let payload = match &self.stamp {
            Some(stamp) => stamp.around(sent, now),
            None => sent.plain(),
        };
        Publication { to, payload }
    }
}

fn stamp(
    endpoint: &Endpoint,
    rules: &PublishRules,
    identity: &Identity,
    values: &Values<'_>,
) -> Result<Option<Stamp>, Unfilled> {
    if !rules.stamp {
        return Ok(None);
    }
    let claim = |name: &String| Some((name.clone(), identity.claims.find(name)?.clone()));
    let claims = rules.stamp_claims.iter().filter_map(claim).collect();
    Ok(Some(Stamp::new(&identity.user, &endpoint.path_values(values)?, &claims)))
}

impl DataKind {
    /// The data of a frame, which is JSON; `None`: it is not of this kind. A text is what its string says.
    #[must_use]
    pub fn of_frame<'a>(self, data: &'a str, text: &'a mut String) -> Option<Sent<'a>> {
        match self {
            Self::Json | Self::Any => Some(Sent::Json(data)),
            Self::Object => data.starts_with('{').then_some(Sent::Json(data)),
            Self::Text => {
                *text = serde_json::from_str(data).ok()?;
                Some(Sent::Text(text))
            }
        }
    }

    /// A whole message of a raw session; `None`: it is not of this kind.
    #[must_use]
    pub fn of_message(self, message: &[u8]) -> Option<Sent<'_>> {
        let text = std::str::from_utf8(message);
        match self {
            Self::Any => Some(text.map_or(Sent::Bytes(message), Sent::Text)),
            Self::Text => text.ok().map(Sent::Text),
            Self::Json => json(text.ok()?).map(Sent::Json),
            Self::Object => {
                json(text.ok()?).filter(|json| json.trim_start().starts_with('{')).map(Sent::Json)
            }
        }
    }
}

/// The text, if it is JSON that every reader takes.
fn json(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    is_sound_json(text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::Claims, testing};

    fn of_room(room: Option<&str>) -> Identity {
        Identity {
            user: "42".into(),
            claims: Claims::from_iter(room.map(|room| ("room", room))),
            token_id: None,
            static_token: None,
            expires: None,
            fingerprint: None,
        }
    }

    #[test]
    fn a_newer_token_names_another_place_and_one_that_names_none_takes_the_permission() {
        let text = format!(
            "[[endpoint]]\nname = \"test\"\npath = \"/ws\"\nchannels = [\"a\"]\n\
             [endpoint.publish]\nchannel = \"room:{{claim.room}}\"\n{}",
            testing::AUTH
        );
        let endpoint = testing::config(&text).endpoints.remove(0);
        let (path, first) = (PathParameters::default(), of_room(Some("a")));
        let values = Values { identity: Some(&first), path: &path, query: "" };
        let mut grant = PublishGrant::new(&endpoint, &values).unwrap().unwrap();
        let place = |grant: &PublishGrant| {
            let sent = (Sent::Json("1"), SystemTime::UNIX_EPOCH);
            let publication = grant.publication(sent.0, None, |_| false, sent.1);
            publication.map(|it| it.to.name().as_str().to_owned())
        };
        assert_eq!(place(&grant), Ok("room:a".to_owned()));
        for (newer, expected) in [
            (Some("b"), Ok("room:b".to_owned())),
            (None, Err(PublishResult::NotPermitted)),
            (Some("b:c"), Err(PublishResult::NotPermitted)),
            (Some("c"), Ok("room:c".to_owned())),
        ] {
            grant.renew(&endpoint, &of_room(newer));
            assert_eq!(place(&grant), expected, "{newer:?}");
        }
    }

    #[test]
    fn data_is_of_its_kind_or_none_at_all() {
        let (json, text) = (Sent::Json, Sent::Text);
        for (kind, data, expected) in [
            (DataKind::Json, "[1]", Some(json("[1]"))),
            (DataKind::Any, "null", Some(json("null"))),
            (DataKind::Object, r#"{"a":1}"#, Some(json(r#"{"a":1}"#))),
            (DataKind::Object, "[1]", None),
            (DataKind::Text, r#""a\n""#, Some(text("a\n"))),
            (DataKind::Text, "1", None),
        ] {
            assert_eq!(kind.of_frame(data, &mut String::new()), expected, "{kind:?} {data}");
        }
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        for (kind, message, expected) in [
            (DataKind::Any, &b"\xff\x00"[..], Some(Sent::Bytes(b"\xff\x00"))),
            (DataKind::Any, b"{", Some(text("{"))),
            (DataKind::Text, b"hi", Some(text("hi"))),
            (DataKind::Text, b"\xff", None),
            (DataKind::Json, b" [1, 2]", Some(json(" [1, 2]"))),
            (DataKind::Json, b"[1,", None),
            (DataKind::Json, b"\"\\ud800\"", None),
            (DataKind::Json, deep.as_bytes(), None),
            (DataKind::Object, b" {}", Some(json(" {}"))),
            (DataKind::Object, b"1", None),
            (DataKind::Object, b"\xff", None),
        ] {
            assert_eq!(kind.of_message(message), expected, "{kind:?} {message:?}");
        }
    }
}
