//! What a client may ask of its session: a strict parser of its JSON frames.
//!
//! A frame is understood whole or not at all. Members that no frame of its type has are ignored, so that
//! a later version may add some; duplicates are refused, since two readers could each take a different one.

use super::json_text;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// A client's frame, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// A newer token of the same user, which is to lengthen the session's life. Not yet verified.
    Refresh { token: String },
    /// A message for others.
    Publish {
        channel: Option<String>,
        /// JSON, as the client wrote it.
        data: Box<str>,
        reference: Option<Reference>,
    },
    /// A channel or stream that the session is to have from now on.
    Subscribe {
        channel: String,
        since: Option<String>,
        last: Option<u64>,
        reference: Option<Reference>,
    },
    /// A channel or stream that the session is not to have any more.
    Unsubscribe { channel: String, reference: Option<Reference> },
}

/// The `ref` of a client's frame, repeated in its answer: at most [`LONGEST_REFERENCE`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(Box<str>);

/// Characters of a reference.
const LONGEST_REFERENCE: usize = 64;

/// A frame that cannot be understood, with its reference where one could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InvalidFrame {
    pub reference: Option<Reference>,
}

impl Reference {
    pub(super) fn new(text: String) -> Option<Self> {
        (text.chars().count() <= LONGEST_REFERENCE).then(|| Self(text.into()))
    }

    /// As the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a text message of a json session.
///
/// # Errors
/// It is not a JSON object, its `type` is missing or unknown, a member is missing, duplicate or of the wrong kind,
/// `ref` is not a [`Reference`], it has a lone surrogate anywhere, or it is nested too deep.
pub(super) fn json(text: &str) -> Result<ClientFrame, InvalidFrame> {
    let members: Members<'_> = serde_json::from_str(text).map_err(|_| InvalidFrame::default())?;
    if !json_text::is_sound(text) {
        return Err(InvalidFrame::default());
    }
    let reference = match members.reference.map(string) {
        None => None,
        Some(text) => Some(text.and_then(Reference::new).ok_or_else(InvalidFrame::default)?),
    };
    members.frame(reference.clone()).ok_or(InvalidFrame { reference })
}

/// Members of a frame, not looked into yet. Each stands there once.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a RawValue>,
    reference: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
    channel: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    since: Option<&'a RawValue>,
    last: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn place(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "type" => &mut self.kind,
            "ref" => &mut self.reference,
            "token" => &mut self.token,
            "channel" => &mut self.channel,
            "data" => &mut self.data,
            "since" => &mut self.since,
            "last" => &mut self.last,
            _ => return None,
        })
    }

    fn frame(self, reference: Option<Reference>) -> Option<ClientFrame> {
        Some(match string(self.kind?)?.as_str() {
            "refresh" => ClientFrame::Refresh { token: string(self.token?)? },
            "publish" => ClientFrame::Publish {
                channel: optional(self.channel, string)?,
                data: self.data?.get().into(),
                reference,
            },
            "subscribe" => ClientFrame::Subscribe {
                channel: string(self.channel?)?,
                since: optional(self.since, string)?,
                last: optional(self.last, number)?,
                reference,
            },
            "unsubscribe" => {
                ClientFrame::Unsubscribe { channel: string(self.channel?)?, reference }
            }
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let (mut members, mut others) = (Members::default(), Vec::new());
        while let Some(Name(name)) = map.next_key()? {
            match members.place(&name) {
                None => {
                    others.push(name);
                    map.next_value::<IgnoredAny>()?;
                }
                Some(Some(_)) => return Err(serde::de::Error::custom("a member occurs twice")),
                Some(place) => *place = Some(map.next_value()?),
            }
        }
        others.sort_unstable();
        match others.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(serde::de::Error::custom("a member occurs twice")),
            false => Ok(members),
        }
    }
}

/// A member's name; borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn number(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok()
}

/// `Some(None)`: it is absent. `None`: it is of another kind; null is no absence.
fn optional<T>(value: Option<&RawValue>, read: fn(&RawValue) -> Option<T>) -> Option<Option<T>> {
    value.map_or(Some(None), |value| read(value).map(Some))
}

#[cfg(test)]
mod tests;
