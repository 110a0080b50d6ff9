//! `[[endpoint]]`: each by itself, then their names and paths together.

use super::{
    added::{self, Added},
    delivery::{self, Delivery},
    keepalive::{self, Keepalive},
    one_of, presence, publish,
    publish::PublishSurroundings,
    sse,
    topics::{self, Given, Topics},
};
use crate::{
    config::{
        grammar,
        reader::{At, Place, Table},
        units,
    },
    endpoint::{
        Access, Endpoint, Format, Inbound, PublishRules, ReplayLimits, ReservedNames, RoutePath,
    },
};
use std::{num::NonZeroUsize, sync::Arc};

/// What an endpoint needs to know of other tables.
pub(super) struct Surroundings {
    /// There is a way for a token to be valid.
    pub(super) verifies_tokens: bool,
    /// A page's `EventSource`, which sets no headers of its own, can carry a token.
    pub(super) event_source_carries_token: bool,
    /// Each shard's part of `server.max_queue_memory`.
    pub(super) queue_part: Option<usize>,
    /// Names that no topic of a client may have.
    pub(super) reserved: Arc<ReservedNames>,
}

/// What must differ from endpoint to endpoint, with its place.
struct Claimed {
    name: Option<At<String>>,
    path: Option<At<RoutePath>>,
    presence: Option<Place>,
}

/// Each endpoint, where it is good, and where its `presence.leave_after` stands.
pub(super) type Endpoints = Vec<(Option<Place>, Option<Arc<Endpoint>>)>;

/// Every `[[endpoint]]`; one is `None` only after a problem was recorded.
pub(super) fn endpoints(root: &mut Table<'_, '_>, surroundings: &Surroundings) -> Endpoints {
    if !root.has_some("endpoint") {
        root.problem("endpoint", "at least one [[endpoint]] is needed");
    }
    let (claimed, endpoints): (Vec<_>, Vec<_>) =
        root.tables("endpoint", |table| endpoint(table, surroundings)).into_iter().unzip();
    refuse_conflicts(root, &claimed);
    let places = claimed.into_iter().map(|claimed| claimed.presence);
    let endpoints: Vec<_> = places.zip(endpoints.into_iter().map(|it| it.map(Arc::new))).collect();
    presence::refuse_conflicts(root, &endpoints);
    endpoints
}

fn endpoint(table: &mut Table<'_, '_>, surroundings: &Surroundings) -> (Claimed, Option<Endpoint>) {
    let way_in = way_in(table, surroundings);
    let (path, access) = (way_in.path.as_ref(), way_in.access);
    let topics = topics::topics(table, path, access, &surroundings.reserved);
    let added = added::read(table);
    let given = Given { path, access, reserved: &surroundings.reserved };
    added::check(table, &added, &topics, &given);
    let rest = rest(table, &way_in, (&topics, &added), surroundings);
    if way_in.sse == Some(true) {
        check_sse(table, &way_in, &topics, &rest, surroundings);
    }
    let presence = rest.presence.as_ref().and_then(Option::as_ref);
    let claimed = Claimed {
        name: way_in.name.clone().map(|value| At { place: table.place_of("name"), value }),
        path: way_in.path.clone().map(|value| At { place: table.place_of("path"), value }),
        presence: presence.map(|presence| presence.place.clone()),
    };
    (claimed, whole(way_in, (topics, added), rest, surroundings))
}

/// How clients come to an endpoint.
struct WayIn {
    name: Option<String>,
    path: Option<RoutePath>,
    access: Option<Access>,
    sse: Option<bool>,
}

fn way_in(table: &mut Table<'_, '_>, surroundings: &Surroundings) -> WayIn {
    let name = |name: &str| grammar::endpoint_name(name).map(|()| name.to_owned());
    WayIn {
        name: table.required_text("name", name),
        path: table.required_text("path", path),
        access: access(table, surroundings),
        sse: table.flag("sse", false),
    }
}

/// How its sessions are treated, and what they may say.
struct Rest {
    format: Option<Format>,
    delivery: Delivery,
    keepalive: Keepalive,
    replay: Option<ReplayLimits>,
    max_message: Option<NonZeroUsize>,
    inbound: Option<Inbound>,
    publish: Option<Option<Box<PublishRules>>>,
    presence: Option<Option<presence::Placed>>,
}

