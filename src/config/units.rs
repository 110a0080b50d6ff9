//! Durations (`"10s"`) and sizes (`"64KiB"`) as the configuration writes them.

use std::{num::NonZeroUsize, time::Duration};

/// Longer waits make no sense here, and some would overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Redis itself takes no more than half of this in one string.
const LARGEST_SIZE: u64 = 1 << 30;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(&'static str);

/// Reads `"250ms"`, `"10s"`, `"5m"` or `"1h"`: one whole number, one unit.
///
/// # Errors
/// When it is anything else, or longer than the clock can count.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    const EXPECTED: UnitError = UnitError(
        "must be a duration: a whole number and a unit, such as \"250ms\", \"10s\", \"5m\" or \"1h\"",
    );
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(EXPECTED)
}

/// A duration that something may wait for; zero means not at all.
pub(super) fn wait(text: &str) -> Result<Duration, UnitError> {
    match duration(text)? {
        long if long > LONGEST_WAIT => Err(UnitError("must be at most \"24h\"")),
        wait => Ok(wait),
    }
}

/// A duration that nothing here waits for; zero means never.
pub(super) fn duration_up_to(text: &str, longest: Duration) -> Result<Duration, UnitError> {
    match duration(text)? {
        long if long > longest => Err(UnitError("is longer than anybody waits")),
        duration => Ok(duration),
    }
}

/// A duration where zero would make no sense.
pub(super) fn positive_wait(text: &str) -> Result<Duration, UnitError> {
    match wait(text)? {
        Duration::ZERO => Err(UnitError("must be longer than zero")),
        wait => Ok(wait),
    }
}

/// Reads `"512B"`, `"64KiB"`, `"1MiB"` or `"1GiB"`: one whole number, one unit, more than nothing.
pub(super) fn size(text: &str) -> Result<NonZeroUsize, UnitError> {
    const EXPECTED: UnitError = UnitError(
        "must be a size: a whole number and a unit, such as \"512B\", \"64KiB\" or \"1MiB\"",
    );
    let (number, unit) = split(text).ok_or(EXPECTED)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(EXPECTED),
    };
    let total = number.checked_mul(bytes).filter(|total| *total <= LARGEST_SIZE);
    let total = total.ok_or(UnitError("must be at most \"1GiB\""))?;
    let total = usize::try_from(total).map_err(|_| UnitError("is too large for this machine"))?;
    NonZeroUsize::new(total).ok_or(UnitError("must be more than zero"))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        for (text, milliseconds) in
            [("0s", 0), ("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        let huge = format!("{}h", u64::MAX);
        for text in ["", "10", "s", "1.5s", "-1s", "+1s", " 1s", "1 s", "1S", "1d", "1m30s", &huge]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waits_are_bounded_and_may_have_to_be_positive() {
        assert_eq!(wait("24h"), Ok(LONGEST_WAIT));
        assert_eq!(wait("25h").unwrap_err().to_string(), "must be at most \"24h\"");
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert_eq!(positive_wait("0ms").unwrap_err().to_string(), "must be longer than zero");
    }

    #[test]
    fn sizes_are_a_positive_whole_number_and_a_binary_unit() {
        for (text, bytes) in
            [("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 1_073_741_824)]
        {
            assert_eq!(size(text).map(NonZeroUsize::get), Ok(bytes), "{text}");
        }
        for text in ["", "1", "KiB", "1KB", "1kib", "-1B", "1.5MiB", "0B", "2GiB", "1 KiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size(&format!("{}GiB", u64::MAX)).is_err());
    }
}
