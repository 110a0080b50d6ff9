//! The words of the command that publishes something.

use crate::bus::{Destination, Publication};

/// Gives them to `send`. The key is the name with the prefix; the field, that of a stream's entry which is the payload.
pub(in crate::upstream) fn command(
    item: &Publication,
    key: &[u8],
    field: &str,
    send: impl FnOnce(&[&[u8]]),
) {
    let Destination::Stream(_, write) = &item.to else {
        return send(&[b"PUBLISH", key, &item.payload]);
    };
    let keep = write.keep_entries.map(|keep| keep.to_string());
    let mut words: Vec<&[u8]> = vec![b"XADD", key];
    if !write.create {
        words.push(b"NOMKSTREAM");
    }
    if let Some(keep) = &keep {
        words.extend([b"MAXLEN".as_slice(), b"~", keep.as_bytes()]);
    }
    words.extend([b"*".as_slice(), field.as_bytes(), &item.payload]);
    send(&words);
}
