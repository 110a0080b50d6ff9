//! Reads a JSON object as a structure, and nothing else as one: serde would also take its members from a list.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData};

/// What is read from an object.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named<'a> {
        name: &'a str,
    }

    #[test]
    fn an_object_is_read_and_a_list_of_the_same_members_is_not() {
        let read = |text| serde_json::from_str(text).map(|Object::<Named<'_>>(named)| named).ok();
        assert_eq!(read(r#"{"name":"a"}"#), Some(Named { name: "a" }));
        for text in [r#"["a"]"#, r#"{"name":7}"#, r#"{}"#, "\"a\"", "null", r#"{"name":"a"}{}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
