//! Whether a newer token still gives the channels that an older one gave.
//!
//! A session does not keep its path and query. It need not: values of the URL are the client's own choice,
//! so what stands in a channel at their places is as good with any token. What came from the token must
//! come from the newer one, too.

use super::{
    Endpoint,
    template::{Part, Placeholder, is_value},
};
use crate::{channel::ChannelName, identity::Identity};

/// A template with the values of one token: what may stand at each place.
enum Place<'a> {
    Literal(&'a str),
    /// One of these.
    Token(Vec<String>),
    /// Whatever a client may write into its URL.
    Url,
}

impl Endpoint {
    /// Whether a session with this identity could have all of these channels, each by one template or
    /// another. `false` also where the identity would be refused: it lacks a claim, or one is unusable.
    #[must_use]
    pub fn still_gives(&self, identity: &Identity, channels: &[ChannelName]) -> bool {
        let templates: Option<Vec<_>> = self
            .channels
            .iter()
            .map(|template| template.parts().iter().map(|part| place(part, identity)).collect())
            .collect();
        let templates: Vec<Vec<Place<'_>>> = match templates {
            Some(templates) => templates,
            None => return false,
        };
        channels
            .iter()
            .all(|channel| templates.iter().any(|template| can_become(template, channel.as_str())))
    }
}

/// `None`: this identity has no usable value for it.
fn place<'a>(part: &'a Part, identity: &Identity) -> Option<Place<'a>> {
    let items = match part {
        Part::Literal(text) => return Some(Place::Literal(text)),
        Part::Placeholder(Placeholder::Path(_) | Placeholder::Query(_)) => return Some(Place::Url),
        Part::Placeholder(Placeholder::User) => vec![identity.user.to_string()],
        Part::Placeholder(Placeholder::Claim(name)) => identity.claims.texts(name).ok()?,
    };
    items.iter().all(|item| is_value(item)).then_some(Place::Token(items))
}

fn can_become(places: &[Place<'_>], channel: &str) -> bool {
    let Some((first, rest)) = places.split_first() else { return channel.is_empty() };
    let goes_on =
        |text: &str| channel.strip_prefix(text).is_some_and(|after| can_become(rest, after));
    match first {
        Place::Literal(text) => goes_on(text),
        Place::Token(items) => items.iter().any(|item| goes_on(item)),
        Place::Url => (1..=channel.len())
            .filter_map(|at| channel.split_at_checked(at))
            .take_while(|(value, _)| is_value(value) || value.ends_with(".."))
            .any(|(value, after)| is_value(value) && can_become(rest, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::Claims, testing::endpoint_at};
    use serde_json::json;

    fn identity(claims: serde_json::Value) -> Identity {
        let serde_json::Value::Object(claims) = claims else { panic!("an object") };
        Identity {
            user: "ann".into(),
            claims: Claims::new(claims),
            token_id: None,
            static_token: None,
            expires: None,
            fingerprint: None,
        }
    }

    #[test]
    fn channels_are_still_given_while_the_token_has_the_values_that_made_them() {
        let templates = ["user:{user}", "tenant:{claim.t}", "g:{claim.g}:{path.room}{query.q}"];
        let endpoint = endpoint_at("/ws/{room}", &templates);
        let channels = ["user:ann", "tenant:a", "g:x:lobby1", "g:y:lobby1"].map(ChannelName::new);
        for (claims, given) in [
            (json!({"t": "a", "g": ["x", "y"]}), true),
            (json!({"t": "a", "g": ["z", "y", "x"]}), true),
            (json!({"t": ["a", "b"], "g": ["x", "y"]}), true),
            (json!({"t": "b", "g": ["x", "y"]}), false),
            (json!({"t": "a", "g": ["x"]}), false),
            (json!({"t": "a", "g": []}), false),
            (json!({"t": "a"}), false),
            (json!({"t": "a", "g": {"x": 1}}), false),
            (json!({"t": "a", "g": ["x", "y", "*"]}), false),
            (json!({"t": "a:b", "g": ["x", "y"]}), false),
        ] {
            assert_eq!(
                endpoint.still_gives(&identity(claims.clone()), &channels),
                given,
                "{claims}"
            );
        }
    }
}
