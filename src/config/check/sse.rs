//! What `sse = true` asks of the rest of its endpoint.

use super::topics::Topics;
use crate::{
    config::reader::Table,
    endpoint::{Format, OnGap, Placeholder},
    wire::HeartbeatNotice,
};
use std::time::Duration;

/// An event's id is a position in one stream.
pub(super) fn check_topics(table: &mut Table<'_, '_>, topics: &Topics) {
    if let [_, second, ..] = &topics.streams[..] {
        let problem = "with sse = true a session has one stream at most: the id of an event is a position in that one";
        table.problem_at(&second.place, problem);
    }
    for stream in &topics.streams {
        let list = |it: &&Placeholder| matches!(it, Placeholder::Query(_));
        if let Some(list) = stream.value.placeholders().find(list) {
            let problem = "is a list, and with sse = true a session has one stream at most";
            table.problem_at(&stream.place, format_args!("{list} {problem}"));
        }
    }
}

/// An event is text.
pub(super) fn check_format(table: &mut Table<'_, '_>, format: Option<Format>) {
    if format == Some(Format::Binary) {
        let problem = "must not be \"binary\" with sse = true: an event is text";
        table.problem("format", problem);
    }
}

/// Warns where a page could not authenticate.
pub(super) fn check_token(table: &mut Table<'_, '_>, no_token: bool) {
    if no_token {
        let warning = "auth.sources has neither \"query:NAME\" nor \"cookie:NAME\", and a browser's EventSource can carry a token in no other way";
        table.warning("sse", warning);
    }
}

/// What a page needs, whose browser comes back by itself.
pub(super) fn check_notices(
    table: &mut Table<'_, '_>,
    on_gap: Option<OnGap>,
    heartbeat: Option<&(Option<Duration>, Option<HeartbeatNotice>)>,
) {
    if on_gap == Some(OnGap::Close) {
        let problem = "must not be \"close\" with sse = true: a browser's EventSource would come back by itself, with its position";
        table.problem("on_gap", problem);
    }
    if heartbeat.is_some_and(|(heartbeat, _)| heartbeat.is_none()) {
        let problem = "must not be \"0s\" with sse = true: there are no pings, so only a heartbeat finds a client that is gone";
        table.problem("heartbeat", problem);
    }
}
