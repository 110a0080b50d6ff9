//! Percent-decoding that refuses what it cannot read, instead of passing it on as it is.

use percent_encoding::percent_decode_str;

/// Decodes a path segment. `None`: a `%` without two hexadecimal digits, or not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let well_formed = text.split('%').skip(1).all(|rest| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = || percent_decode_str(text).decode_utf8().ok().map(String::from);
    if well_formed { decoded() } else { None }
}

/// Decodes a name or value of a query, where `+` is a space.
#[must_use]
pub fn decode_query(text: &str) -> Option<String> {
    match text.contains('+') {
        true => decode(&text.replace('+', " ")),
        false => decode(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_is_decoded_once() {
        for (text, decoded) in [
            ("", ""),
            ("a", "a"),
            ("%61%2F%2f", "a//"),
            ("%2541", "%41"),
            ("a+b", "a+b"),
            ("é%C3%A9", "éé"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded), "{text}");
        }
        assert_eq!(decode_query("a+b%2B").as_deref(), Some("a b+"));
    }

    #[test]
    fn what_is_broken_is_refused() {
        for text in ["%", "%4", "a%", "%zz", "%4g", "%%41", "%+1", "%C3", "%ff", "%ED%A0%80", "%é"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
