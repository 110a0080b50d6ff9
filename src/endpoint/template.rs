//! Channel templates: literal text and placeholders.
//!
//! The grammar is strict so that no two clients with different values can ever mean the same channel by
//! accident: a value never contains `:`, and a value that comes from a token is parted from the next one by
//! literal text that contains it. In `{user}-{path.room}`, user `a` in room `b-c` would share the channel of user
//! `a-b` in room `c`.

mod form;
mod grammar;
mod meet;

use super::reserved::EVENTS;
pub(super) use form::Form;
pub use form::escape;
pub use grammar::is_channel_character;

/// A channel template, such as `user:{user}:notifications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Without the braces of `{{` and `}}`: as it stands in a name.
    Literal(String),
    Placeholder(Placeholder, Form),
}

/// What stands for a value in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `{user}`
    User,
    /// `{claim.NAME}`: one value, or a list that gives one channel each.
    Claim(String),
    /// `{path.NAME}`
    Path(String),
    /// `{query.NAME}`: a comma-separated list that gives one channel each.
    Query(String),
}

/// Why a text is not a channel template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("must not be empty")]
    Empty,
    #[error(
        "has a \"{{\" without its \"}}\", or a \"}}\" without its \"{{\"; written twice, they are literal text"
    )]
    Unbalanced,
    #[error(
        "{{{0}}} is none of {{user}}, {{claim.NAME}}, {{path.NAME}} and {{query.NAME}} with a NAME (of printable ASCII, but for claims), alone or with |escape behind it"
    )]
    UnknownPlaceholder(String),
    #[error(
        "must not contain {0:?}: literal text is printable ASCII without space, * ? [ ] and \\"
    )]
    Character(char),
    #[error("must not name {0}…: Redis publishes its own events there")]
    Event(&'static str),
    #[error("{{query.{0}}} is a duplicate")]
    RepeatedQuery(String),
    #[error("needs a \":\" between {0} and {1}, or two different users could get the same channel")]
    Ambiguous(Placeholder, Placeholder),
}

impl ChannelTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says how.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self { text: text.to_owned(), parts: grammar::parts(text)? };
        if let Some(event) = EVENTS.into_iter().find(|it| template.beginning().starts_with(it)) {
            return Err(TemplateError::Event(event));
        }
        template.refuse_repeated_queries()?;
        template.refuse_ambiguity()?;
        Ok(template)
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text with this in the place of every placeholder: a sample, or a pattern.
    #[must_use]
    pub fn filled(&self, value: &str) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Placeholder(..) => value.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder, _) => Some(placeholder),
            Part::Literal(_) => None,
        })
    }

    /// Whether some values could make both templates name one channel.
    #[must_use]
    pub fn can_meet(&self, other: &Self) -> bool {
        meet::can_meet(&self.parts, &other.parts)
    }

    /// What every name that it gives begins with, whatever the values are.
    #[must_use]
    pub fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            Some(Part::Placeholder(..)) | None => "",
        }
    }

    /// The only name that it gives; `None`: that depends on values.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Two lists of one name have no obvious meaning: pairs, or all combinations?
    fn refuse_repeated_queries(&self) -> Result<(), TemplateError> {
        let mut seen = Vec::new();
        for placeholder in self.placeholders() {
            if let Placeholder::Query(name) = placeholder {
                if seen.contains(&name) {
                    return Err(TemplateError::RepeatedQuery(name.clone()));
                }
                seen.push(name);
            }
        }
        Ok(())
    }

    fn refuse_ambiguity(&self) -> Result<(), TemplateError> {
        let mut before: Option<&Placeholder> = None;
        for part in &self.parts {
            match part {
                Part::Literal(text) if text.contains(':') => before = None,
                Part::Literal(_) => {}
                Part::Placeholder(next, _) => {
                    if let Some(one) = before.replace(next)
                        && (one.is_from_token() || next.is_from_token())
                    {
                        return Err(TemplateError::Ambiguous(one.clone(), next.clone()));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Placeholder {
    /// Whether the value comes from a token, so that an endpoint without authentication has none.
    #[must_use]
    pub fn is_from_token(&self) -> bool {
        matches!(self, Self::User | Self::Claim(_))
    }
}

impl std::fmt::Display for Placeholder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User => f.write_str("{user}"),
            Self::Claim(name) => write!(f, "{{claim.{name}}}"),
            Self::Path(name) => write!(f, "{{path.{name}}}"),
            Self::Query(name) => write!(f, "{{query.{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests;
