//! `patterns`, and what a client may add within its session: `subscribe`, `subscribe_streams`,
//! `max_subscriptions`.
//!
//! Nothing may reach a session twice, so an endpoint's patterns meet nothing else of it; and a client must be
//! able to tell a channel from a stream.

use super::topics::{Given, Topics, reserved_names, unfilled};
use crate::{
    config::reader::{At, Place, Table},
    endpoint::{
        Access, AllowTemplate, Dynamic, Format, MAX_PATTERNS_A_SESSION, PatternTemplate,
        Placeholder, Shape,
    },
};
use std::num::NonZeroUsize;

const MOST_SUBSCRIPTIONS: usize = 10_000;

/// The good ones, each with its place.
pub(super) struct Added {
    pub(super) patterns: Vec<At<PatternTemplate>>,
    pub(super) channels: Vec<At<AllowTemplate>>,
    pub(super) streams: Vec<At<AllowTemplate>>,
    most: Option<NonZeroUsize>,
}

/// A list and one of its entries, by name, place and shape.
struct Listed<'a> {
    list: &'static str,
    text: &'a str,
    place: &'a Place,
    shape: Shape,
}

/// Reads the keys.
pub(super) fn read(table: &mut Table<'_, '_>) -> Added {
    Added {
        patterns: table.list("patterns", &[], PatternTemplate::parse),
        channels: table.list("subscribe", &[], AllowTemplate::parse),
        streams: table.list("subscribe_streams", &[], AllowTemplate::parse),
        most: table.count("max_subscriptions", 32, MOST_SUBSCRIPTIONS),
    }
}

/// Checks them, each by itself and against the endpoint's other topics.
pub(super) fn check(table: &mut Table<'_, '_>, added: &Added, topics: &Topics, given: &Given<'_>) {
    check_patterns(table, added, given);
    for template in added.channels.iter().chain(&added.streams) {
        for problem in template.value.placeholders().filter_map(|it| given.unfilled(it)) {
            table.problem_at(&template.place, problem);
        }
        check_reserved(table, &template.place, &template.value.shape(), given);
    }
    if given.access == Some(Access::None) {
        warn_of_streams_of_choice(table, added);
    }
    refuse_what_comes_twice(table, added, topics);
}

/// What needs `format = "json"`: nothing else names a message's channel, or understands a client.
pub(super) fn check_format(table: &mut Table<'_, '_>, format: Option<Format>) {
    for key in ["patterns", "subscribe", "subscribe_streams"] {
        if table.has_some(key) && format.is_some_and(|format| format != Format::Json) {
            table.problem(key, "needs format = \"json\"");
        }
    }
}

impl Added {
    /// What a client may add; `None` after a problem was recorded.
    pub(super) fn dynamic(self) -> (Vec<PatternTemplate>, Option<Dynamic>) {
        let values = |list: Vec<At<AllowTemplate>>| list.into_iter().map(|it| it.value).collect();
        let (channels, streams) = (values(self.channels), values(self.streams));
        let dynamic = self.most.map(|most| Dynamic { channels, streams, most });
        (self.patterns.into_iter().map(|it| it.value).collect(), dynamic)
    }
}

fn check_patterns(table: &mut Table<'_, '_>, added: &Added, given: &Given<'_>) {
    for At { place, value: pattern } in &added.patterns {
        for problem in pattern.placeholders().filter_map(|it| given.unfilled(it)) {
            table.problem_at(place, problem);
        }
        table.warning_at(
            place,
            format_args!(
                "{:?} shows every channel that it matches, and makes every PUBLISH of this Redis dearer (redis.max_patterns)",
                pattern.as_str()
            ),
        );
    }
    if let Some(fifth) = added.patterns.get(MAX_PATTERNS_A_SESSION) {
        let problem = "a session has 4 patterns at most";
        table.problem_at(&fifth.place, problem);
    }
}

fn check_reserved(table: &mut Table<'_, '_>, place: &Place, shape: &Shape, given: &Given<'_>) {
    for problem in reserved_names(shape, given.reserved) {
        table.problem_at(place, problem);
    }
}

/// Each stream that anyone names costs Redis and the gateway what a subscription does, and more.
fn warn_of_streams_of_choice(table: &mut Table<'_, '_>, added: &Added) {
    let of_choice = |it: &Placeholder| matches!(it, Placeholder::Path(_) | Placeholder::Query(_));
    for At { place, value: stream } in &added.streams {
        if stream.has_any() || stream.placeholders().any(of_choice) {
            let warning = "with auth = \"none\" anyone can have any number of streams followed (redis.max_streams)";
            table.warning_at(place, format_args!("{:?}: {warning}", stream.as_str()));
        }
    }
}

fn refuse_what_comes_twice(table: &mut Table<'_, '_>, added: &Added, topics: &Topics) {
    let fixed = listed("channels", &topics.channels, |it| (it.as_str(), Shape::of_template(it)));
    let streams = listed("streams", &topics.streams, |it| (it.as_str(), Shape::of_template(it)));
    let subscribe = listed("subscribe", &added.channels, |it| (it.as_str(), it.shape()));
    let more = listed("subscribe_streams", &added.streams, |it| (it.as_str(), it.shape()));
    let patterns = listed("patterns", &added.patterns, |it| (it.as_str(), it.shape()));
    let twice = "a message could come twice";
    for (number, pattern) in patterns.iter().enumerate() {
        let others = fixed.iter().chain(&subscribe).chain(&patterns[..number]);
        refuse(table, pattern, others, twice);
    }
    let unclear = "a client cannot tell a channel from a stream";
    for stream in &more {
        refuse(table, stream, fixed.iter().chain(&subscribe), unclear);
    }
    for channel in &subscribe {
        refuse(table, channel, streams.iter(), unclear);
    }
}

fn refuse<'a>(
    table: &mut Table<'_, '_>,
    this: &Listed<'_>,
    mut others: impl Iterator<Item = &'a Listed<'a>>,
    why: &str,
) {
    if let Some(other) = others.find(|other| other.shape.meets(&this.shape)) {
        let problem = format!("can meet {:?} of {}: {why}", other.text, other.list);
        table.problem_at(this.place, problem);
    }
}

fn listed<'a, T>(
    list: &'static str,
    entries: &'a [At<T>],
    shape: impl Fn(&'a T) -> (&'a str, Shape),
) -> Vec<Listed<'a>> {
    let one = |it: &'a At<T>| {
        let (text, shape) = shape(&it.value);
        Listed { list, text, place: &it.place, shape }
    };
    entries.iter().map(one).collect()
}

impl Given<'_> {
    fn unfilled(&self, placeholder: &Placeholder) -> Option<String> {
        unfilled(placeholder, self.path, self.access)
    }
}
