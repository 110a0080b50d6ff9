//! What a client may add to its session: templates with `{any}`, one value of the client's own choice.
//!
//! A name is allowed where some template, with the values of this session's token, path and query, becomes
//! it. `{any}` is one value by the strict grammar of [`template`](super::template), so without `:`; nothing
//! but a `:` parts it from another value, so that a name can be read in one way only.

use super::{
    Endpoint, ReservedNames, Values,
    expand::texts,
    overlap::Shape,
    pattern::{beside, is_reserved},
    template::{ChannelTemplate, Form, Placeholder, TemplateError},
};
use std::{num::NonZeroUsize, sync::Arc};

/// `{any}` in a template.
const ANY: &str = "{any}";

/// What a client may add within its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    pub channels: Vec<AllowTemplate>,
    pub streams: Vec<AllowTemplate>,
    /// How many of both one session may have, beside the fixed ones.
    pub most: NonZeroUsize,
}

impl Dynamic {
    /// Whether a client may add nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.streams.is_empty()
    }
}

/// A template of names, such as `user:{user}:{any}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowTemplate {
    text: String,
    /// What stands before, between and behind the `{any}`s; `None`: nothing does.
    between: Vec<Option<ChannelTemplate>>,
}

/// Why a text is no such template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    #[error("{0}")]
    Template(#[from] TemplateError),
    #[error("needs a \":\" between {0} and {{any}}, or a client could get what is for another")]
    BesideAny(Placeholder),
    #[error("needs a \":\" between two {{any}}")]
    TwoAny,
    #[error("begins with {0:?}, which Sockway or Redis keeps for itself")]
    Reserved(String),
}

impl AllowTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says how.
    pub fn parse(text: &str) -> Result<Self, AllowError> {
        let part = |part: &str| match part {
            "" => Ok(None),
            part => ChannelTemplate::parse(part).map(Some),
        };
        if text.is_empty() {
            return Err(TemplateError::Empty.into());
        }
        let between: Vec<_> = split(text).into_iter().map(part).collect::<Result<_, _>>()?;
        if is_reserved(text) {
            return Err(AllowError::Reserved(text.to_owned()));
        }
        let template = Self { text: text.to_owned(), between };
        template.check_neighbours()?;
        Ok(template)
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name with this in the place of every placeholder: a sample, or a pattern.
    #[must_use]
    pub fn filled(&self, value: &str) -> String {
        let filled = |part: &Option<ChannelTemplate>| {
            part.as_ref().map(|part| part.filled(value)).unwrap_or_default()
        };
        self.between.iter().map(filled).collect::<Vec<_>>().join(value)
    }

    /// Whether a client chooses a part of the name within its session.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.between.len() > 1
    }

    /// The placeholders but for `{any}`, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.between.iter().flatten().flat_map(ChannelTemplate::placeholders)
    }

    /// What names it can allow, whatever the values are.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let parts = self.between.iter().map(|part| part.as_ref().map(Shape::of_template));
        Shape::joined_by_values(parts.map(Option::unwrap_or_default))
    }

    fn check_neighbours(&self) -> Result<(), AllowError> {
        let last = self.between.len() - 1;
        for (at, part) in self.between.iter().enumerate() {
            let (before, behind) = (at > 0, at < last);
            if let Some(placeholder) = part.as_ref().and_then(|it| beside(it, before, behind)) {
                return Err(AllowError::BesideAny(placeholder.clone()));
            }
            let parts = |it: &ChannelTemplate| it.filled("").contains(':');
            if before && behind && !part.as_ref().is_some_and(parts) {
                return Err(AllowError::TwoAny);
            }
        }
        Ok(())
    }
}

/// The text between the `{any}`s. `{{` and `}}` are braces that mean themselves.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(ANY) {
            parts.push(&text[from..at]);
            at += ANY.len();
            from = at;
        } else if rest.starts_with("{{") || rest.starts_with("}}") {
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    parts.push(&text[from..]);
    parts
}

/// What one session may add: templates with its own values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    channels: Vec<Vec<String>>,
    streams: Vec<Vec<String>>,
    reserved: Arc<ReservedNames>,
}

/// What a name is that a client may add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedAs {
    Channel,
    Stream,
}

impl Allowed {
    /// What this session may add of what `dynamic` lists. A template of which a value is missing, or of no
    /// use, gives nothing.
    #[must_use]
    pub fn new(endpoint: &Endpoint, dynamic: &Dynamic, values: &Values<'_>) -> Self {
        let all = |templates: &[AllowTemplate]| {
            templates.iter().flat_map(|it| endpoint.pieces(it, values)).collect()
        };
        let reserved = Arc::clone(&endpoint.reserved);
        Self { channels: all(&dynamic.channels), streams: all(&dynamic.streams), reserved }
    }

    /// What the client may add this name as; `None`: not at all.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<AllowedAs> {
        let is_of = |all: &[Vec<String>]| all.iter().any(|pieces| is_filled(pieces, name));
        match () {
            () if self.reserved.reason(name).is_some() => None,
            () if is_of(&self.channels) => Some(AllowedAs::Channel),
            () if is_of(&self.streams) => Some(AllowedAs::Stream),
            () => None,
        }
    }
}

impl Endpoint {
    /// The literal pieces around the `{any}`s of a template, once for each value of a list.
    fn pieces(&self, template: &AllowTemplate, values: &Values<'_>) -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = vec![Vec::new()];
        for part in &template.between {
            let with_values = match part {
                None => vec![String::new()],
                Some(part) => {
                    let items = |placeholder: &Placeholder| self.values(placeholder, values);
                    texts(part, items, &mut None).unwrap_or_default()
                }
            };
            let with = |pieces: &Vec<String>| {
                let pieces = pieces.clone();
                with_values.iter().map(move |it| [&pieces[..], std::slice::from_ref(it)].concat())
            };
            all = all.iter().flat_map(with).collect();
            if all.len() > MOST {
                return Vec::new();
            }
        }
        all
    }
}

/// Names that one template may give one session, `{any}` counted once.
const MOST: usize = 32;

/// Whether a name is these pieces, with one allowed value between each two.
fn is_filled(pieces: &[String], name: &str) -> bool {
    let Some((first, others)) = pieces.split_first() else { return false };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
    for (number, piece) in others.iter().enumerate() {
        // No value has a ':', so a piece that has one shows where the value before it ends.
        let end = match piece.find(':') {
            Some(offset) => rest.find(':').and_then(|colon| colon.checked_sub(offset)),
            None if number + 1 == others.len() => rest.len().checked_sub(piece.len()),
            None => None,
        };
        let Some((value, behind)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return false;
        };
        let Some(behind) = behind.strip_prefix(piece.as_str()) else { return false };
        if !Form::Plain.writes(value) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests;
