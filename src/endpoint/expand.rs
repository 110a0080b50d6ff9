//! Expands templates: from an identity, a path and a query to the channels and streams of a session.
//!
//! This is the wall between clients: a value goes into a channel's name only when it keeps the strict
//! grammar of [`template`](super::template), wherever it came from. One value that does not refuses the
//! whole handshake; a session never gets some of its channels.

use super::{
    Endpoint, PathParameters, Presence, PresenceChannel, ReservedNames, Topics,
    query::query_value,
    template::{ChannelTemplate, Form, Part, Placeholder},
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

/// The longest user, in bytes, that is shown to others: it stands in Redis for every room.
const LONGEST_PRESENT_USER: usize = 128;

/// Why a request gets no channels. Names the placeholder, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Unfilled {
    pub refusal: Refusal,
    cause: String,
}

impl Endpoint {
    /// What a request subscribes to, in the order of the templates; patterns come behind channels.
    ///
    /// # Errors
    /// - [`Refusal::ClaimMissing`]: the token, or there is none, lacks a claim that a template names, or
    ///   the claims are empty lists and no channel is left.
    /// - [`Refusal::ClaimUnusable`]: a claim is there, but cannot be a text, or is a list where only one
    ///   stream can be.
    /// - [`Refusal::ValueNotAllowed`]: a value is missing or outside its grammar, a query name is there
    ///   twice, a name would be reserved, or one would be a channel and a stream.
    /// - [`Refusal::TooManyValues`]: a template would give more than 32 channels.
    pub fn topics_for(&self, values: &Values<'_>) -> Result<Topics, Unfilled> {
        let mut empty = None;
        let mut channels = self.names(&self.channels, values, &mut empty)?;
        let streams = self.names(&self.streams, values, &mut empty)?;
        if streams.iter().any(|stream| channels.contains(stream)) {
            let cause = "a name is a channel here, too";
            return Err(Unfilled::of(&self.streams, Refusal::ValueNotAllowed, cause));
        }
        if self.sse && streams.len() > 1 {
            return Err(Unfilled::more_than_one(&self.streams));
        }
        let mut empty = empty.cloned();
        channels.extend(self.patterns_for(values.identity, &mut empty)?);
        match empty {
            Some(placeholder)
                if channels.is_empty() && streams.is_empty() && self.dynamic.is_empty() =>
            {
                Err(Unfilled::new(Refusal::ClaimMissing, &placeholder, "is an empty list"))
            }
            _ => Ok(Topics { channels, streams, presence: self.presence_room(values)? }),
        }
    }

    /// The room in which the user is shown, if the configuration names one by a template.
    fn presence_room(&self, values: &Values<'_>) -> Result<Option<ChannelName>, Unfilled> {
        let Some(Presence { channel, .. }) = &self.presence else { return Ok(None) };
        if values.identity.is_some_and(|it| it.user.len() > LONGEST_PRESENT_USER) {
            let cause = "is too long for presence";
            return Err(Unfilled::new(Refusal::ValueNotAllowed, &Placeholder::User, cause));
        }
        let PresenceChannel::Template(template) = channel else { return Ok(None) };
        self.name_for(template, values).map(Some)
    }

    /// The name that a template gives a request where only one can stand: what its session writes to.
    ///
    /// # Errors
    /// As for [`Endpoint::topics_for`], and:
    /// - [`Refusal::ClaimMissing`]: a claim is an empty list.
    /// - [`Refusal::ClaimUnusable`]: a list gives more than one name.
    pub fn name_for(
        &self,
        template: &ChannelTemplate,
        values: &Values<'_>,
    ) -> Result<ChannelName, Unfilled> {
        let (mut empty, templates) = (None, std::slice::from_ref(template));
        let mut names = self.names(templates, values, &mut empty)?;
        match (names.pop(), empty) {
            (Some(name), _) if names.is_empty() => Ok(name),
            (None, Some(placeholder)) => {
                Err(Unfilled::new(Refusal::ClaimMissing, placeholder, "is an empty list"))
            }
            _ => Err(Unfilled::more_than_one(templates)),
        }
    }

