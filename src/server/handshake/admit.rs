//! From a correct request to its session: who asks, what that gives, the places in it, what was missed.

use super::{
    Asked, Handshake, NoSession,
    decide::{self, Grant},
    pending_connection::PendingConnection,
};
use crate::{
    carrier::Carrier,
    endpoint::{Endpoint, Format, Matched},
    phase::Phase,
    reason::Refusal,
    server::{
        admission::{AddressPermit, UserPermit},
        head::RequestHead,
    },
    shard::{PendingSession, PublishSpec, SessionSpec},
    wire::Codec,
};
use std::{future::Future, sync::Arc};
use tokio::time::{Instant, sleep_until};

/// A session, but for its connection and its permits.
pub(super) struct Granted {
    pub(super) session: PendingSession,
    pub(super) user: UserPermit,
}

impl Handshake {
    pub(super) async fn decide(
        &self,
        head: &RequestHead,
        matched: Matched,
        address: &mut AddressPermit,
        client: &mut PendingConnection,
    ) -> Result<Granted, NoSession> {
        if *self.state.phase.borrow() >= Phase::Draining {
            return Err(Refusal::Draining.into());
        }
        let admission = &self.state.admission;
        if let Some(reported) = admission.take_reported_address(self.peer, &head.headers)? {
            *address = Some(reported);
        }
        let from = admission.client(self.peer, &head.headers);
        admission.take_rate(from)?;
        let place = || admission.wait_for_key(from);
        let grant = tokio::select! {
            biased;
            grant = decide::grant(&self.state.config.auth, &matched, head, place) => {
                grant.map_err(|denied| self.denied(denied))?
            }
            refusal = self.end(Refusal::KeysUnavailable) => return Err(refusal.into()),
            () = client.disconnected() => return Err(NoSession::Gone),
        };
        let user = match &grant.identity {
            Some(identity) => {
                self.pause(&identity.user, client).await?;
                admission.take_user(&identity.user)?
            }
            None => None,
        };
        let session = self.subscribe(grant, matched.endpoint, client).await?;
        Ok(Granted { session, user })
    }

    /// Waits where a session of this user was closed a moment ago because it sent too much. A refusal would be
    /// answered by the next handshake at once.
    async fn pause(&self, user: &str, client: &mut PendingConnection) -> Result<(), NoSession> {
        match self.state.floods.pause_of(user, Instant::now()) {
            Some(end) => self.within(Refusal::AtCapacity, client, sleep_until(end)).await,
            None => Ok(()),
        }
    }

    /// Subscribes to the topics and reads what the client missed.
    async fn subscribe(
        &self,
        Grant { identity, topics, resume, publish, origin }: Grant,
        endpoint: Arc<Endpoint>,
        client: &mut PendingConnection,
    ) -> Result<PendingSession, NoSession> {
        let late = Refusal::SubscriptionTimeout;
        let subscribed = self.shard.subscribe(topics);
        let mut subscription = self.within(late, client, subscribed).await??;
        let room = subscription.make_room(&endpoint, &resume);
        self.within(Refusal::AtCapacity, client, room).await?;
        let config = &self.state.config;
        let (auth, generation) = (Arc::clone(&config.auth), config.generation);
        let began = self.accepted.into();
        let codec = self.codec(endpoint.format);
        let rates = &self.state.publish_rates;
        let publish =
            publish.map(|grant| Box::new(PublishSpec { grant, rates: Arc::clone(rates) }));
        // A client of Server-Sent Events cannot ask for anything.
        let origin = origin.filter(|_| codec.carrier() == Carrier::WebSocket);
        let spec =
            SessionSpec { endpoint, codec, identity, auth, began, generation, publish, origin };
        Ok(self.within(late, client, subscription.open(spec, &resume)).await??)
    }

    /// Waits for something, for as long as the client does, and until the handshake must end: as `late` at
    /// the deadline.
    async fn within<T>(
        &self,
        late: Refusal,
        client: &mut PendingConnection,
        something: impl Future<Output = T>,
    ) -> Result<T, NoSession> {
        tokio::select! {
            biased;
            done = something => Ok(done),
            refusal = self.end(late) => Err(refusal.into()),
            () = client.disconnected() => Err(NoSession::Gone),
        }
    }

    /// How everything looks to a client that is let in.
    fn codec(&self, format: Format) -> Codec {
        match &self.asked {
            Some(Asked::EventStream(body)) => format.over_event_stream(*body),
            Some(Asked::WebSocket(_)) | None => format.over_websocket(),
        }
    }
}
