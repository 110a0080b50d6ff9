//! The first 16 bytes of every payload: which message this is, of which channel, and when it was
//! (or, at a constant rate, should have been) published. Printable ASCII, six bits a byte, as real
//! payloads are text; the rest of the payload is a pattern.

/// The smallest payload: the stamp alone.
pub const LENGTH: usize = 16;

/// The `channel` of a stamp on a message to everybody.
pub const EVERYBODY: u32 = (1 << 18) - 1;

const FIRST_DIGIT: u8 = b'0';
const FILLER: u8 = b'~';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts all messages that this load generator published. 30 bits.
    pub sequence: u32,
    /// The number of the channel, or [`EVERYBODY`]. 18 bits.
    pub channel: u32,
    /// Since the load generator started. 48 bits: three days.
    pub nanos: u64,
}

impl Stamp {
    /// A payload of `size` bytes, at least [`LENGTH`], at the end of `out`.
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size;
        digits(u64::from(self.sequence), 5, out);
        digits(u64::from(self.channel), 3, out);
        digits(self.nanos, 8, out);
        out.resize(end, FILLER);
    }

    /// The stamp of a received payload; `None` if it is not ours, damaged, or not of this size.
    #[must_use]
    pub fn read(payload: &[u8], size: usize) -> Option<Self> {
        let whole = payload.len() == size && size >= LENGTH;
        if !whole || (size > LENGTH && payload[size - 1] != FILLER) {
            return None;
        }
        Some(Self {
            sequence: number(&payload[0..5])? as u32,
            channel: number(&payload[5..8])? as u32,
            nanos: number(&payload[8..16])?,
        })
    }
}

fn digits(value: u64, count: u32, out: &mut Vec<u8>) {
    out.extend((0..count).rev().map(|at| FIRST_DIGIT + (value >> (6 * at) & 63) as u8));
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = digit.checked_sub(FIRST_DIGIT).filter(|digit| *digit < 64)?;
        Some(value << 6 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_cut_is_not() {
        let stamp = Stamp { sequence: (1 << 30) - 1, channel: 99_999, nanos: 123_456_789_012 };
        for size in [LENGTH, 17, 128, 64 * 1024] {
            let mut payload = Vec::new();
            stamp.write(size, &mut payload);
            assert_eq!(Stamp::read(&payload, size), Some(stamp));
            assert_eq!(Stamp::read(&payload[..size - 1], size), None);
            assert!(payload.is_ascii());
        }
        assert_eq!(Stamp::read(br#"{"type":"gap"}  "#, LENGTH), None);
    }
}
