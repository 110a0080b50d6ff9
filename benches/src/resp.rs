//! The part of Redis's protocol that a publisher and a subscriber need.

/// Appends a command.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// A value received from Redis; its strings are borrowed from the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a [u8]),
    Error(&'a [u8]),
    Number(i64),
    Nil,
    List(Vec<Value<'a>>),
}

/// The first value in `bytes` and its length; `Ok(None)` if it is incomplete.
///
/// # Errors
/// When this is not Redis's protocol.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value<'_>, usize)>, &'static str> {
    let Some((line, after)) = line(bytes) else { return Ok(None) };
    let Some((kind, rest)) = line.split_first() else { return Err("an empty line") };
    match kind {
        b'+' => Ok(Some((Value::Text(rest), after))),
        b'-' => Ok(Some((Value::Error(rest), after))),
        b':' => Ok(Some((Value::Number(number(rest)?), after))),
        b'$' => bulk(bytes, after, number(rest)?),
        b'*' | b'>' => list(bytes, after, number(rest)?),
        _ => Err("a type that is not known"),
    }
}

fn bulk(
    bytes: &[u8],
    start: usize,
    length: i64,
) -> Result<Option<(Value<'_>, usize)>, &'static str> {
    let Ok(length) = usize::try_from(length) else { return Ok(Some((Value::Nil, start))) };
    let end = start + length;
    Ok((bytes.len() >= end + 2).then(|| (Value::Text(&bytes[start..end]), end + 2)))
}

fn list(
    bytes: &[u8],
    start: usize,
    count: i64,
) -> Result<Option<(Value<'_>, usize)>, &'static str> {
    let mut at = start;
    let mut items = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(1024));
    for _ in 0..count {
        let Some((item, length)) = parse(&bytes[at..])? else { return Ok(None) };
        items.push(item);
        at += length;
    }
    Ok(Some((Value::List(items), at)))
}

fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    (bytes.len() >= end + 2).then(|| (&bytes[..end], end + 2))
}

fn number(digits: &[u8]) -> Result<i64, &'static str> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or("not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_only_when_it_is_whole() {
        let bytes = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n\r\nab\r\n:1\r\n";
        let whole = bytes.len() - 4;
        for cut in 0..whole {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let text = Value::Text;
        let message = Value::List(vec![text(b"message"), text(b"c"), text(b"\r\nab")]);
        assert_eq!(parse(bytes), Ok(Some((message, whole))));
    }

    #[test]
    fn what_is_not_redis_is_an_error() {
        assert!(parse(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        assert!(parse(b":one\r\n").is_err());
    }
}
