//! Whether a request may have what it asks for: a request and the configuration in, a grant or a
//! refusal out. Waits for nothing but the keys of an issuer.

use super::head::RequestHead;
use crate::{
    auth::{Auth, TokenError},
    channel::ChannelName,
    endpoint::{Access, Matched, Routes, Unfilled, Values},
    identity::Identity,
    reason::Refusal,
};
use hyper::{Method, Version};

/// What a session may have.
#[derive(Debug)]
pub(super) struct Grant {
    /// `None` on an endpoint with `auth = "none"`.
    pub(super) identity: Option<Identity>,
    pub(super) channels: Vec<ChannelName>,
}

/// Why there is no grant.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) refusal: Refusal,
    /// For the log: names a placeholder of the endpoint, never a value.
    pub(super) cause: Option<String>,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, cause: None }
    }
}

impl From<Unfilled> for Denied {
    fn from(unfilled: Unfilled) -> Self {
        Self { refusal: unfilled.refusal, cause: Some(unfilled.to_string()) }
    }
}

/// Finds the endpoint that a request is for.
///
/// # Errors
/// [`Refusal::BadHandshake`] when it is not HTTP/1.1, [`Refusal::NotFound`],
/// [`Refusal::MethodNotAllowed`].
pub(super) fn find(routes: &Routes, request: &RequestHead) -> Result<Matched, Refusal> {
    if request.version != Version::HTTP_11 {
        return Err(Refusal::BadHandshake);
    }
    let matched = routes.find(request.uri.path()).ok_or(Refusal::NotFound)?;
    if request.method != Method::GET {
        return Err(Refusal::MethodNotAllowed);
    }
    Ok(matched)
}

/// Finds out who asks, and to what that gives a right. Before it waits for a key it takes a place for
/// that. Cancel-safe.
///
/// # Errors
/// What is wrong with the token, or with a value for the channels.
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
    let channels = matched.endpoint.channels_for(&values)?;
    Ok(Grant { identity, channels })
}

async fn identify<P>(
    auth: &Auth,
    request: &RequestHead,
    place: impl FnOnce() -> Option<P>,
) -> Result<Identity, Refusal> {
    let found = auth.find_token(request).map_err(|_conflict| Refusal::TokenConflict)?;
    let token = found.ok_or(Refusal::TokenMissing)?;
    auth.authenticate_within(token.expose(), place).await.map_err(|error| match error {
        TokenError::Invalid => Refusal::TokenInvalid,
        TokenError::Expired => Refusal::TokenExpired,
        TokenError::KeyUnknown => Refusal::KeysUnavailable,
    })
}
