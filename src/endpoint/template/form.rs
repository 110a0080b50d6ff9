//! What a value looks like in a name: as it is, or percent-encoded.
//!
//! Both forms keep values apart. A plain value has no `%`, and an escaped one without `%` is the value
//! itself: two different values never have one text, whichever form each of them has. In neither is there
//! a `:`, and nothing that Redis takes for a pattern.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// How a placeholder writes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::endpoint) enum Form {
    /// `{user}`: as they are, and only those that may stand in a name.
    Plain,
    /// `{user|escape}`: any, with most characters percent-encoded.
    Escaped,
}

/// The longest value, in bytes, before it is escaped.
const MAX_VALUE_BYTES: usize = 128;

/// What [`Form::Escaped`] encodes; all else stands for itself.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'@');

/// What `|escape` makes of a value.
#[must_use]
pub fn escape(value: &str) -> String {
    utf8_percent_encode(value, ENCODED).to_string()
}

impl Form {
    /// The longest text of a value, in bytes.
    pub(in crate::endpoint) const LONGEST: usize = MAX_VALUE_BYTES * "%FF".len();

    /// The value as a part of a name; `None`: it may not be one.
    pub(in crate::endpoint) fn write(self, value: &str) -> Option<String> {
        let fits = (1..=MAX_VALUE_BYTES).contains(&value.len());
        match self {
            Self::Plain => (fits && is_plain(value)).then(|| value.to_owned()),
            Self::Escaped => fits.then(|| escape(value)),
        }
    }

    /// Whether this text is what some value becomes.
    pub(in crate::endpoint) fn writes(self, text: &str) -> bool {
        match self {
            Self::Plain => self.write(text).is_some(),
            Self::Escaped => {
                let value = percent_decode_str(text).decode_utf8();
                value.is_ok_and(|value| self.write(&value).is_some_and(|again| again == text))
            }
        }
    }

    /// Whether the text of a value may have this character.
    pub(in crate::endpoint) fn has(self, character: char) -> bool {
        match self {
            Self::Plain => is_plain_character(character),
            Self::Escaped => character == '%' || stands_for_itself(character),
        }
    }
}

/// Whether escaping leaves this character as it is.
pub(super) fn stands_for_itself(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '@')
}

/// Nothing that could name another's channel or a pattern, nothing that could be an escaped value, and no
/// `..`, which means nothing to Redis but may to a program that makes file names or URLs of channels.
fn is_plain(value: &str) -> bool {
    value.chars().all(is_plain_character) && value.split('/').all(|part| part != "..")
}

pub(super) fn is_plain_character(character: char) -> bool {
    character.is_ascii_graphic()
        && !matches!(character, ':' | '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '"' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escaped_value_has_letters_digits_four_marks_and_the_codes_of_all_other_bytes() {
        for (value, escaped) in [
            ("ann", "ann"),
            ("a-Z.0_9@x", "a-Z.0_9@x"),
            ("auth0|5f", "auth0%7C5f"),
            ("a:b", "a%3Ab"),
            ("*?[]{}\\\"%", "%2A%3F%5B%5D%7B%7D%5C%22%25"),
            ("é 日", "%C3%A9%20%E6%97%A5"),
            ("\0\r\n", "%00%0D%0A"),
            ("a/../b", "a%2F..%2Fb"),
            ("..", ".."),
        ] {
            assert_eq!(Form::Escaped.write(value).as_deref(), Some(escaped));
            assert!(Form::Escaped.writes(escaped), "{escaped}");
        }
    }

    #[test]
    fn a_value_has_1_to_128_bytes_before_it_is_escaped() {
        for form in [Form::Plain, Form::Escaped] {
            assert_eq!(form.write(""), None);
            assert_eq!(form.write(&"a".repeat(128)).map(|text| text.len()), Some(128));
            assert_eq!(form.write(&"a".repeat(129)), None);
        }
        assert_eq!(Form::Escaped.write(&"é".repeat(64)).map(|it| it.len()), Some(Form::LONGEST));
        assert_eq!(Form::Escaped.write(&"é".repeat(65)), None, "130 bytes");
    }

    #[test]
    fn text_that_escaping_never_writes_is_none_of_its_values() {
        for text in ["", "a:b", "%41", "%2f", "%", "%2", "%zz", "%ff", "%C3", "a b", "a/b", "é"] {
            assert!(!Form::Escaped.writes(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn two_values_never_meet_escaped_or_plain(one in "[a%2:|é.]{1,4}", other in "[a%2:|é.]{1,4}") {
            let [one_escaped, other_escaped] = [&one, &other].map(|it| Form::Escaped.write(it));
            prop_assert_eq!(one_escaped == other_escaped, one == other);
            if let Some(plain) = Form::Plain.write(&one) {
                // One value may have two texts; two values never have one.
                prop_assert!(Some(plain) != other_escaped || one == other);
            }
        }

        #[test]
        fn a_form_has_every_character_that_it_writes(value in any::<String>()) {
            for form in [Form::Plain, Form::Escaped] {
                if let Some(text) = form.write(&value) {
                    prop_assert!(text.chars().all(|c| form.has(c)) && text.len() <= Form::LONGEST);
                    prop_assert!(form.writes(&text));
                }
            }
        }
    }
}
