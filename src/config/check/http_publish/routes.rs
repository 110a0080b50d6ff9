//! `http_publish.path` and `[[http_publish.route]]`: which paths, that each is nobody else's, and that some token
//! may publish by each.

use super::ReadToken;
use crate::{
    config::{
        check::topics::reserved_names,
        reader::{At, Table},
    },
    endpoint::{
        ChannelTemplate, Endpoint, Placeholder, PublishRoute, ReservedNames, RoutePath, Shape,
    },
};
use std::sync::Arc;

/// Reads `http_publish.path`.
pub(super) fn base(text: &str) -> Result<RoutePath, String> {
    let path = RoutePath::parse(text).map_err(|error| error.to_string())?;
    let has_parameters = path.parameters().next().is_some();
    if has_parameters { Err("must not have parameters".to_owned()) } else { Ok(path) }
}

/// What a route needs to know of what stands around it.
pub(super) struct Around<'a> {
    pub(super) base: Option<&'a RoutePath>,
    /// Those on the same port.
    pub(super) endpoints: &'a [Arc<Endpoint>],
    pub(super) reserved: &'a ReservedNames,
    pub(super) tokens: &'a [ReadToken],
}

/// Every `[[http_publish.route]]`; `None` after a problem was recorded.
pub(super) fn routes(table: &mut Table<'_, '_>, around: &Around<'_>) -> Option<Vec<PublishRoute>> {
    if let Some(base) = around.base {
        for path in [base, &base.with_parameter("channel")] {
            if let Some(problem) = of_an_endpoint(path, around.endpoints) {
                table.problem("path", problem);
            }
        }
    }
    let mut paths: Vec<At<RoutePath>> = Vec::new();
    let routes = table.tables("route", |table| {
        let path = table.required_text("path", |text| {
            RoutePath::parse(text).map_err(|error| error.to_string())
        });
        let channel = table.required_text("channel", ChannelTemplate::parse);
        if let Some(path) = &path {
            check_path(table, path, around, &paths);
            paths.push(At { place: table.place_of("path"), value: path.clone() });
        }
        if let Some(channel) = &channel {
            check_channel(table, channel, path.as_ref(), around.reserved);
            warn_of_closed(table, channel, around.tokens);
        }
        Some(PublishRoute { path: path?, channel: channel? })
    });
    routes.into_iter().collect()
}

fn of_an_endpoint(path: &RoutePath, endpoints: &[Arc<Endpoint>]) -> Option<String> {
    let other = endpoints.iter().find(|endpoint| endpoint.path.meets(path))?;
    let (path, name, theirs) = (path.as_str(), &other.name, other.path.as_str());
    Some(format!("{path:?} conflicts with the path of endpoint {name:?}, {theirs:?}"))
}

fn check_path(
    table: &mut Table<'_, '_>,
    path: &RoutePath,
    around: &Around<'_>,
    before: &[At<RoutePath>],
) {
    if let Some(problem) = of_an_endpoint(path, around.endpoints) {
        table.problem("path", problem);
    }
    if let Some(base) = around.base
        && (path.meets(base) || path.meets(&base.with_parameter("channel")))
    {
        table
            .problem("path", format_args!("conflicts with http_publish.path, {:?}", base.as_str()));
    }
    for (number, other) in before.iter().enumerate() {
        if other.value.overlaps(path) {
            let theirs = other.value.as_str();
            let problem =
                format_args!("conflicts with http_publish.route[{number}].path, {theirs:?}");
            table.problem("path", problem);
        }
    }
}

fn check_channel(
    table: &mut Table<'_, '_>,
    channel: &ChannelTemplate,
    path: Option<&RoutePath>,
    reserved: &ReservedNames,
) {
    for placeholder in channel.placeholders() {
        match placeholder {
            Placeholder::Path(name) => {
                let has = |path: &RoutePath| path.parameters().any(|parameter| parameter == name);
                if let Some(path) = path.filter(|path| !has(path)) {
                    let problem = format!("{placeholder} is not in the path {:?}", path.as_str());
                    table.problem("channel", problem);
                }
            }
            _ => table.problem(
                "channel",
                format_args!("{placeholder} is not in a path; only {{path.NAME}} is"),
            ),
        }
    }
    if let Some(reason) = reserved.reason_of(channel) {
        return table.problem("channel", reason);
    }
    for problem in reserved_names(&Shape::of_template(channel), reserved) {
        table.problem("channel", problem);
    }
}

/// Warns of a channel that is for sure none of any token's, whatever stands in the path.
fn warn_of_closed(table: &mut Table<'_, '_>, channel: &ChannelTemplate, tokens: &[ReadToken]) {
    let shape = Shape::of_template(channel);
    let may = |token: &ReadToken| match token {
        Some((token, _)) => token.channels.iter().any(|glob| Shape::of_glob(glob).meets(&shape)),
        // It is wrong, which is told already.
        None => true,
    };
    if !tokens.is_empty() && !tokens.iter().any(may) {
        table.warning(
            "channel",
            "no [[http_publish.token]] has it among its channels: every request is refused (channel_not_allowed)",
        );
    }
}
