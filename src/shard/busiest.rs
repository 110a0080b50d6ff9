//! The channels and streams of a shard that have the most sessions, found a slice at a time.
//!
//! By walking the sessions, whose keys stay while others come and go: a session that is there all the
//! while shows its channels. Between two slices the shard serves its sessions as ever, so that asking
//! costs them a millisecond at most, however many channels there are.

use super::registry::Registry;
use crate::channel::ChannelName;
use std::{cmp::Reverse, collections::HashMap};

/// A channel and how many sessions of one shard have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub channel: ChannelName,
    pub sessions: usize,
}

/// The `limit` channels with the most sessions whose names begin with `prefix`, in no order.
/// Cancel-safe: dropping it ends the walk.
pub(super) async fn busiest(registry: &Registry, prefix: &str, limit: usize) -> Vec<Busy> {
    let mut top = Top { limit, floor: None, channels: HashMap::new() };
    registry
        .visit_sessions(|session| {
            let (hub, streams) = (registry.hub.borrow(), registry.streams.hub.borrow());
            let is_named = |name: &&ChannelName| name.starts_with(prefix);
            let channels = session.channels().iter().filter(is_named);
            channels.for_each(|channel| top.offer(channel, hub.members(channel).len()));
            let named = session.streams().iter().filter(is_named);
            named.for_each(|stream| top.offer(stream, streams.members(stream).len()));
        })
        .await;
    top.shrink();
    let busy = |(channel, sessions)| Busy { channel, sessions };
    top.channels.into_iter().map(busy).collect()
}

/// The busiest so far, and at most as many again.
struct Top {
    limit: usize,
    /// The least busy of those that were kept when there were too many: none below counts any more.
    floor: Option<(Reverse<usize>, ChannelName)>,
    channels: HashMap<ChannelName, usize>,
}

impl Top {
    /// Offers a channel, once for each of its sessions.
    fn offer(&mut self, channel: &ChannelName, sessions: usize) {
        let below = |(least, last): &(Reverse<usize>, ChannelName)| {
            (Reverse(sessions), channel) > (*least, last)
        };
        if self.floor.as_ref().is_some_and(below) {
            return;
        }
        self.channels.insert(channel.clone(), sessions);
        if self.channels.len() >= 2 * self.limit {
            self.shrink();
        }
    }

    /// Keeps the busiest alone; equally busy ones by name.
    fn shrink(&mut self) {
        if self.channels.len() <= self.limit {
            return;
        }
        let all = self.channels.drain().map(|(channel, sessions)| (Reverse(sessions), channel));
        let mut all: Vec<_> = all.collect();
        all.select_nth_unstable(self.limit - 1);
        all.truncate(self.limit);
        self.floor = all.last().cloned();
        self.channels
            .extend(all.into_iter().map(|(Reverse(sessions), channel)| (channel, sessions)));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rig::{Rig, endpoint, run},
        *,
    };
    use std::time::{Duration, Instant};

    fn top(
        limit: usize,
        offers: impl IntoIterator<Item = (String, usize)>,
    ) -> Vec<(String, usize)> {
        let mut top = Top { limit, floor: None, channels: HashMap::new() };
        for (channel, sessions) in offers {
            top.offer(&ChannelName::new(channel), sessions);
            assert!(top.channels.len() < 2 * limit, "it is bounded");
        }
        top.shrink();
        let mut all: Vec<_> =
            top.channels.into_iter().map(|(name, n)| (name.to_string(), n)).collect();
        all.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
        all
    }

    #[test]
    fn the_busiest_are_kept_whatever_the_order_they_are_offered_in() {
        let channel = |n: usize| (format!("room:{n:04}"), n % 100);
        let expected: Vec<_> = (0..5).map(|hundred| channel(100 * hundred + 99)).collect();
        assert_eq!(top(5, (0..1_000).map(channel)), expected);
        assert_eq!(top(5, (0..1_000).rev().map(channel)), expected);
        assert_eq!(top(5, (0..3_000).map(|n| channel(n * 7 % 1_000))), expected, "offered often");
        assert_eq!(top(5, [channel(1)]), [channel(1)]);
        assert!(top(5, []).is_empty());
    }

    #[test]
    fn other_tasks_run_while_the_sessions_are_walked_and_the_answer_is_whole() {
        run(async {
            let mut rig = Rig::new();
            let mut clients = Vec::new();
            for _ in 0..200 {
                clients.push(rig.connect(endpoint()).await);
            }
            let registry = std::rc::Rc::clone(&rig.shard.registry);
            registry.visit_sessions(|_| spin(Duration::from_micros(50))).await;
            let walked = registry.visit_sessions(|_| spin(Duration::from_micros(50)));
            let mut turns = 0;
            tokio::select! {
                biased;
                () = walked => {}
                () = async { loop { turns += 1; tokio::task::yield_now().await } } => {}
            }
            // 200 sessions of 50 µs in slices of a millisecond.
            assert!(turns >= 2, "{turns} turns for others");
            let all = busiest(&registry, "", 10).await;
            assert_eq!(all.iter().map(|busy| busy.sessions).max(), Some(200));
        });
    }

    fn spin(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {}
    }
}
