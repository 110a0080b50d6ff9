//! One life of the subscriber connection: what it is told, in which order, and whether it answers.
//!
//! One command at a time. Redis's errors on SUBSCRIBE come back with the next command, so with
//! only one under way an error belongs to it and to nothing else.
//!
//! The order of a gap: the marker goes into the rings *before* the SUBSCRIBE is written. Nothing of
//! that channel can come in between, since this connection is not subscribed yet and the old one is
//! closed and drained; and everything that Redis sends afterwards comes after the marker. A marker
//! put there when the SUBSCRIBE is acknowledged would come too late, because messages can arrive
//! between that and our seeing it.

use super::{
    client::{Arrival, Command, LinkError, Reply, Subscriber},
    probe::Probe,
    router::Router,
    shard_queues::ShardQueues,
    table::Table,
};
use crate::{channel::ChannelName, config, reason::GapReason};
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// Channels in one SUBSCRIBE or UNSUBSCRIBE.
const BATCH: usize = 1_000;

/// Between two commands, so that joins that come together go out together. The first after a pause
/// goes at once.
const PACE: Duration = Duration::from_millis(1);

/// An answer may take this many `probe_timeout`s while messages keep arriving: these prove that
/// the connection lives, but something that takes so long will not come any more.
const STARVED: u32 = 15;

/// A process that was stopped or starved finds its timers over before it finds the answers that
/// came meanwhile; so much longer it looks for them.
const GRACE: Duration = Duration::from_millis(100);

/// The connection and what is under way on it.
pub(super) struct Session<S> {
    link: S,
    in_flight: Option<InFlight>,
    /// When something last arrived.
    heard: Instant,
    /// The time for an answer is over, but it may be we who stood still: until then it may come.
    grace: Option<Instant>,
    /// Commands are not sent before.
    not_before: Instant,
    timeout: Duration,
    probe: InternalChannel,
    control: InternalChannel,
    /// Parts of a batch that was refused: one of their channels, or more, is not allowed.
    suspects: Vec<Vec<ChannelName>>,
    /// Whether the last batch was a SUBSCRIBE: joins must not starve leaves.
    subscribed_last: bool,
}

struct InFlight {
    task: Task,
    reply: Reply<()>,
    sent: Instant,
}

enum Task {
    Probe,
    Control,
    Ping,
    Subscribe(Vec<ChannelName>),
    Unsubscribe(Vec<ChannelName>),
}

/// A channel of our own, subscribed by a command of its own right after connecting.
#[derive(Debug)]
struct InternalChannel {
    channel: Option<String>,
    state: InternalState,
    /// What was answered last; `None` before the first answer.
    was_refused: Option<bool>,
}

#[derive(Debug)]
enum InternalState {
    Wanted,
    Held,
    Refused(String),
}

/// What a session needs for its next command.
pub(super) struct Work<'a> {
    pub(super) table: &'a mut Table,
    pub(super) queues: &'a ShardQueues,
    pub(super) router: &'a Router,
    pub(super) probe: &'a mut Probe,
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    /// Our own channels are held or refused, for the first time or otherwise than before.
    Introduced,
    Ping,
    Held(Vec<ChannelName>),
    Refused(ChannelName),
    Released(Vec<ChannelName>),
}

impl<S: Subscriber> Session<S> {
    pub(super) fn new(link: S, settings: &config::Redis, now: Instant) -> Self {
        let own = |channel: &Option<String>| InternalChannel {
            channel: channel.clone(),
            state: InternalState::Wanted,
            was_refused: None,
        };
        Self {
            link,
            in_flight: None,
            heard: now,
            grace: None,
            not_before: now,
            timeout: settings.probe_timeout,
            probe: own(&settings.probe_channel),
            control: own(&settings.control_channel),
            suspects: Vec::new(),
            subscribed_last: false,
        }
    }

    /// The answer that is waited for, and the link.
    pub(super) fn parts(&mut self) -> (Option<&mut Reply<()>>, &mut S) {
        (self.in_flight.as_mut().map(|in_flight| &mut in_flight.reply), &mut self.link)
    }

