//! From a queue to the socket: what one write is given, and what it has finished.

use super::{Item, OVERHEAD, OutQueue};
use crate::{message::Message, wire::GapNotice};
use std::{array, io::IoSlice, mem};

/// How many items one write takes at the most.
pub(super) const MAX_SLICES: usize = 64;

/// What a write has finished.
#[derive(Debug, Default)]
pub(in crate::shard::session) struct Finished {
    /// Whether a frame was among it that a page can see.
    pub(in crate::shard::session) seen: bool,
    /// Messages of a replay.
    pub(in crate::shard::session) replayed: u64,
}

impl OutQueue {
    /// Hands the next frames to `write` as one vectored write; returns what `write` returned. `notice`
    /// is the endpoint's `gap_notice`.
    pub(in crate::shard::session) fn write_with<R>(
        &mut self,
        notice: &GapNotice,
        write: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        for item in self.items.iter_mut().take(MAX_SLICES) {
            if let Item::Gap(pending) = item {
                pending.frame.get_or_insert_with(|| self.codec.gap(&pending.gap, notice));
            }
        }
        let frames = self.items.iter().map_while(|item| item.frame(self.codec));
        // Most of the time there is one frame, and 64 slices are worth not being set up for it.
        if self.items.len() == 1 {
            let only: [IoSlice<'_>; 1] = slices(frames, self.written as usize);
            write(&only)
        } else {
            let all: [IoSlice<'_>; MAX_SLICES] = slices(frames, self.written as usize);
            write(&all[..self.items.len().min(MAX_SLICES)])
        }
    }

    /// Takes out what a write of `written` bytes finished, each whole message through `delivered`
    /// with the length of its frame.
    pub(in crate::shard::session) fn advance(
        &mut self,
        written: usize,
        mut delivered: impl FnMut(&Message, usize),
    ) -> Finished {
        let mut written = self.written as usize + written;
        let mut finished = Finished::default();
        // A gap that has not been encoded was in no write; it stays for the next.
        while let Some(len) =
            self.items.front().and_then(|item| item.frame(self.codec)).map(<[u8]>::len)
            && len <= written
        {
            written -= len;
            match self.items.pop() {
                Some(Item::Message(message)) => {
                    self.messages -= 1;
                    self.bytes -= len + OVERHEAD;
                    finished.seen = true;
                    delivered(&message, len);
                }
                Some(Item::Replayed(_)) => {
                    self.replays -= 1;
                    finished.seen = true;
                    finished.replayed += 1;
                }
                Some(Item::Frame(frame)) => {
                    finished.seen |= self.codec.is_seen(&frame);
                }
                Some(Item::Reply(frame)) => {
                    self.replies -= 1;
                    finished.seen |= self.codec.is_seen(&frame);
                }
                Some(Item::Gap(pending)) => {
                    let frame = pending.frame.as_deref();
                    finished.seen |= frame.is_some_and(|frame| self.codec.is_seen(frame));
                }
                None => {}
            }
        }
        self.written = u32::try_from(written).expect("a frame is smaller");
        finished
    }
}

/// Slices over the first `N` frames, or fewer, without the `written` bytes of the very first.
fn slices<'a, const N: usize>(
    mut frames: impl Iterator<Item = &'a [u8]>,
    written: usize,
) -> [IoSlice<'a>; N] {
    let mut skip = written;
    array::from_fn(|_| {
        let frame = frames.next().unwrap_or_default();
        IoSlice::new(&frame[mem::take(&mut skip)..])
    })
}
