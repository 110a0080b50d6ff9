//! `[[endpoint]]`: each by itself, then their names and paths together.

use super::{
    added::{self, Added},
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
        Access, Endpoint, Format, Inbound, OnGap, OnSlow, ReplayLimits, ReservedNames, RoutePath,
    },
    wire::{GapNotice, HeartbeatNotice},
};
use std::{sync::Arc, time::Duration};

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

/// A client is told of gaps by frames of this size at most; more would be a payload.
const LARGEST_NOTICE: usize = 64 << 10;

const MOST_QUEUED_MESSAGES: usize = 1_000_000;

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
    let name =
        table.required_text("name", |name| grammar::endpoint_name(name).map(|()| name.to_owned()));
    let path = table.required_text("path", path);
    let access = access(table, surroundings);
    let topics = topics::topics(table, path.as_ref(), access, &surroundings.reserved);
    let added = added::read(table);
    let given = Given { path: path.as_ref(), access, reserved: &surroundings.reserved };
    added::check(table, &added, &topics, &given);
    let mut claimed = Claimed {
        name: name.clone().map(|value| At { place: table.place_of("name"), value }),
        path: path.clone().map(|value| At { place: table.place_of("path"), value }),
        presence: None,
    };
    let sse = table.flag("sse", false);
    if sse == Some(true) {
        sse::check_topics(table, &topics);
        let needs_token = access == Some(Access::Required);
        sse::check_token(table, needs_token && !surroundings.event_source_carries_token);
    }
    let presence_at = &mut claimed.presence;
    let topics = (topics, added);
    let rest =
        rest_of_endpoint(table, (name, path), topics, access, sse, surroundings, presence_at);
    (claimed, rest)
}

