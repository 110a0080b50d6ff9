//! Channel templates: from an identity, a path and a query to channel names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTemplate;
pub struct TemplateError;
pub struct Placeholder;
pub struct Values;
