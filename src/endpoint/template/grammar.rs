//! How a template is written.

use super::{Part, Placeholder, TemplateError, form::Form};

/// Reads a template's text into its parts.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let braced = &rest[at..];
        if let Some((brace, after)) = literal_brace(braced) {
            literal.push(brace);
            rest = after;
            continue;
        }
        push_literal(&mut parts, std::mem::take(&mut literal))?;
        let inner = braced.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
        let (inner, after) = inner.split_once('}').ok_or(TemplateError::Unbalanced)?;
        let (placeholder, form) = placeholder(inner)
            .ok_or_else(|| TemplateError::UnknownPlaceholder(inner.to_owned()))?;
        parts.push(Part::Placeholder(placeholder, form));
        rest = after;
    }
    literal.push_str(rest);
    push_literal(&mut parts, literal)?;
    if parts.is_empty() { Err(TemplateError::Empty) } else { Ok(parts) }
}

/// The brace that `{{` or `}}` is, and what follows it.
fn literal_brace(text: &str) -> Option<(char, &str)> {
    let brace = text.chars().next()?;
    Some((brace, text[1..].strip_prefix(brace)?))
}

/// What stands between braces: a source, and `|escape` where its values are to be escaped.
fn placeholder(inner: &str) -> Option<(Placeholder, Form)> {
    match inner.split_once('|') {
        None => Some((source(inner)?, Form::Plain)),
        Some((inner, "escape")) => Some((source(inner)?, Form::Escaped)),
        Some(_) => None,
    }
}

fn source(text: &str) -> Option<Placeholder> {
    if text == "user" {
        return Some(Placeholder::User);
    }
    let (kind, name) = text.split_once('.')?;
    if name.is_empty() || name.contains('{') {
        return None;
    }
    let is_graphic = || name.chars().all(|character| character.is_ascii_graphic());
    match kind {
        // Whatever an issuer may call a claim.
        "claim" => Some(Placeholder::Claim(name.to_owned())),
        "path" if is_graphic() => Some(Placeholder::Path(name.to_owned())),
        "query" if is_graphic() => Some(Placeholder::Query(name.to_owned())),
        _ => None,
    }
}

/// Whether it may stand in a channel's name as it is written: Redis cannot take it for a pattern, and it
/// cannot break a log line.
pub fn is_channel_character(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '*' | '?' | '[' | ']' | '\\')
}

fn push_literal(parts: &mut Vec<Part>, text: String) -> Result<(), TemplateError> {
    if let Some(character) = text.chars().find(|&character| !is_channel_character(character)) {
        return Err(TemplateError::Character(character));
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text));
    }
    Ok(())
}
