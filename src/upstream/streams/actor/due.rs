//! What is due, because time has passed or something has happened.

use super::{End, REFUSED_RETRY, StreamActor};
use crate::upstream::link::LinkError;
use std::time::Duration;
use tokio::time::Instant;

/// Between two turns of the timer: whatever is due meanwhile, arrivals have theirs.
const STEP: Duration = Duration::from_millis(1);

/// The actor's timer when nothing is due: far, and soon enough for any clock.
const FAR: Duration = Duration::from_secs(3_600);

impl StreamActor {
    /// Does everything that time, or what has just happened, asks for. Doing it twice does no harm.
    pub(super) fn tick(&mut self, now: Instant) {
        let field = &self.settings.stream_field;
        self.phase.tick(&self.dialler, self.primary.target(), field, now);
        if let Some(end) = self.dead(now) {
            self.give_up(&end, now);
        }
        self.tick_pages(now);
        self.tail.table.expire(now);
        if self.retry_refused <= now {
            self.retry_refused = now + REFUSED_RETRY;
            self.tail.retry_refused();
        }
        self.tail.poll(now);
        self.tail.queues.flush();
        let behind = self.tail.queues.behind();
        self.tail.order.update(behind, &mut self.tail.table, now);
        if let Some(link) = self.phase.get() {
            link.send_next(&mut self.tail, &self.primary, now);
        }
        self.tail.report();
    }

    fn tick_pages(&mut self, now: Instant) {
        for stream in std::mem::take(&mut self.tail.turned) {
            self.pages.forget(&stream);
        }
        if let Some(error) = self.pages.tick(&self.dialler, self.primary.target(), now) {
            // It may be we who stood still: the answer counts that has arrived.
            let error = self.pages_burst(now).unwrap_or(error);
            if self.pages.is_dead(now) {
                self.pages_failed(&error, now);
            }
        }
        if let Some(value) = self.tail.canary.take_add(now)
            && !self.pages.add_canary(self.tail.canary_key(), &value, now)
        {
            self.tail.canary.failed(now);
        }
        self.pages.send_next(now);
    }

    /// Why the tail's link must be given up, if it must.
    fn dead(&mut self, now: Instant) -> Option<End> {
        let link = self.phase.get()?;
        if !link.patience.is_late(now) && !self.tail.canary.is_lost(now) {
            return None;
        }
        // It may be we who stood still: the answer counts that has arrived.
        if let Some(end) = self.burst(now) {
            return Some(end);
        }
        let link = self.phase.get()?;
        let why = match () {
            () if link.patience.is_dead(now) => link.patience.why(),
            () if !self.is_behind && self.tail.canary.is_lost(now) => {
                "Redis does not tell that the canary's stream has changed".to_owned()
            }
            () => return None,
        };
        Some(End::Lost(LinkError::Lost(why)))
    }

    /// When [`StreamActor::tick`] must be called next, at the latest.
    pub(super) fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let canary = self.phase.get().and_then(|_| self.tail.canary.deadline());
        let link = self.phase.get().and_then(|link| link.deadline());
        let all = [
            canary,
            link,
            self.phase.deadline(),
            self.pages.deadline(),
            self.tail.deadline(now),
            Some(self.retry_refused),
        ];
        all.into_iter().flatten().min().unwrap_or_else(|| now + FAR).max(now + STEP)
    }
}
