//! Who may publish where. A reload swaps it for all shards and all connections at once.

use super::{fault::Fault, rate::Bucket};
use crate::{
    bus::Destination,
    channel::ChannelName,
    config::{Config, HttpPublish, PublishToken},
    endpoint::ReservedNames,
};
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
};
use hyper::{HeaderMap, header::AUTHORIZATION};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// The `[http_publish]` in effect; swapped by a reload.
pub(in crate::server) struct Publishing(RwLock<Option<Arc<Authority>>>);

/// `[http_publish]` of one configuration.
pub(super) struct Authority {
    pub(super) config: Arc<HttpPublish>,
    /// One for each token; `None` for a token without a limit.
    buckets: Vec<Option<Bucket>>,
    control_channel: Option<String>,
    reserved: ReservedNames,
}

impl Publishing {
    pub(in crate::server) fn new(config: &Config) -> Self {
        Self(RwLock::new(Authority::of(config)))
    }

    /// Swaps in another configuration. The buckets of its tokens begin full.
    pub(in crate::server) fn reconfigure(&self, config: &Config) {
        let authority = Authority::of(config);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = authority;
    }

    /// What is in effect now; `None`: nothing is published by HTTP.
    pub(super) fn authority(&self) -> Option<Arc<Authority>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a request to the public port for this path publishes.
    pub(in crate::server) fn takes_on_public_port(&self, path: &str) -> bool {
        self.authority().is_some_and(|authority| {
            authority.config.listen.is_none() && authority.config.paths.find(path).is_some()
        })
    }
}

impl Authority {
    fn of(config: &Config) -> Option<Arc<Self>> {
        let publish = config.http_publish.as_ref()?;
        let bucket = |token: &PublishToken| Some(Bucket::new(token.per_second?, Instant::now()));
        Some(Arc::new(Self {
            config: Arc::clone(publish),
            buckets: publish.tokens.iter().map(bucket).collect(),
            control_channel: config.redis.control_channel.clone(),
            reserved: config.redis.reserved_names(),
        }))
    }

    /// Checks a request's token and its rate.
    ///
    /// # Errors
    /// [`Fault::TokenMissing`], [`Fault::TokenInvalid`], [`Fault::RateLimited`].
    pub(super) fn admit(&self, headers: &HeaderMap, now: Instant) -> Result<&PublishToken, Fault> {
        let number = self.find(token(headers)?).ok_or(Fault::TokenInvalid)?;
        match &self.buckets[number] {
            Some(bucket) if !bucket.take(now) => Err(Fault::RateLimited),
            _ => Ok(&self.config.tokens[number]),
        }
    }

    /// Compares the hash with those of all tokens, in constant time, so that timing tells nothing about any.
    fn find(&self, token: &[u8]) -> Option<usize> {
        let hash = digest(&SHA256, token);
        let mut found = None;
        for (number, known) in self.config.tokens.iter().enumerate() {
            if verify_slices_are_equal(hash.as_ref(), &known.sha256).is_ok() {
                found = Some(number);
            }
        }
        found
    }

    /// Where a message for this channel goes, if the token may publish to it.
    ///
    /// # Errors
    /// [`Fault::ChannelNotAllowed`].
    pub(super) fn destination(
        &self,
        token: &PublishToken,
        channel: ChannelName,
    ) -> Result<Destination, Fault> {
        if self.reserved.reason(&channel).is_some() {
            let named = token.channels.iter().any(|glob| glob.only() == Some(&*channel));
            let is_control = self.control_channel.as_deref() == Some(&*channel);
            let allowed = named && is_control;
            return allowed
                .then_some(Destination::Channel(channel))
                .ok_or(Fault::ChannelNotAllowed);
        }
        if !token.channels.iter().any(|glob| glob.matches(&channel)) {
            return Err(Fault::ChannelNotAllowed);
        }
        let streams = self.config.streams.iter();
        let stream =
            streams.into_iter().find(|it| it.channels.iter().any(|glob| glob.matches(&channel)));
        Ok(match stream {
            Some(stream) => Destination::Stream(channel, stream.write),
            None => Destination::Channel(channel),
        })
    }
}