    /// The names that these templates give, each once.
    fn names<'t>(
        &self,
        templates: &'t [ChannelTemplate],
        values: &Values<'_>,
        empty: &mut Option<&'t Placeholder>,
    ) -> Result<Vec<ChannelName>, Unfilled> {
        let mut names: Vec<ChannelName> = Vec::new();
        for template in templates {
            let items = |placeholder: &Placeholder| self.values(placeholder, values);
            for name in expand(template, &self.reserved, items, empty)? {
                if !names.iter().any(|known| known.as_str() == name) {
                    names.push(ChannelName::new(name));
                }
            }
        }
        Ok(names)
    }

    /// The values that a placeholder takes.
    pub(super) fn values(
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
        from_url.ok_or_else(absent)
    }
}

/// The names that one template gives with these values, none of which may be reserved; `empty` becomes the
/// placeholder that gives none, if one does.
pub(super) fn expand<'t>(
    template: &'t ChannelTemplate,
    reserved: &ReservedNames,
    values: impl Fn(&Placeholder) -> Result<Vec<String>, Unfilled>,
    empty: &mut Option<&'t Placeholder>,
) -> Result<Vec<String>, Unfilled> {
    let names = texts(template, values, empty)?;
    match names.iter().find_map(|name| reserved.reason(name)) {
        Some(reason) => {
            let cause = format!("{:?} becomes a name that {reason}", template.as_str());
            Err(Unfilled { refusal: Refusal::ValueNotAllowed, cause })
        }
        None => Ok(names),
    }
}

/// As [`expand`], of what may be a part of a name.
pub(super) fn texts<'t>(
    template: &'t ChannelTemplate,
    values: impl Fn(&Placeholder) -> Result<Vec<String>, Unfilled>,
    empty: &mut Option<&'t Placeholder>,
) -> Result<Vec<String>, Unfilled> {
    let mut names = vec![String::new()];
    for part in template.parts() {
        match part {
            Part::Literal(text) => names.iter_mut().for_each(|name| name.push_str(text)),
            Part::Placeholder(placeholder, form) => {
                let items = written(placeholder, *form, &values(placeholder)?)?;
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
    Ok(names)
}

/// The values that a token gives for a placeholder. `None`: the URL gives them.
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
    Ok(vec![identity.user.to_string()])
}

fn claim(
    placeholder: &Placeholder,
    name: &str,
    identity: Option<&Identity>,
) -> Result<Vec<String>, Unfilled> {
    let identity = identity.ok_or_else(|| missing(placeholder))?;
    identity.claims.texts(name).map_err(|error| match error {
        ClaimError::Missing => missing(placeholder),
        ClaimError::Unusable => {
            Unfilled::new(Refusal::ClaimUnusable, placeholder, &error.to_string())
        }
    })
}

fn missing(placeholder: &Placeholder) -> Unfilled {
    Unfilled::new(Refusal::ClaimMissing, placeholder, "is missing")
}

/// The values as they stand in a name, when each of them may.
pub(super) fn written(
    placeholder: &Placeholder,
    form: Form,
    values: &[String],
) -> Result<Vec<String>, Unfilled> {
    let cause = match form {
        Form::Plain => "has a value that no channel may have",
        Form::Escaped => "has a value that is empty, or longer than 128 bytes",
    };
    let items: Option<_> = values.iter().map(|value| form.write(value)).collect();
    items.ok_or_else(|| Unfilled::new(Refusal::ValueNotAllowed, placeholder, cause))
}

impl Unfilled {
    pub(super) fn caused_by(refusal: Refusal, cause: String) -> Self {
        Self { refusal, cause }
    }

    pub(super) fn new(refusal: Refusal, placeholder: &Placeholder, cause: &str) -> Self {
        Self { refusal, cause: format!("{placeholder} {cause}") }
    }

    fn of(templates: &[ChannelTemplate], refusal: Refusal, cause: &str) -> Self {
        let templates: Vec<_> = templates.iter().map(ChannelTemplate::as_str).collect();
        Self { refusal, cause: format!("{templates:?}: {cause}") }
    }

    fn more_than_one(templates: &[ChannelTemplate]) -> Self {
        Self::of(templates, Refusal::ClaimUnusable, "a list gives more than one name")
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
mod escape_tests;
#[cfg(test)]
mod one_name_tests;
#[cfg(test)]
mod reserved_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
