//! The path of an endpoint: literal segments and `{name}` parameters.
//!
//! A request's path is split at `/` first and percent-decoded segment by segment, so `%2F` never makes a
//! new segment, and a literal segment matches in every spelling: otherwise `/rooms/%6Cobby` would get
//! past the endpoint `/rooms/lobby` into `/rooms/{room}`.

use super::percent;

/// The path of an endpoint, such as `/ws/rooms/{room}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePath {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// Why a text is not a path of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("must start with \"/\"")]
    NoSlash,
    #[error("must not contain an empty segment (\"//\", or \"/\" at the end)")]
    EmptySegment,
    #[error("must not contain the segment {0:?}")]
    DotSegment(String),
    #[error("must not contain a query or fragment")]
    Query,
    #[error("a parameter is a whole segment, such as \"/{{room}}\", not {0:?}")]
    Parameter(String),
    #[error(
        "the parameter name {0:?} must be a lower-case letter or \"_\", then these or digits ([a-z_][a-z0-9_]*)"
    )]
    ParameterName(String),
    #[error("the parameter {0:?} is a duplicate")]
    RepeatedParameter(String),
    #[error(
        "must not contain {0:?}: a literal segment is made of letters, digits and -._~!$&'()*+,;=:@"
    )]
    Character(char),
}

/// The values that a request's path gave to the parameters of its endpoint, decoded, in their order.
/// `None` stands for a value whose percent-encoding is broken or that is not UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathParameters(Vec<Option<String>>);

impl RoutePath {
    /// Reads a path. `/` alone is the root.
    ///
    /// # Errors
    /// When the text breaks the grammar; the error says how.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError::NoSlash)?;
        let mut segments = Vec::new();
        if !rest.is_empty() {
            for segment in rest.split('/') {
                let segment = Segment::parse(segment)?;
                if matches!(segment, Segment::Parameter(_)) && segments.contains(&segment) {
                    return Err(PathError::RepeatedParameter(segment.text().to_owned()));
                }
                segments.push(segment);
            }
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// The path as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the parameters, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter(|segment| !segment.is_literal()).map(Segment::text)
    }

    /// Whether some request path matches both equally well, so that neither would win.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.literals() == other.literals() && self.meets(other)
    }

    /// Whether some request path matches both, whichever would win.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|(one, other)| {
                !one.is_literal() || !other.is_literal() || one.text() == other.text()
            })
    }

    /// This path with a parameter more behind it.
    #[must_use]
    pub fn with_parameter(&self, name: &str) -> Self {
        let mut segments = self.segments.clone();
        segments.push(Segment::Parameter(name.to_owned()));
        let text = format!("{}/{{{name}}}", self.text.trim_end_matches('/'));
        Self { text, segments }
    }

    /// How many segments are literal; of two paths that match a request, the one with more wins.
    pub(super) fn literals(&self) -> usize {
        self.segments.iter().filter(|segment| segment.is_literal()).count()
    }

    /// Holds this path against the [`request_segments`].
    pub(super) fn matches(&self, request: &[Option<String>]) -> Option<PathParameters> {
        let pairs = || self.segments.iter().zip(request);
        let fits = self.segments.len() == request.len()
            && pairs().all(|(ours, theirs)| ours.matches(theirs.as_deref()));
        fits.then(|| {
            let values = pairs().filter(|(ours, _)| !ours.is_literal());
            PathParameters(values.map(|(_, theirs)| theirs.clone()).collect())
        })
    }

    /// The value of one parameter; `None` when there is no such parameter or its value is broken.
    pub(super) fn value<'a>(&self, values: &'a PathParameters, name: &str) -> Option<&'a str> {
        let at = self.parameters().position(|parameter| parameter == name)?;
        values.0.get(at)?.as_deref()
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PathError> {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            return match is_parameter_name(name) {
                true => Ok(Self::Parameter(name.to_owned())),
                false => Err(PathError::ParameterName(name.to_owned())),
            };
        }
        match text {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::DotSegment(text.to_owned())),
            _ if text.contains(['{', '}']) => return Err(PathError::Parameter(text.to_owned())),
            _ if text.contains(['?', '#']) => return Err(PathError::Query),
            _ => {}
        }
        match text.chars().find(|&character| !is_literal_character(character)) {
            Some(character) => Err(PathError::Character(character)),
            None => Ok(Self::Literal(text.to_owned())),
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn text(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Parameter(text) => text,
        }
    }

    /// A broken segment still matches a parameter: the refusal of its value then says what is wrong.
    fn matches(&self, theirs: Option<&str>) -> bool {
        match self {
            Self::Literal(literal) => theirs == Some(literal),
            Self::Parameter(_) => theirs != Some(""),
        }
    }
}

