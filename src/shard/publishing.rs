//! What one session's client publishes: checked, counted, sent to Redis, answered.
//!
//! While a burst of it is under way the socket is not read, so that a client that sends more waits, and its
//! memory is bounded.

use super::{
    context::Context as ShardContext, publish_rates::PublishSpec, registry::Registered,
    session::Session,
};
use crate::{
    bus::{Answers, NotPublished, Publication, PublishAnswer, Published},
    endpoint::PublishRules,
    identity::Identity,
    reason::{CloseReason, PublishResult, PublishSource},
    wire::{self, Reference, Sent},
};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// How many times `burst` refused messages, within [`REFUSED_WINDOW`], end the session.
const REFUSED_BURSTS: u32 = 20;

/// The time over which refused messages are counted.
const REFUSED_WINDOW: Duration = Duration::from_secs(10);

/// A session's messages on their way to Redis, and how many were refused lately.
pub(super) struct Publishing {
    spec: PublishSpec,
    under_way: VecDeque<UnderWay>,
    /// How many of those, the newest, still wait for room to be handed over. They are handed over in order.
    waiting: usize,
    refused: u32,
    refused_since: Instant,
}

struct UnderWay {
    reference: Option<Reference>,
    state: State,
}

enum State {
    /// Waits for room.
    Waiting(Pin<Box<dyn Future<Output = Answers>>>),
    HandedOver(Answers),
}

impl Publishing {
    pub(super) fn new(spec: PublishSpec) -> Self {
        let refused_since = Instant::now();
        Self { spec, under_way: VecDeque::new(), waiting: 0, refused: 0, refused_since }
    }

    /// Whether no more may be read from the client.
    pub(super) fn is_full(&self, session: &Registered) -> bool {
        rules(session).is_some_and(|rules| self.under_way.len() >= rules.burst.get() as usize)
    }

    /// Takes over a newer token of the session.
    pub(super) fn renew(&mut self, session: &Registered, identity: &Identity) {
        self.spec.grant.renew(&session.endpoint, identity);
    }

    /// Takes the data of a frame. Returns whether it is published.
    pub(super) fn take_frame(
        &mut self,
        session: &Registered,
        named: Option<&str>,
        data: &str,
        reference: Option<Reference>,
    ) -> bool {
        let Some(rules) = rules(session) else { return false };
        let mut text = String::new();
        let sent = rules.data.of_frame(data, &mut text);
        self.take(session, rules, sent, named, reference)
    }

    /// Takes a whole message of a raw session, which is told nothing. Returns whether it is published.
    pub(super) fn take_message(&mut self, session: &Registered, message: &[u8]) -> bool {
        let Some(rules) = rules(session) else { return false };
        self.take(session, rules, rules.data.of_message(message), None, None)
    }

    /// Answers a frame that could not be understood, and counts it as refused.
    pub(super) fn refuse_frame(&mut self, session: &Registered, reference: Option<&Reference>) {
        refuse(session, reference, PublishResult::FrameInvalid, None);
        if let Some(rules) = rules(session) {
            self.count_refused(session, rules);
        }
    }

    fn take(
        &mut self,
        session: &Registered,
        rules: &PublishRules,
        sent: Option<Sent<'_>>,
        named: Option<&str>,
        reference: Option<Reference>,
    ) -> bool {
        match self.publication(session, rules, sent, named) {
            Ok(publication) => {
                self.publish(session, publication, reference);
                true
            }
            Err((code, retry_after)) => {
                refuse(session, reference.as_ref(), code, retry_after);
                self.count_refused(session, rules);
                false
            }
        }
    }

    fn publication(
        &self,
        session: &Registered,
        rules: &PublishRules,
        sent: Option<Sent<'_>>,
        named: Option<&str>,
    ) -> Result<Publication, (PublishResult, Option<Duration>)> {
        let sent = sent.ok_or((PublishResult::DataInvalid, None))?;
        let has = |named: &str| session.is_subscribed(named);
        let now = session.context.wall_clock();
        let publication = self.spec.grant.publication(sent, named, has, now);
        let publication = publication.map_err(|code| (code, None))?;
        let Some(user) = &session.user else { return Err((PublishResult::NotPermitted, None)) };
        self.spec
            .rates
            .take(&session.endpoint.name, user, rules, Instant::now())
            .map_err(|after| (PublishResult::RateLimited, Some(after)))?;
        Ok(publication)
    }

