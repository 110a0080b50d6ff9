//! The connection that publishes: what was written to it, and the answers to that.

use super::{
    answers::{answer, is_of_replica},
    command::command,
    waiting::Waiting,
};
use crate::{
    bus::{Destination, Publication, Published},
    log_throttle::CauseThrottle,
    upstream::{
        link::{CommandLink, LinkError, Value, role},
        patience::Patience,
        primary::Primary,
    },
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use tracing::warn;

/// Answers that are handled before other tasks get their turn.
const ANSWERS_AT_ONCE: usize = 1_024;

/// No more is written while this many bytes wait for the socket; writing goes on with the next answers.
const MOST_UNWRITTEN: usize = 1 << 20;

/// The configuration keys that are used here.
pub(super) struct PublishSettings {
    pub(super) prefix: String,
    /// `redis.stream_field`: the field of an entry that has the payload.
    pub(super) field: String,
    /// How often the connection is probed.
    pub(super) interval: Duration,
    /// How long an answer, or a connection, is waited for.
    pub(super) timeout: Duration,
}

/// The connection, and what was asked on it.
pub(super) struct PublishLink {
    link: CommandLink,
    asked: VecDeque<Asked>,
    patience: Patience,
    next_proof: Instant,
    interval: Duration,
    /// ROLE is to be asked now: the server says that it is a replica.
    asks_role: bool,
    key: String,
    pub(super) made: Instant,
    /// The primary is elsewhere.
    pub(super) has_moved: bool,
}

/// A command whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The oldest publication that is not answered.
    Publication,
    Expiry,
    Role,
    Ping,
}

/// The result of [`PublishLink::take_arrived`].
pub(super) struct Arrived {
    /// More may have arrived than was handled.
    pub(super) is_behind: bool,
}

impl PublishLink {
    /// Takes over a connection on which nothing was asked.
    pub(super) fn new(
        link: CommandLink,
        primary: &mut Primary,
        settings: &PublishSettings,
        now: Instant,
    ) -> Self {
        primary.linked();
        Self {
            link,
            asked: VecDeque::new(),
            patience: Patience::new(settings.timeout, now),
            // ROLE goes ahead of the first publication, so that a server that is no longer the primary is
            // noticed at once.
            next_proof: now,
            interval: settings.interval,
            asks_role: false,
            key: String::new(),
            made: now,
            has_moved: false,
        }
    }

    /// Waits until something arrives, and writes meanwhile. Cancel-safe.
    pub(super) async fn ready(&mut self) {
        self.link.ready().await;
    }

    /// Whether the socket is to be given more.
    pub(super) fn has_room(&self) -> bool {
        self.link.unwritten() < MOST_UNWRITTEN
    }

    fn ask(&mut self, asked: Asked, words: &[&[u8]], now: Instant) {
        self.patience.asked(now);
        self.link.send(words);
        self.asked.push_back(asked);
    }

    /// Writes what waits, until so much waits for the socket that more would only take memory.
    pub(super) fn write(
        &mut self,
        waiting: &mut Waiting,
        settings: &PublishSettings,
        now: Instant,
    ) {
        while self.has_room()
            && let Some(item) = waiting.send_next()
        {
            self.publish(item, settings, now);
        }
        self.link.flush();
    }

    fn publish(&mut self, item: &Publication, settings: &PublishSettings, now: Instant) {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push_str(&settings.prefix);
        key.push_str(item.to.name());
        self.patience.asked(now);
        command(item, key.as_bytes(), &settings.field, |words| self.link.send(words));
        self.asked.push_back(Asked::Publication);
        self.key = key;
    }

