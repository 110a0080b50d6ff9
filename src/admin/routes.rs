//! From a request on the private port to its answer.

use super::{
    State,
    answer::{self, Answer},
    channels::{self, Query},
    console,
};
use hyper::{Method, Request, StatusCode, body::Body, header::ORIGIN};
use serde_json::json;
use std::{error::Error, time::Instant};

/// Answers one request. The body of a request is never read, but for what *try it* publishes.
pub(super) async fn answer<B>(state: &State, request: Request<B>) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let path = request.uri().path();
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/drain" if request.method() == Method::POST => drain(state, &request),
        "/drain" => answer::method_not_allowed("POST"),
        "/try" | "/try/publish" => try_it(state, request).await,
        "/metrics" | "/livez" | "/readyz" | "/status" | "/channels" if !read => {
            answer::method_not_allowed("GET, HEAD")
        }
        path if console::has(path) && !read => answer::method_not_allowed("GET, HEAD"),
        path if console::has(path) => console::serve(path, state.playground.as_ref()),
        "/metrics" => metrics(state),
        "/livez" => answer::json(StatusCode::OK, &json!({"alive": true})),
        "/readyz" => readyz(state),
        "/status" => answer::json(StatusCode::OK, &state.summary(Instant::now())),
        "/channels" => busiest(state, request.uri().query().unwrap_or("")).await,
        _ => not_found(),
    }
}

fn not_found() -> Answer {
    answer::problem(StatusCode::NOT_FOUND, "not_found", "there is no such path")
}

/// What there is only in `sockway dev`.
async fn try_it<B>(state: &State, request: Request<B>) -> Answer
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Some(playground) = &state.playground else { return not_found() };
    match (request.uri().path(), request.method()) {
        ("/try", &Method::GET) => console::stage(playground, state.address, request.headers()),
        ("/try", _) => answer::method_not_allowed("GET"),
        (_, &Method::POST) => console::publish(playground, state.address, request).await,
        _ => answer::method_not_allowed("POST"),
    }
}

fn metrics(state: &State) -> Answer {
    answer::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", state.metrics.render())
}

fn readyz(state: &State) -> Answer {
    let readiness = state.readiness(Instant::now());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, &readiness)
}

async fn busiest(state: &State, query: &str) -> Answer {
    match Query::parse(query) {
        Ok(query) => answer::json(StatusCode::OK, &channels::busiest(&state.shards, query).await),
        Err(detail) => answer::problem(StatusCode::BAD_REQUEST, "bad_query", &detail),
    }
}

fn drain<B>(state: &State, request: &Request<B>) -> Answer {
    // A page that the operator happens to look at can make a browser post to loopback addresses;
    // it cannot keep the browser from saying so.
    if request.headers().contains_key(ORIGIN) {
        return answer::problem(
            StatusCode::FORBIDDEN,
            "not_from_a_browser",
            "a drain is not taken from a web page",
        );
    }
    state.drain.cancel();
    let timeout = state.config.borrow().shutdown.timeout;
    let body = json!({"draining": true, "timeout_seconds": timeout.as_secs_f64()});
    answer::json(StatusCode::ACCEPTED, &body)
}
