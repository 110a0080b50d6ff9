//! Tasks that hold a place and can be told to give it up, the oldest first.

use std::{collections::BTreeMap, future::pending, time::Instant};
use tokio::sync::oneshot;

/// The tasks, by arrival.
#[derive(Default)]
pub(super) struct ByArrival {
    /// When each came, and how to cut it off.
    tasks: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
    arrivals: u64,
}

/// Names a task in [`ByArrival`].
pub(super) type TaskNumber = u64;

/// Where a task learns that it is cut off.
pub(super) struct CutOff {
    signal: oneshot::Receiver<()>,
    came: bool,
}

impl ByArrival {
    pub(super) fn insert(&mut self, now: Instant) -> (TaskNumber, CutOff) {
        self.arrivals += 1;
        let (sender, signal) = oneshot::channel();
        self.tasks.insert(self.arrivals, (now, sender));
        (self.arrivals, CutOff { signal, came: false })
    }

    /// Whether it was still there: neither removed nor cut off.
    pub(super) fn remove(&mut self, arrival: TaskNumber) -> bool {
        self.tasks.remove(&arrival).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Cuts off this task. Whether it was still there.
    pub(super) fn cut_off(&mut self, arrival: TaskNumber) -> bool {
        let Some((_came, sender)) = self.tasks.remove(&arrival) else { return false };
        // It may be ending by itself just now, which gives its place back as well.
        let _ = sender.send(());
        true
    }

    /// Cuts off the task that came first, if it came by `latest`; which one, if there was one.
    pub(super) fn cut_off_oldest(&mut self, latest: Instant) -> Option<TaskNumber> {
        let (&oldest, _) = self.tasks.first_key_value().filter(|(_, (came, _))| *came <= latest)?;
        self.cut_off(oldest).then_some(oldest)
    }
}

impl CutOff {
    /// Resolves when the task is to give its place up, and again each time after that. Cancel-safe.
    pub(super) async fn wait(&mut self) {
        if !self.came {
            match (&mut self.signal).await {
                Ok(()) => self.came = true,
                // Removed, so nobody can cut it off any more.
                Err(_) => pending().await,
            }
        }
    }
}
