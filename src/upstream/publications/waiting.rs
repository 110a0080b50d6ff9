//! Batches from their coming to their answer: first unsent, then under way.

use crate::bus::{NotPublished, Publication, PublishAnswer, PublishBatch};
use std::collections::VecDeque;
use tokio::time::Instant;

/// Batches in the order in which they came: those under way in front.
#[derive(Default)]
pub(super) struct Waiting {
    sent: VecDeque<UnderWay>,
    unsent: VecDeque<(PublishBatch, Instant)>,
}

/// A batch that is written.
struct UnderWay {
    batch: PublishBatch,
    answers: Vec<PublishAnswer>,
}

impl Waiting {
    pub(super) fn push(&mut self, batch: PublishBatch, now: Instant) {
        if batch.items.is_empty() {
            // An error means that nobody waits for it any more.
            let _ = batch.reply.send(Vec::new());
            return;
        }
        self.unsent.push_back((batch, now));
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Since when the oldest batch waits to be written.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        self.unsent.front().map(|(_, since)| *since)
    }

    /// Takes the oldest batch that is not written as written.
    pub(super) fn send_next(&mut self) -> Option<&[Publication]> {
        let (batch, _) = self.unsent.pop_front()?;
        let answers = Vec::with_capacity(batch.items.len());
        self.sent.push_back(UnderWay { batch, answers });
        self.sent.back().map(|it| &it.batch.items[..])
    }

    /// The oldest publication that is written and not answered.
    pub(super) fn awaited(&self) -> Option<&Publication> {
        self.sent.front().map(|it| &it.batch.items[it.answers.len()])
    }

    /// The oldest publication is answered.
    pub(super) fn answered(&mut self, answer: PublishAnswer) {
        let Some(front) = self.sent.front_mut() else { return };
        front.answers.push(answer);
        if front.answers.len() == front.batch.items.len()
            && let Some(UnderWay { batch, answers }) = self.sent.pop_front()
        {
            let _ = batch.reply.send(answers);
        }
    }

    /// Nobody knows what becomes of what is written and not answered. Returns how many those are.
    pub(super) fn give_up_sent(&mut self) -> usize {
        let mut unknown = 0;
        while !self.sent.is_empty() {
            self.answered(Err(NotPublished::Unknown));
            unknown += 1;
        }
        unknown
    }

    /// What is not written will not be.
    pub(super) fn fail_unsent(&mut self, why: NotPublished) {
        for (batch, _) in self.unsent.drain(..) {
            let _ = batch.reply.send(vec![Err(why); batch.items.len()]);
        }
    }
}
