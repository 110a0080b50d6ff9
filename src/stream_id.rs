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

    /// The place just before an entry, which is told where there may be no entry to name. Before the first id
    /// of a millisecond it is one that no entry has, and whose numbers JavaScript keeps exact.
    #[must_use]
    pub fn place_before(self) -> Self {
        match (self.milliseconds, self.sequence.checked_sub(1)) {
            (_, Some(sequence)) => Self { sequence, ..self },
            (0, None) => Self::ZERO,
            (milliseconds, None) => {
                Self { milliseconds: milliseconds - 1, sequence: BEFORE_THE_NEXT }
            }
        }
    }

    /// Whether nothing was ever added between this place and the entry: there is no id between them, or the
    /// place was told as the one before this entry, and nothing can have come between them since.
    #[must_use]
    pub fn is_just_before(self, entry: Self) -> bool {
        self < entry && self == entry.place_before()
    }

    /// Reads `<u64>-<u64>`, in decimal digits, and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (milliseconds, sequence) = text.split_once('-')?;
        Some(Self { milliseconds: number(milliseconds)?, sequence: number(sequence)? })
    }
}

/// Redis counts the entries of a millisecond from 0: it will not come so far.
const BEFORE_THE_NEXT: u64 = (1 << 53) - 1;

/// A sign is no digit, though `u64::from_str` takes one.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

/// For tests: the first id of a millisecond.
#[cfg(test)]
pub const fn id(milliseconds: u64) -> StreamId {
    StreamId { milliseconds, sequence: 0 }
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
    fn the_place_before_an_entry_is_told_and_known_again() {
        let id = |text| StreamId::parse(text).unwrap();
        for (entry, place) in
            [("5-7", "5-6"), ("5-1", "5-0"), ("5-0", "4-9007199254740991"), ("0-1", "0-0")]
        {
            assert_eq!(id(entry).place_before(), id(place));
            assert!(id(place).is_just_before(id(entry)));
        }
        for (place, entry) in [("5-5", "5-7"), ("4-0", "5-0"), ("4-9", "5-0"), ("5-0", "5-0")] {
            assert!(!id(place).is_just_before(id(entry)), "{place} {entry}");
        }
        assert!(!StreamId::ZERO.is_just_before(StreamId::ZERO));
    }

    #[test]
    fn ids_are_ordered_by_number_and_shown_as_redis_shows_them() {
        let (small, large) = (StreamId::parse("9-10").unwrap(), StreamId::parse("10-9").unwrap());
        assert!(StreamId::ZERO < small && small < large);
        assert_eq!(large.to_string(), "10-9");
    }
}
