//! Which pages may connect: the `Origin` header against `server.allowed_origins`.

use crate::config::OriginRule;
use hyper::{HeaderMap, header::ORIGIN};

/// Whether a request's origin is allowed. No rules allow any origin; no `Origin` header is always
/// allowed, since only browsers send one and this guards their users alone. Two headers, or one
/// that is not ASCII text, match no rule.
pub(in crate::server) fn allowed(rules: &[OriginRule], headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    if rules.is_empty() {
        return true;
    }
    match origin.to_str() {
        Ok(origin) if origins.next().is_none() => rules.iter().any(|rule| rule.allows(origin)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn rules() -> [OriginRule; 2] {
        [
            OriginRule::Exact("https://good.com".to_owned()),
            OriginRule::Below { scheme: "https://".to_owned(), suffix: ".example.com".to_owned() },
        ]
    }

    fn with_origins(origins: &[&[u8]]) -> HeaderMap {
        let values = origins.iter().map(|origin| HeaderValue::from_bytes(origin).unwrap());
        values.map(|value| (ORIGIN, value)).collect()
    }

    #[test]
    fn origins_are_checked_against_the_rules() {
        for (origin, expected) in [
            ("https://good.com", true),
            ("HTTPS://Good.COM", true),
            ("https://a.example.com", true),
            ("https://a.b.example.com", true),
            ("https://evil.com", false),
            ("null", false),
            ("", false),
            ("https://good.com.evil", false),
            ("https://good.com:8443", false),
            ("http://good.com", false),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("https://evil.com/.example.com", false),
            ("https://evil.com:1@a.example.com", false),
            ("https://a.example.com:444", false),
        ] {
            let headers = with_origins(&[origin.as_bytes()]);
            assert_eq!(allowed(&rules(), &headers), expected, "{origin}");
        }
    }

    #[test]
    fn no_header_is_allowed_and_so_is_any_origin_without_rules() {
        assert!(allowed(&rules(), &HeaderMap::new()));
        assert!(allowed(&[], &with_origins(&[b"https://evil.com"])));
    }

    #[test]
    fn two_origins_or_one_that_is_not_text_match_no_rule() {
        assert!(!allowed(&rules(), &with_origins(&[b"https://good.com", b"https://good.com"])));
        assert!(!allowed(&rules(), &with_origins(&[b"https://good.com\xff"])));
    }
}
