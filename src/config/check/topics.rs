//! What an endpoint subscribes its sessions to: `channels` and `streams`.

use crate::{
    config::reader::{At, Place, Table},
    endpoint::{Access, ChannelTemplate, Placeholder, ReservedNames, RoutePath, Shape},
};

/// The good templates, each with its place.
pub(super) struct Topics {
    pub(super) channels: Vec<At<ChannelTemplate>>,
    pub(super) streams: Vec<At<ChannelTemplate>>,
    /// Whether a client may add more within its session.
    pub(super) adds_within_sessions: bool,
}

/// Query parameters that say where a client goes on.
const POSITIONS: [&str; 3] = ["since", "last", "last_event_id"];

/// What may stand for a topic's placeholders, and what no topic may be.
pub(super) struct Given<'a> {
    pub(super) path: Option<&'a RoutePath>,
    pub(super) access: Option<Access>,
    pub(super) reserved: &'a ReservedNames,
}

/// Reads both lists.
pub(super) fn topics(
    table: &mut Table<'_, '_>,
    path: Option<&RoutePath>,
    access: Option<Access>,
    reserved: &ReservedNames,
) -> Topics {
    let channels = table.list("channels", &[], ChannelTemplate::parse);
    let streams = table.list("streams", &[], ChannelTemplate::parse);
    let lists = ["channels", "streams", "patterns", "subscribe", "subscribe_streams"];
    if !lists.iter().any(|list| table.has_some(list)) {
        let problem = "at least one of channels, streams, patterns, subscribe and subscribe_streams is needed";
        table.problem("channels", problem);
    }
    for templates in [&channels, &streams] {
        check_templates(table, templates, path, access, reserved);
    }
    for At { place, value: stream } in &streams {
        check_stream(table, place, stream, &channels);
        if access == Some(Access::None) {
            warn_of_streams_of_choice(table, place, stream);
        }
    }
    let lists = ["subscribe", "subscribe_streams"];
    let adds_within_sessions = lists.iter().any(|list| table.has_some(list));
    Topics { channels, streams, adds_within_sessions }
}

/// Which names of Sockway's own one of this shape can become.
pub(super) fn reserved_names(shape: &Shape, reserved: &ReservedNames) -> Vec<String> {
    let problem = |(key, name): (&'static str, &str)| {
        let meets = shape.meets(&Shape::of_name(name));
        meets.then(|| format!("can become {name:?}, which {key} keeps for Sockway itself"))
    };
    reserved.channels().filter_map(problem).collect()
}

/// The templates without their places.
pub(super) fn templates(list: Vec<At<ChannelTemplate>>) -> Vec<ChannelTemplate> {
    list.into_iter().map(|template| template.value).collect()
}

/// Whether every placeholder can have a value here, and no name is a duplicate or reserved.
fn check_templates(
    table: &mut Table<'_, '_>,
    templates: &[At<ChannelTemplate>],
    path: Option<&RoutePath>,
    access: Option<Access>,
    reserved: &ReservedNames,
) {
    for (number, At { place, value: template }) in templates.iter().enumerate() {
        for placeholder in template.placeholders() {
            if let Some(problem) = unfilled(placeholder, path, access) {
                table.problem_at(place, problem);
            }
        }
        if templates[..number].iter().any(|other| other.value == *template) {
            table.problem_at(place, "is in the list already");
        }
        if let Some(reason) = reserved.reason_of(template) {
            table.problem_at(place, reason);
        }
    }
}

fn check_stream(
    table: &mut Table<'_, '_>,
    place: &Place,
    stream: &ChannelTemplate,
    channels: &[At<ChannelTemplate>],
) {
    for At { value: channel, .. } in channels.iter().filter(|it| it.value.can_meet(stream)) {
        let problem = "could be the same name: a client cannot tell a channel from a stream";
        table.problem_at(place, format_args!("{:?} of channels {problem}", channel.as_str()));
    }
}

/// Each stream that anyone names costs Redis and the gateway what a subscription does, and more.
fn warn_of_streams_of_choice(table: &mut Table<'_, '_>, place: &Place, stream: &ChannelTemplate) {
    let of_choice = |it: &&Placeholder| matches!(it, Placeholder::Path(_) | Placeholder::Query(_));
    if let Some(placeholder) = stream.placeholders().find(of_choice) {
        let warning = "with auth = \"none\" anyone can have any number of streams followed";
        table.warning_at(place, format_args!("{placeholder} {warning} (redis.max_streams)"));
    }
}

/// Why a placeholder can never have a value at this endpoint.
pub(super) fn unfilled(
    placeholder: &Placeholder,
    path: Option<&RoutePath>,
    access: Option<Access>,
) -> Option<String> {
    if placeholder.is_from_token() && access == Some(Access::None) {
        return Some(format!("{placeholder} needs a token, but this endpoint has auth = \"none\""));
    }
    match placeholder {
        Placeholder::Query(name) if POSITIONS.contains(&name.as_str()) => {
            Some(format!("{placeholder} is taken: {name} in the query is a client's position"))
        }
        Placeholder::Path(name) => path
            .filter(|path| !path.parameters().any(|parameter| parameter == name))
            .map(|path| format!("{placeholder} is not in the path {:?}", path.as_str())),
        _ => None,
    }
}
