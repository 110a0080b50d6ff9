//! The JSON bodies that name their channels: read strictly, so that no two readers can differ about one.
//!
//! Within `data` anything goes that is JSON; it is passed on as it was written.

use super::fault::Fault;
use crate::{json_object::Object, wire::is_sound_json};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One message for one channel, as a body names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) channel: String,
    pub(super) payload: Bytes,
}

/// A message for one channel or several; the whole body may also be a batch of such messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(default, deserialize_with = "present")]
    channel: Option<String>,
    #[serde(default, deserialize_with = "present")]
    channels: Option<Vec<String>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "present")]
    data_base64: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    batch: Option<Vec<Object<Message<'a>>>>,
}

/// Reads a member that is present: null does not count as absent, and as `data` it is a message.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    member: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

/// What a body asks for, in its order. At most `max_batch` items.
///
/// # Errors
/// [`Fault::BodyInvalid`], [`Fault::BodyTooLarge`].
pub(super) fn items(body: &Bytes, max_batch: usize) -> Result<Vec<Item>, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::BodyInvalid)?;
    let Object(whole): Object<Message<'_>> =
        serde_json::from_str(text).map_err(|_| Fault::BodyInvalid)?;
    if !is_sound_json(text) {
        return Err(Fault::BodyInvalid);
    }
    let messages = match whole {
        Message {
            channel: None,
            channels: None,
            data: None,
            data_base64: None,
            batch: Some(it),
        } => it,
        single => vec![Object(single)],
    };
    let mut items = Vec::new();
    for Object(message) in messages {
        message.add_to(&mut items, body)?;
        if items.len() > max_batch {
            return Err(Fault::BodyTooLarge);
        }
    }
    if items.is_empty() { Err(Fault::BodyInvalid) } else { Ok(items) }
}

impl Message<'_> {
    fn add_to(self, items: &mut Vec<Item>, body: &Bytes) -> Result<(), Fault> {
        if self.batch.is_some() {
            return Err(Fault::BodyInvalid);
        }
        let payload = match (self.data, self.data_base64) {
            (Some(data), None) => body.slice_ref(data.get().as_bytes()),
            (None, Some(text)) => {
                BASE64_STANDARD.decode(text).map_err(|_| Fault::BodyInvalid)?.into()
            }
            _ => return Err(Fault::BodyInvalid),
        };
        let channels = match (self.channel, self.channels) {
            (Some(channel), None) => vec![channel],
            (None, Some(channels)) if !channels.is_empty() => channels,
            _ => return Err(Fault::BodyInvalid),
        };
        let item = |channel| Item { channel, payload: payload.clone() };
        items.extend(channels.into_iter().map(item));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let items = items(&Bytes::copy_from_slice(text.as_bytes()), 4)?;
        Ok(items.into_iter().map(|item| (item.channel, item.payload.to_vec())).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        Ok(expected.iter().map(|(a, b)| ((*a).to_owned(), b.as_bytes().to_vec())).collect())
    }

    #[test]
    fn the_three_forms_are_read_in_order_and_data_is_passed_on_as_written() {
        for (text, expected) in [
            (
                r#"{"channel":"c","data":{"a" : 1.50, "a":2}}"#,
                &[("c", r#"{"a" : 1.50, "a":2}"#)][..],
            ),
            (r#" {"data":null,"channel":"\u0063"} "#, &[("c", "null")]),
            (r#"{"channel":"c","data_base64":"aGk="}"#, &[("c", "hi")]),
            (r#"{"channels":["c","d"],"data":"hi"}"#, &[("c", "\"hi\""), ("d", "\"hi\"")]),
            (
                r#"{"batch":[{"channel":"c","data":1},{"channels":["d","e"],"data_base64":""}]}"#,
                &[("c", "1"), ("d", ""), ("e", "")],
            ),
            // What is no channel is told by its item, not for all.
            (r#"{"channel":"","data":1}"#, &[("", "1")]),
        ] {
            assert_eq!(read(text), pairs(expected), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_is_not_understood_is_no_body() {
        let nested = |depth| {
            format!(r#"{{"channel":"c","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(read(&nested(127)).is_ok());
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"channel":"c"}"#,
            r#"{"data":1}"#,
            r#"{"channel":"c","data":1,"data":1}"#,
            r#"{"channel":"c","channel":"c","data":1}"#,
            r#"{"channel":"c","\u0063hannel":"c","data":1}"#,
            r#"{"channel":"c","data":1,"event":"x"}"#,
            r#"{"channel":"c","channels":["c"],"data":1}"#,
            r#"{"channel":"c","data":1,"data_base64":"aGk="}"#,
            r#"{"channel":"c","data_base64":"aGk"}"#,
            r#"{"channel":"c","data_base64":"a-_="}"#,
            r#"{"channel":7,"data":1}"#,
            r#"{"channels":[],"data":1}"#,
            r#"{"channels":"c","data":1}"#,
            r#"{"batch":[]}"#,
            r#"{"batch":[{}]}"#,
            r#"{"batch":[{"channel":"c","data":1,"channel":"d"}]}"#,
            r#"{"batch":[{"channel":"c","data":1}],"channel":"d"}"#,
            r#"{"batch":[{"channel":"c","data":1}],"data":1}"#,
            r#"{"batch":[{"channel":"c","data":1}],"batch":[]}"#,
            r#"{"batch":[{"batch":[]}]}"#,
            r#"["c",null,1]"#,
            r#"{"batch":[["c",null,1]]}"#,
            r#"{"channel":"c","channels":null,"data":1}"#,
            r#"{"channel":"c","data":1,"data_base64":null}"#,
            r#"{"channel":null,"data":1}"#,
            r#"{"channel":"c","data":1,"batch":null}"#,
            r#"{"channel":"c","data":1}{}"#,
            r#"{"channel":"c","data":1,}"#,
            r#"{"channel":"c","data":'x'}"#,
            r#"{"channel":"\ud800","data":1}"#,
            r#"{"channel":"c","data":"\ud800"}"#,
            "\u{feff}{\"channel\":\"c\",\"data\":1}",
            &nested(128),
            &nested(100_000),
        ] {
            assert_eq!(read(text), Err(Fault::BodyInvalid), "{}", &text[..text.len().min(80)]);
        }
        let not_utf8 = Bytes::from_static(b"{\"channel\":\"\xff\",\"data\":1}");
        assert_eq!(items(&not_utf8, 4), Err(Fault::BodyInvalid));
    }

    #[test]
    fn a_batch_has_an_end() {
        let batch = |count| {
            format!(r#"{{"batch":[{}]}}"#, vec![r#"{"channel":"c","data":1}"#; count].join(","))
        };
        assert_eq!(read(&batch(4)).unwrap().len(), 4);
        assert_eq!(read(&batch(5)), Err(Fault::BodyTooLarge));
        let channels = format!(r#"{{"channels":{:?},"data":1}}"#, vec!["c"; 5]);
        assert_eq!(read(&channels), Err(Fault::BodyTooLarge));
    }
}