fn rest(
    table: &mut Table<'_, '_>,
    way_in: &WayIn,
    (topics, added): (&Topics, &Added),
    surroundings: &Surroundings,
) -> Rest {
    let (path, access) = (way_in.path.as_ref(), way_in.access);
    let formats = [("raw", Format::Raw), ("json", Format::Json), ("binary", Format::Binary)];
    let format = table.text("format", "raw", one_of(&formats));
    added::check_format(table, format);
    let delivery = delivery::read(table);
    let form = (format, way_in.sse);
    let keepalive = keepalive::read(table, form, delivery.gap_notice.as_ref());
    let replayed = surroundings.queue_part.filter(|_| !topics.streams.is_empty());
    let words = [("ignore", Inbound::Ignore), ("close", Inbound::Close)];
    let inbound = table.text("inbound", "ignore", one_of(&words));
    let publish_surroundings = PublishSurroundings { path, access, format, inbound, topics, added };
    Rest {
        format,
        delivery,
        keepalive,
        replay: delivery::replay(table, format, replayed),
        max_message: table.amount("max_message", "16KiB", units::size),
        inbound,
        publish: publish::publish(table, &publish_surroundings, &surroundings.reserved),
        presence: presence::presence(table, topics, access, format),
    }
}

/// Checks what an endpoint must be whose sessions may come as Server-Sent Events.
fn check_sse(
    table: &mut Table<'_, '_>,
    way_in: &WayIn,
    topics: &Topics,
    rest: &Rest,
    surroundings: &Surroundings,
) {
    sse::check_topics(table, topics);
    let needs_token = way_in.access == Some(Access::Required);
    sse::check_token(table, needs_token && !surroundings.event_source_carries_token);
    sse::check_format(table, rest.format);
    sse::check_notices(table, rest.delivery.on_gap, rest.keepalive.heartbeat.as_ref());
}

/// Makes the endpoint, where all of it is good.
fn whole(
    way_in: WayIn,
    (topics, added): (Topics, Added),
    rest: Rest,
    surroundings: &Surroundings,
) -> Option<Endpoint> {
    let Rest { delivery, keepalive, .. } = rest;
    let (patterns, dynamic) = added.dynamic();
    let (heartbeat, heartbeat_notice) = keepalive.heartbeat?;
    Some(Endpoint {
        name: way_in.name?.into(),
        path: way_in.path?,
        channels: topics::templates(topics.channels),
        streams: topics::templates(topics.streams),
        reserved: Arc::clone(&surroundings.reserved),
        patterns,
        dynamic: dynamic?,
        replay: rest.replay?,
        sse: way_in.sse?,
        access: way_in.access?,
        format: rest.format?,
        queue_messages: delivery.queue_messages?,
        queue_bytes: delivery.queue_bytes?,
        on_slow: delivery.on_slow?,
        on_gap: delivery.on_gap?,
        gap_notice: delivery.gap_notice?,
        ping_interval: keepalive.ping_interval?,
        ping_timeout: keepalive.ping_timeout?,
        heartbeat,
        heartbeat_notice,
        write_timeout: delivery.write_timeout?,
        max_message: rest.max_message?,
        inbound: rest.inbound?,
        publish: rest.publish?,
        presence: rest.presence?.map(|placed| placed.value),
    })
}

fn path(text: &str) -> Result<RoutePath, String> {
    if !text.starts_with('/') {
        return Err("must start with \"/\"".to_owned());
    }
    RoutePath::parse(text).map_err(|error| error.to_string())
}

fn access(table: &mut Table<'_, '_>, surroundings: &Surroundings) -> Option<Access> {
    let words = [("required", Access::Required), ("none", Access::None)];
    let access = table.text("auth", "required", one_of(&words));
    if access == Some(Access::Required) && !surroundings.verifies_tokens {
        table.problem(
            "auth",
            "\"required\" needs [auth.jwt] or [[auth.token]]; no token could be valid",
        );
    }
    access
}

/// One name is one metric label; one request has one endpoint.
fn refuse_conflicts(root: &mut Table<'_, '_>, endpoints: &[Claimed]) {
    for (number, this) in endpoints.iter().enumerate() {
        for (other_number, other) in endpoints[..number].iter().enumerate() {
            if let (Some(name), Some(other)) = (&this.name, &other.name)
                && name.value == other.value
            {
                refuse(root, &name.place, "name", other_number, &name.value);
            }
            if let (Some(path), Some(other)) = (&this.path, &other.path)
                && path.value.overlaps(&other.value)
            {
                refuse(root, &path.place, "path", other_number, other.value.as_str());
            }
        }
    }
}

fn refuse(root: &mut Table<'_, '_>, place: &Place, key: &str, other: usize, value: &str) {
    root.problem_at(place, format_args!("conflicts with endpoint[{other}].{key}, {value:?}"));
}