    /// Takes in what has arrived.
    ///
    /// # Errors
    /// When the connection must be given up.
    pub(super) fn take_arrived(
        &mut self,
        waiting: &mut Waiting,
        primary: &mut Primary,
        settings: &PublishSettings,
        now: Instant,
    ) -> Result<Arrived, LinkError> {
        for _ in 0..ANSWERS_AT_ONCE {
            let Some(value) = self.link.try_next() else {
                self.patience.received(self.link.received(), now);
                return Ok(Arrived { is_behind: false });
            };
            self.answered(value?, waiting, primary, settings, now)?;
        }
        self.patience.received(self.link.received(), now);
        Ok(Arrived { is_behind: true })
    }

    fn answered(
        &mut self,
        value: Value,
        waiting: &mut Waiting,
        primary: &mut Primary,
        settings: &PublishSettings,
        now: Instant,
    ) -> Result<(), LinkError> {
        self.patience.answered();
        match self.asked.pop_front() {
            Some(Asked::Publication) => self.published(value, waiting, settings, now),
            Some(Asked::Role) => {
                if let Some(why) = primary.observe(role(&value)) {
                    self.has_moved = true;
                    return Err(LinkError::Lost(why));
                }
            }
            Some(Asked::Expiry) => {
                if let Value::Error(text) = value {
                    log_refused("PEXPIRE", &self.link.error(&text));
                }
            }
            Some(Asked::Ping) => {}
            None => return Err(LinkError::Lost("Redis answers what was not asked".to_owned())),
        }
        Ok(())
    }

    fn published(
        &mut self,
        value: Value,
        waiting: &mut Waiting,
        settings: &PublishSettings,
        now: Instant,
    ) {
        let Some(item) = waiting.awaited() else { return };
        self.asks_role |= is_of_replica(&value);
        let (answer, refused) = answer(&item.to, value, |text| self.link.error(text));
        if let Some(error) = refused {
            log_refused(verb(&item.to), &error);
        }
        // Only behind an entry that was added: a key of another type is somebody else's, and stays.
        if let (Destination::Stream(name, write), Ok(Published::Id(_))) = (&item.to, &answer)
            && let Some(after) = write.expire_after
        {
            let (key, after) =
                (format!("{}{name}", settings.prefix), after.as_millis().to_string());
            self.ask(Asked::Expiry, &[b"PEXPIRE", key.as_bytes(), after.as_bytes()], now);
        }
        waiting.answered(answer);
    }

    /// Probes the connection when that is due. Returns why it must be given up, if it must.
    pub(super) fn tick(&mut self, primary: &Primary, now: Instant) -> Option<LinkError> {
        let role_is_due = std::mem::take(&mut self.asks_role);
        if self.next_proof <= now || role_is_due {
            self.next_proof = now + self.interval;
            match primary.asks() {
                true => self.ask(Asked::Role, &[b"ROLE"], now),
                false => self.ask(Asked::Ping, &[b"PING"], now),
            }
        }
        self.patience.is_dead(now).then(|| LinkError::Lost(self.patience.why()))
    }

    /// The connection has ended. Returns how many publications are now of unknown outcome.
    pub(super) fn give_up(&self, waiting: &mut Waiting) -> usize {
        waiting.give_up_sent()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.patience
            .deadline()
            .into_iter()
            .chain([self.next_proof])
            .min()
            .unwrap_or(self.next_proof)
    }
}

fn verb(to: &Destination) -> &'static str {
    match to {
        Destination::Channel(_) => "PUBLISH",
        Destination::Stream(..) => "XADD",
    }
}

/// Logs a refusal, throttled for each command and error code.
fn log_refused(command: &str, error: &LinkError) {
    static REFUSED: std::sync::LazyLock<CauseThrottle> =
        std::sync::LazyLock::new(CauseThrottle::default);
    let text = error.to_string();
    let code = text.trim_start_matches("Redis answers: ").split(' ').next().unwrap_or_default();
    if let Some(skipped) = REFUSED.to_log(&format!("{command} {code}"), std::time::Instant::now()) {
        warn!(%error, command, skipped, "Redis refuses what was to be published");
    }
}
