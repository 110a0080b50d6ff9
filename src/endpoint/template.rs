//! Channel templates: literal text and placeholders.

/// A channel template, such as `user:{user}:notifications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTemplate {
    text: String,
}

/// What stands for a value in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `{user}`
    User,
    /// `{claim.NAME}`
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
}

impl ChannelTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let _ = text;
        unimplemented!()
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        std::iter::empty()
    }

    /// Whether some client's values could make this template name `channel`.
    #[must_use]
    pub fn can_name(&self, channel: &str) -> bool {
        let _ = channel;
        unimplemented!()
    }
}
