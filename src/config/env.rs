//! `${NAME}` and `${NAME:-default}` inside string values.
//!
//! Expansion comes after the TOML was parsed, so a variable's content can never become syntax. As
//! in a shell, the default also stands in for an empty variable. `$${` is a literal `${`; a `$`
//! before anything else is itself.

/// How a variable is looked up; `None` when it is not set, or is not UTF-8.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The text with every variable replaced.
///
/// # Errors
/// One message for each variable that cannot be replaced. They name the variable, never a value.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, Vec<String>> {
    let (mut expanded, mut problems) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(escaped) = rest[..start].strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let Some((reference, after)) = rest[start + 2..].split_once('}') else {
            problems
                .push("has a \"${\" without its \"}\" (a literal \"${\" is \"$${\")".to_owned());
            return Err(problems);
        };
        match value_of(reference, environment) {
            Ok(value) => expanded.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = after;
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

fn value_of(reference: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let well_formed = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err("has a \"${…}\" that is neither ${NAME} nor ${NAME:-default}".to_owned());
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "environment variable {name} is not set (or is not UTF-8), and ${{{name}}} has no default"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Vec<String>> {
        expand(text, &|name| match name {
            "HOST" => Some("redis.local".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_replaced_wherever_they_stand() {
        for (text, result) in [
            ("", ""),
            ("plain $ $HOST $5 $", "plain $ $HOST $5 $"),
            ("${HOST}", "redis.local"),
            ("a${HOST}b${HOST}c", "aredis.localbredis.localc"),
            ("${HOST:-other}", "redis.local"),
            ("${UNSET:-other}", "other"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-other}", "other"),
            ("$${HOST}", "${HOST}"),
            ("${TRICKY}", "${HOST}"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn every_variable_that_cannot_be_replaced_is_named() {
        let problems = expanded("${ONE} ${HOST} ${TWO}").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("ONE") && problems[1].contains("TWO"), "{problems:?}");
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in ["${", "${HOST", "${}", "${:-x}", "${1A}", "${A B}", "${HOST-x}", "a ${HÖST}"]
        {
            assert_eq!(expanded(text).unwrap_err().len(), 1, "{text}");
        }
    }
}
