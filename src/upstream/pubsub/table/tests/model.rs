//! The table against a model that is too simple to be wrong: sets of names.

use super::*;
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

/// Few, so that they meet often.
const CHANNELS: usize = 5;
const SHARDS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Join(ShardId, usize),
    Leave(ShardId, usize),
    TakeSubscribes(usize),
    TakeAlone(usize),
    TakeUnsubscribes(usize),
    Confirm(usize),
    Refuse(usize),
    Release(usize),
    /// Redis does not let go of a channel.
    Keep(usize),
    RetryKept,
    /// A channel is put off, and its turn has come.
    AskAgain(usize),
    /// Redis lets go of a channel that nobody gave back.
    Drop(usize),
    RetryRefused,
    LinkUp,
    LinkLost,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (shard, channel, count) = (0..SHARDS, 0..CHANNELS, 1..4_usize);
    let step = prop_oneof![
        8 => (shard.clone(), channel.clone()).prop_map(|(s, c)| Step::Join(s, c)),
        6 => (shard, channel.clone()).prop_map(|(s, c)| Step::Leave(s, c)),
        4 => count.clone().prop_map(Step::TakeSubscribes),
        2 => count.clone().prop_map(Step::TakeAlone),
        4 => count.prop_map(Step::TakeUnsubscribes),
        6 => channel.clone().prop_map(Step::Confirm),
        2 => channel.clone().prop_map(Step::Refuse),
        4 => channel.clone().prop_map(Step::Release),
        2 => channel.clone().prop_map(Step::Keep),
        1 => Just(Step::RetryKept),
        2 => channel.clone().prop_map(Step::AskAgain),
        1 => channel.prop_map(Step::Drop),
        1 => Just(Step::RetryRefused),
        2 => Just(Step::LinkUp),
        1 => Just(Step::LinkLost),
        4 => (0..2_500_u64).prop_map(Step::Wait),
    ];
    vec(step, 0..200)
}

/// What shards want, and what Redis was asked and has answered.
#[derive(Debug, Default)]
struct Model {
    linked: bool,
    wanted: BTreeMap<String, BTreeSet<ShardId>>,
    asked: BTreeSet<String>,
    subscribed: BTreeSet<String>,
    refused: BTreeSet<String>,
    releasing: BTreeSet<String>,
    /// Refused, and not confirmed since.
    suspects: BTreeSet<String>,
    /// Was confirmed, is lost, and those who want it have not been told of the gap.
    missed: BTreeMap<String, GapReason>,
    /// Since when nobody wants what is subscribed.
    left: BTreeMap<String, Instant>,
}

struct Run {
    table: Table,
    model: Model,
    now: Instant,
}

fn text(channel: usize) -> String {
    format!("c{channel}")
}

