//! What Redis's answer to a PUBLISH or an XADD means.

use crate::{
    bus::{Destination, NotPublished, PublishAnswer, Published},
    stream_id::StreamId,
    upstream::link::{LinkError, Value},
};

/// Reads the answer to a publication. Also returns the error to log, where Redis refuses this one for good.
pub(in crate::upstream) fn answer(
    to: &Destination,
    value: Value,
    error: impl FnOnce(&str) -> LinkError,
) -> (PublishAnswer, Option<LinkError>) {
    match (to, value) {
        (_, Value::Error(text)) => refusal(error(&text)),
        (Destination::Channel(_), Value::Integer(receivers)) => {
            (Ok(Published::Receivers(u64::try_from(receivers).unwrap_or(0))), None)
        }
        (Destination::Stream(..), Value::Null) => (Err(NotPublished::NotFound), None),
        (Destination::Stream(..), Value::Text(id)) => match stream_id(&id) {
            Some(id) => (Ok(Published::Id(id)), None),
            None => (Err(NotPublished::Unknown), None),
        },
        _ => (Err(NotPublished::Unknown), None),
    }
}

/// A temporary error means that Redis takes nothing now; any other, that it does not take this message.
fn refusal(error: LinkError) -> (PublishAnswer, Option<LinkError>) {
    match error.passes() {
        true => (Err(NotPublished::Unavailable), None),
        false => (Err(NotPublished::Refused), Some(error)),
    }
}

fn stream_id(text: &[u8]) -> Option<StreamId> {
    StreamId::parse(std::str::from_utf8(text).ok()?)
}

/// Whether the error says that the server is a replica, or a primary that cannot be used.
pub(super) fn is_of_replica(value: &Value) -> bool {
    matches!(value, Value::Error(text) if text.starts_with("READONLY") || text.starts_with("MASTERDOWN"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bus::StreamWrite, channel::ChannelName};

    #[test]
    fn each_answer_says_what_came_of_it() {
        let channel = Destination::Channel(ChannelName::new("c"));
        let write = StreamWrite { keep_entries: None, expire_after: None, create: false };
        let stream = Destination::Stream(ChannelName::new("s"), write);
        let error = |text: &str| Value::Error(text.to_owned());
        let id = Published::Id(StreamId { milliseconds: 5, sequence: 1 });
        for (to, value, expected) in [
            (&channel, Value::Integer(3), Ok(Published::Receivers(3))),
            (&stream, Value::Text(b"5-1".to_vec()), Ok(id)),
            (&stream, Value::Null, Err(NotPublished::NotFound)),
            (&stream, error("WRONGTYPE Operation against a key"), Err(NotPublished::Refused)),
            (&channel, error("NOPERM this user"), Err(NotPublished::Refused)),
            (&channel, error("READONLY You can't"), Err(NotPublished::Unavailable)),
            (&stream, error("LOADING Redis is"), Err(NotPublished::Unavailable)),
            (&stream, error("CLUSTERDOWN The"), Err(NotPublished::Unavailable)),
            (&stream, error("MASTERDOWN Link"), Err(NotPublished::Unavailable)),
            (&stream, error("MISCONF Redis is"), Err(NotPublished::Unavailable)),
            (&stream, error("OOM command not"), Err(NotPublished::Unavailable)),
            (&channel, Value::Text(b"5-1".to_vec()), Err(NotPublished::Unknown)),
            (&stream, Value::Text(b"QUEUED".to_vec()), Err(NotPublished::Unknown)),
        ] {
            let told = |text: &str| LinkError::Answered(text.to_owned());
            let (answer, logged) = answer(to, value, told);
            assert_eq!(answer, expected);
            assert_eq!(logged.is_some(), answer == Err(NotPublished::Refused));
        }
    }
}
