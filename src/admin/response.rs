//! The few kinds of answers that the private port gives.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
};
use serde::Serialize;
use serde_json::json;

pub(super) type AdminResponse = Response<Full<Bytes>>;

/// Any text, with its media type. Never cached: everything here is about now.
pub(super) fn text(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> AdminResponse {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// JSON, with a line end so that it reads well in a terminal.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> AdminResponse {
    text(status, "application/json", line(body))
}

/// A problem body (RFC 9457) with a stable code.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> AdminResponse {
    let title = status.canonical_reason().unwrap_or("error");
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "code": code, "detail": detail,
    });
    text(status, "application/problem+json", line(&body))
}

/// 405, with the methods that are allowed.
pub(super) fn method_not_allowed(allowed: &'static str) -> AdminResponse {
    let mut answer = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        &format!("this path takes {allowed}"),
    );
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn line(body: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(body).expect("text, numbers and lists always serialise");
    line.push(b'\n');
    line
}
