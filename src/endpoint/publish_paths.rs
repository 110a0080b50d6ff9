//! Finds what a request to publish by HTTP names: from its path to a channel.

use super::{
    ChannelTemplate, PathParameters, Placeholder, RoutePath,
    expand::{Unfilled, texts},
    path::request_segments,
};
use crate::{channel::ChannelName, reason::Refusal};
use std::cmp::Reverse;

/// The longest name of a channel that is published to, in bytes.
const LONGEST_CHANNEL: usize = 1_024;

/// The paths of `[http_publish]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishPaths {
    base: RoutePath,
    /// Those with more literal segments first.
    routes: Vec<PublishRoute>,
}

/// One `[[http_publish.route]]`: an address of its own for the channels of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRoute {
    pub path: RoutePath,
    pub channel: ChannelTemplate,
}

/// Where a request names its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishAddress {
    /// In its body.
    Body,
    /// In its path; `None`: what stands there is no channel's name.
    Path(Option<ChannelName>),
}

impl PublishPaths {
    /// Takes the paths. `config` sees to it that no two overlap.
    #[must_use]
    pub fn new(base: RoutePath, mut routes: Vec<PublishRoute>) -> Self {
        routes.sort_by_key(|route| Reverse(route.path.literals()));
        Self { base, routes }
    }

    /// Where a request's body names its channels.
    #[must_use]
    pub fn base(&self) -> &RoutePath {
        &self.base
    }

    /// Finds what a path (as sent, still percent-encoded, without the query) names. `None`: it is not one of
    /// these paths.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<PublishAddress> {
        let request = request_segments(path)?;
        if self.base.matches(&request).is_some() {
            return Some(PublishAddress::Body);
        }
        let of_route = |route: &PublishRoute| Some(route.channel(&route.path.matches(&request)?));
        if let Some(channel) = self.routes.iter().find_map(of_route) {
            return Some(PublishAddress::Path(channel));
        }
        let (last, before) = request.split_last()?;
        self.base.matches(before)?;
        Some(PublishAddress::Path(last.as_deref().and_then(channel_name)))
    }
}

impl PublishRoute {
    /// The channel that a path with these values names.
    fn channel(&self, values: &PathParameters) -> Option<ChannelName> {
        let items = |placeholder: &Placeholder| {
            let value = match placeholder {
                Placeholder::Path(name) => self.path.value(values, name),
                _ => None,
            };
            let absent = || Unfilled::new(Refusal::ValueNotAllowed, placeholder, "is missing");
            Ok(vec![value.ok_or_else(absent)?.to_owned()])
        };
        let names = texts(&self.channel, items, &mut None).ok()?;
        channel_name(names.first()?)
    }
}

/// A name that a message may be published to: 1 to 1,024 bytes without control characters.
#[must_use]
pub fn channel_name(text: &str) -> Option<ChannelName> {
    let allowed =
        (1..=LONGEST_CHANNEL).contains(&text.len()) && !text.chars().any(char::is_control);
    allowed.then(|| ChannelName::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> PublishPaths {
        let route = |path: &str, channel: &str| PublishRoute {
            path: RoutePath::parse(path).unwrap(),
            channel: ChannelTemplate::parse(channel).unwrap(),
        };
        let routes = vec![
            route("/notify/{user}", "user:{path.user}:notifications"),
            route("/notify/all", "notifications:global"),
            route("/room/{room}/message", "chat:{path.room}"),
        ];
        PublishPaths::new(RoutePath::parse("/publish").unwrap(), routes)
    }

    fn found(path: &str) -> Option<PublishAddress> {
        paths().find(path)
    }

    fn channel(name: &str) -> Option<PublishAddress> {
        Some(PublishAddress::Path(Some(ChannelName::new(name))))
    }

    #[test]
    fn a_path_names_one_channel_or_leaves_it_to_the_body() {
        assert_eq!(found("/publish"), Some(PublishAddress::Body));
        for (path, name) in [
            ("/publish/chat:7", "chat:7"),
            ("/publish/chat%3A7", "chat:7"),
            ("/publish/a%2Fb", "a/b"),
            ("/publish/a%252Fb", "a%2Fb"),
            ("/publish/a+b%20c", "a+b c"),
            ("/publish/gr%C3%BC%C3%9Fe*", "grüße*"),
            ("/notify/42", "user:42:notifications"),
            ("/notify/all", "notifications:global"),
            ("/room/7/message", "chat:7"),
        ] {
            assert_eq!(found(path), channel(name), "{path}");
        }
        for path in ["/", "/publish/a/b", "/notify", "/notify/1/2", "/room/7", "/Publish", "*"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn what_stands_in_a_path_and_is_no_channel_is_told_apart_from_another_path() {
        let no_channel = Some(PublishAddress::Path(None));
        let longest = "a".repeat(LONGEST_CHANNEL);
        assert_eq!(found(&format!("/publish/{longest}")), channel(&longest));
        for path in [
            "/publish/",
            &format!("/publish/{longest}a"),
            "/publish/%ff",
            "/publish/%4",
            "/publish/a%0Ab",
            "/publish/a%7Fb",
            "/publish/a%C2%85b",
            "/notify/a%3Ab",
            "/notify/*",
            "/notify/%ff",
            "/room/a%20b/message",
        ] {
            assert_eq!(found(path), no_channel, "{path}");
        }
    }
}
