//! Whether a request may have what it asks for: a request and the configuration in, a grant or a
//! refusal out. Waits for nothing but the keys of an issuer.

use super::position;
use crate::{
    auth::{Auth, TokenError, TokenFault},
    endpoint::{Access, Matched, Origin, PublishGrant, Routes, Topics, Unfilled, Values},
    identity::Identity,
    reason::Refusal,
    server::head::RequestHead,
    shard::Resume,
};
use std::borrow::Cow;

/// What a session may have.
#[derive(Debug)]
pub(super) struct Grant {
    /// `None` on an endpoint with `auth = "none"`.
    pub(super) identity: Option<Identity>,
    pub(super) topics: Topics,
    /// What it asks for from before it.
    pub(super) resume: Resume,
    pub(super) publish: Option<PublishGrant>,
    /// Where the client may add channels.
    pub(super) origin: Option<Box<Origin>>,
}

/// Why there is no grant.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) refusal: Refusal,
    /// For the log: says what is wrong with the token, or names a placeholder of the endpoint; never a value.
    pub(super) cause: Option<Cow<'static, str>>,
}

impl Denied {
    const CONFLICT: Self = Self {
        refusal: Refusal::TokenConflict,
        cause: Some(Cow::Borrowed("the request has different tokens where auth.sources look")),
    };
    const MISSING: Self = Self {
        refusal: Refusal::TokenMissing,
        cause: Some(Cow::Borrowed("the request has no token where auth.sources look")),
    };
}

impl From<TokenFault> for Denied {
    fn from(fault: TokenFault) -> Self {
        let refusal = match TokenError::from(fault) {
            TokenError::Invalid => Refusal::TokenInvalid,
            TokenError::Expired => Refusal::TokenExpired,
            TokenError::KeyUnknown => Refusal::KeysUnavailable,
        };
        Self { refusal, cause: Some(fault.to_string().into()) }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, cause: None }
    }
}

impl From<Unfilled> for Denied {
    fn from(unfilled: Unfilled) -> Self {
        Self { refusal: unfilled.refusal, cause: Some(unfilled.to_string().into()) }
    }
}

/// Finds the endpoint that a request is for.
///
/// # Errors
/// [`Refusal::NotFound`].
pub(super) fn find(routes: &Routes, request: &RequestHead) -> Result<Matched, Refusal> {
    routes.find(request.uri.path()).ok_or(Refusal::NotFound)
}

/// Finds out who asks, and to what that gives a right. Before it waits for a key it takes a place for
/// that. Cancel-safe.
///
/// # Errors
/// What is wrong with the token, with a value for the topics, or with a position.
pub(super) async fn grant<P>(
    auth: &Auth,
    matched: &Matched,
    request: &RequestHead,
    place: impl FnOnce() -> Option<P>,
) -> Result<Grant, Denied> {
    let identity = match matched.endpoint.access {
        Access::Required => Some(identify(auth, request, place).await?),
        Access::None => None,
    };
    let values = Values {
        identity: identity.as_ref(),
        path: &matched.parameters,
        query: request.uri.query().unwrap_or_default(),
    };
    let topics = matched.endpoint.topics_for(&values)?;
    let origin = (!matched.endpoint.dynamic.is_empty()).then(|| {
        let (path, query) = (matched.parameters.clone(), values.query.to_owned());
        Box::new(Origin { identity: identity.clone(), path, query })
    });
    let has_streams = !matched.endpoint.streams.is_empty();
    let resume = position::resume(request, has_streams, topics.streams.len())?;
    let publish = PublishGrant::new(&matched.endpoint, &values)?;
    Ok(Grant { identity, topics, resume, publish, origin })
}

async fn identify<P>(
    auth: &Auth,
    request: &RequestHead,
    place: impl FnOnce() -> Option<P>,
) -> Result<Identity, Denied> {
    let found = auth.find_token(request).map_err(|_conflict| Denied::CONFLICT)?;
    let token = found.ok_or(Denied::MISSING)?;
    Ok(auth.authenticate_within(token.expose(), place).await?)
}
