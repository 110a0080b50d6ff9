//! Stand-in until the branch `auth` is merged.

/// The path of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath(String);

/// Why a path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a path")]
pub struct PathError;

impl RoutePath {
    /// # Errors
    /// When it does not start with `/`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') { Ok(Self(text.to_owned())) } else { Err(PathError) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
