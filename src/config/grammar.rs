//! The grammar of our own channels' names and of endpoints' names.

use crate::endpoint::{EVENTS, is_channel_character};

/// Text that may stand in a channel's name.
pub(super) fn channel_text(text: &str) -> Result<(), String> {
    if let Some(wrong) = text.chars().find(|&c| !is_channel_character(c)) {
        return Err(format!(
            "must be printable ASCII without space and the pattern characters * ? [ ] \\; it has {wrong:?}"
        ));
    }
    match EVENTS.iter().find(|event| text.starts_with(**event)) {
        Some(event) => Err(format!("must not start with {event:?}: Redis keeps it for itself")),
        None => Ok(()),
    }
}

/// An endpoint's name: it becomes a metric label and a word in log lines.
pub(super) fn endpoint_name(name: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return Err(
            "must be 1 to 64 characters of a-z, 0-9, \"_\" and \"-\": it is the metric label",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_text_is_printable_ascii_without_patterns() {
        for text in ["", "user:42", "a{b}\"'!~", "x__keyspace@"] {
            assert_eq!(channel_text(text), Ok(()), "{text}");
        }
        for text in [
            "a b",
            "a*",
            "a?",
            "[a",
            "a]",
            "a\\",
            "ä",
            "a\n",
            "\u{7F}",
            "__keyspace@0__:x",
            "__keyevent@",
        ] {
            assert!(channel_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoint_names_are_short_lower_case_labels() {
        assert_eq!(endpoint_name("tram-state_2"), Ok(()));
        for name in ["", "Tram", "a b", "a.b", "ä", "a/b", &"a".repeat(65)] {
            assert!(endpoint_name(name).is_err(), "{name}");
        }
    }
}
