//! Finds the end of a chunked body, so that a request that is pipelined behind it is not read as part of it.
//!
//! hyper reads the body and judges it; here only its lines and lengths are followed. When hyper rejects a
//! body, its connection is closed, and the end that was found is not used.

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Among the digits of a chunk's size, which so far are this.
    Size(u64),
    /// Behind them, before the line's end.
    Extension(u64),
    /// So many bytes before the next size: data, and the line's end behind it.
    Data(u64),
    /// In a trailer's line, or in the empty line that ends the body.
    Trailer { is_empty: bool },
    /// Behind such a line's CR.
    TrailerEnd { is_empty: bool },
    /// Before an LF without its CR, in a trailer. Some readers take it for a line's end, hyper does not: they
    /// would not agree on where the body ends.
    Ambiguous,
    /// Behind the body.
    Over,
}

impl Chunks {
    /// Before the first chunk.
    pub(super) const fn new() -> Self {
        Self::Size(0)
    }

    /// Goes over the bytes that come next. Returns how many of them are of the body: all, or those up to its end
    /// or to where that is ambiguous.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let [byte, behind @ ..] = rest
            && !matches!(self, Self::Over | Self::Ambiguous)
        {
            if matches!(self, Self::Trailer { .. }) && *byte == b'\n' {
                *self = Self::Ambiguous;
                break;
            }
            rest = match *self {
                Self::Data(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    *self = match left - taken as u64 {
                        0 => Self::new(),
                        left => Self::Data(left),
                    };
                    &rest[taken..]
                }
                of_line => {
                    *self = of_line.after_byte(*byte);
                    behind
                }
            };
        }
        bytes.len() - rest.len()
    }

    /// Behind this byte, which is one of a line.
    fn after_byte(self, byte: u8) -> Self {
        const LINE_END: u64 = "\r\n".len() as u64;
        match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { is_empty: true },
            (Self::Size(size) | Self::Extension(size), b'\n') => {
                Self::Data(size.saturating_add(LINE_END))
            }
            (Self::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Self::Extension(size),
            },
            (Self::Trailer { is_empty }, b'\r') => Self::TrailerEnd { is_empty },
            (Self::Trailer { .. }, _) => Self::Trailer { is_empty: false },
            (Self::TrailerEnd { is_empty: true }, _) => Self::Over,
            (Self::TrailerEnd { is_empty: false }, _) => Self::Trailer { is_empty: true },
            (other, _) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many bytes are of the body, when they come in pieces of this many.
    fn taken(bytes: &[u8], piece: usize) -> usize {
        let mut chunks = Chunks::new();
        bytes.chunks(piece).map(|piece| chunks.take(piece)).sum()
    }

    #[test]
    fn a_body_ends_behind_the_empty_line_after_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5 ;ext=\"1\"\r\nhello\r\n0;last\r\n\r\n",
            "A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
            "0\r\nTrailer: x\r\nOther: y\r\n\r\n",
        ] {
            let with_next = format!("{body}POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
            for piece in 1..with_next.len() {
                assert_eq!(taken(with_next.as_bytes(), piece), body.len(), "{body:?} {piece}");
            }
            assert_eq!(taken(&body.as_bytes()[..body.len() - 1], 3), body.len() - 1, "{body:?}");
        }
    }

    #[test]
    fn a_trailer_with_a_bare_line_feed_has_no_end() {
        for before in ["0\r\nTrailer: x", "0\r\n", "0\r\nTrailer: x\r\n"] {
            let body = format!("{before}\n\r\n\r\n");
            for piece in 1..body.len() {
                assert_eq!(taken(body.as_bytes(), piece), before.len(), "{body:?} {piece}");
            }
        }
    }

    #[test]
    fn a_size_without_end_is_no_panic_and_no_end() {
        let large = format!("{}\r\n0\r\n\r\n", "f".repeat(40));
        assert_eq!(taken(large.as_bytes(), large.len()), large.len());
    }

    proptest! {
        #[test]
        fn whatever_its_chunks_are_it_ends_where_they_do(
            chunks in prop::collection::vec("[a-f0-9\r\n]{1,40}", 0..5),
            behind in "[0-9\r\n]{0,20}",
            piece in 1_usize..60,
        ) {
            let chunks = chunks.iter().map(|data| format!("{:x}\r\n{data}\r\n", data.len()));
            let body = chunks.collect::<String>() + "0\r\n\r\n";
            prop_assert_eq!(taken(format!("{body}{behind}").as_bytes(), piece), body.len());
        }
    }
}
