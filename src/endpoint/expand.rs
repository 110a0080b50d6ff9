//! Expands channel templates: from an identity, a path and a query to the channels of a session.
//!
//! This is the wall between clients: a value goes into a channel's name only when it keeps the strict
//! grammar of [`template`](super::template), wherever it came from. One value that does not refuses the
//! whole handshake; a session never gets some of its channels.

use super::{
    Endpoint, PathParameters, percent,
    template::{ChannelTemplate, Part, Placeholder, RESERVED, is_value},
};
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

/// How many channels one template may give one session.
const MAX_CHANNELS_A_TEMPLATE: usize = 32;

impl Endpoint {
    /// The channels that a request subscribes to, each once, in the order of the templates.
    ///
    /// # Errors
    /// - [`Refusal::ClaimMissing`]: the token, or there is none, lacks a claim that a template names.
    /// - [`Refusal::ValueNotAllowed`]: a value is missing or outside its grammar, a query name is there
    ///   twice, or a template would give more than 32 channels.
    pub fn channels_for(&self, values: &Values<'_>) -> Result<Vec<ChannelName>, Refusal> {
        let mut channels: Vec<ChannelName> = Vec::new();
        for template in &self.channels {
            for name in self.expand(template, values)? {
                if !channels.iter().any(|channel| channel.as_str() == name) {
                    channels.push(ChannelName::new(name));
                }
            }
        }
        Ok(channels)
    }

    fn expand(
        &self,
        template: &ChannelTemplate,
        values: &Values<'_>,
    ) -> Result<Vec<String>, Refusal> {
        let mut names = vec![String::new()];
        for part in template.parts() {
            match part {
                Part::Literal(text) => append(&mut names, text),
                Part::Placeholder(Placeholder::Query(name)) => {
                    names = multiply(&names, &query_list(values.query, name)?)?;
                }
                Part::Placeholder(placeholder) => {
                    append(&mut names, allowed(self.value(placeholder, values)?)?);
                }
            }
        }
        // A value could complete what no template may begin with.
        if names.iter().any(|name| RESERVED.iter().any(|reserved| name.starts_with(reserved))) {
            return Err(Refusal::ValueNotAllowed);
        }
        Ok(names)
    }

    fn value<'a>(
        &self,
        placeholder: &Placeholder,
        values: &Values<'a>,
    ) -> Result<&'a str, Refusal> {
        let claims = values.identity.ok_or(Refusal::ClaimMissing);
        match placeholder {
            Placeholder::User => Ok(&claims?.user),
            Placeholder::Claim(name) => {
                claims?.claims.get(name).map(String::as_str).ok_or(Refusal::ClaimMissing)
            }
            Placeholder::Path(name) | Placeholder::Query(name) => {
                self.path.value(values.path, name).ok_or(Refusal::ValueNotAllowed)
            }
        }
    }
}

fn append(names: &mut [String], text: &str) {
    for name in names {
        name.push_str(text);
    }
}

/// Every name with every item.
fn multiply(names: &[String], items: &[String]) -> Result<Vec<String>, Refusal> {
    if names.len() * items.len() > MAX_CHANNELS_A_TEMPLATE {
        return Err(Refusal::ValueNotAllowed);
    }
    Ok(names
        .iter()
        .flat_map(|name| items.iter().map(move |item| format!("{name}{item}")))
        .collect())
}

/// The items of `NAME=a,b,c`. Split after decoding: browsers send `,` as `%2C`.
fn query_list(query: &str, name: &str) -> Result<Vec<String>, Refusal> {
    let list = query_value(query, name)?;
    // One more than allowed is enough to be refused for it, however long the list is.
    let items = list.split(',').take(MAX_CHANNELS_A_TEMPLATE + 1);
    items.map(|item| allowed(item).map(str::to_owned)).collect()
}

fn query_value(query: &str, name: &str) -> Result<String, Refusal> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent::decode_query(key)? == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => percent::decode_query(value).ok_or(Refusal::ValueNotAllowed),
        // Twice: this side could mean the first while a proxy before it checked the last.
        _ => Err(Refusal::ValueNotAllowed),
    }
}

fn allowed(value: &str) -> Result<&str, Refusal> {
    if is_value(value) { Ok(value) } else { Err(Refusal::ValueNotAllowed) }
}

#[cfg(test)]
mod tests;