/// The decoded segments of a request's path; `None` where the encoding is broken or not UTF-8.
/// Nothing at all when it does not start with `/`.
pub(super) fn request_segments(path: &str) -> Option<Vec<Option<String>>> {
    match path.strip_prefix('/')? {
        "" => Some(Vec::new()),
        rest => Some(rest.split('/').map(percent::decode).collect()),
    }
}

fn is_parameter_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// What a URL may hold in a segment without percent-encoding.
fn is_literal_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RoutePath {
        RoutePath::parse(text).unwrap()
    }

    #[test]
    fn a_path_keeps_its_text_and_names_its_parameters_in_order() {
        for text in ["/", "/ws", "/ws/notifications", "/a/{x}/b/{y_2}", "/~u/a.b-c@d:1", "/{_}"] {
            assert_eq!(path(text).as_str(), text);
        }
        let rooms = path("/ws/{house}/rooms/{room}");
        assert_eq!(rooms.parameters().collect::<Vec<_>>(), ["house", "room"]);
    }

    #[test]
    fn every_break_of_the_grammar_is_refused_by_its_name() {
        let name = |name: &str| PathError::ParameterName(name.to_owned());
        let partial = |text: &str| PathError::Parameter(text.to_owned());
        for (text, error) in [
            ("", PathError::NoSlash),
            ("ws", PathError::NoSlash),
            ("//", PathError::EmptySegment),
            ("/ws/", PathError::EmptySegment),
            ("/ws//rooms", PathError::EmptySegment),
            ("/./ws", PathError::DotSegment(".".to_owned())),
            ("/ws/..", PathError::DotSegment("..".to_owned())),
            ("/ws?token=x", PathError::Query),
            ("/ws#top", PathError::Query),
            ("/ws/room-{room}", partial("room-{room}")),
            ("/ws/{room", partial("{room")),
            ("/ws/room}", partial("room}")),
            ("/ws/{a}{b}", name("a}{b")),
            ("/ws/{}", name("")),
            ("/ws/{Room}", name("Room")),
            ("/ws/{2nd}", name("2nd")),
            ("/ws/{a-b}", name("a-b")),
            ("/ws/{café}", name("café")),
            ("/ws/{a}/{a}", PathError::RepeatedParameter("a".to_owned())),
            ("/ws/a b", PathError::Character(' ')),
            ("/ws/%41", PathError::Character('%')),
            ("/ws/é", PathError::Character('é')),
            ("/ws/\r\n", PathError::Character('\r')),
            ("/ws\\rooms", PathError::Character('\\')),
        ] {
            assert_eq!(RoutePath::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_parameter_may_bear_the_name_of_a_literal() {
        assert_eq!(path("/room/{room}").parameters().collect::<Vec<_>>(), ["room"]);
    }

    #[test]
    fn paths_overlap_exactly_when_neither_would_win() {
        for (one, other, overlap) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/", "/", true),
            ("/{x}", "/{y}", true),
            ("/a/{x}", "/{y}/b", true),
            ("/a/{x}", "/b/{x}", false),
            ("/a/{x}", "/a/b", false),
            ("/a/{x}", "/a/{x}/c", false),
            ("/{x}/{y}/c", "/a/b/{z}", false),
        ] {
            assert_eq!(path(one).overlaps(&path(other)), overlap, "{one} {other}");
            assert_eq!(path(other).overlaps(&path(one)), overlap, "{other} {one}");
        }
    }
}
