//! The path of an endpoint: literal segments and `{name}` parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath;
pub struct PathError;