impl Run {
    fn new() -> Self {
        let now = Instant::now();
        Self { table: Table::new(LINGER, 100, now), model: Model::default(), now }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(shard, channel) => self.join(shard, &text(channel)),
            Step::Leave(shard, channel) => self.leave(shard, &text(channel)),
            Step::TakeSubscribes(count) => {
                let batch = self.table.take_subscribes(count);
                self.asks(&batch, count, false);
            }
            Step::TakeAlone(count) => {
                let batch = self.table.take_alone(count);
                self.asks(&batch, count, true);
            }
            Step::TakeUnsubscribes(count) => self.unsubscribes(count),
            Step::Confirm(channel) => self.confirm(&text(channel)),
            Step::Refuse(channel) => self.refuse(&text(channel)),
            Step::Release(channel) => self.release(&text(channel)),
            Step::Keep(channel) => self.keep(&text(channel)),
            Step::RetryKept => self.table.retry_kept(self.now),
            Step::AskAgain(channel) => self.ask_again(&text(channel)),
            Step::Drop(channel) => self.drop_one(&text(channel)),
            Step::RetryRefused => {
                self.table.retry_refused();
                self.model.refused.clear();
            }
            Step::LinkUp if !self.model.linked => {
                self.model.linked = true;
                self.table.link_up();
            }
            Step::LinkUp => {}
            Step::LinkLost => self.link_lost(),
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                self.table.expire(self.now);
            }
        }
    }

    fn join(&mut self, shard: ShardId, channel: &str) {
        let joined = self.table.join(shard, &name(channel));
        let model = &mut self.model;
        model.wanted.entry(channel.to_owned()).or_default().insert(shard);
        model.left.remove(channel);
        let expected = match () {
            () if model.subscribed.contains(channel) => Joined::Subscribed,
            () if model.refused.contains(channel) => Joined::Refused,
            () if model.linked => Joined::Pending,
            () => Joined::NoLink,
        };
        assert_eq!(joined, expected, "{channel}");
    }

    fn leave(&mut self, shard: ShardId, channel: &str) {
        self.table.leave(shard, &name(channel), self.now);
        let Some(shards) = self.model.wanted.get_mut(channel) else { return };
        shards.remove(&shard);
        if shards.is_empty() {
            self.model.wanted.remove(channel);
            self.model.missed.remove(channel);
            self.left(channel);
        }
    }

    /// The linger of a channel begins, if nobody wants it.
    fn left(&mut self, channel: &str) {
        let Model { wanted, subscribed, left, .. } = &mut self.model;
        if subscribed.contains(channel) && !wanted.contains_key(channel) {
            left.insert(channel.to_owned(), self.now);
        }
    }

    /// None is asked for that is not wanted, or twice; and alone what was refused before.
    fn asks(&mut self, batch: &[ChannelName], count: usize, alone: bool) {
        assert!(batch.len() <= count);
        for channel in batch {
            let model = &mut self.model;
            assert!(model.linked && model.wanted.contains_key(channel.as_str()), "{channel}");
            let busy = [&model.subscribed, &model.refused, &model.releasing];
            assert!(!busy.iter().any(|set| set.contains(channel.as_str())), "{channel}");
            assert_eq!(model.suspects.contains(channel.as_str()), alone, "{channel}");
            assert!(model.asked.insert(channel.to_string()), "{channel} is in flight twice");
        }
    }

    fn unsubscribes(&mut self, count: usize) {
        let batch = self.table.take_unsubscribes(count, self.now);
        assert!(batch.len() <= count);
        for channel in batch {
            assert!(!self.model.wanted.contains_key(channel.as_str()), "{channel} is wanted");
            assert!(self.model.subscribed.remove(channel.as_str()), "{channel}");
            let left = self.model.left.remove(channel.as_str());
            assert!(left.is_some_and(|left| self.now - left >= LINGER), "{channel} lingers");
            self.model.releasing.insert(channel.to_string());
        }
    }

    fn shards(&self, channel: &str) -> Shards {
        self.model.wanted.get(channel).into_iter().flatten().map(|shard| 1 << shard).sum()
    }

    fn confirm(&mut self, channel: &str) {
        let answered = self.table.confirm(channel, self.now);
        assert_eq!(answered.is_some(), self.model.asked.remove(channel), "{channel}");
        let Some(answered) = answered else { return };
        assert_eq!(answered.shards, self.shards(channel));
        assert_eq!(answered.gap, self.model.missed.remove(channel), "{channel}");
        self.model.suspects.remove(channel);
        self.model.subscribed.insert(channel.to_owned());
        self.left(channel);
    }

    fn refuse(&mut self, channel: &str) {
        let answered = self.table.refuse(channel);
        assert_eq!(answered.is_some(), self.model.asked.remove(channel), "{channel}");
        if let Some(answered) = answered {
            assert_eq!(answered.shards, self.shards(channel));
            self.model.suspects.insert(channel.to_owned());
            assert_eq!(answered.gap, None, "{channel}");
            self.model.missed.remove(channel);
            self.model.refused.insert(channel.to_owned());
        }
    }

    fn release(&mut self, channel: &str) {
        if self.model.releasing.remove(channel) {
            assert_eq!(self.table.released(channel), None);
        }
    }

    fn keep(&mut self, channel: &str) {
        if !self.model.releasing.remove(channel) {
            assert_eq!(self.table.keep(channel), None);
            return;
        }
        let shards = self.shards(channel);
        let told = self.table.keep(channel).map_or(0, |answered| answered.shards);
        assert_eq!(told, shards, "{channel}");
        self.model.subscribed.insert(channel.to_owned());
        if shards == 0 {
            self.model.left.insert(channel.to_owned(), self.now - LINGER);
        }
    }

    fn ask_again(&mut self, channel: &str) {
        let wanted = self.model.wanted.contains_key(channel);
        let is_asked = self.model.asked.contains(channel);
        assert_eq!(self.table.is_still_asked(channel), is_asked && wanted, "{channel}");
        if !wanted {
            self.model.asked.remove(channel);
        }
    }

    fn drop_one(&mut self, channel: &str) {
        if self.model.subscribed.remove(channel) {
            let wanted = self.model.wanted.contains_key(channel);
            assert_eq!(self.table.released(channel).is_some(), wanted, "{channel}");
            self.model.left.remove(channel);
            if wanted {
                self.model.missed.insert(channel.to_owned(), GapReason::RedisMoved);
            }
        }
    }

    fn link_lost(&mut self) {
        if !std::mem::take(&mut self.model.linked) {
            return;
        }
        let lost = self.table.link_lost(RECONNECTED);
        let wanted = |channel: &&String| self.model.wanted.contains_key(*channel);
        let confirmed: BTreeSet<_> = self.model.subscribed.iter().filter(wanted).cloned().collect();
        let told: BTreeSet<_> = lost.confirmed.iter().map(ToString::to_string).collect();
        assert_eq!(told, confirmed);
        let waits = |channel: &&String| {
            !confirmed.contains(*channel) && !self.model.refused.contains(*channel)
        };
        let unanswered: BTreeSet<_> = self.model.wanted.keys().filter(waits).cloned().collect();
        let told: BTreeSet<_> =
            lost.unanswered.iter().map(|(channel, _)| channel.to_string()).collect();
        assert_eq!(told, unanswered);
        let lost = confirmed.into_iter().map(|channel| (channel, RECONNECTED));
        let Model { asked, subscribed, refused, releasing, missed, left, .. } = &mut self.model;
        missed.extend(lost);
        left.clear();
        [asked, subscribed, refused, releasing].into_iter().for_each(BTreeSet::clear);
    }

    fn check(&self) {
        assert_eq!(self.table.wanted(), self.model.wanted.len());
        assert_eq!(self.table.subscribed(), self.model.subscribed.len());
        self.check_queues();
        for channel in (0..CHANNELS).map(text) {
            let shards = self.shards(&channel);
            match self.table.route(ONLY_NODE, &channel) {
                Route::To(_, to) if self.model.subscribed.contains(&channel) => {
                    assert_eq!(to, shards, "{channel}");
                }
                Route::To(_, to) => {
                    assert!(self.model.releasing.contains(&channel) && to == 0, "{channel}");
                }
                Route::Stale | Route::Unknown => {
                    assert!(!self.model.subscribed.contains(&channel), "{channel}");
                }
            }
        }
    }

    /// A name stands in each queue once at most, so that the table bounds them.
    fn check_queues(&self) {
        let Table { queues, lingering, .. } = &self.table;
        let lingering = lingering.iter().map(|(_, channel)| channel.clone()).collect();
        let kept = queues.kept.iter().cloned().collect();
        let Queues { to_subscribe, alone, to_unsubscribe, .. } = queues;
        for queue in [to_subscribe, alone, to_unsubscribe, &kept, &lingering] {
            let names: BTreeSet<_> = queue.iter().collect();
            assert_eq!(names.len(), queue.len(), "{queue:?}");
        }
    }

    /// Redis answers everything from now on: each wanted channel is subscribed in the end, and none
    /// that nobody wants.
    fn settle(mut self) {
        self.step(&Step::LinkUp);
        self.step(&Step::RetryRefused);
        self.step(&Step::RetryKept);
        for _ in 0..4 {
            self.step(&Step::Wait(2_500));
            self.step(&Step::TakeSubscribes(100));
            self.step(&Step::TakeAlone(100));
            self.step(&Step::TakeUnsubscribes(100));
            for channel in 0..CHANNELS {
                self.step(&Step::Confirm(channel));
                self.step(&Step::Release(channel));
            }
            self.check();
        }
        let wanted: BTreeSet<_> = self.model.wanted.keys().cloned().collect();
        assert_eq!(self.model.subscribed, wanted);
        assert_eq!(self.table.entries.len(), wanted.len(), "nothing is left over");
        assert!(self.table.lingering.is_empty() && self.model.missed.is_empty());
        assert!(!self.table.has_kept());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_table_agrees_with_the_model(steps in steps()) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.settle();
    }
}
