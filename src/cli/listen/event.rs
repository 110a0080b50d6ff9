//! Reads `text/event-stream`: bytes in, events out.

use std::mem;

/// Largest line, and largest data of an event, in bytes: what the WebSocket side takes at most, too.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the stream names none.
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// A line or an event is larger than anything that a gateway sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Splits a stream into events. Ids and `retry` are not looked at: what reconnects would need them.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    line: Vec<u8>,
    /// The last byte was a CR: an LF that comes next belongs to it.
    is_after_cr: bool,
    name: String,
    data: Option<Vec<u8>>,
}

impl EventReader {
    /// The events that end within these bytes. What is left of them waits for more.
    ///
    /// # Errors
    /// When an event is larger than [`MAX_BYTES`].
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if mem::take(&mut self.is_after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.line.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > MAX_BYTES {
                return Err(TooLarge);
            }
            let Some(end) = end else { break };
            self.is_after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            events.extend(self.end_line());
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            _ => {} // a comment, `id`, `retry`, and what is not known
        }
        None
    }

    /// An event without data is none.
    fn end_event(&mut self) -> Option<Event> {
        let name = mem::take(&mut self.name);
        let data = self.data.take()?;
        Some(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.into() }
    }

    const STREAM: &str = "retry: 1234\r\n\r\n: a comment\nevent: ready\ndata: {}\nid: 5-0\n\n\
        data: one\r\ndata:two\rdata\rdata:  three\n\nid: 7-0\n\nevent: gap\n\ndata:\n\n\
        event:close\ndata: {\"code\":1012}\r\r\ndata: cut off\n";

    fn expected() -> Vec<Event> {
        vec![
            event("ready", "{}"),
            event("message", "one\ntwo\n\n three"),
            event("message", ""),
            event("close", "{\"code\":1012}"),
        ]
    }

    #[test]
    fn lines_end_with_cr_lf_or_both_and_events_with_an_empty_one() {
        assert_eq!(EventReader::default().read(STREAM.as_bytes()), Ok(expected()));
    }

    #[test]
    fn wherever_the_bytes_are_cut_the_events_are_the_same() {
        for size in 1..STREAM.len() {
            let mut reader = EventReader::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let events: Vec<_> = pieces.flat_map(|piece| reader.read(piece).unwrap()).collect();
            assert_eq!(events, expected(), "{size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = EventReader::default();
        let megabyte = [b'x'; 1024 * 1024];
        let read = (0..65).map(|_| reader.read(&megabyte));
        assert_eq!(read.filter(Result::is_err).count(), 1);
    }
}
