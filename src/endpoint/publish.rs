//! What clients may publish at an endpoint, where to, and how it looks to others.

use super::{
    ChannelTemplate, Endpoint, Values,
    template::{Form, Placeholder, TemplateError},
};
use crate::{
    bus::{Destination, StreamWrite},
    channel::ChannelName,
    endpoint::Unfilled,
    identity::Identity,
    reason::Refusal,
};
use std::num::NonZeroU32;

/// `[endpoint.publish]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRules {
    pub to: PublishTarget,
    pub data: DataKind,
    /// Whether others see who sent it, from where and when.
    pub stamp: bool,
    pub stamp_claims: Vec<String>,
    /// A claim that must be true, or a list that has the endpoint's name; `None`: everybody may publish.
    pub require_claim: Option<String>,
    /// Messages that one user may publish in a second at this instance.
    pub per_second: NonZeroU32,
    /// Messages that it may publish at once.
    pub burst: NonZeroU32,
}

/// Where clients' messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishTarget {
    Channel(PublishName),
    Stream(PublishName, StreamWrite),
}

/// What a message must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    Json,
    /// A JSON object.
    Object,
    /// UTF-8; in a frame of JSON, a string.
    Text,
    Any,
}

/// The template of a name that may have one `{any}`: a value that each message names anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishName {
    text: String,
    /// `{any}` as a placeholder, by which it can be compared with other templates.
    whole: ChannelTemplate,
    before: Option<ChannelTemplate>,
    any: Option<Behind>,
}

/// What stands behind `{any}`, if anything does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind(Option<ChannelTemplate>);

const ANY: &str = "{any}";

impl PublishName {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text breaks the grammar, has `{any}` twice, or beside a value that no `:` parts from it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let part = |part: &str| match part {
            "" => Ok(None),
            part => ChannelTemplate::parse(part).map(Some),
        };
        // `{query.*}` is not allowed here, so it can stand in for `{any}`; `{any}` twice is then a duplicate.
        let whole = ChannelTemplate::parse(&text.replace(ANY, "{query.any}"))?;
        let (before, any) = match text.split_once(ANY) {
            None => (Some(whole.clone()), None),
            Some((before, behind)) => (part(before)?, Some(Behind(part(behind)?))),
        };
        Ok(Self { text: text.to_owned(), whole, before, any })
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether each message names a part of it.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.any.is_some()
    }

    /// With `{any}` as a placeholder of a query, to compare it with other templates.
    #[must_use]
    pub fn as_template(&self) -> &ChannelTemplate {
        &self.whole
    }

    /// The placeholders but for `{any}`.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        let behind = self.any.iter().filter_map(|any| any.0.as_ref());
        self.before.iter().chain(behind).flat_map(ChannelTemplate::placeholders)
    }
}

impl PublishTarget {
    /// The template of its name.
    #[must_use]
    pub fn name(&self) -> &PublishName {
        match self {
            Self::Channel(name) | Self::Stream(name, _) => name,
        }
    }
}

/// Where one session publishes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishPlace {
    /// Always the same.
    One(Destination),
    /// `before`, one value of the client's choice, `behind`.
    Any { before: String, behind: String, write: Option<StreamWrite> },
}

/// Why a message cannot be published where its frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The frame names a channel where it must not, or none where it must.
    Frame,
    NotAllowed,
}

impl PublishPlace {
    /// Where a message goes that names this channel, or none.
    ///
    /// # Errors
    /// See [`NoPlace`]. Whether the session has the channel is for the caller to see.
    pub fn find(&self, named: Option<&str>) -> Result<Destination, NoPlace> {
        match (self, named) {
            (Self::One(destination), None) => Ok(destination.clone()),
            (Self::One(_), Some(_)) | (Self::Any { .. }, None) => Err(NoPlace::Frame),
            (Self::Any { before, behind, write }, Some(named)) => {
                let value = named.strip_prefix(before.as_str());
                let value = value.and_then(|rest| rest.strip_suffix(behind.as_str()));
                let named = value.filter(|value| Form::Plain.writes(value)).map(|_| named);
                Ok(destination(named.ok_or(NoPlace::NotAllowed)?, *write))
            }
        }
    }
}

