//! Expands templates: from an identity, a path and a query to the channels and streams of a session.
//!
//! This is the wall between clients: a value goes into a channel's name only when it keeps the strict
//! grammar of [`template`](super::template), wherever it came from. One value that does not refuses the
//! whole handshake; a session never gets some of its channels.

use super::{
    Endpoint, PathParameters, Topics,
    query::query_value,
    template::{ChannelTemplate, Part, Placeholder, RESERVED, RESERVED_STREAMS, is_value},
};
use crate::{
    channel::ChannelName,
    identity::{ClaimError, Identity},
    reason::Refusal,
};

/// What one request offers for the placeholders of its endpoint's templates.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// `None` where the endpoint asks for no token.
    pub identity: Option<&'a Identity>,
    pub path: &'a PathParameters,
    /// The query as sent, still percent-encoded, without the `?`; empty when there is none.
    pub query: &'a str,
}

/// How many channels one template may give one session.
const MAX_CHANNELS_A_TEMPLATE: usize = 32;

/// Why a request gets no channels. Names the placeholder, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Unfilled {
    pub refusal: Refusal,
    cause: String,
}

impl Endpoint {
    /// What a request subscribes to, in the order of the templates.
    ///
    /// # Errors
    /// - [`Refusal::ClaimMissing`]: the token, or there is none, lacks a claim that a template names, or
    ///   the claims are empty lists and no channel is left.
    /// - [`Refusal::ClaimUnusable`]: a claim is there, but cannot be a text, or is a list where only one
    ///   stream can be.
    /// - [`Refusal::ValueNotAllowed`]: a value is missing or outside its grammar, a query name is there
    ///   twice, or one name would be a channel and a stream.
    /// - [`Refusal::TooManyValues`]: a template would give more than 32 channels.
    pub fn topics_for(&self, values: &Values<'_>) -> Result<Topics, Unfilled> {
        let mut empty = None;
        let channels = self.names(&self.channels, &RESERVED, values, &mut empty)?;
        let streams = self.names(&self.streams, &RESERVED_STREAMS, values, &mut empty)?;
        if streams.iter().any(|stream| channels.contains(stream)) {
            return Err(self.refused_stream(Refusal::ValueNotAllowed, "is a channel here, too"));
        }
        if self.sse && streams.len() > 1 {
            return Err(self.refused_stream(Refusal::ClaimUnusable, "gives more than one stream"));
        }
        match empty {
            Some(placeholder) if channels.is_empty() && streams.is_empty() => {
                Err(Unfilled::new(Refusal::ClaimMissing, placeholder, "is an empty list"))
            }
            _ => Ok(Topics { channels, streams }),
        }
    }

    /// The names that these templates give, each once.
    fn names<'t>(
        &self,
        templates: &'t [ChannelTemplate],
        reserved: &[&str],
        values: &Values<'_>,
        empty: &mut Option<&'t Placeholder>,
    ) -> Result<Vec<ChannelName>, Unfilled> {
        let mut names: Vec<ChannelName> = Vec::new();
        for template in templates {
            let items = |placeholder: &Placeholder| self.values(placeholder, values);
            for name in expand(template, reserved, items, empty)? {
                if !names.iter().any(|known| known.as_str() == name) {
                    names.push(ChannelName::new(name));
                }
            }
        }
        Ok(names)
    }

    fn refused_stream(&self, refusal: Refusal, cause: &str) -> Unfilled {
        let templates: Vec<_> = self.streams.iter().map(ChannelTemplate::as_str).collect();
        Unfilled { refusal, cause: format!("streams {templates:?}: a name {cause}") }
    }

    /// The values that a placeholder takes, each of which may stand in a channel's name.
    fn values(
        &self,
        placeholder: &Placeholder,
        values: &Values<'_>,
    ) -> Result<Vec<String>, Unfilled> {
        let from_url = match placeholder {
            Placeholder::User => return user(placeholder, values.identity),
            Placeholder::Claim(name) => return claim(placeholder, name, values.identity),
            Placeholder::Path(name) => {
                self.path.value(values.path, name).map(|value| vec![value.to_owned()])
            }
            Placeholder::Query(name) => query_list(values.query, name),
        };
        let absent =
            || Unfilled::new(Refusal::ValueNotAllowed, placeholder, "is missing, or a duplicate");
        usable(placeholder, from_url.ok_or_else(absent)?)
    }
}

