//! From an identity, a path and a query to the channels of a session.

use super::{Endpoint, PathParameters};
use crate::{channel::ChannelName, identity::Identity, reason::Refusal};

/// What one request offers for the placeholders of its endpoint's templates.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// `None` where the endpoint asks for no token.
    pub identity: Option<&'a Identity>,
    pub path: &'a PathParameters,
    /// The query as sent, still percent-encoded, without the `?`; empty when there is none.
    pub query: &'a str,
}

impl Endpoint {
    /// The channels that a request subscribes to, each once, in the order of the templates.
    ///
    /// # Errors
    /// [`Refusal::ClaimMissing`] and [`Refusal::ValueNotAllowed`].
    pub fn channels_for(&self, values: &Values<'_>) -> Result<Vec<ChannelName>, Refusal> {
        let _ = values;
        unimplemented!()
    }
}
