//! The path of an endpoint: literal segments and `{name}` parameters.

/// The path of an endpoint, such as `/ws/rooms/{room}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath {
    text: String,
}

/// Why a text is not a path of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("must start with \"/\"")]
    NoSlash,
}

/// The values that a request's path gave to the parameters of its endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathParameters;

impl RoutePath {
    /// Reads a path.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says where.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let _ = text;
        unimplemented!()
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the parameters, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Whether some request path matches both equally well, so that neither would win.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let _ = other;
        unimplemented!()
    }
}
