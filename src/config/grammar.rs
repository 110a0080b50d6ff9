//! The grammar of names: channels, endpoints, and whether a template can become a certain channel.

/// Held by Redis for itself; fred drops their messages, so a session would never hear anything.
const RESERVED_BY_REDIS: [&str; 2] = ["__keyspace@", "__keyevent@"];

/// Text that may stand in a channel's name: one that Redis cannot take for a pattern, and that
/// cannot break a log line.
pub(super) fn channel_text(text: &str) -> Result<(), String> {
    let wrong = |c: &char| !c.is_ascii_graphic() || "*?[]\\".contains(*c);
    if let Some(wrong) = text.chars().find(wrong) {
        return Err(format!(
            "must be printable ASCII without space and the pattern characters * ? [ ] \\; it has {wrong:?}"
        ));
    }
    match RESERVED_BY_REDIS.iter().find(|reserved| text.starts_with(**reserved)) {
        Some(reserved) => {
            Err(format!("must not start with {reserved:?}: Redis keeps it for itself"))
        }
        None => Ok(()),
    }
}

/// The literal text of a template, its placeholders left out.
pub(super) fn literal_text(template: &str) -> String {
    template.split('{').enumerate().fold(String::new(), |literal, (number, part)| {
        let after = if number == 0 { Some(part) } else { part.split_once('}').map(|(_, it)| it) };
        literal + after.unwrap_or("")
    })
}

/// Whether some values for its placeholders make the template into this very name.
pub(super) fn can_become(template: &str, name: &str) -> bool {
    let Some((literal, hole)) = template.split_once('{') else {
        return template == name;
    };
    let (Some(name), Some((_, template))) = (name.strip_prefix(literal), hole.split_once('}'))
    else {
        return false;
    };
    // A substituted value is never empty and has none of these; so it cannot cross a colon.
    let longest = name.find([':', '{', '}', '"']).unwrap_or(name.len());
    (1..=longest).any(|end| name.is_char_boundary(end) && can_become(template, &name[end..]))
}

/// An endpoint's name: it becomes a metric label and a word in log lines.
pub(super) fn endpoint_name(name: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return Err(
            "must be 1 to 64 characters of a-z, 0-9, \"_\" and \"-\": it is the metric label",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_text_is_printable_ascii_without_patterns() {
        for text in ["", "user:42", "a{b}\"'!~", "x__keyspace@"] {
            assert_eq!(channel_text(text), Ok(()), "{text}");
        }
        for text in [
            "a b",
            "a*",
            "a?",
            "[a",
            "a]",
            "a\\",
            "ä",
            "a\n",
            "\u{7F}",
            "__keyspace@0__:x",
            "__keyevent@",
        ] {
            assert!(channel_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn literal_text_is_what_stands_outside_of_placeholders() {
        assert_eq!(literal_text("user:{user}:n{query.a}x"), "user::nx");
        assert_eq!(literal_text("{user}"), "");
        assert_eq!(literal_text("plain"), "plain");
    }

    #[test]
    fn a_template_can_become_what_its_values_could_spell() {
        for (template, can) in [
            ("sockway:control", true),
            ("sockway:{path.x}", true),
            ("{path.x}:{path.y}", true),
            ("{path.x}way:con{path.y}{path.z}l", true),
            ("{path.x}", false),
            ("sockway:control{path.x}", false),
            ("user:{user}", false),
            ("{path.x}:control:{path.y}", false),
        ] {
            assert_eq!(can_become(template, "sockway:control"), can, "{template}");
        }
    }

    #[test]
    fn endpoint_names_are_short_lower_case_labels() {
        assert_eq!(endpoint_name("tram-state_2"), Ok(()));
        for name in ["", "Tram", "a b", "a.b", "ä", "a/b", &"a".repeat(65)] {
            assert!(endpoint_name(name).is_err(), "{name}");
        }
    }
}