    /// What has arrived already, if anything.
    pub(super) fn try_next(&mut self, now: Instant) -> Option<Arrival> {
        let arrival = self.link.try_next()?;
        self.heard(now);
        Some(arrival)
    }

    /// Something has arrived: the connection lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether our own channels have been asked for, so that probing makes sense.
    pub(super) fn introduced(&self) -> bool {
        !self.probe.is_wanted() && !self.control.is_wanted()
    }

    /// Why there are no canaries, if Redis refuses the probe channel.
    pub(super) fn probe_refused(&self) -> Option<&str> {
        self.probe.refused()
    }

    /// Asks once more for those of our own channels that were refused.
    pub(super) fn retry_own(&mut self) {
        self.probe.retry();
        self.control.retry();
    }

    /// Whether everything wanted has been asked for and answered.
    pub(super) fn settled(&self, table: &Table) -> bool {
        let asking =
            self.in_flight.as_ref().is_some_and(|it| matches!(it.task, Task::Subscribe(_)));
        self.introduced() && !asking && self.suspects.is_empty() && !table.subscribes()
    }

    /// When [`Session::dead`] must be asked next, if nothing comes until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.grace.or_else(|| self.patience())
    }

    /// Until when an answer may take. Arriving messages extend it: under a flood an answer may
    /// stand in a long queue.
    fn patience(&self) -> Option<Instant> {
        let in_flight = self.in_flight.as_ref()?;
        let silent = in_flight.sent.max(self.heard) + self.timeout;
        Some(silent.min(in_flight.sent + STARVED * self.timeout))
    }

    /// Why the link must be given up, if it must. Take in everything that has arrived before.
    pub(super) fn dead(&mut self, now: Instant) -> Option<LinkError> {
        if self.patience().is_none_or(|until| until > now) {
            self.grace = None;
            return None;
        }
        let grace = *self.grace.get_or_insert(now + GRACE);
        let timeout = self.timeout;
        (grace <= now).then(|| LinkError::Lost(format!("no answer within {timeout:?}")))
    }

    /// When the next batch may go out, if one is waiting for that.
    pub(super) fn pace(&self, table: &Table) -> Option<Instant> {
        let idle = self.in_flight.is_none();
        (idle && (table.subscribes() || table.unsubscribes())).then_some(self.not_before)
    }

    /// Sends the next command, if one is due and none is under way.
    pub(super) fn send_next(&mut self, work: &mut Work<'_>, now: Instant) {
        if self.in_flight.is_some() {
            return;
        }
        let router = work.router;
        let Some(task) = self.next_task(work, now) else { return };
        let command = match &task {
            Task::Probe => subscribe_internal(&self.probe, router),
            Task::Control => subscribe_internal(&self.control, router),
            Task::Ping => Command::Ping,
            Task::Subscribe(batch) => Command::Subscribe(names(batch, router)),
            Task::Unsubscribe(batch) => Command::Unsubscribe(names(batch, router)),
        };
        self.not_before = now + PACE;
        let reply = self.link.send(command);
        self.in_flight = Some(InFlight { task, reply, sent: now });
    }

    fn next_task(&mut self, work: &mut Work<'_>, now: Instant) -> Option<Task> {
        if self.probe.is_wanted() {
            return Some(Task::Probe);
        }
        if self.control.is_wanted() {
            return Some(Task::Control);
        }
        if work.probe.wants_ping() {
            work.probe.ping_sent();
            return Some(Task::Ping);
        }
        if let Some(batch) = self.suspects.pop() {
            return Some(Task::Subscribe(batch));
        }
        if now < self.not_before {
            return None;
        }
        let (joins, leaves) = (work.table.subscribes(), work.table.unsubscribes());
        self.subscribed_last = joins && !(leaves && self.subscribed_last);
        let task = if self.subscribed_last {
            Task::Subscribe(take_subscribes(work))
        } else {
            Task::Unsubscribe(work.table.take_unsubscribes(BATCH, now))
        };
        // All that was queued may have changed its mind meanwhile.
        (!task.is_empty()).then_some(task)
    }

    /// Takes in the answer to the command under way.
    ///
    /// # Errors
    /// When the link is of no use any more.
    pub(super) fn answered(
        &mut self,
        reply: Result<(), LinkError>,
        now: Instant,
    ) -> Result<Answer, LinkError> {
        self.heard(now);
        let Some(InFlight { task, .. }) = self.in_flight.take() else { return Ok(Answer::Nothing) };
        let own = match (task, reply) {
            (Task::Ping, Ok(())) => return Ok(Answer::Ping),
            (Task::Subscribe(batch), Ok(())) => return Ok(Answer::Held(batch)),
            (Task::Unsubscribe(batch), Ok(())) => return Ok(Answer::Released(batch)),
            (Task::Subscribe(batch), Err(LinkError::ChannelRefused(why))) => {
                return Ok(self.refused(batch, &why));
            }
            (Task::Probe, Ok(())) => self.probe.settle(InternalState::Held),
            (Task::Control, Ok(())) => self.control.settle(InternalState::Held),
            (Task::Probe, Err(LinkError::ChannelRefused(why))) => {
                self.probe.settle(InternalState::Refused(why))
            }
            (Task::Control, Err(LinkError::ChannelRefused(why))) => {
                self.control.settle(InternalState::Refused(why))
            }
            (_, Err(error)) => return Err(error),
        };
        Ok(if own && self.introduced() { Answer::Introduced } else { Answer::Nothing })
    }

    /// Redis refuses a whole batch for one bad channel: halve until it stands alone.
    fn refused(&mut self, mut batch: Vec<ChannelName>, why: &str) -> Answer {
        let half = batch.split_off(batch.len() / 2);
        if !batch.is_empty() {
            self.suspects.extend([half, batch]);
            return Answer::Nothing;
        }
        let Some(channel) = half.into_iter().next() else { return Answer::Nothing };
        warn!(%channel, reason = why, "Redis refuses a channel");
        Answer::Refused(channel)
    }
}

