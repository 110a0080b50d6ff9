//! Whether nothing that came after a position is missing, though the entry at the position is not there.

use crate::{bus::StreamFacts, reason::ReplayResult, stream_id::StreamId};
use std::cmp::Ordering;

/// Judges by what Redis says of the stream, read in one step together with the entries after `position`.
///
/// # Errors
/// Why it cannot be ruled out that something is missing.
pub(super) fn prove(position: StreamId, facts: &StreamFacts) -> Result<(), ReplayResult> {
    if !facts.exists {
        // A client that has seen something of it has seen another stream.
        return if position == StreamId::ZERO { Ok(()) } else { Err(ReplayResult::Reset) };
    }
    match facts.last.cmp(&position) {
        // Nothing came after it.
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(ReplayResult::Reset),
        Ordering::Greater if position == StreamId::ZERO => from_the_beginning(facts),
        Ordering::Greater => from_a_deleted_entry(position, facts),
    }
}

/// Everything that was ever added is there.
fn from_the_beginning(facts: &StreamFacts) -> Result<(), ReplayResult> {
    if facts.added == Some(facts.length) { Ok(()) } else { Err(ReplayResult::Trimmed) }
}

/// Where the stream begins before the position, the entry there was deleted alone, or was never there. Redis
/// knows only the greatest id that was ever deleted: if it is this one, this stream had it. One that is greater
/// proves nothing: ids may have gone back and grown past the position before that entry was deleted.
fn from_a_deleted_entry(position: StreamId, facts: &StreamFacts) -> Result<(), ReplayResult> {
    match facts.first {
        Some(first) if first <= position => match facts.max_deleted {
            Some(deleted) if deleted == position => Ok(()),
            _ => Err(ReplayResult::Reset),
        },
        // It may have been the entry just before the first, which nobody can know.
        _ => Err(ReplayResult::Trimmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_id::id;

    /// A stream from `first` to `last`, of which so many were ever added and so many are there.
    fn facts(first: u64, last: u64, added: Option<u64>, length: u64, deleted: u64) -> StreamFacts {
        StreamFacts {
            exists: true,
            last: id(last),
            added,
            length,
            first: (first > 0).then(|| id(first)),
            max_deleted: added.map(|_| id(deleted)),
        }
    }

    #[test]
    fn each_row_of_the_rules_decides() {
        let nothing = StreamFacts::default();
        let whole = facts(1, 9, Some(9), 9, 0);
        let trimmed = facts(5, 9, Some(9), 5, 0);
        let emptied = facts(0, 9, Some(9), 0, 0);
        let deleted_4 = facts(1, 9, Some(9), 8, 4);
        let old_redis = facts(1, 9, None, 9, 0);
        let (gone, reset) = (Err(ReplayResult::Trimmed), Err(ReplayResult::Reset));
        for (position, facts, proven) in [
            // No such key.
            (0, nothing, Ok(())),
            (5, nothing, reset),
            // The newest entry that there ever was.
            (9, whole, Ok(())),
            (9, emptied, Ok(())),
            (9, old_redis, Ok(())),
            // A position of the future.
            (10, whole, reset),
            (10, old_redis, reset),
            // From the beginning.
            (0, whole, Ok(())),
            (0, trimmed, gone),
            (0, emptied, gone),
            (0, deleted_4, gone),
            (0, old_redis, gone),
            // It was deleted alone.
            (4, deleted_4, Ok(())),
            // What was before the first entry is gone.
            (3, trimmed, gone),
            (4, trimmed, gone),
            (4, emptied, gone),
            // Ids went back and grew past it, or nobody can know.
            (4, whole, reset),
            (3, deleted_4, reset),
            (5, deleted_4, reset),
            (4, old_redis, reset),
        ] {
            assert_eq!(prove(id(position), &facts), proven, "{position} of {facts:?}");
        }
    }
}
