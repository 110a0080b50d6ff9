//! Whether a name is a channel or a stream, by what the configuration says of it.

use crate::{
    bus::{Destination, StreamWrite},
    channel::ChannelName,
    cli::Failure,
    config::Config,
    endpoint::{Endpoint, PublishTarget, Shape, channel_name},
};

/// What `--as` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Channel,
    Stream,
}

/// Where a message for this name goes.
///
/// # Errors
/// When it is no name, one that Sockway keeps for itself, or the configuration has it as a channel and as a stream.
pub(super) fn destination(
    config: &Config,
    name: &str,
    kind: Option<Kind>,
) -> Result<Destination, Failure> {
    let channel = channel_name(name).ok_or_else(|| {
        let rule = "must be 1 to 1,024 bytes without control characters";
        Failure::Usage(format!("CHANNEL {rule}"))
    })?;
    if config.redis.control_channel.as_deref() == Some(name) {
        return Ok(Destination::Channel(channel)); // An account of this Redis may revoke: `{"disconnect":…}`.
    }
    let mut endpoints = config.endpoints.iter();
    if let Some(reserved) = endpoints.find_map(|endpoint| endpoint.reserved.reason(name)) {
        return Err(Failure::Usage(format!("CHANNEL {reserved}")));
    }
    Ok(match kind.map_or_else(|| kind_of(config, &channel), Ok)? {
        Kind::Channel => Destination::Channel(channel),
        Kind::Stream => {
            let write = write(config, &channel);
            Destination::Stream(channel, write)
        }
    })
}

fn kind_of(config: &Config, name: &ChannelName) -> Result<Kind, Failure> {
    let of_http = http_stream(config, name).is_some();
    let shape = Shape::of_name(name);
    let streamed = config.endpoints.iter().find(|endpoint| has_stream(endpoint, &shape));
    let published = config.endpoints.iter().find(|endpoint| has_channel(endpoint, &shape));
    match (of_http, streamed, published) {
        (false, Some(streamed), Some(published)) => Err(Failure::Usage(format!(
            "{name} is a stream at the endpoint {} and a channel at {}: say --as stream or --as channel",
            streamed.name, published.name
        ))),
        (false, None, _) => Ok(Kind::Channel),
        _ => Ok(Kind::Stream),
    }
}

fn has_stream(endpoint: &Endpoint, name: &Shape) -> bool {
    endpoint.streams.iter().any(|template| Shape::of_template(template).meets(name))
        || endpoint.dynamic.streams.iter().any(|template| template.shape().meets(name))
        || client_stream(endpoint, name).is_some()
}

fn has_channel(endpoint: &Endpoint, name: &Shape) -> bool {
    endpoint.channels.iter().any(|template| Shape::of_template(template).meets(name))
        || endpoint.dynamic.channels.iter().any(|template| template.shape().meets(name))
        || endpoint.patterns.iter().any(|pattern| pattern.shape().meets(name))
}

/// How an entry is added: with the limits that the configuration gives this stream, if any.
fn write(config: &Config, name: &ChannelName) -> StreamWrite {
    let shape = Shape::of_name(name);
    let of_clients = || config.endpoints.iter().find_map(|it| client_stream(it, &shape));
    let alone = StreamWrite { keep_entries: None, expire_after: None, create: true };
    http_stream(config, name).or_else(of_clients).unwrap_or(alone)
}

/// As `[[http_publish.stream]]` says.
fn http_stream(config: &Config, name: &ChannelName) -> Option<StreamWrite> {
    let mut streams = config.http_publish.as_ref()?.streams.iter();
    let stream = streams.find(|it| it.channels.iter().any(|glob| glob.matches(name)))?;
    Some(stream.write)
}

/// As `[endpoint.publish]` says.
fn client_stream(endpoint: &Endpoint, name: &Shape) -> Option<StreamWrite> {
    match &endpoint.publish.as_ref()?.to {
        PublishTarget::Stream(stream, write) => {
            Shape::of_template(stream.as_template()).meets(name).then_some(*write)
        }
        PublishTarget::Channel(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const CONFIGURATION: &str = r#"
        [auth.jwt]
        secret = "a made-up secret that is long enough for HS256"
        [[endpoint]]
        name = "chat"
        path = "/chat/{room}"
        channels = ["lobby:{path.room}"]
        streams = ["chat:{path.room}"]
        format = "json"
        patterns = ["events:*"]
        [endpoint.publish]
        stream = "inbox"
        keep_entries = 10
        [[endpoint]]
        name = "both"
        path = "/both"
        channels = ["chat:main"]
        auth = "none"
        [http_publish]
        [[http_publish.token]]
        sha256 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
        channels = ["*"]
        [[http_publish.stream]]
        channels = ["log:*"]
        keep_entries = 20
    "#;

    fn of(name: &str, kind: Option<Kind>) -> Result<Destination, String> {
        let config = testing::config(CONFIGURATION);
        destination(&config, name, kind).map_err(|failure| match failure {
            Failure::Usage(text) => text,
            other => panic!("{other:?}"),
        })
    }

    fn kept(name: &str, kind: Option<Kind>) -> Option<u64> {
        match of(name, kind) {
            Ok(Destination::Stream(_, write)) => write.keep_entries.map(Into::into),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_a_stream_where_the_configuration_lists_it_so_and_is_trimmed_as_it_says() {
        for name in ["lobby:7", "events:chat:7", "chat:7:more", "unknown", "sockway:control"] {
            assert!(matches!(of(name, None), Ok(Destination::Channel(_))), "{name}");
        }
        assert_eq!((kept("chat:7", None), kept("inbox", None)), (None, Some(10)));
        assert_eq!(kept("log:a:b", None), Some(20));
        assert_eq!(kept("lobby:7", Some(Kind::Stream)), None);
        assert!(matches!(of("chat:7", Some(Kind::Channel)), Ok(Destination::Channel(_))));
    }

    #[test]
    fn what_is_no_name_or_reserved_or_both_kinds_is_refused_in_words() {
        let long = "x".repeat(1025);
        for (name, words) in [
            ("", "1 to 1,024 bytes"),
            (&long, "1 to 1,024 bytes"),
            ("a\nb", "control characters"),
            ("sockway:presence:x", "keeps for itself"),
            ("sockway:probe", "keeps for itself"),
            ("__keyevent@0__:set", "its own events"),
            ("chat:main", "a stream at the endpoint chat and a channel at both"),
        ] {
            let said = of(name, None).unwrap_err();
            assert!(said.contains(words), "{name:?}: {said}");
        }
        assert!(of("sockway:probe", Some(Kind::Channel)).is_err());
        assert!(of("chat:main", Some(Kind::Channel)).is_ok());
    }
}