/// The bearer token of a request. Two that differ are none: a proxy may have checked the other one.
fn token(headers: &HeaderMap) -> Result<&[u8], Fault> {
    let mut found = None;
    for value in headers.get_all(AUTHORIZATION) {
        let line = value.as_bytes();
        let (scheme, rest) =
            line.split_at(line.iter().position(|&b| b == b' ').unwrap_or(line.len()));
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let token = rest.trim_ascii();
            if found.is_some_and(|found| found != token) {
                return Err(Fault::TokenInvalid);
            }
            found = Some(token);
        }
    }
    found.ok_or(Fault::TokenMissing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use hyper::header::HeaderValue;

    /// The SHA-256 of "canary-token-of-user-42".
    const HASH: &str = "85d98e49ea96fcec017ab45f03f9a214888510d44abf48c5b4f035b8171fdae9";

    fn authority(publish: &str) -> Arc<Authority> {
        let endpoint =
            "[[endpoint]]\nname = \"a\"\npath = \"/a\"\nchannels = [\"a\"]\nauth = \"none\"\n";
        let config = testing::config(&format!("{endpoint}[http_publish]\n{publish}"));
        Publishing::new(&config).authority().unwrap()
    }

    fn with_channels(channels: &[&str], rest: &str) -> Arc<Authority> {
        let token =
            format!("[[http_publish.token]]\nsha256 = \"{HASH}\"\nchannels = {channels:?}\n");
        authority(&(token + rest))
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (AUTHORIZATION, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn the_token_comes_from_the_authorization_header_and_from_one_only() {
        let authority = with_channels(&["a"], "per_second = 2\n");
        let admit = |lines: &[&str]| authority.admit(&headers(lines), Instant::now()).map(|_| ());
        assert_eq!(admit(&["Bearer canary-token-of-user-42"]), Ok(()));
        assert_eq!(admit(&["Basic x", "bearer  canary-token-of-user-42 "]), Ok(()));
        assert_eq!(admit(&["Bearer canary-token-of-user-42"]), Err(Fault::RateLimited));
        for missing in [&[][..], &["Basic eDp5"], &["canary-token-of-user-42"]] {
            assert_eq!(admit(missing), Err(Fault::TokenMissing), "{missing:?}");
        }
        for invalid in [
            &["Bearer"][..],
            &["Bearer x"],
            &[&format!("Bearer {HASH}")],
            &["Bearer canary-token-of-user-42", "Bearer other"],
            &["Bearer other", "Bearer canary-token-of-user-42"],
        ] {
            assert_eq!(admit(invalid), Err(Fault::TokenInvalid), "{invalid:?}");
        }
    }

    fn destination(authority: &Authority, channel: &str) -> Result<Destination, Fault> {
        authority.destination(&authority.config.tokens[0], ChannelName::new(channel))
    }

    #[test]
    fn a_token_publishes_to_what_its_globs_match_and_streams_are_written_as_such() {
        let stream = "[[http_publish.stream]]\nchannels = [\"chat:*\"]\nkeep_entries = 10\n";
        let authority = with_channels(&["user:*", "chat:*"], stream);
        let channel = |name| Ok(Destination::Channel(ChannelName::new(name)));
        assert_eq!(destination(&authority, "user:42"), channel("user:42"));
        assert_eq!(destination(&authority, "orders"), Err(Fault::ChannelNotAllowed));
        let written = destination(&authority, "chat:7");
        assert!(
            matches!(written, Ok(Destination::Stream(_, write)) if write.keep_entries.is_some())
        );
    }

    #[test]
    fn what_sockway_keeps_for_itself_is_published_to_by_nobody_but_a_token_that_names_the_control_channel()
     {
        let any = with_channels(&["*", "sockway:*", "sockway:probe", "sockway:other"], "");
        for name in [
            "sockway:probe",
            "sockway:control",
            "sockway:other",
            "sockway:presence:x",
            "__keyspace@0__:a",
        ] {
            assert_eq!(destination(&any, name), Err(Fault::ChannelNotAllowed), "{name}");
        }
        let named = with_channels(&["sockway:control"], "");
        let control = Destination::Channel(ChannelName::new("sockway:control"));
        assert_eq!(destination(&named, "sockway:control"), Ok(control));
    }
}
