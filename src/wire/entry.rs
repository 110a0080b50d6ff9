//! An entry of a stream without the field that is the message: a JSON object of its fields.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use std::{borrow::Cow, collections::HashMap};

/// Encodes fields as an object of strings. Of equal names the last counts; a value that is not UTF-8 is
/// `{"base64":"…"}`.
#[must_use]
pub fn entry_object(fields: Vec<(&[u8], &[u8])>) -> Vec<u8> {
    let fields = fields.into_iter().map(|(name, value)| (String::from_utf8_lossy(name), value));
    let object = Object(fields.collect());
    serde_json::to_vec(&object).expect("strings are JSON")
}

struct Object<'a>(Vec<(Cow<'a, str>, &'a [u8])>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last: HashMap<&str, usize> =
            self.0.iter().enumerate().map(|(at, (name, _))| (&**name, at)).collect();
        let mut object = serializer.serialize_map(Some(last.len()))?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            if last.get(&**name) != Some(&at) {
                continue;
            }
            match std::str::from_utf8(value) {
                Ok(text) => object.serialize_entry(&**name, text)?,
                Err(_) => {
                    object.serialize_entry(&**name, &Bytes { base64: STANDARD.encode(value) })?;
                }
            }
        }
        object.end()
    }
}

#[derive(Serialize)]
struct Bytes {
    base64: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&[u8], &[u8])]) -> String {
        String::from_utf8(entry_object(fields.to_vec())).unwrap()
    }

    #[test]
    fn fields_are_strings_in_their_order_and_the_last_of_equal_names_counts() {
        assert_eq!(object(&[]), "{}");
        assert_eq!(
            object(&[(b"b", b"1"), (b"a", b"x \"y\""), (b"b", b"2"), (b"", b"")]),
            r#"{"a":"x \"y\"","b":"2","":""}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        assert_eq!(object(&[(b"a", b"\xff\x00")]), r#"{"a":{"base64":"/wA="}}"#);
    }
}
