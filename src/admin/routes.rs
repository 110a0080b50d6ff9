//! From a request on the private port to its answer.

use super::{
    AdminContext, access,
    channels::{self, Query},
    console, livez,
    response::{self, AdminResponse},
};
use hyper::{Method, Request, StatusCode, body::Body};
use serde_json::json;
use std::{error::Error, net::SocketAddr, time::Instant};

/// Answers one request from `peer`. The body of a request is never read, but for what *try it*
/// publishes.
pub(super) async fn respond<B>(
    context: &AdminContext,
    peer: SocketAddr,
    request: Request<B>,
) -> AdminResponse
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let config = context.config.borrow().clone();
    if let Err(denied) = access::check(&request, &config.admin.allowed_hosts) {
        return denied.response();
    }
    let path = request.uri().path();
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/drain" if request.method() == Method::POST => {
            access::check_change(peer).map_or_else(access::Denied::response, |()| drain(context))
        }
        "/drain" => response::method_not_allowed("POST"),
        "/try" | "/try/publish" => try_it(context, request).await,
        "/metrics" | "/livez" | "/readyz" | "/status" | "/channels" if !read => {
            response::method_not_allowed("GET, HEAD")
        }
        path if console::has(path) && !read => response::method_not_allowed("GET, HEAD"),
        path if console::has(path) => console::serve(path, context.playground.as_ref()),
        "/metrics" => metrics(context),
        "/livez" => livez::respond(&context.liveness).await,
        "/readyz" => readyz(context),
        "/status" => response::json(StatusCode::OK, &context.summary(Instant::now())),
        "/channels" => busiest(context, request.uri().query().unwrap_or("")).await,
        _ => not_found(),
    }
}

fn not_found() -> AdminResponse {
    response::problem(StatusCode::NOT_FOUND, "not_found", "there is no such path")
}

/// What there is only in `sockway dev`.
async fn try_it<B>(context: &AdminContext, request: Request<B>) -> AdminResponse
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Some(playground) = &context.playground else { return not_found() };
    match (request.uri().path(), request.method()) {
        ("/try", &Method::GET) => console::stage(playground, context.address, request.headers()),
        ("/try", _) => response::method_not_allowed("GET"),
        (_, &Method::POST) => console::publish(playground, context.address, request).await,
        _ => response::method_not_allowed("POST"),
    }
}

fn metrics(context: &AdminContext) -> AdminResponse {
    response::text(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        context.metrics.render(),
    )
}

fn readyz(context: &AdminContext) -> AdminResponse {
    let readiness = context.readiness(Instant::now());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response::json(status, &readiness)
}

async fn busiest(context: &AdminContext, query: &str) -> AdminResponse {
    match Query::parse(query) {
        Ok(query) => match channels::in_turn(&context.turn, &context.shards, query).await {
            Some(channels) => response::json(StatusCode::OK, &channels),
            None => response::problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "others are asking for the busiest channels",
            ),
        },
        Err(detail) => response::problem(StatusCode::BAD_REQUEST, "bad_query", &detail),
    }
}

fn drain(context: &AdminContext) -> AdminResponse {
    context.drain.cancel();
    let timeout = context.config.borrow().shutdown.timeout;
    let body = json!({"draining": true, "timeout_seconds": timeout.as_secs_f64()});
    response::json(StatusCode::ACCEPTED, &body)
}
