//! Stand-in until the branch `auth` is merged.

/// A channel template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTemplate {
    text: String,
    placeholders: Vec<Placeholder>,
}

/// A hole of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    User,
    Claim(String),
    Path(String),
    Query(String),
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a template")]
pub struct TemplateError;

pub struct Values;

impl ChannelTemplate {
    /// # Errors
    /// When a placeholder is unknown or unclosed.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut placeholders = Vec::new();
        if text.is_empty() || text.contains([' ', '*']) || text.starts_with("__key") {
            return Err(TemplateError);
        }
        if text.matches('{').count() != text.matches('}').count() {
            return Err(TemplateError);
        }
        for part in text.split('{').skip(1) {
            let name = part.split_once('}').ok_or(TemplateError)?.0;
            placeholders.push(match name.split_once('.') {
                None if name == "user" => Placeholder::User,
                Some((_, "")) => return Err(TemplateError),
                Some(("claim", name)) => Placeholder::Claim(name.to_owned()),
                Some(("path", name)) => Placeholder::Path(name.to_owned()),
                Some(("query", name)) => Placeholder::Query(name.to_owned()),
                _ => return Err(TemplateError),
            });
        }
        Ok(Self { text: text.to_owned(), placeholders })
    }

    #[must_use]
    pub fn can_name(&self, channel: &str) -> bool {
        let (before, after) = self.text.split_once('{').unwrap_or((&self.text, &self.text));
        let after = after.split_once('}').map_or(after, |(_, after)| after);
        self.text == channel
            || channel
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|value| !value.contains(':'))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.placeholders.iter()
    }
}

impl Placeholder {
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
