//! `[endpoint.publish]`: what clients may publish.

use super::{
    added::Added,
    any_text, one_of,
    topics::{Topics, reserved_names, unfilled},
};
use crate::{
    bus::StreamWrite,
    config::{
        reader::{At, Table},
        units,
    },
    endpoint::{
        Access, AllowTemplate, ChannelTemplate, DataKind, Format, Inbound, Placeholder,
        PublishName, PublishRules, PublishTarget, ReservedNames, RoutePath, Shape,
    },
};
use std::num::{NonZeroU32, NonZeroU64};

/// What the stamp has by itself: no value of the path may be named so.
const STAMP_MEMBERS: [&str; 6] = ["user", "type", "at", "data", "data_base64", "claims"];

const MOST_MESSAGES: usize = 100_000;

/// No stream is kept longer by us.
const MOST_ENTRIES: usize = 1_000_000_000;

/// What of its endpoint the table must agree with.
pub(super) struct PublishSurroundings<'a> {
    pub(super) path: Option<&'a RoutePath>,
    pub(super) access: Option<Access>,
    pub(super) format: Option<Format>,
    pub(super) inbound: Option<Inbound>,
    pub(super) topics: &'a Topics,
    pub(super) added: &'a Added,
}

/// Reads the table. `Some(None)`: there is none.
pub(super) fn publish(
    endpoint: &mut Table<'_, '_>,
    surroundings: &PublishSurroundings<'_>,
    reserved: &ReservedNames,
) -> Option<Option<Box<PublishRules>>> {
    let rules = endpoint.optional_table("publish", |table| rules(table, surroundings, reserved));
    if rules.is_some()
        && surroundings.format.is_some_and(|it| it != Format::Json)
        && surroundings.inbound == Some(Inbound::Close)
    {
        let problem = "must not be \"close\" beside [endpoint.publish] on a raw endpoint: every message is one to be published";
        endpoint.problem("inbound", problem);
    }
    match rules {
        None => Some(None),
        Some(rules) => rules.map(|rules| Some(Box::new(rules))),
    }
}

fn rules(
    table: &mut Table<'_, '_>,
    surroundings: &PublishSurroundings<'_>,
    reserved: &ReservedNames,
) -> Option<PublishRules> {
    if surroundings.access == Some(Access::None) {
        table.problem(
            "channel",
            "clients cannot publish where auth = \"none\": nobody knows who they are",
        );
    }
    let to = target(table, surroundings, reserved);
    let data = data(table, surroundings.format);
    let stamp = table.flag("stamp", true);
    let stamp_claims = table.list("stamp_claims", &[], super::some_text);
    let require_claim = table.text("require_claim", "", any_text);
    let per_second = table.count("per_second", 5, MOST_MESSAGES);
    let burst = table.count("burst", 10, MOST_MESSAGES);
    check_stamp(table, stamp, !stamp_claims.is_empty(), surroundings);
    Some(PublishRules {
        to: to?,
        data: data?,
        stamp: stamp?,
        stamp_claims: stamp_claims.into_iter().map(|claim| claim.value).collect(),
        require_claim: require_claim.map(|claim| (!claim.is_empty()).then_some(claim))?,
        per_second: number(per_second?.get())?,
        burst: number(burst?.get())?,
    })
}

fn number(number: usize) -> Option<NonZeroU32> {
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}

fn data(table: &mut Table<'_, '_>, format: Option<Format>) -> Option<DataKind> {
    let kinds = [
        ("", None),
        ("json", Some(DataKind::Json)),
        ("object", Some(DataKind::Object)),
        ("text", Some(DataKind::Text)),
        ("any", Some(DataKind::Any)),
    ];
    let kind = table.text("data", "", one_of(&kinds))?;
    let (usual, shown) = match format? {
        Format::Json => (DataKind::Json, "json"),
        Format::Raw | Format::Binary => (DataKind::Any, "any"),
    };
    if kind.is_none() {
        table.show_instead("data", shown);
    }
    Some(kind.unwrap_or(usual))
}

fn target(
    table: &mut Table<'_, '_>,
    surroundings: &PublishSurroundings<'_>,
    reserved: &ReservedNames,
) -> Option<PublishTarget> {
    let name = |text: &str| match text {
        "" => Ok(None),
        text => PublishName::parse(text).map(Some),
    };
    let channel = table.text("channel", "", name);
    let stream = table.text("stream", "", name);
    let write = write(table, stream.as_ref().map(Option::as_ref));
    let (topics, added) = (surroundings.topics, surroundings.added);
    let (key, name, others, added) = match (channel?, stream?) {
        (Some(name), None) => (
            "channel",
            name,
            ("streams", &topics.streams[..]),
            ("subscribe_streams", &added.streams[..]),
        ),
        (None, Some(name)) => {
            ("stream", name, ("channels", &topics.channels[..]), ("subscribe", &added.channels[..]))
        }
        (Some(_), Some(_)) => {
            table.problem("stream", "give either channel or stream, not both");
            return None;
        }
        (None, None) => {
            table.problem("channel", "exactly one of channel and stream is needed");
            return None;
        }
    };
    check_name(table, key, &name, surroundings, reserved);
    refuse_other_kind(table, key, &name, others);
    refuse_added_of_other_kind(table, key, &name, added);
    Some(match key {
        "channel" => PublishTarget::Channel(name),
        _ => PublishTarget::Stream(name, write?),
    })
}

