//! The console: one page with its style, scripts and icon, all embedded; nothing from elsewhere.
//!
//! The page only asks what everybody on this port may ask. Its policy (CSP) lets nothing run that
//! was not embedded here, so that even a channel named `<script>` stays a name.

mod playground;
#[cfg(test)]
mod tests;

pub use playground::{Place, Playground, Post, Stage, Written};
pub(super) use playground::{publish, stage};

use super::response::{self, AdminResponse};
use hyper::{
    StatusCode,
    header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY},
};

const PAGE: &str = include_str!("page.html");

/// Path, media type and text of everything that the page loads.
const PARTS: [(&str, &str, &str); 6] = [
    ("/console/console.css", "text/css; charset=utf-8", include_str!("console.css")),
    ("/console/console.js", SCRIPT, include_str!("console.js")),
    ("/console/chart.js", SCRIPT, include_str!("chart.js")),
    ("/console/metrics.js", SCRIPT, include_str!("metrics.js")),
    ("/console/try.js", SCRIPT, include_str!("try.js")),
    ("/console/icon.svg", "image/svg+xml", include_str!("icon.svg")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Whether this path is the page or one of its parts.
pub(super) fn has(path: &str) -> bool {
    path == "/" || PARTS.iter().any(|(known, ..)| *known == path)
}

/// The page, or one of its parts.
pub(super) fn serve(path: &str, playground: Option<&Playground>) -> AdminResponse {
    let part = PARTS.iter().find(|(known, ..)| *known == path);
    let mut answer = match part {
        Some(&(_, media_type, text)) => response::text(StatusCode::OK, media_type, text),
        None => response::text(StatusCode::OK, "text/html; charset=utf-8", page(playground)),
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy(playground));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

fn page(playground: Option<&Playground>) -> String {
    let body = if playground.is_some() { "<body data-try>" } else { "<body>" };
    PAGE.replacen("<body>", body, 1)
}

fn policy(playground: Option<&Playground>) -> HeaderValue {
    let socket = playground.map(|one| format!(" {}", one.stage.websocket)).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'{socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an address is printable ASCII")
}
