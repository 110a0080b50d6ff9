//! Batches from their coming to their last answer.

use crate::bus::{NotPublished, Publication, PublishAnswer, PublishBatch};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Batches in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting {
    batches: VecDeque<Batch>,
    /// The place of the first that is not wholly written.
    unsent: usize,
}

struct Batch {
    batch: PublishBatch,
    since: Instant,
    /// Publications that are written: some of them, or all.
    sent: usize,
    /// For those publications, the oldest first.
    answers: Vec<PublishAnswer>,
}

impl Waiting {
    pub(super) fn push(&mut self, batch: PublishBatch, now: Instant) {
        if batch.items.is_empty() {
            // An error means that nobody waits for it any more.
            let _ = batch.reply.send(Vec::new());
            return;
        }
        let answers = Vec::with_capacity(batch.items.len());
        self.batches.push_back(Batch { batch, since: now, sent: 0, answers });
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent < self.batches.len()
    }

    /// Since when the oldest batch waits to be written, or the rest of it.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        self.batches.get(self.unsent).map(|batch| batch.since)
    }

    /// Takes the oldest publication that is not written as written.
    pub(super) fn send_next(&mut self) -> Option<&Publication> {
        let Batch { batch, sent, .. } = self.batches.get_mut(self.unsent)?;
        let item = &batch.items[*sent];
        *sent += 1;
        self.unsent += usize::from(*sent == batch.items.len());
        Some(item)
    }

    /// The oldest publication that is written and not answered.
    pub(super) fn awaited(&self) -> Option<&Publication> {
        let Batch { batch, sent, answers, .. } = self.batches.front()?;
        batch.items[..*sent].get(answers.len())
    }

    /// The oldest publication is answered.
    pub(super) fn answered(&mut self, answer: PublishAnswer) {
        let Some(front) = self.batches.front_mut() else { return };
        front.answers.push(answer);
        if front.answers.len() == front.batch.items.len()
            && let Some(Batch { batch, answers, .. }) = self.batches.pop_front()
        {
            self.unsent -= 1;
            let _ = batch.reply.send(answers);
        }
    }

    /// Nobody knows what becomes of what is written and not answered. Returns how many those are.
    pub(super) fn give_up_sent(&mut self) -> usize {
        let mut unknown = 0;
        while self.awaited().is_some() {
            self.answered(Err(NotPublished::Unknown));
            unknown += 1;
        }
        unknown
    }

    /// What is not written will not be. What is written is answered, or given up.
    pub(super) fn fail_unsent(&mut self, why: NotPublished) {
        for Batch { batch, mut answers, .. } in self.batches.drain(self.unsent..) {
            answers.resize(batch.items.len(), Err(why));
            let _ = batch.reply.send(answers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Destination, PublishBatches, Published, publishing},
        channel::ChannelName,
    };
    use bytes::Bytes;
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    type Answers = Pin<Box<dyn Future<Output = Vec<PublishAnswer>>>>;

    fn poll(answers: &mut Answers) -> Poll<Vec<PublishAnswer>> {
        answers.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn batch(of: usize) -> (Answers, PublishBatch) {
        let (handle, mut batches): (_, PublishBatches) = publishing();
        let to = |n: usize| Destination::Channel(ChannelName::new(n.to_string()));
        let items = (0..of).map(|n| Publication { to: to(n), payload: Bytes::new() }).collect();
        let mut answers: Answers = Box::pin(async move { handle.publish(items).await });
        assert!(poll(&mut answers).is_pending());
        (answers, batches.try_recv().unwrap())
    }

    #[test]
    fn what_is_written_is_unknown_when_the_connection_ends_and_the_rest_goes_over_the_next() {
        let mut waiting = Waiting::default();
        let ((mut whole, first), (mut partly, second)) = (batch(1), batch(4));
        waiting.push(first, Instant::now());
        waiting.push(second, Instant::now());
        for name in ["0", "0", "1"] {
            assert_eq!(waiting.send_next().unwrap().to.name().as_str(), name);
        }
        assert_eq!(waiting.give_up_sent(), 3);
        assert_eq!(poll(&mut whole), Poll::Ready(vec![Err(NotPublished::Unknown)]));
        assert!(
            poll(&mut partly).is_pending() && waiting.has_unsent() && waiting.awaited().is_none()
        );
        assert_eq!(waiting.send_next().unwrap().to.name().as_str(), "2");
        waiting.answered(Ok(Published::Receivers(7)));
        waiting.fail_unsent(NotPublished::Unavailable);
        let unknown = Err(NotPublished::Unknown);
        let expected =
            vec![unknown, unknown, Ok(Published::Receivers(7)), Err(NotPublished::Unavailable)];
        assert_eq!(poll(&mut partly), Poll::Ready(expected));
        assert!(!waiting.has_unsent() && waiting.send_next().is_none());
    }
}