/// Reads what is for streams alone.
fn write(table: &mut Table<'_, '_>, stream: Option<Option<&PublishName>>) -> Option<StreamWrite> {
    let is_channel = stream == Some(None);
    let stream = stream.flatten();
    if stream.is_some() && !table.has("keep_entries") {
        let problem =
            "is missing: how many entries the stream keeps; 0 = all, and somebody else trims it";
        table.problem("keep_entries", problem);
    }
    let keep = table.number("keep_entries", 0, 0..=MOST_ENTRIES);
    let expire_after = table.amount("expire_after", "0s", units::wait);
    let create = table.flag("create", true);
    let said = [
        ("keep_entries", keep.is_some_and(|keep| keep > 0)),
        ("expire_after", expire_after.is_some_and(|after| !after.is_zero())),
        ("create", create == Some(false)),
    ];
    for (key, _) in said.into_iter().filter(|(_, said)| *said && is_channel) {
        table.problem(key, "is for a stream alone");
    }
    let of_choice = |it: &Placeholder| matches!(it, Placeholder::Path(_));
    if let Some(name) = stream
        && (name.has_any() || name.placeholders().any(of_choice))
        && expire_after.is_some_and(|after| after.is_zero())
    {
        let problem = "must not be \"0s\": clients choose the stream's name, and Redis would keep each for ever";
        table.problem("expire_after", problem);
    }
    Some(StreamWrite {
        keep_entries: NonZeroU64::new(keep? as u64),
        expire_after: Some(expire_after?).filter(|after| !after.is_zero()),
        create: create?,
    })
}

fn check_name(
    table: &mut Table<'_, '_>,
    key: &'static str,
    name: &PublishName,
    surroundings: &PublishSurroundings<'_>,
    reserved: &ReservedNames,
) {
    for placeholder in name.placeholders() {
        if matches!(placeholder, Placeholder::Query(_)) {
            table.problem(
                key,
                format_args!("{placeholder} cannot stand here: a session publishes to one place"),
            );
        } else if let Some(problem) = unfilled(placeholder, surroundings.path, surroundings.access)
        {
            table.problem(key, problem);
        }
    }
    if name.has_any() && surroundings.format.is_some_and(|it| it != Format::Json) {
        table.problem(key, "{any} needs format = \"json\": a raw message cannot name a channel");
    }
    if let Some(reason) = reserved.reason_of(name.as_template()) {
        return table.problem(key, reason);
    }
    for problem in reserved_names(&Shape::of_template(name.as_template()), reserved) {
        table.problem(key, problem);
    }
}

/// Refuses a name that could also be one of the other kind here: a channel that is a stream, or the reverse.
fn refuse_other_kind(
    table: &mut Table<'_, '_>,
    key: &'static str,
    name: &PublishName,
    (list, others): (&str, &[At<ChannelTemplate>]),
) {
    for other in others.iter().filter(|other| other.value.can_meet(name.as_template())) {
        table.problem(key, of_other_kind(other.value.as_str(), list));
    }
}

/// The same, against the templates of what a client may add.
fn refuse_added_of_other_kind(
    table: &mut Table<'_, '_>,
    key: &'static str,
    name: &PublishName,
    (list, others): (&str, &[At<AllowTemplate>]),
) {
    let shape = Shape::of_template(name.as_template());
    for other in others.iter().filter(|other| other.value.shape().meets(&shape)) {
        table.problem(key, of_other_kind(other.value.as_str(), list));
    }
}

fn of_other_kind(other: &str, list: &str) -> String {
    format!("could be {other:?}, which this endpoint has among its {list}")
}

fn check_stamp(
    table: &mut Table<'_, '_>,
    stamp: Option<bool>,
    has_claims: bool,
    surroundings: &PublishSurroundings<'_>,
) {
    let Some(stamp) = stamp else { return };
    if !stamp && has_claims {
        table.problem("stamp_claims", "needs stamp = true");
    }
    if !stamp && surroundings.format.is_some_and(|it| it != Format::Json) {
        let warning = "false on a raw endpoint: a client can send what looks like gap_notice, and everybody else would take it for one";
        table.warning("stamp", warning);
    }
    let names = surroundings.path.into_iter().flat_map(RoutePath::parameters);
    for name in names.filter(|name| stamp && STAMP_MEMBERS.contains(name)) {
        let problem = format!(
            "{{{name}}} of the path would stand in the stamp, which has a {name:?} of its own"
        );
        table.problem("stamp", problem);
    }
}
