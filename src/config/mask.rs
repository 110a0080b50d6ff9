//! What of a secret is shown: nothing, or a URL without its password or its query.

/// What a secret looks like.
pub(super) const MASK: &str = "***";

/// Masks the password of a URL, and of whatever was meant to be one.
pub(super) fn mask_url(url: &str) -> String {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let Some(at) = url.rfind('@').filter(|at| *at >= start) else {
        return url.to_owned();
    };
    let user = url[start..at]
        .split_once(':')
        .map_or(MASK.to_owned(), |(user, _)| format!("{user}:{MASK}"));
    format!("{}{user}{}", &url[..start], &url[at..])
}

/// A URL without its query, which may hold an API key, and without its password.
pub(super) fn mask_query(url: &str) -> String {
    mask_url(url.split(['?', '#']).next().unwrap_or_default())
}

/// Masks a whole value; an empty one is no secret but an absent one.
pub(super) fn mask_all(value: &str) -> String {
    if value.is_empty() { String::new() } else { MASK.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_everything_but_its_password() {
        for (url, masked) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
            ("redis://user:p:w@host", "redis://user:***@host"),
            ("redis://us/er:p@w/x@host", "redis://us/er:***@host"),
            ("redis://token@host", "redis://***@host"),
            ("user:pw@host", "user:***@host"),
            ("a@b://c", "a@b://c"),
        ] {
            assert_eq!(mask_url(url), masked, "{url}");
        }
        for url in ["https://a/b", "https://a/b?key=hunter2", "https://a/b?a#b?c", "https://a/b#c"]
        {
            assert_eq!(mask_query(url), "https://a/b", "{url}");
        }
        assert_eq!(mask_query("https://u:hunter2@a/?x"), "https://u:***@a/");
    }
}