    fn publish(
        &mut self,
        session: &Registered,
        publication: Publication,
        reference: Option<Reference>,
    ) {
        let Some(publisher) = session.context.publish.get().cloned() else { return };
        let handed_over = match self.waiting {
            0 => publisher.try_hand_over(publication),
            _ => Err(publication),
        };
        let state = handed_over.map(State::HandedOver).unwrap_or_else(|publication| {
            self.waiting += 1;
            State::Waiting(Box::pin(async move { publisher.hand_over(vec![publication]).await }))
        });
        self.under_way.push_back(UnderWay { reference, state });
    }

    /// Passes answers of Redis on to the client, as many as it has room for. `Pending`: there is none, or no room.
    pub(super) fn poll(&mut self, session: &Registered, cx: &mut Context<'_>) -> Poll<()> {
        self.hand_over(cx);
        let mut answered = Poll::Pending;
        while session.has_room_for_a_reply()
            && let Some(first) = self.under_way.front_mut()
        {
            let State::HandedOver(answers) = &mut first.state else { break };
            let Poll::Ready(answers) = answers.poll(cx) else { break };
            if let Some(UnderWay { reference, .. }) = self.under_way.pop_front() {
                let answer = answers.first().copied().unwrap_or(Err(NotPublished::Unknown));
                self.answered(session, answer, reference.as_ref());
            }
            answered = Poll::Ready(());
        }
        answered
    }

    /// Hands over what there is room for by now.
    fn hand_over(&mut self, cx: &mut Context<'_>) {
        let from = self.under_way.len() - self.waiting;
        for one in self.under_way.range_mut(from..) {
            let State::Waiting(room) = &mut one.state else { continue };
            let Poll::Ready(answers) = room.as_mut().poll(cx) else { break };
            one.state = State::HandedOver(answers);
            self.waiting -= 1;
        }
    }

    fn answered(
        &mut self,
        session: &Registered,
        answer: PublishAnswer,
        reference: Option<&Reference>,
    ) {
        match answer {
            Ok(published) => {
                count(&session.context, PublishResult::Published);
                if let Some(reference) = reference {
                    let (id, receivers) = match published {
                        Published::Id(id) => (Some(id), None),
                        Published::Receivers(receivers) => (None, Some(receivers)),
                    };
                    session.answer(wire::published(reference, id, receivers));
                }
            }
            Err(why) => {
                refuse(session, reference, why.into(), None);
                // A Redis that is away is no fault of the client's.
                let is_of_client = matches!(why, NotPublished::Refused | NotPublished::NotFound);
                if let Some(rules) = rules(session).filter(|_| is_of_client) {
                    self.count_refused(session, rules);
                }
            }
        }
    }

    fn count_refused(&mut self, session: &Registered, rules: &PublishRules) {
        let now = Instant::now();
        if now - self.refused_since >= REFUSED_WINDOW {
            (self.refused, self.refused_since) = (0, now);
        }
        self.refused += 1;
        if self.refused > REFUSED_BURSTS.saturating_mul(rules.burst.get()) {
            session.end(CloseReason::RateLimited);
        }
    }
}

/// Counts a message that is not published, and tells a json session why.
pub(super) fn refuse(
    session: &Session,
    reference: Option<&Reference>,
    code: PublishResult,
    retry_after: Option<Duration>,
) {
    count(&session.context, code);
    if session.codec() == wire::Codec::WsJson {
        session.answer(wire::refused(reference, code, retry_after));
    }
}

fn count(context: &ShardContext, result: PublishResult) {
    context.metrics.published(PublishSource::Client, result);
}

fn rules(session: &Session) -> Option<&PublishRules> {
    session.endpoint.publish.as_deref()
}
