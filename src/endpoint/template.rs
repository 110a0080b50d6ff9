//! Channel templates: literal text and placeholders.
//!
//! The grammar is strict so that no two clients with different values can ever mean the same channel by
//! accident: a value never contains `:`, and a value that comes from a token is parted from the next one by
//! literal text that contains it. In `{user}-{path.room}`, user `a` in room `b-c` would share the channel of user
//! `a-b` in room `c`.

mod meet;

/// A channel template, such as `user:{user}:notifications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Placeholder(Placeholder),
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
    #[error("has a \"{{\" without its \"}}\", or a \"}}\" without its \"{{\"")]
    Unbalanced,
    #[error(
        "{{{0}}} is none of {{user}}, {{claim.NAME}}, {{path.NAME}} and {{query.NAME}} with a NAME (of printable ASCII, but for claims)"
    )]
    UnknownPlaceholder(String),
    #[error(
        "must not contain {0:?}: literal text is printable ASCII without space, * ? [ ] and \\"
    )]
    Character(char),
    #[error("must not name {0}…: Redis publishes its own events there")]
    Reserved(&'static str),
    #[error("{{query.{0}}} is a duplicate")]
    RepeatedQuery(String),
    #[error("needs a \":\" between {0} and {1}, or two different users could get the same channel")]
    Ambiguous(Placeholder, Placeholder),
}

/// How the channels begin on which Redis publishes its own events: they tell of other clients' keys, so
/// nobody may subscribe to them.
pub const RESERVED: [&str; 2] = ["__keyspace@", "__keyevent@"];

/// How the names begin of the streams that are Sockway's own.
pub const OWN_STREAMS: &str = "sockway:";

/// How no stream's name may begin, whatever the values are that make it.
pub(super) const RESERVED_STREAMS: [&str; 3] = [RESERVED[0], RESERVED[1], OWN_STREAMS];

impl ChannelTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says how.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        if let Some(reserved) = RESERVED.into_iter().find(|reserved| text.starts_with(reserved)) {
            return Err(TemplateError::Reserved(reserved));
        }
        let template = Self { text: text.to_owned(), parts };
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
            Part::Placeholder(_) => value.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(placeholder),
            Part::Literal(_) => None,
        })
    }

    /// Whether some values could make this template name `channel`: the check that no client gets at the
    /// channels that are Sockway's own.
    #[must_use]
    pub fn can_name(&self, channel: &str) -> bool {
        meet::can_meet(&self.parts, &[Part::Literal(channel.to_owned())])
    }

    /// Whether some values could make both templates name one channel.
    #[must_use]
    pub fn can_meet(&self, other: &Self) -> bool {
        meet::can_meet(&self.parts, &other.parts)
    }

    /// Whether every name that it gives begins with this, whatever the values are.
    #[must_use]
    pub fn begins_with(&self, text: &str) -> bool {
        matches!(self.parts.first(), Some(Part::Literal(literal)) if literal.starts_with(text))
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
                Part::Placeholder(next) => {
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
    fn parse(text: &str) -> Option<Self> {
        if text == "user" {
            return Some(Self::User);
        }
        let (kind, name) = text.split_once('.')?;
        if name.is_empty() {
            return None;
        }
        if kind == "claim" {
            // Whatever an issuer may call a claim, but what the grammar of templates needs.
            return (!name.contains('|')).then(|| Self::Claim(name.to_owned()));
        }
        if !name.chars().all(|character| character.is_ascii_graphic()) {
            return None;
        }
        match kind {
            "path" => Some(Self::Path(name.to_owned())),
            "query" => Some(Self::Query(name.to_owned())),
            _ => None,
        }
    }

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

/// Whether a value may be substituted: nothing that could name another's channel or a pattern, and no
/// `..`, which means nothing to Redis but may to a program that makes file names or URLs of channels.
pub(super) fn is_value(value: &str) -> bool {
    (1..=MAX_VALUE_BYTES).contains(&value.len())
        && value.chars().all(is_value_character)
        && value.split('/').all(|part| part != "..")
}

const MAX_VALUE_BYTES: usize = 128;

fn is_value_character(character: char) -> bool {
    character.is_ascii_graphic()
        && !matches!(character, ':' | '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '"')
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, braced) = rest.split_at(at);
        push_literal(&mut parts, literal)?;
        let braced = braced.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
        let (inner, after) = braced.split_once('}').ok_or(TemplateError::Unbalanced)?;
        let placeholder = Placeholder::parse(inner)
            .ok_or_else(|| TemplateError::UnknownPlaceholder(inner.to_owned()))?;
        parts.push(Part::Placeholder(placeholder));
        rest = after;
    }
    push_literal(&mut parts, rest)?;
    if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(parts) }
}

/// Whether it may stand in a channel's name as it is written: Redis cannot take it for a pattern, and it
/// cannot break a log line.
pub fn is_channel_character(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '*' | '?' | '[' | ']' | '\\')
}

fn push_literal(parts: &mut Vec<Part>, text: &str) -> Result<(), TemplateError> {
    if let Some(character) = text.chars().find(|&character| !is_channel_character(character)) {
        return Err(TemplateError::Character(character));
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