/// The names that one template gives with these values, none of which may begin as one of `reserved`;
/// `empty` becomes the placeholder that gives none, if one does.
pub(super) fn expand<'t>(
    template: &'t ChannelTemplate,
    reserved: &[&str],
    values: impl Fn(&Placeholder) -> Result<Vec<String>, Unfilled>,
    empty: &mut Option<&'t Placeholder>,
) -> Result<Vec<String>, Unfilled> {
    let mut names = vec![String::new()];
    for part in template.parts() {
        match part {
            Part::Literal(text) => names.iter_mut().for_each(|name| name.push_str(text)),
            Part::Placeholder(placeholder) => {
                let items = values(placeholder)?;
                if items.is_empty() {
                    *empty = Some(placeholder);
                }
                names = multiply(&names, &items).ok_or_else(|| {
                    let cause = "gives the template more than 32 channels";
                    Unfilled::new(Refusal::TooManyValues, placeholder, cause)
                })?;
            }
        }
    }
    // A value could complete what no template may begin with.
    if names.iter().any(|name| reserved.iter().any(|reserved| name.starts_with(reserved))) {
        let cause = format!("{:?} becomes a name that is reserved", template.as_str());
        return Err(Unfilled { refusal: Refusal::ValueNotAllowed, cause });
    }
    Ok(names)
}

/// The values that a token gives for a placeholder, each of which may stand in a channel's name. `None`:
/// the URL gives them.
pub(super) fn token_values(
    placeholder: &Placeholder,
    identity: Option<&Identity>,
) -> Option<Result<Vec<String>, Unfilled>> {
    match placeholder {
        Placeholder::Path(_) | Placeholder::Query(_) => None,
        Placeholder::User => Some(user(placeholder, identity)),
        Placeholder::Claim(name) => Some(claim(placeholder, name, identity)),
    }
}

fn user(placeholder: &Placeholder, identity: Option<&Identity>) -> Result<Vec<String>, Unfilled> {
    let identity = identity.ok_or_else(|| missing(placeholder))?;
    usable(placeholder, vec![identity.user.to_string()])
}

fn claim(
    placeholder: &Placeholder,
    name: &str,
    identity: Option<&Identity>,
) -> Result<Vec<String>, Unfilled> {
    let identity = identity.ok_or_else(|| missing(placeholder))?;
    let items = identity.claims.texts(name).map_err(|error| match error {
        ClaimError::Missing => missing(placeholder),
        ClaimError::Unusable => {
            Unfilled::new(Refusal::ClaimUnusable, placeholder, &error.to_string())
        }
    })?;
    usable(placeholder, items)
}

fn missing(placeholder: &Placeholder) -> Unfilled {
    Unfilled::new(Refusal::ClaimMissing, placeholder, "is missing")
}

/// The items, when each of them may stand in a channel's name.
pub(super) fn usable(
    placeholder: &Placeholder,
    items: Vec<String>,
) -> Result<Vec<String>, Unfilled> {
    if items.iter().all(|item| is_value(item)) {
        return Ok(items);
    }
    let cause = "has a value that no channel may have";
    Err(Unfilled::new(Refusal::ValueNotAllowed, placeholder, cause))
}

impl Unfilled {
    pub(super) fn new(refusal: Refusal, placeholder: &Placeholder, cause: &str) -> Self {
        Self { refusal, cause: format!("{placeholder} {cause}") }
    }
}

/// Every name with every item. `None`: too many.
fn multiply(names: &[String], items: &[String]) -> Option<Vec<String>> {
    if names.len() * items.len() > MAX_CHANNELS_A_TEMPLATE {
        return None;
    }
    let with_items = |name| items.iter().map(move |item| format!("{name}{item}"));
    Some(names.iter().flat_map(with_items).collect())
}

/// The items of `NAME=a,b,c`. Split after decoding: browsers send `,` as `%2C`.
fn query_list(query: &str, name: &str) -> Option<Vec<String>> {
    let list = query_value(query, name)?;
    // One more than allowed is enough to be refused for it, however long the list is.
    Some(list.split(',').take(MAX_CHANNELS_A_TEMPLATE + 1).map(str::to_owned).collect())
}

#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
