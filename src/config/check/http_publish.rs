//! `[http_publish]`, its tokens, streams and routes, and what they must not share with the rest.

mod routes;

use super::auth::sha256;
use crate::{
    auth::Auth,
    bus::StreamWrite,
    config::{
        Admin, HttpPublish, ListenAddress, PublishStream, PublishToken, Redis, Server, UnitError,
        address, mask,
        reader::{At, Table},
        units,
    },
    endpoint::{ChannelGlob, Endpoint, PublishPaths, ReservedNames, Shape},
};
use std::{
    num::{NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

/// More than one process can serve.
const MOST_REQUESTS: usize = 10_000_000;

/// Items that a batch may be allowed to have.
const MOST_ITEMS: usize = 1_000_000;

/// Entries that a stream may be allowed to keep.
const MOST_ENTRIES: usize = 1_000_000_000;

/// Ten years.
const LONGEST_EXPIRY: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A token, and its globs each with its place; `None` after a problem was recorded.
type ReadToken = Option<(PublishToken, Vec<At<ChannelGlob>>)>;

/// What it needs to know of other tables; `None` where they are wrong, which is told already.
pub(super) struct Others<'a> {
    pub(super) server: Option<&'a Server>,
    pub(super) admin: Option<&'a Admin>,
    pub(super) redis: Option<&'a Redis>,
    pub(super) auth: Option<&'a Auth>,
    pub(super) endpoints: &'a [Arc<Endpoint>],
    /// Channels that Sockway keeps for itself, each with the key that names it.
    pub(super) reserved: &'a ReservedNames,
}

/// `None` after a problem was recorded.
pub(super) fn http_publish(table: &mut Table<'_, '_>, others: &Others<'_>) -> Option<HttpPublish> {
    let listen = listen(table, others);
    let path = table.text("path", "/publish", routes::base);
    let max_body = max_body(table, others);
    let max_batch = table.count("max_batch", 1_000, MOST_ITEMS);
    let idle_timeout = table.amount("idle_timeout", "60s", units::positive_wait);
    let tokens = tokens(table, others);
    let streams: Option<Vec<_>> = table.tables("stream", stream).into_iter().collect();
    let shares_port = matches!(listen, Some(None));
    let endpoints = if shares_port { others.endpoints } else { &[] };
    let around = routes::Around {
        base: path.as_ref(),
        endpoints,
        reserved: others.reserved,
        tokens: &tokens,
    };
    let routes = routes::routes(table, &around);
    warn_of_streams(table, &tokens, streams.as_deref()?, others.endpoints);
    Some(HttpPublish {
        listen: listen?,
        paths: PublishPaths::new(path?, routes?),
        max_body: max_body?,
        max_batch: max_batch?,
        idle_timeout: idle_timeout?,
        tokens: tokens
            .into_iter()
            .map(|token| token.map(|(token, _)| token))
            .collect::<Option<_>>()?,
        streams: streams?,
    })
}

/// A port of its own; `Some(None)`: it has none.
fn listen(table: &mut Table<'_, '_>, others: &Others<'_>) -> Option<Option<ListenAddress>> {
    let own = table.text("listen", "", |text| match text {
        "" => Ok(None),
        text => address::listen(text).map(Some),
    })?;
    let Some(listen) = &own else { return Some(None) };
    if others.server.is_some_and(|server| address::same_port(listen, &server.listen)) {
        table.problem("listen", "is server.listen; \"\" is the public port");
    }
    if others.admin.is_some_and(|admin| address::collide(listen, admin.listen)) {
        table.problem("listen", "is admin.listen, which must stay private");
    }
    if matches!(listen, ListenAddress::Tcp(address) if !address.ip().is_loopback()) {
        let warning = "has no TLS: anyone on the network path can read the tokens";
        table.warning("listen", warning);
    }
    Some(own)
}

fn max_body(table: &mut Table<'_, '_>, others: &Others<'_>) -> Option<NonZeroUsize> {
    let max_body = table.amount("max_body", "1MiB", units::size)?;
    if others.redis.is_some_and(|redis| redis.max_payload < max_body) {
        let warning =
            "is more than redis.max_payload: a larger message is published and never delivered";
        table.warning("max_body", warning);
    }
    Some(max_body)
}

/// Every `[[http_publish.token]]`.
fn tokens(table: &mut Table<'_, '_>, others: &Others<'_>) -> Vec<ReadToken> {
    if !table.has_some("token") {
        table.problem("token", "at least one [[http_publish.token]] is needed");
    }
    let mut seen: Vec<[u8; 32]> = Vec::new();
    table.tables("token", |table| {
        let hash = table.required_secret_text("sha256", mask::mask_all, sha256);
        let channels = globs(table);
        let per_second = table.limit("per_second", MOST_REQUESTS);
        if let Some(hash) = hash {
            if seen.contains(&hash) {
                table.problem("sha256", "is the token of an earlier [[http_publish.token]]");
            }
            if others.auth.is_some_and(|auth| auth.static_identity(&hash).is_some()) {
                table.problem("sha256", "is the token of an [[auth.token]], a client's");
            }
            seen.push(hash);
        }
        let globs = channels.iter().map(|glob| glob.value.clone()).collect();
        let token = PublishToken { sha256: hash?, channels: globs, per_second: per_second? };
        Some((token, channels))
    })
}

fn stream(table: &mut Table<'_, '_>) -> Option<PublishStream> {
    let channels = globs(table).into_iter().map(|glob| glob.value).collect();
    if !table.has("keep_entries") {
        let problem = "is missing: how many entries each stream keeps; 0 = all, which nobody trims";
        table.problem("keep_entries", problem);
    }
    let keep_entries = table.number("keep_entries", 0, 0..=MOST_ENTRIES);
    let expire_after = table.amount("expire_after", "0s", expiry);
    let (keep_entries, expire_after) = (keep_entries?, expire_after?);
    let write = StreamWrite {
        keep_entries: NonZeroU64::new(keep_entries as u64),
        expire_after: Some(expire_after).filter(|expiry| !expiry.is_zero()),
        create: true,
    };
    Some(PublishStream { channels, write })
}

/// Reads `channels`, which has no default.
fn globs(table: &mut Table<'_, '_>) -> Vec<At<ChannelGlob>> {
    if !table.has("channels") {
        table.problem("channels", "is missing");
    }
    let globs = table.list("channels", &[], ChannelGlob::parse);
    if table.has("channels") && !table.has_some("channels") {
        table.problem("channels", "must have at least one element");
    }
    globs
}

fn expiry(text: &str) -> Result<Duration, UnitError> {
    units::duration_up_to(text, LONGEST_EXPIRY)
}

/// Warns of channels that sessions have as streams and that would be published as channels.
fn warn_of_streams(
    table: &mut Table<'_, '_>,
    tokens: &[ReadToken],
    streams: &[PublishStream],
    endpoints: &[Arc<Endpoint>],
) {
    let is_stream = |channel: &str| {
        streams.iter().flat_map(|stream| &stream.channels).any(|glob| glob.matches(channel))
    };
    let of_sessions: Vec<_> = endpoints.iter().flat_map(|endpoint| streams_of(endpoint)).collect();
    for At { place, value: glob } in tokens.iter().flatten().flat_map(|(_, channels)| channels) {
        let uncovered = of_sessions
            .iter()
            .find(|it| it.in_common_with(glob).is_some_and(|channel| !is_stream(&channel)));
        if let Some(StreamNames { template, endpoint, .. }) = uncovered {
            table.warning_at(
                place,
                format_args!(
                    "{template:?} of endpoint {endpoint:?} are streams, and no [[http_publish.stream]] has them: what is published to them is not kept, and nobody gets it"
                ),
            );
        }
    }
}

/// Names of streams that sessions have, or may add.
struct StreamNames<'a> {
    endpoint: &'a str,
    template: &'a str,
    shape: Shape,
    sample: String,
}

fn streams_of(endpoint: &Endpoint) -> impl Iterator<Item = StreamNames<'_>> {
    let named =
        |template, shape, sample| StreamNames { endpoint: &endpoint.name, template, shape, sample };
    let fixed = endpoint.streams.iter();
    let fixed = fixed.map(move |it| named(it.as_str(), Shape::of_template(it), it.filled("0")));
    let added = endpoint.dynamic.streams.iter();
    fixed.chain(added.map(move |it| named(it.as_str(), it.shape(), it.filled("0"))))
}

impl StreamNames<'_> {
    /// A name that the glob stands for, too, where one is found without a search.
    fn in_common_with(&self, glob: &ChannelGlob) -> Option<String> {
        match glob.only() {
            Some(channel) => self.shape.meets(&Shape::of_name(channel)).then(|| channel.to_owned()),
            None => glob.matches(&self.sample).then(|| self.sample.clone()),
        }
    }
}
