//! `[endpoint.presence]`: by itself, then all of them together.

use super::topics::Topics;
use crate::{
    bus::PresenceRules,
    config::{
        reader::{At, Place, Table},
        units,
    },
    endpoint::{
        Access, AnyChannel, ChannelTemplate, Endpoint, Format, Placeholder, Presence,
        PresenceChannel,
    },
};
use std::{sync::Arc, time::Duration};

/// A shorter one would cost Redis more than it is worth, and a pause would look like a death.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// A longer list is no list to look at; Redis answers it as one value.
const LONGEST_ROSTER: usize = 10_000;

/// How long a client needs beside `shutdown.spread` to come back to another instance.
const RETURN: Duration = Duration::from_secs(5);

/// A good table, and where its `leave_after` stands.
pub(super) type Placed = At<Presence>;

/// Reads the table. `None` after a problem was recorded; `Some(None)`: there is none.
pub(super) fn presence(
    table: &mut Table<'_, '_>,
    topics: &Topics,
    access: Option<Access>,
    format: Option<Format>,
) -> Option<Option<Placed>> {
    let Some(read) = table.optional_table("presence", |inner| rest(inner, topics)) else {
        return Some(None);
    };
    if access == Some(Access::None) {
        let problem = "needs a user to show: not with auth = \"none\"";
        table.problem("presence", problem);
    }
    if format.is_some_and(|format| format != Format::Json) {
        table.problem("presence", "needs format = \"json\": its frames are json");
    }
    read.map(Some)
}

fn rest(table: &mut Table<'_, '_>, topics: &Topics) -> Option<Placed> {
    let channel = table.required_text("channel", |text| channel(text, topics));
    if let Some(PresenceChannel::Any(any)) = &channel {
        check_any(table, any, topics);
    }
    let ttl = table.amount("ttl", "30s", units::positive_wait);
    let leave_after = table.amount("leave_after", "15s", units::wait);
    let roster = table.count("roster", 1_000, LONGEST_ROSTER);
    if ttl.is_some_and(|ttl| ttl < SHORTEST_TTL) {
        table.problem("ttl", "must be at least \"1s\"");
    }
    if let (Some(ttl), Some(leave_after)) = (ttl, leave_after)
        && leave_after > ttl
    {
        table.problem("leave_after", "must be at most ttl: the keys could expire before");
    }
    let rules = PresenceRules { ttl: ttl?, leave_after: leave_after?, roster: roster?.get() };
    let value = Presence { channel: channel?, rules: Arc::new(rules) };
    Some(At { place: table.place_of("leave_after"), value })
}

fn channel(text: &str, topics: &Topics) -> Result<PresenceChannel, String> {
    if text.contains(AnyChannel::ANY) {
        let any = AnyChannel::parse(text).ok_or("has more to fill in than one {any}")?;
        as_template(text)?;
        return Ok(PresenceChannel::Any(any));
    }
    let template = ChannelTemplate::parse(text).map_err(|error| error.to_string())?;
    let of_list = |it: &&Placeholder| matches!(it, Placeholder::Query(_));
    if let Some(placeholder) = template.placeholders().find(of_list) {
        return Err(format!("{placeholder} is a list: a session has one room"));
    }
    if !topics.channels.iter().chain(&topics.streams).any(|it| it.value == template) {
        return Err("must be one of this endpoint's channels or streams, or have {any}".to_owned());
    }
    Ok(PresenceChannel::Template(template))
}

/// Text with `{any}`, as a template that gives the same names.
fn as_template(text: &str) -> Result<ChannelTemplate, String> {
    let text = text.replacen(AnyChannel::ANY, "{path.any}", 1);
    ChannelTemplate::parse(&text).map_err(|error| error.to_string())
}

fn check_any(table: &mut Table<'_, '_>, any: &AnyChannel, topics: &Topics) {
    let Ok(template) = as_template(&any.to_string()) else { return };
    let meets = |it: &At<ChannelTemplate>| it.value.can_meet(&template);
    let adds = topics.adds_within_sessions;
    if !adds && !topics.channels.iter().chain(&topics.streams).any(meets) {
        table.problem("channel", "is the name of nothing that a session here can have");
    }
}

/// One channel cannot be kept in two ways.
pub(super) fn refuse_conflicts(
    root: &mut Table<'_, '_>,
    all: &[(Option<Place>, Option<Arc<Endpoint>>)],
) {
    let placed: Vec<_> = all
        .iter()
        .enumerate()
        .filter_map(|(number, (place, endpoint))| {
            let presence = endpoint.as_ref()?.presence.as_ref()?;
            Some((number, place.as_ref()?, presence, names(&presence.channel)?))
        })
        .collect();
    for (at, (_, place, presence, template)) in placed.iter().enumerate() {
        let other = placed[..at].iter().find(|(_, _, other, theirs)| {
            other.rules != presence.rules && theirs.can_meet(template)
        });
        if let Some((number, ..)) = other {
            let problem = format!(
                "gives a channel other values than endpoint[{number}].presence could give it"
            );
            root.problem_at(place, problem);
        }
    }
}

fn names(channel: &PresenceChannel) -> Option<ChannelTemplate> {
    match channel {
        PresenceChannel::Template(template) => Some(template.clone()),
        PresenceChannel::Any(any) => as_template(&any.to_string()).ok(),
    }
}

/// A user whose client needs longer to come back is announced as gone in each rolling restart.
pub(super) fn warn_of_restarts(
    root: &mut Table<'_, '_>,
    all: &[(Option<Place>, Option<Arc<Endpoint>>)],
    spread: Duration,
) {
    for (place, endpoint) in all {
        let presence = endpoint.as_ref().and_then(|endpoint| endpoint.presence.as_ref());
        if let (Some(place), Some(presence)) = (place, presence)
            && presence.rules.leave_after < spread + RETURN
        {
            let warning = "is less than shutdown.spread + 5s: a rolling restart shows users leave";
            root.warning_at(place, warning);
        }
    }
}
