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
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.placeholders.iter()
    }
}