/// Reads the rest of an endpoint, and makes the whole of it.
fn rest_of_endpoint(
    table: &mut Table<'_, '_>,
    (name, path): (Option<String>, Option<RoutePath>),
    (topics, added): (Topics, Added),
    access: Option<Access>,
    sse: Option<bool>,
    surroundings: &Surroundings,
    presence_at: &mut Option<Place>,
) -> Option<Endpoint> {
    let (queue_part, reserved) = (surroundings.queue_part, &surroundings.reserved);
    let format = table.text(
        "format",
        "raw",
        one_of(&[("raw", Format::Raw), ("json", Format::Json), ("binary", Format::Binary)]),
    );
    added::check_format(table, format);
    let queue_messages = table.count("queue_messages", 16_384, MOST_QUEUED_MESSAGES);
    let queue_bytes = table.amount("queue_bytes", "4MiB", units::size);
    let on_slow = table.text(
        "on_slow",
        "close",
        one_of(&[("close", OnSlow::Close), ("skip", OnSlow::Skip), ("latest", OnSlow::Latest)]),
    );
    let on_gap = table.text(
        "on_gap",
        "notice",
        one_of(&[("notice", OnGap::Notice), ("close", OnGap::Close), ("ignore", OnGap::Ignore)]),
    );
    let gap_notice = table.text("gap_notice", r#"{"type":"gap"}"#, gap_notice);
    let ping_interval = table.amount("ping_interval", "25s", units::positive_wait);
    let ping_timeout = table.amount("ping_timeout", "20s", units::positive_wait);
    let heartbeat = heartbeat(table, (format, sse), gap_notice.as_ref());
    let write_timeout = table.amount("write_timeout", "10s", units::positive_wait);
    let max_message = table.amount("max_message", "16KiB", units::size);
    let inbound = table.text(
        "inbound",
        "ignore",
        one_of(&[("ignore", Inbound::Ignore), ("close", Inbound::Close)]),
    );
    let replay = replay(table, format, queue_part.filter(|_| !topics.streams.is_empty()));
    let publish = publish::publish(
        table,
        &PublishSurroundings {
            path: path.as_ref(),
            access,
            format,
            inbound,
            topics: &topics,
            added: &added,
        },
        reserved,
    );
    let presence = presence::presence(table, &topics, access, format);
    if sse == Some(true) {
        sse::check_format(table, format);
        sse::check_notices(table, on_gap, heartbeat.as_ref());
    }
    let (patterns, dynamic) = added.dynamic();
    Some(Endpoint {
        name: name?.into(),
        path: path?,
        channels: topics::templates(topics.channels),
        streams: topics::templates(topics.streams),
        reserved: Arc::clone(&surroundings.reserved),
        patterns,
        dynamic: dynamic?,
        replay: replay?,
        sse: sse?,
        access: access?,
        format: format?,
        queue_messages: queue_messages?,
        queue_bytes: queue_bytes?,
        on_slow: on_slow?,
        on_gap: on_gap?,
        gap_notice: gap_notice?,
        ping_interval: ping_interval?,
        ping_timeout: ping_timeout?,
        heartbeat: heartbeat.as_ref()?.0,
        heartbeat_notice: heartbeat?.1,
        write_timeout: write_timeout?,
        max_message: max_message?,
        inbound: inbound?,
        publish: publish?,
        presence: presence?.map(|At { place, value }| {
            *presence_at = Some(place);
            value
        }),
    })
}

/// `queue_part`: each shard's part of the memory of queues, where there is something to replay.
fn replay(
    table: &mut Table<'_, '_>,
    format: Option<Format>,
    queue_part: Option<usize>,
) -> Option<ReplayLimits> {
    let messages = table.number("replay_messages", 1_000, 0..=MOST_QUEUED_MESSAGES);
    let bytes = table.amount("replay_bytes", "1MiB", units::size);
    let last = table.number("replay_last", 0, 0..=MOST_QUEUED_MESSAGES);
    if last > messages && messages.is_some() {
        table.problem("replay_last", "must be at most replay_messages");
    }
    let limits = ReplayLimits { messages: messages?, bytes: bytes?.get(), last: last? };
    if let Some(room) = queue_part.map(|part| part / 2)
        && limits.messages > 0
        && limits.bytes.saturating_mul(frames(format?)) > room
    {
        let message = format!(
            "in frames, it is more than replays may hold: half of a shard's part of server.max_queue_memory, {room} bytes; a client that missed more than fits there is told too_many"
        );
        table.warning("replay_bytes", message);
    }
    Some(limits)
}

/// Frames of a message that a replay holds: the payload's own, and the envelope's or a binary one.
const fn frames(format: Format) -> usize {
    match format {
        Format::Raw => 1,
        Format::Json | Format::Binary => 2,
    }
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

fn gap_notice(text: &str) -> Result<GapNotice, String> {
    match text.len() {
        0 => Err("must not be empty; on_gap = \"ignore\" tells nothing".to_owned()),
        1..=LARGEST_NOTICE => Ok(GapNotice::new(text)),
        _ => Err(format!("must be at most {LARGEST_NOTICE} bytes")),
    }
}

/// Reads `heartbeat`, where zero is none, and `heartbeat_notice`. The former is shown as zero where no
/// session would get one: a WebSocket session without envelopes needs a notice for it, an event stream does not.
fn heartbeat(
    table: &mut Table<'_, '_>,
    (format, sse): (Option<Format>, Option<bool>),
    gap_notice: Option<&GapNotice>,
) -> Option<(Option<Duration>, Option<HeartbeatNotice>)> {
    let heartbeat = table.amount("heartbeat", "25s", units::wait);
    let notice = table.text("heartbeat_notice", "", heartbeat_notice)?;
    if let (Some(notice), Some(gap)) = (&notice, gap_notice)
        && notice.looks_like(gap)
    {
        table.problem(
            "heartbeat_notice",
            "must differ from gap_notice: a client cannot tell them apart",
        );
    }
    if format? != Format::Json && notice.is_none() && !sse? {
        table.show_instead("heartbeat", "0s");
    }
    Some((Some(heartbeat?).filter(|heartbeat| !heartbeat.is_zero()), notice))
}

fn heartbeat_notice(text: &str) -> Result<Option<HeartbeatNotice>, String> {
    match text.len() {
        0 => Ok(None),
        1..=LARGEST_NOTICE => Ok(Some(HeartbeatNotice::new(text))),
        _ => Err(format!("must be at most {LARGEST_NOTICE} bytes")),
    }
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
