//! Patterns of channels: what an endpoint's sessions hear of every channel that a Redis glob matches.
//!
//! They come from the configuration alone. Of a glob's special characters only `*` may be written; a value
//! stands only where the token gives it, and is parted from every `*` by literal text with a `:`, or user 4
//! would hear what is for user 42.

use super::{
    Endpoint, Unfilled,
    expand::{texts, token_values},
    overlap::Shape,
    reserved::{EVENTS, OWN},
    template::{ChannelTemplate, Placeholder, TemplateError},
};
use crate::{channel::ChannelName, identity::Identity, reason::Refusal};

/// How many patterns one session may have.
pub const MAX_PATTERNS_A_SESSION: usize = 4;

/// A pattern of channels, such as `tenant:{claim.tenant}:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternTemplate {
    text: String,
    /// What stands between the stars, in order; `None`: nothing does.
    between: Vec<Option<ChannelTemplate>>,
}

/// Why a text is not a pattern of channels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("has no *: such a channel belongs under channels")]
    NoStar,
    #[error("{0}")]
    Template(#[from] TemplateError),
    #[error(
        "{0} cannot stand in a pattern: only {{user}} and {{claim.NAME}} can, which a token gives"
    )]
    Placeholder(Placeholder),
    #[error("needs a \":\" between {0} and *, or one user could hear what is for another")]
    BesideStar(Placeholder),
    #[error("must not name {0}…, which is never delivered through a pattern")]
    Reserved(&'static str),
}

impl PatternTemplate {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says how.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let part = |part: &str| match part {
            "" => Ok(None),
            part => ChannelTemplate::parse(part).map(Some),
        };
        let between: Vec<_> = text.split('*').map(part).collect::<Result<_, _>>()?;
        if between.len() < 2 {
            return Err(PatternError::NoStar);
        }
        if let Some(reserved) = beginnings().find(|reserved| text.starts_with(reserved)) {
            return Err(PatternError::Reserved(reserved));
        }
        let pattern = Self { text: text.to_owned(), between };
        pattern.check_placeholders()?;
        Ok(pattern)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.between.iter().flatten().flat_map(ChannelTemplate::placeholders)
    }

    /// The pattern with this in the place of every placeholder: a sample.
    #[must_use]
    pub fn filled(&self, value: &str) -> String {
        let filled = |part: &Option<ChannelTemplate>| {
            part.as_ref().map(|part| part.filled(value)).unwrap_or_default()
        };
        self.between.iter().map(filled).collect::<Vec<_>>().join("*")
    }

    /// What channels it can match, whatever the token says.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let parts = self.between.iter().map(|part| part.as_ref().map(Shape::of_template));
        Shape::joined_by_stars(parts.map(Option::unwrap_or_default))
    }

    fn check_placeholders(&self) -> Result<(), PatternError> {
        if let Some(other) = self.placeholders().find(|it| !it.is_from_token()) {
            return Err(PatternError::Placeholder(other.clone()));
        }
        let last = self.between.len() - 1;
        for (at, part) in self.between.iter().enumerate() {
            let Some(part) = part else { continue };
            if let Some(beside) = beside(part, at > 0, at < last) {
                return Err(PatternError::BesideStar(beside.clone()));
            }
        }
        Ok(())
    }
}

/// The placeholder that no `:` parts from what stands before this part or behind it.
pub(super) fn beside(part: &ChannelTemplate, before: bool, behind: bool) -> Option<&Placeholder> {
    // No value has a ':', so with one in its place the text shows where literal text has one.
    const VALUE: char = '\u{1}';
    let text = part.filled("\u{1}");
    let parted = |mut chars: &mut dyn Iterator<Item = char>| {
        (&mut chars).find(|it| matches!(*it, ':' | VALUE)) != Some(VALUE)
    };
    if before && !parted(&mut text.chars()) {
        return part.placeholders().next();
    }
    (behind && !parted(&mut text.chars().rev())).then(|| part.placeholders().last()).flatten()
}

/// Whether a channel is Sockway's or Redis's own by how its name begins, so that no pattern shows it.
pub(super) fn is_reserved(channel: &str) -> bool {
    beginnings().any(|reserved| channel.starts_with(reserved))
}

/// How the names begin that no pattern shows.
fn beginnings() -> impl Iterator<Item = &'static str> {
    EVENTS.into_iter().chain([OWN])
}

