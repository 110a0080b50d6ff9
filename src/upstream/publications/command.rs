//! The Redis command for a publication: PUBLISH or XADD.

use crate::bus::{Destination, Publication};

/// Gives the words of the command to `send`. `key` is the name with the prefix, `field` is `redis.stream_field`.
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
