//! What a request asks for, as far as that shows without counting and without a token.

use super::{Asked, Handshake, NoSession, decide, event_stream, origin, upgrade};
use crate::{
    auth::Source,
    endpoint::Matched,
    reason::Refusal,
    server::{
        head::{Received, RequestHead},
        response::Cors,
    },
};
use bytes::Bytes;
use hyper::Method;
use std::sync::Arc;

/// A request for an endpoint, correct as far as that shows without a token.
pub(super) struct Recognised {
    pub(super) head: RequestHead,
    pub(super) early: Bytes,
    pub(super) matched: Matched,
}

impl Handshake {
    /// Checks what needs no counting and no token: path, method, upgrade, origin.
    pub(super) fn recognise(&mut self, received: Received) -> Result<Recognised, NoSession> {
        let Received { head, early, .. } = received;
        self.is_head = head.method == Method::HEAD;
        let events = event_stream::is_asked_for(&head);
        if !events {
            upgrade::check_version(&head).map_err(|why| self.not_correct(why))?;
        }
        let matched = decide::find(&self.state.routes, &head)?;
        self.endpoint = Some(Arc::clone(&matched.endpoint.name));
        let allowed = origin::allowed(&self.state.config.server.allowed_origins, &head.headers);
        if matched.endpoint.sse && !upgrade::is_asked_for(&head) {
            let credentials = self.state.config.auth.sources.iter().any(Source::is_cookie);
            self.cors = Some(Box::new(Cors::new(&head.headers, allowed, credentials)));
        }
        match head.method {
            Method::GET => self.asked = Some(self.asked(&head, events && matched.endpoint.sse)?),
            Method::OPTIONS if self.cors.is_some() && allowed => return Err(NoSession::Preflight),
            Method::OPTIONS if self.cors.is_some() => {}
            _ => return Err(Refusal::MethodNotAllowed.into()),
        }
        if !allowed {
            return Err(Refusal::OriginNotAllowed.into());
        }
        Ok(Recognised { head, early, matched })
    }

    /// What a GET request asks for, when it does so correctly.
    fn asked(&mut self, head: &RequestHead, events: bool) -> Result<Asked, Refusal> {
        if events {
            let body = event_stream::check(head).map_err(|fault| self.not_correct(fault.into()))?;
            return Ok(Asked::EventStream(body));
        }
        upgrade::check(head).map(Asked::WebSocket).map_err(|why| self.not_correct(why))
    }
}
