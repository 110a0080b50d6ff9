//! RESP one token at a time: for answers that are too large, or too many, to be read as one value.
//!
//! Pure, and nothing is allocated: what a token holds is a range of the bytes received. A string is
//! here whole, up to a limit that the reader gives for each; a longer one is skipped.

use super::cursor::{Cursor, Stop};
use std::ops::Range;

/// The head of an aggregate, or a whole scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// An array or a set of so many values.
    List(u64),
    /// So many pairs.
    Map(u64),
    /// A push of so many values.
    Push(u64),
    /// So many values that mean nothing to us, in front of the value that they are about.
    Attribute(u64),
    /// A simple, bulk or verbatim string.
    Text(Range<usize>),
    /// A string above the limit. Its so many bytes, and CR LF, are still to be skipped.
    Long(u64),
    Error(Range<usize>),
    Integer(i64),
    Null,
    /// A scalar of a kind that no answer to us has.
    Other,
}

/// The format of a verbatim string: three letters and a colon.
const FORMAT: usize = 4;

/// Finds the token that begins at `start`, and where it ends.
///
/// # Errors
/// See [`Stop`].
pub(super) fn find(bytes: &[u8], start: usize, limit: usize) -> Result<(Token, usize), Stop> {
    let mut cursor = Cursor::new(bytes, start);
    let token = match cursor.kind()? {
        b'*' | b'~' => cursor.elements()?.map_or(Token::Null, Token::List),
        b'%' => cursor.elements()?.map_or(Token::Null, Token::Map),
        b'>' => Token::Push(cursor.elements()?.unwrap_or(0)),
        b'|' => Token::Attribute(2 * cursor.elements()?.unwrap_or(0)),
        b'+' => Token::Text(line(&mut cursor)?),
        b'-' => Token::Error(line(&mut cursor)?),
        b'$' => string(&mut cursor, limit, Token::Text)?,
        b'!' => string(&mut cursor, limit, Token::Error)?,
        b'=' => string(&mut cursor, limit.saturating_add(FORMAT), |text| {
            Token::Text(text.end.min(text.start + FORMAT)..text.end)
        })?,
        b':' => Token::Integer(cursor.integer()?),
        b'_' => cursor.line().map(|_| Token::Null)?,
        b',' | b'#' | b'(' => cursor.line().map(|_| Token::Other)?,
        _ => return Err(Stop::Wrong("there is no such kind of value")),
    };
    Ok((token, cursor.at))
}

/// The rest of a line, without its CR LF.
fn line(cursor: &mut Cursor<'_>) -> Result<Range<usize>, Stop> {
    let start = cursor.at;
    let length = cursor.line()?.len();
    Ok(start..start + length)
}

fn string(
    cursor: &mut Cursor<'_>,
    limit: usize,
    token: impl FnOnce(Range<usize>) -> Token,
) -> Result<Token, Stop> {
    match cursor.length()? {
        None => Ok(Token::Null),
        Some(length) if length > limit as u64 => Ok(Token::Long(length)),
        Some(length) => cursor.content(length).map(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &str, limit: usize) -> Result<(Token, usize), Stop> {
        find(bytes.as_bytes(), 0, limit)
    }

    #[test]
    fn every_kind_of_value_is_a_token() {
        for (bytes, expected) in [
            ("*3\r\n", Token::List(3)),
            ("~2\r\n", Token::List(2)),
            ("%2\r\n", Token::Map(2)),
            (">2\r\n", Token::Push(2)),
            ("|1\r\n", Token::Attribute(2)),
            ("*-1\r\n", Token::Null),
            ("$-1\r\n", Token::Null),
            ("_\r\n", Token::Null),
            ("+OK\r\n", Token::Text(1..3)),
            ("$3\r\nabc\r\n", Token::Text(4..7)),
            ("=7\r\ntxt:abc\r\n", Token::Text(8..11)),
            ("=2\r\nab\r\n", Token::Text(6..6)),
            ("-ERR no\r\n", Token::Error(1..7)),
            ("!3\r\nERR\r\n", Token::Error(4..7)),
            (":-7\r\n", Token::Integer(-7)),
            (",1.5\r\n", Token::Other),
            ("#t\r\n", Token::Other),
        ] {
            assert_eq!(token(bytes, 100), Ok((expected, bytes.len())), "{bytes:?}");
        }
    }

    #[test]
    fn a_string_above_the_limit_needs_no_byte_of_its_content() {
        assert_eq!(token("$4\r\n", 3), Ok((Token::Long(4), 4)));
        assert_eq!(token("$4\r\nabcd\r\n", 4), Ok((Token::Text(4..8), 10)));
        assert_eq!(token("$4\r\n", 4), Err(Stop::More(10)));
        assert_eq!(token("=7\r\ntxt:abc\r\n", 2), Ok((Token::Long(7), 4)));
    }

    #[test]
    fn what_is_not_resp_or_impossible_is_an_error() {
        for bytes in ["?\r\n", "*-2\r\n", "*x\r\n", "$4294967297\r\n", "$1\r\nabc"] {
            assert!(matches!(token(bytes, 100), Err(Stop::Wrong(_))), "{bytes:?}");
        }
    }
}
