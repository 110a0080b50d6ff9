//! A client's newer tokens (`refresh` frames): verified at most once a second, and only the latest.
//!
//! A signature costs as much as a thousand other frames, so a session verifies one token, and the next
//! not before [`PAUSE`] has passed; of what its client sends meanwhile the latest is kept and verified
//! then. The very token that the session lives by needs no verification.

use super::{registry::Registered, session::Session};
use crate::{
    auth::{TokenError, TokenFault},
    identity::Identity,
    reason::{CloseReason, RefreshResult},
};
use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};
use tokio::time::{Sleep, sleep};
use tracing::{debug, info};

/// Between two verifications for one session.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What a session keeps of newer tokens, from the first one until the pause behind the last is over.
#[derive(Default)]
pub(super) struct Refreshes {
    /// The latest token that is still to be verified.
    waiting: Option<String>,
    /// Only while the key of a token is being fetched. A newer token takes its place.
    fetching: Option<Pin<Box<dyn Future<Output = Verified>>>>,
    /// Until the next token may be verified.
    pause: Option<Pin<Box<Sleep>>>,
}

type Verified = Result<Identity, TokenFault>;

impl Refreshes {
    /// Takes a token that the client sent. Another one that still waits is never verified.
    pub(super) fn offer(&mut self, session: &Session, token: String) {
        if session.lives_by(&token) {
            count(session, RefreshResult::Unchanged);
        } else if self.waiting.replace(token).is_some() {
            count(session, RefreshResult::Superseded);
        }
    }

    /// Verifies the token that waits, when the pause is over, and does with the session what it says.
    /// Returns who the session is by now, where that matters to what it publishes. `Pending`: nothing has
    /// come of any token now.
    pub(super) fn poll(
        &mut self,
        session: &Registered,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Identity>> {
        let verified = ready!(self.poll_verified(session, cx));
        let newer = verified.as_ref().ok().filter(|_| session.endpoint.publish.is_some()).cloned();
        let result = refreshed(session, verified);
        count(session, result);
        Poll::Ready(newer.filter(|_| result == RefreshResult::Accepted))
    }

    /// Whether nothing is to be remembered any more.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.fetching.is_none() && self.pause.is_none()
    }

    fn poll_verified(&mut self, session: &Rc<Session>, cx: &mut Context<'_>) -> Poll<Verified> {
        if self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready()) {
            self.pause = None;
        }
        if self.pause.is_none()
            && let Some(token) = self.waiting.take()
        {
            self.pause = Some(Box::pin(sleep(PAUSE)));
            if self.fetching.take().is_some() {
                count(session, RefreshResult::Superseded);
            }
            match session.auth().check(&token, SystemTime::now()) {
                Err(TokenFault::KeyUnknown) => {
                    self.fetching = Some(Box::pin(verify_with_latest(Rc::clone(session), token)));
                }
                verified => return Poll::Ready(verified),
            }
        }
        let Some(fetching) = &mut self.fetching else { return Poll::Pending };
        let verified = ready!(fetching.as_mut().poll(cx));
        self.fetching = None;
        Poll::Ready(verified)
    }
}

/// Verifies a token whose key may have to be fetched first; again when a reload came meanwhile, by
/// what counts since then.
async fn verify_with_latest(session: Rc<Session>, token: String) -> Verified {
    loop {
        let auth = session.auth();
        let verified = auth.authenticate_within(&token, || Some(())).await;
        if Arc::ptr_eq(&auth, &session.auth()) {
            return verified;
        }
    }
}

/// A newer token of the same user lengthens the session's life; a wrong one ends it.
fn refreshed(session: &Registered, verified: Verified) -> RefreshResult {
    let reason = match verified {
        Ok(identity) if Some(&identity.user) != session.user.as_ref() => CloseReason::Forbidden,
        // What a session hears, its token must give, and this is the one that it lives by now.
        Ok(identity) if !session.is_still_given(&identity) => CloseReason::Reconfigured,
        Ok(identity) => {
            let accepted = session.lengthen(identity.clone());
            if accepted {
                session.renew_added(identity);
            }
            session.recheck_revocations();
            return if accepted { RefreshResult::Accepted } else { RefreshResult::Unchanged };
        }
        Err(fault) => {
            let reason = match TokenError::from(fault) {
                TokenError::Expired => CloseReason::TokenExpired,
                TokenError::Invalid => CloseReason::TokenInvalid,
                // It cannot be known now whether the new token is good, and the former one still is. The
                // session goes on and may ask again, so this is no line for every log.
                TokenError::KeyUnknown => {
                    debug!(session = %session.id, cause = %fault, "a refresh had no key");
                    return RefreshResult::KeyUnknown;
                }
            };
            info!(session = %session.id, cause = %fault, "a newer token was not accepted");
            reason
        }
    };
    session.end(reason);
    RefreshResult::Rejected
}

fn count(session: &Session, result: RefreshResult) {
    session.context.metrics.refreshes[result.index()].add(1);
}
