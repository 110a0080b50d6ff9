//! Parser of RESP, the protocol of Redis: version 3, and the pub/sub forms of version 2.
//!
//! Pure: it looks at the bytes received so far and finds the first event in them, or says how many
//! bytes it needs before another look is worth while. Names and payloads are ranges of these bytes,
//! so that nothing is copied and the caller may go on reading. Whatever a server sends, nothing is
//! allocated but the small values of [`Value`], within the bounds here and in `cursor`.

use super::{
    cursor::{Cursor, Stop},
    value::Value,
};
use std::ops::Range;

/// The longest channel, pattern or kind of push that is looked at. Ours are far shorter.
const LONGEST_NAME: u64 = 64 << 10;

/// What was found in the bytes received.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Message {
        channel: Range<usize>,
        pattern: Option<Range<usize>>,
        payload: Range<usize>,
    },
    /// A message above the cap. Its payload of so many bytes, and CR LF, are still to be skipped.
    Oversized {
        channel: Range<usize>,
        pattern: Option<Range<usize>>,
        bytes: u64,
    },
    /// One name is subscribed to.
    Confirmed(Scope, Range<usize>),
    /// One name is subscribed to no more.
    Released(Scope, Range<usize>),
    /// The answer to a command.
    Reply(Value),
    /// A push that means nothing to us, or an attribute: so many values are still to be skipped.
    Ignored {
        values: u64,
    },
}

/// What a name of a subscription means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Channel,
    Pattern,
    /// A channel of sharded pub/sub.
    Shard,
}

/// Finds the event that begins at `start`, and where it ends.
///
/// # Errors
/// See [`Stop`].
pub(super) fn find(bytes: &[u8], start: usize, max_payload: usize) -> Result<(Event, usize), Stop> {
    let mut cursor = Cursor::new(bytes, start);
    let event = match cursor.kind()? {
        b'>' => cursor.push(max_payload)?,
        b'*' => cursor.array(start, max_payload)?,
        // An attribute of the value behind it: pairs, of which nothing means anything to us.
        b'|' => Event::Ignored { values: 2 * cursor.count()? },
        _ => cursor.reply(start)?,
    };
    Ok((event, cursor.at))
}

impl Cursor<'_> {
    /// A push of RESP3, behind its first byte.
    fn push(&mut self, max_payload: usize) -> Result<Event, Stop> {
        let count = self.count()?;
        let elements = self.at;
        let event = if count == 0 { None } else { self.pub_sub(count, max_payload)? };
        Ok(event.unwrap_or_else(|| {
            self.at = elements;
            Event::Ignored { values: count }
        }))
    }

    /// An array, behind its first byte: a push of RESP2, or the answer to a command.
    fn array(&mut self, start: usize, max_payload: usize) -> Result<Event, Stop> {
        let count = self.count()?;
        let event = if count < 3 { None } else { self.pub_sub(count, max_payload)? };
        if let Some(event) = event {
            return Ok(event);
        }
        self.reply(start)
    }

    fn reply(&mut self, start: usize) -> Result<Event, Stop> {
        self.at = start;
        Value::read(self).map(Event::Reply)
    }

    /// The elements of a push, if they are what pub/sub pushes.
    fn pub_sub(&mut self, count: u64, max_payload: usize) -> Result<Option<Event>, Stop> {
        let Some(kind) = self.name()? else { return Ok(None) };
        match (self.slice(kind), count) {
            (b"message" | b"smessage", 3) => self.message(None, max_payload),
            (b"pmessage", 4) => match self.name()? {
                Some(pattern) => self.message(Some(pattern), max_payload),
                None => Ok(None),
            },
            (b"subscribe", 3) => self.acknowledgement(Scope::Channel, Event::Confirmed),
            (b"psubscribe", 3) => self.acknowledgement(Scope::Pattern, Event::Confirmed),
            (b"ssubscribe", 3) => self.acknowledgement(Scope::Shard, Event::Confirmed),
            (b"unsubscribe", 3) => self.acknowledgement(Scope::Channel, Event::Released),
            (b"punsubscribe", 3) => self.acknowledgement(Scope::Pattern, Event::Released),
            (b"sunsubscribe", 3) => self.acknowledgement(Scope::Shard, Event::Released),
            _ => Ok(None),
        }
    }

    fn message(
        &mut self,
        pattern: Option<Range<usize>>,
        max_payload: usize,
    ) -> Result<Option<Event>, Stop> {
        let Some(channel) = self.name()? else { return Ok(None) };
        if self.kind()? != b'$' {
            return Ok(None);
        }
        let Some(bytes) = self.length()? else { return Ok(None) };
        if bytes > max_payload as u64 {
            return Ok(Some(Event::Oversized { channel, pattern, bytes }));
        }
        let payload = self.content(bytes)?;
        Ok(Some(Event::Message { channel, pattern, payload }))
    }

    /// The name, and how many subscriptions there are now, which nobody needs.
    fn acknowledgement(
        &mut self,
        scope: Scope,
        event: fn(Scope, Range<usize>) -> Event,
    ) -> Result<Option<Event>, Stop> {
        let Some(name) = self.name()? else { return Ok(None) };
        if self.kind()? != b':' {
            return Ok(None);
        }
        self.integer()?;
        Ok(Some(event(scope, name)))
    }

    /// A bulk string that may be a name; `None`: it is something else.
    fn name(&mut self) -> Result<Option<Range<usize>>, Stop> {
        if self.kind()? != b'$' {
            return Ok(None);
        }
        match self.length()? {
            Some(length) if length <= LONGEST_NAME => self.content(length).map(Some),
            _ => Ok(None),
        }
    }
}

/// Appends a command of so many words, as an array of bulk strings: any byte may stand in a word.
pub(super) fn encode<'w>(out: &mut Vec<u8>, count: usize, words: impl Iterator<Item = &'w [u8]>) {
    head(out, b'*', count);
    for word in words {
        head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(count.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
