//! The id of a stream's entry: a position in it.

use std::fmt;

/// Two numbers, in Redis's order: `1795769040539-0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Mostly a time, in milliseconds since 1970; nothing here relies on that.
    pub milliseconds: u64,
    pub sequence: u64,
}

impl StreamId {
    /// Before every entry.
    pub const ZERO: Self = Self { milliseconds: 0, sequence: 0 };

    /// Reads `<u64>-<u64>`, in decimal digits, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (milliseconds, sequence) = text.split_once('-')?;
        Some(Self { milliseconds: number(milliseconds)?, sequence: number(sequence)? })
    }
}

/// A sign is no digit, though `u64::from_str` takes one.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decimal_numbers_and_nothing_else_are_an_id() {
        let id = |milliseconds, sequence| Some(StreamId { milliseconds, sequence });
        for (text, expected) in [
            ("1795769040539-0", id(1_795_769_040_539, 0)),
            ("0-0", Some(StreamId::ZERO)),
            ("007-08", id(7, 8)),
            ("18446744073709551615-18446744073709551615", id(u64::MAX, u64::MAX)),
            ("18446744073709551616-0", None),
            ("1795769040539", None),
            ("1-", None),
            ("-1", None),
            ("+1-2", None),
            ("1-+2", None),
            ("1-2-3", None),
            (" 1-2", None),
            ("$", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(StreamId::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn ids_are_ordered_by_number_and_shown_as_redis_shows_them() {
        let (small, large) = (StreamId::parse("9-10").unwrap(), StreamId::parse("10-9").unwrap());
        assert!(StreamId::ZERO < small && small < large);
        assert_eq!(large.to_string(), "10-9");
    }
}
