//! The queue of batches, from their arrival to their last answer.

use crate::bus::{NotPublished, Publication, PublishAnswer, PublishBatch};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Batches in the order in which they came.
#[derive(Default)]
pub(super) struct Waiting {
    batches: VecDeque<Batch>,
    /// Index of the first batch that is not completely written.
    unsent: usize,
}

struct Batch {
    batch: PublishBatch,
    since: Instant,
    /// How many of its publications are written.
    sent: usize,
    /// The answers so far, oldest first.
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

    /// Since when the oldest batch that [`Waiting::fail_unsent_since`] may fail has waited.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        self.batches.get(self.first_idle()).map(|batch| batch.since)
    }

    /// Index of the first batch that has something unwritten and awaits no answer.
    fn first_idle(&self) -> usize {
        let is_under_way = |batch: &Batch| batch.sent > batch.answers.len();
        self.unsent + usize::from(self.batches.get(self.unsent).is_some_and(is_under_way))
    }

    /// Marks the oldest unwritten publication as written, and returns it.
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

    /// Records the answer to the oldest awaited publication.
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

    /// Answers everything written and unanswered as unknown. Returns how many those are.
    pub(super) fn give_up_sent(&mut self) -> usize {
        let mut unknown = 0;
        while self.awaited().is_some() {
            self.answered(Err(NotPublished::Unknown));
            unknown += 1;
        }
        unknown
    }

    /// Fails every batch that is not completely written. Call it only when no answer is awaited.
    pub(super) fn fail_unsent(&mut self) {
        for batch in self.batches.drain(self.unsent..) {
            batch.fail();
        }
    }

    /// Fails the batches of which nothing is under way, and that have waited since this moment or longer.
    pub(super) fn fail_unsent_since(&mut self, since: Instant) {
        let first = self.first_idle();
        let is_late = |batch: &&Batch| batch.since <= since;
        let late = self.batches.iter().skip(first).take_while(is_late).count();
        for batch in self.batches.drain(first..first + late) {
            batch.fail();
        }
    }
}

impl Batch {
    fn fail(mut self) {
        self.answers.resize(self.batch.items.len(), Err(NotPublished::Unavailable));
        let _ = self.batch.reply.send(self.answers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Answers, Destination, Published, publishing},
        channel::ChannelName,
    };
    use bytes::Bytes;
    use std::{
        task::{Context, Poll, Waker},
        time::Duration,
    };

    fn poll(answers: &mut Answers) -> Poll<Vec<PublishAnswer>> {
        answers.poll(&mut Context::from_waker(Waker::noop()))
    }

    async fn batch(of: usize) -> (Answers, PublishBatch) {
        let (handle, mut batches) = publishing();
        let to = |n: usize| Destination::Channel(ChannelName::new(n.to_string()));
        let items = (0..of).map(|n| Publication { to: to(n), payload: Bytes::new() }).collect();
        let answers = handle.hand_over(items).await;
        (answers, batches.try_recv().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_waited_too_long_fails_but_for_a_batch_that_is_under_way() {
        let mut waiting = Waiting::default();
        let began = Instant::now();
        let ((mut partly, first), (late, second), (mut young, third)) =
            (batch(2).await, batch(1).await, batch(1).await);
        waiting.push(first, began);
        waiting.push(second, began);
        waiting.push(third, began + Duration::from_secs(1));
        assert_eq!(waiting.unsent_since(), Some(began));
        waiting.send_next();
        waiting.fail_unsent_since(began);
        assert_eq!(late.all().await, [Err(NotPublished::Unavailable)]);
        assert!(poll(&mut partly).is_pending() && poll(&mut young).is_pending());
        assert_eq!(waiting.unsent_since(), Some(began + Duration::from_secs(1)));
        // The connection ends: nothing of it is under way any more.
        assert_eq!(waiting.give_up_sent(), 1);
        assert_eq!(waiting.unsent_since(), Some(began));
        waiting.fail_unsent_since(began);
        assert_eq!(
            partly.all().await,
            [Err(NotPublished::Unknown), Err(NotPublished::Unavailable)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_is_unknown_when_the_connection_ends_and_the_rest_goes_over_the_next() {
        let mut waiting = Waiting::default();
        let ((whole, first), (mut partly, second)) = (batch(1).await, batch(4).await);
        waiting.push(first, Instant::now());
        waiting.push(second, Instant::now());
        for name in ["0", "0", "1"] {
            assert_eq!(waiting.send_next().unwrap().to.name().as_str(), name);
        }
        assert_eq!(waiting.give_up_sent(), 3);
        assert_eq!(whole.all().await, [Err(NotPublished::Unknown)]);
        assert!(
            poll(&mut partly).is_pending() && waiting.has_unsent() && waiting.awaited().is_none()
        );
        assert_eq!(waiting.send_next().unwrap().to.name().as_str(), "2");
        waiting.answered(Ok(Published::Receivers(7)));
        waiting.fail_unsent();
        let unknown = Err(NotPublished::Unknown);
        let expected =
            vec![unknown, unknown, Ok(Published::Receivers(7)), Err(NotPublished::Unavailable)];
        assert_eq!(partly.all().await, expected);
        assert!(!waiting.has_unsent() && waiting.send_next().is_none());
    }
}
