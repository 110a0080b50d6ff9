//! What to connect to: a URL with the position in its query, and the token beside it.

use crate::{cli::Failure, secret::Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// In the value of a query everything else is encoded: `+` would be a space, `&` the next parameter.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The URL and the token of a session.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) authorization: Option<HeaderValue>,
}

impl Target {
    pub(super) fn new(
        url: &str,
        since: Option<&str>,
        last: Option<u64>,
        token: Option<&Secret>,
    ) -> Result<Self, Failure> {
        let since = since.map(|since| ("since", since.to_owned()));
        let last = last.map(|last| ("last", last.to_string()));
        let mut target = without_fragment(url);
        for (name, value) in since.into_iter().chain(last) {
            add_parameter(&mut target, name, &value);
        }
        Ok(Self { url: target, authorization: token.map(authorization).transpose()? })
    }
}

/// A fragment is the browser's own business, and what is added must stand before it.
fn without_fragment(url: &str) -> String {
    url.split('#').next().unwrap_or_default().to_owned()
}

fn add_parameter(url: &mut String, name: &str, value: &str) {
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let value = utf8_percent_encode(value, ENCODED);
    *url = format!("{url}{separator}{name}={value}");
}

fn authorization(token: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| Failure::Running("the token cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str, since: Option<&str>, last: Option<u64>) -> String {
        let Ok(target) = Target::new(url, since, last, None) else { panic!("{url}") };
        target.url
    }

    #[test]
    fn positions_go_into_the_query_that_the_url_has_or_gets() {
        for (given, expected) in [
            ("ws://host/ws", "ws://host/ws?since=5-0&last=20"),
            ("ws://host", "ws://host?since=5-0&last=20"),
            ("ws://host/ws?", "ws://host/ws?since=5-0&last=20"),
            ("ws://host/ws?room=7", "ws://host/ws?room=7&since=5-0&last=20"),
            ("ws://host/ws?room=7&#top", "ws://host/ws?room=7&since=5-0&last=20"),
        ] {
            assert_eq!(url(given, Some("5-0"), Some(20)), expected);
        }
    }

    #[test]
    fn positions_of_several_streams_are_encoded_once_more() {
        let since = "chat:7@5-0,a%2Cb@6-1";
        let expected = "ws://host/ws?since=chat:7%405-0%2Ca%252Cb%406-1";
        assert_eq!(url("ws://host/ws", Some(since), None), expected);
    }

    #[test]
    fn without_positions_the_url_stays() {
        assert_eq!(url("ws://host/ws?room=7", None, None), "ws://host/ws?room=7");
    }
}
