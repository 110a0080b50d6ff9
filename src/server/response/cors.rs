//! What lets a page of another origin read an answer (CORS). A WebSocket needs none of it.

use super::push;
use hyper::{
    HeaderMap,
    header::{HeaderValue, ORIGIN},
};

/// How an answer may be read by the page that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Cors {
    /// The page's origin, where it may.
    origin: Option<HeaderValue>,
    /// Whether its cookies count.
    credentials: bool,
}

impl Cors {
    /// For a request with these headers, whose origin may connect or not.
    pub(in crate::server) fn new(headers: &HeaderMap, allowed: bool, credentials: bool) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| allowed && origins.next().is_none());
        Self { origin: origin.cloned(), credentials }
    }

    /// The headers of every answer.
    pub(super) fn push(&self, head: &mut String) {
        push(head, "Vary", "Origin");
        if let Some(origin) = self.origin.as_ref().and_then(|origin| origin.to_str().ok()) {
            push(head, "Access-Control-Allow-Origin", origin);
            if self.credentials {
                push(head, "Access-Control-Allow-Credentials", "true");
            }
        }
    }

    /// What the answer to an `OPTIONS` says beside that.
    pub(super) fn push_preflight(&self, head: &mut String) {
        self.push(head);
        push(head, "Access-Control-Allow-Methods", "GET");
        push(head, "Access-Control-Allow-Headers", "Authorization, Last-Event-ID, Cache-Control");
        push(head, "Access-Control-Max-Age", "7200");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(origins: &[&str], allowed: bool, credentials: bool) -> String {
        let origins = origins.iter().map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap()));
        let mut head = String::new();
        Cors::new(&origins.collect(), allowed, credentials).push(&mut head);
        head
    }

    #[test]
    fn only_a_page_that_may_connect_may_read_and_its_cookies_count_only_where_they_are_tokens() {
        const ALLOWED: &str = "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n";
        let page = ["https://a.example"];
        assert_eq!(pushed(&page, true, false), ALLOWED);
        let credentials = format!("{ALLOWED}Access-Control-Allow-Credentials: true\r\n");
        assert_eq!(pushed(&page, true, true), credentials);
        for (origins, allowed) in [(&page[..], false), (&[], true), (&[page[0], page[0]], true)] {
            assert_eq!(pushed(origins, allowed, true), "Vary: Origin\r\n", "{origins:?}");
        }
    }
}