fn take_subscribes(work: &mut Work<'_>) -> Vec<ChannelName> {
    let batch = work.table.take_subscribes(BATCH).into_iter();
    let told = batch.map(|ask| {
        work.queues.gap(ask.gap, ask.channel.clone(), GapReason::RedisReconnected);
        ask.channel
    });
    told.collect()
}

fn subscribe_internal(own: &InternalChannel, router: &Router) -> Command {
    Command::Subscribe(own.channel.iter().map(|channel| router.redis_name(channel)).collect())
}

fn names(batch: &[ChannelName], router: &Router) -> Vec<String> {
    batch.iter().map(|channel| router.redis_name(channel)).collect()
}

impl Task {
    fn is_empty(&self) -> bool {
        match self {
            Self::Subscribe(batch) | Self::Unsubscribe(batch) => batch.is_empty(),
            Self::Probe | Self::Control | Self::Ping => false,
        }
    }
}

impl InternalChannel {
    fn is_wanted(&self) -> bool {
        self.channel.is_some() && matches!(self.state, InternalState::Wanted)
    }

    fn refused(&self) -> Option<&str> {
        match &self.state {
            InternalState::Refused(why) => Some(why),
            InternalState::Wanted | InternalState::Held => None,
        }
    }

    /// Returns whether that is news.
    fn settle(&mut self, state: InternalState) -> bool {
        let refused = matches!(state, InternalState::Refused(_));
        let news = self.was_refused != Some(refused);
        if let InternalState::Refused(reason) = &state
            && news
        {
            let channel = self.channel.as_deref();
            warn!(channel, reason, "Redis refuses a channel of our own");
        }
        self.was_refused = Some(refused);
        self.state = state;
        news
    }

    fn retry(&mut self) {
        if self.refused().is_some() {
            self.state = InternalState::Wanted;
        }
    }
}