fn destination(name: &str, write: Option<StreamWrite>) -> Destination {
    let name = ChannelName::new(name);
    match write {
        None => Destination::Channel(name),
        Some(write) => Destination::Stream(name, write),
    }
}

impl Endpoint {
    /// Where a session with these values publishes to.
    ///
    /// # Errors
    /// As [`Endpoint::topics_for`]; [`Refusal::ClaimUnusable`] also where a list gives more than one name.
    pub fn publish_place(
        &self,
        target: &PublishTarget,
        values: &Values<'_>,
    ) -> Result<PublishPlace, Unfilled> {
        let (name, write) = match target {
            PublishTarget::Channel(name) => (name, None),
            PublishTarget::Stream(name, write) => (name, Some(*write)),
        };
        let part = |part: &Option<ChannelTemplate>| match part {
            None => Ok(String::new()),
            Some(template) => Ok(self.name_for(template, values)?.as_str().to_owned()),
        };
        let before = part(&name.before)?;
        Ok(match &name.any {
            None => PublishPlace::One(destination(&before, write)),
            Some(Behind(behind)) => PublishPlace::Any { before, behind: part(behind)?, write },
        })
    }

    /// The values of the path, each by its name.
    ///
    /// # Errors
    /// [`Refusal::ValueNotAllowed`]: one is not UTF-8.
    pub fn path_values(&self, values: &Values<'_>) -> Result<Vec<(String, String)>, Unfilled> {
        let named = |name: &str| {
            let placeholder = Placeholder::Path(name.to_owned());
            let value = self.path.value(values.path, name).ok_or_else(|| {
                Unfilled::new(Refusal::ValueNotAllowed, &placeholder, "is no text")
            })?;
            Ok((name.to_owned(), value.to_owned()))
        };
        self.path.parameters().map(named).collect()
    }

    /// Whether this identity may publish here at all.
    #[must_use]
    pub fn may_publish(&self, rules: &PublishRules, identity: &Identity) -> bool {
        let Some(name) = &rules.require_claim else { return true };
        match identity.claims.find(name) {
            Some(serde_json::Value::Bool(may)) => *may,
            Some(serde_json::Value::Array(names)) => {
                names.iter().any(|name| name.as_str() == Some(&self.name))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_any_is_one_value_between_what_the_template_says() {
        let place =
            PublishPlace::Any { before: "chat:".to_owned(), behind: ":in".to_owned(), write: None };
        let found = place.find(Some("chat:7:in"));
        assert_eq!(found, Ok(Destination::Channel(ChannelName::new("chat:7:in"))));
        let long = format!("chat:{}:in", "x".repeat(129));
        for named in ["chat::in", "chat:7", "chat:7:8:in", "chat:*:in", "chat:in", "7", "", &long] {
            assert_eq!(place.find(Some(named)), Err(NoPlace::NotAllowed), "{named}");
        }
        assert_eq!(place.find(None), Err(NoPlace::Frame));
        let one = PublishPlace::One(Destination::Channel(ChannelName::new("a")));
        assert!(one.find(None).is_ok());
        assert_eq!(one.find(Some("a")), Err(NoPlace::Frame));
    }

    #[test]
    fn any_stands_once_and_beside_no_value_that_a_colon_does_not_part_from_it() {
        for text in ["chat:{any}", "{any}", "user:{user}:{any}", "{any}:x:{user}"] {
            assert!(PublishName::parse(text).unwrap().has_any(), "{text}");
        }
        for text in ["{any}:{any}", "{user}{any}", "{any}-{claim.x}", "", "a{any", "a:{some}"] {
            assert!(PublishName::parse(text).is_err(), "{text}");
        }
        assert!(!PublishName::parse("chat:{path.room}").unwrap().has_any());
    }
}
