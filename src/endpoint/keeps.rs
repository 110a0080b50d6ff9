//! Whether a newer token still gives the channels and streams that an older one gave.
//!
//! A session does not keep its path and query. It need not: values of the URL are the client's own choice,
//! so what stands in a channel at their places is as good with any token. What came from the token must
//! come from the newer one, too, and a handshake with the newer one must not be refused: its values count as
//! there, each place of the URL as one value.

use super::{
    Endpoint, ReservedNames,
    expand::{expand, token_values, written},
    template::{ChannelTemplate, Form, Part, Placeholder},
};
use crate::{channel::ChannelName, identity::Identity};

/// A template with the values of one token: what may stand at each place.
enum Place<'a> {
    Literal(&'a str),
    /// One of these.
    Token(Vec<String>),
    /// Whatever a client may write into its URL, as it stands in a name.
    Url(Form),
}

impl Endpoint {
    /// Whether a session with this identity could have all of these channels and streams, each by one
    /// template or another. `false` also where the identity would be refused: it lacks a claim, one is
    /// unusable, or a template would give more names than it may.
    #[must_use]
    pub fn still_gives(
        &self,
        identity: &Identity,
        channels: &[ChannelName],
        streams: &[ChannelName],
    ) -> bool {
        let (patterns, channels): (Vec<_>, Vec<_>) =
            channels.iter().cloned().partition(ChannelName::is_pattern);
        let given = self.patterns_for(Some(identity), &mut None);
        given.is_ok_and(|given| patterns.iter().all(|pattern| given.contains(pattern)))
            && still_give(&self.channels, &self.reserved, identity, &channels)
            && still_give(&self.streams, &self.reserved, identity, streams)
    }
}

fn still_give(
    templates: &[ChannelTemplate],
    reserved: &ReservedNames,
    identity: &Identity,
    names: &[ChannelName],
) -> bool {
    if !templates.iter().all(|template| would_expand(template, reserved, identity)) {
        return false;
    }
    let templates: Option<Vec<Vec<Place<'_>>>> = templates
        .iter()
        .map(|template| template.parts().iter().map(|part| place(part, identity)).collect())
        .collect();
    templates.is_some_and(|templates| {
        let given = |name: &ChannelName| templates.iter().any(|it| can_become(it, name.as_str()));
        names.iter().all(given)
    })
}

/// Whether a handshake could expand the template, with one value at each place of the URL.
fn would_expand(template: &ChannelTemplate, reserved: &ReservedNames, identity: &Identity) -> bool {
    let from_url = || Ok(vec!["x".to_owned()]);
    let values = |place: &Placeholder| token_values(place, Some(identity)).unwrap_or_else(from_url);
    expand(template, reserved, values, &mut None).is_ok()
}

/// `None`: this identity has no usable value for it.
fn place<'a>(part: &'a Part, identity: &Identity) -> Option<Place<'a>> {
    match part {
        Part::Literal(text) => Some(Place::Literal(text)),
        Part::Placeholder(placeholder, form) => match token_values(placeholder, Some(identity)) {
            None => Some(Place::Url(*form)),
            Some(values) => {
                let items = values.and_then(|values| written(placeholder, *form, &values));
                items.ok().map(Place::Token)
            }
        },
    }
}

fn can_become(places: &[Place<'_>], channel: &str) -> bool {
    let Some((first, rest)) = places.split_first() else { return channel.is_empty() };
    let goes_on =
        |text: &str| channel.strip_prefix(text).is_some_and(|after| can_become(rest, after));
    match first {
        Place::Literal(text) => goes_on(text),
        Place::Token(items) => items.iter().any(|item| goes_on(item)),
        Place::Url(form) => (1..=channel.len().min(Form::LONGEST))
            .filter_map(|at| channel.split_at_checked(at))
            .take_while(|(value, _)| value.chars().next_back().is_some_and(|last| form.has(last)))
            .any(|(value, after)| form.writes(value) && can_become(rest, after)),
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
                endpoint.still_gives(&identity(claims.clone()), &channels, &[]),
                given,
                "{claims}"
            );
        }
    }

    #[test]
    fn escaped_names_are_still_given_to_the_same_values_alone() {
        let templates = ["user:{user|escape}", "g:{claim.g|escape}:{path.room|escape}/{path.room}"];
        let endpoint = endpoint_at("/ws/{room}", &templates);
        let given = |g: &str, name: &str| {
            endpoint.still_gives(&identity(json!({"g": g})), &[ChannelName::new(name)], &[])
        };
        assert!(given("a b", "user:ann") && given("a b", "g:a%20b:x%2Fy/z"));
        assert!(!given("a", "g:a%20b:x%2Fy/z"), "another value of the token");
        for name in ["g:a%20b:x/y%2Fz", "g:a%20b:x%2fy/z", "g:a%20b:x%2/z", "g:a b:x/z"] {
            assert!(!given("a b", name), "{name}");
        }
        let longest = format!("g:a%20b:{}/z", "%C3%A9".repeat(64));
        assert!(given("a b", &longest));
        assert!(!given(&"x".repeat(129), "user:ann"), "refused at a handshake");
    }

    #[test]
    fn a_token_that_a_handshake_would_refuse_keeps_nothing() {
        let endpoint =
            endpoint_at("/ws/{room}", &["user:{user}", "g:{claim.g}:{claim.h}:{path.room}"]);
        let channels = ["user:ann", "g:0:0:lobby1"].map(ChannelName::new);
        let given = |g: i32, h: i32| {
            let (g, h) = ((0..g).collect::<Vec<_>>(), (0..h).collect::<Vec<_>>());
            endpoint.still_gives(&identity(json!({"g": g, "h": h})), &channels, &[])
        };
        assert!(given(1, 1) && given(32, 1) && given(4, 8), "32 channels a template");
        assert!(!given(42, 1) && !given(33, 1) && !given(3, 11), "more");
        let reserved = endpoint_at("/ws", &["all", "{claim.c}event@0__:x"]);
        let all = [ChannelName::new("all")];
        assert!(reserved.still_gives(&identity(json!({"c": "my"})), &all, &[]));
        assert!(!reserved.still_gives(&identity(json!({"c": "__key"})), &all, &[]), "reserved");
        let mut own = endpoint_at("/ws", &["all"]);
        own.streams = vec![ChannelTemplate::parse("{claim.c}:x").unwrap()];
        let x = [ChannelName::new("a:x")];
        assert!(own.still_gives(&identity(json!({"c": ["a", "b"]})), &all, &x));
        assert!(!own.still_gives(&identity(json!({"c": ["a", "sockway"]})), &all, &x), "reserved");
    }
}