impl Endpoint {
    /// The patterns that this identity gets, in the order of the templates, each once.
    ///
    /// # Errors
    /// As [`Endpoint::topics_for`]; [`Refusal::TooManyValues`] also for more than
    /// [`MAX_PATTERNS_A_SESSION`] in all.
    pub(super) fn patterns_for(
        &self,
        identity: Option<&Identity>,
        empty: &mut Option<Placeholder>,
    ) -> Result<Vec<ChannelName>, Unfilled> {
        let mut patterns: Vec<ChannelName> = Vec::new();
        for template in &self.patterns {
            for pattern in template.expand(identity, empty)? {
                if self.reserved.reason(&pattern).is_some() {
                    return Err(template.refused(Refusal::ValueNotAllowed, "becomes reserved"));
                }
                if !patterns.iter().any(|known| known.as_str() == pattern) {
                    patterns.push(ChannelName::new(pattern));
                }
            }
            if patterns.len() > MAX_PATTERNS_A_SESSION {
                return Err(
                    template.refused(Refusal::TooManyValues, "is one too many for a session")
                );
            }
        }
        Ok(patterns)
    }
}

impl PatternTemplate {
    fn expand(
        &self,
        identity: Option<&Identity>,
        empty: &mut Option<Placeholder>,
    ) -> Result<Vec<String>, Unfilled> {
        let mut all = vec![String::new()];
        for (at, part) in self.between.iter().enumerate() {
            let star = if at > 0 { "*" } else { "" };
            let texts = match part {
                Some(part) => globs(part, identity, empty)?,
                None => vec![String::new()],
            };
            let with = |it: &String| {
                let it = it.clone();
                texts.iter().map(move |text| [it.as_str(), star, text].concat())
            };
            all = all.iter().flat_map(with).collect();
            if all.len() > MAX_PATTERNS_A_SESSION {
                return Err(self.refused(Refusal::TooManyValues, "is one too many for a session"));
            }
        }
        Ok(all)
    }

    fn refused(&self, refusal: Refusal, cause: &str) -> Unfilled {
        Unfilled::caused_by(refusal, format!("patterns {:?}: a pattern {cause}", self.text))
    }
}

/// What a part between stars becomes, as it stands in a glob: one text for each value of a list.
fn globs(
    part: &ChannelTemplate,
    identity: Option<&Identity>,
    empty: &mut Option<Placeholder>,
) -> Result<Vec<String>, Unfilled> {
    // The configuration has refused what a token does not give.
    let of_token = |it: &Placeholder| token_values(it, identity).unwrap_or_else(|| Ok(Vec::new()));
    let mut none = None;
    let texts = texts(part, of_token, &mut none)?;
    if let Some(none) = none {
        *empty = Some(none.clone());
    }
    Ok(texts.iter().map(|text| glob_escaped(text)).collect())
}

/// Text between stars as it stands in a glob, where it means itself alone. Neither literal text nor a value may
/// have one of these characters; were that to change, a client could not write a pattern all the same.
fn glob_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_literal_text_stars_and_what_a_token_gives() {
        for text in [
            "*",
            "chat:room:*",
            "tenant:{claim.tenant}:*",
            "*:of:{user}",
            "a:*:{user}:x:*",
            "{user}-x:*",
        ] {
            assert_eq!(PatternTemplate::parse(text).map(|it| it.text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_words() {
        for (text, problem) in [
            ("chat:7", "has no *: such a channel belongs under channels"),
            ("chat:[ab]*", "must not contain '[': literal text is printable ASCII"),
            ("chat:?*", "must not contain '?'"),
            ("chat:{*", "has a \"{\" without its \"}\""),
            ("chat:{path.room}:*", "{path.room} cannot stand in a pattern"),
            ("chat:{query.room}:*", "{query.room} cannot stand in a pattern"),
            ("user:{user}*", "needs a \":\" between {user} and *"),
            ("user:{user}-*", "needs a \":\" between {user} and *"),
            ("*{claim.a}:x", "needs a \":\" between {claim.a} and *"),
            ("a*-{claim.a}", "needs a \":\" between {claim.a} and *"),
            ("{user}:{claim.a}.*", "needs a \":\" between {claim.a} and *"),
            ("sockway:*", "must not name sockway:…"),
            ("__keyevent@0__:*", "must not name __keyevent@"),
        ] {
            let error = PatternTemplate::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_value_means_itself_in_a_glob() {
        assert_eq!(glob_escaped("a-b^c.42@x"), "a-b^c.42@x");
        assert_eq!(glob_escaped("*?[a]\\"), "\\*\\?\\[a\\]\\\\");
    }
}
