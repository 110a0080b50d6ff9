//! *Try it*: what lets the page of `sockway dev` open a socket and publish.
//!
//! Only a gateway that was given a [`Playground`] has these routes; no configuration can switch
//! them on. They answer nobody but the page itself: the `Host` must be this port's own address, or
//! a name that an attacker points here (DNS rebinding) would do; a publish must also come with the
//! page's `Origin`, so that no other page can send it.

use crate::{
    admin::response::{self, AdminResponse},
    json_object::Object,
};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Body,
    header::{CONTENT_TYPE, HOST, ORIGIN},
};
use serde::{Deserialize, Serialize};
use std::{error::Error, io, net::SocketAddr, time::Duration};
use tokio::time;

/// Largest body of a publish, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long the page may take to send that, and Redis to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes a message on a channel, or adds it to a stream.
pub type Publish = Box<dyn Fn(Post) -> BoxFuture<'static, io::Result<Written>> + Send + Sync>;

/// What only `sockway dev` has.
pub struct Playground {
    pub stage: Stage,
    pub publish: Publish,
}

/// What the page learns.
#[derive(Debug, Serialize)]
pub struct Stage {
    /// The public port, such as `ws://127.0.0.1:8080`.
    pub websocket: String,
    /// Whom the token is made up for.
    pub user: &'static str,
    /// Made up and worth nothing outside: the one token that is ever shown.
    pub token: String,
    pub endpoints: Vec<Place>,
}

/// An endpoint to connect to, and the channel or stream to write to then. Both may hold `{room}`.
#[derive(Debug, Serialize)]
pub struct Place {
    pub name: &'static str,
    pub path: &'static str,
    pub channel: String,
    /// Whether it is a stream.
    pub stream: bool,
    /// Whether it takes the token.
    pub token: bool,
    /// Whether its clients may publish.
    pub publish: bool,
}

/// What the page wants written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Post {
    pub channel: String,
    pub message: String,
    /// Whether `channel` is a stream.
    #[serde(default)]
    pub stream: bool,
}

/// What Redis answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// To so many it was sent.
    Subscribers(u64),
    /// It is the entry of this id.
    Id(String),
}

/// `GET /try`.
pub(in crate::admin) fn stage(
    playground: &Playground,
    address: SocketAddr,
    headers: &HeaderMap,
) -> AdminResponse {
    match own_host(address, headers) {
        Some(_) => response::json(StatusCode::OK, &playground.stage),
        None => foreign(),
    }
}

/// `POST /try/publish`.
pub(in crate::admin) async fn publish<B>(
    playground: &Playground,
    address: SocketAddr,
    request: Request<B>,
) -> AdminResponse
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if !is_from_the_page(address, request.headers()) {
        return foreign();
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let Ok(Ok(body)) = time::timeout(PATIENCE, body).await else {
        return refused("the body is larger than 64 KiB, or did not come in time");
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(Object(Post { channel, .. })) if channel.is_empty() => {
            refused("the channel must not be empty")
        }
        Ok(Object(post)) => carry_out(playground, post).await,
        Err(_) => refused("the body must be {\"channel\":\"…\",\"message\":\"…\"}"),
    }
}

async fn carry_out(playground: &Playground, post: Post) -> AdminResponse {
    match time::timeout(PATIENCE, (playground.publish)(post)).await {
        Ok(Ok(written)) => response::json(StatusCode::OK, &written),
        Ok(Err(_)) | Err(_) => response::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "redis_unavailable",
            "the private Redis does not answer",
        ),
    }
}

/// The `Host` when it is this port's own address, or `localhost` for a loopback address. IPv4 in the form
/// of IPv6 (`::ffff:127.0.0.1`) is the same address, and browsers write it in a third way.
fn own_host(address: SocketAddr, headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let (ip, port) = (address.ip().to_canonical(), address.port());
    let named =
        host.parse().is_ok_and(|at: SocketAddr| (at.ip().to_canonical(), at.port()) == (ip, port));
    let is_local = ip.is_loopback() && host == format!("localhost:{port}");
    (named || is_local).then_some(host)
}

fn is_from_the_page(address: SocketAddr, headers: &HeaderMap) -> bool {
    let Some(host) = own_host(address, headers) else { return false };
    let is = |name, value: &str| headers.get(name).is_some_and(|one| one == value);
    // This media type is one that another page may not send without being asked first.
    is(ORIGIN, &format!("http://{host}")) && is(CONTENT_TYPE, "application/json")
}

fn foreign() -> AdminResponse {
    response::problem(
        StatusCode::FORBIDDEN,
        "not_from_the_console",
        "only the console's own page may ask for this, at this port's own address",
    )
}

fn refused(detail: &str) -> AdminResponse {
    response::problem(StatusCode::BAD_REQUEST, "bad_publish", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn its_own_address_is_known_in_every_form_and_localhost_where_it_is_loopback() {
        for (address, host, own) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9090", "localhost:9090", true),
            ("[::ffff:127.0.0.1]:9090", "localhost:9090", true),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090", true),
            ("[::ffff:127.0.0.1]:9090", "[::ffff:7f00:1]:9090", true),
            ("[::1]:9090", "localhost:9090", true),
            ("[::ffff:10.0.0.1]:9090", "localhost:9090", false),
            ("127.0.0.1:9090", "127.0.0.2:9090", false),
            ("127.0.0.1:9090", "127.0.0.1:9091", false),
            ("127.0.0.1:9090", "sockway.example:9090", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            let found = own_host(address.parse().unwrap(), &headers);
            assert_eq!(found.is_some(), own, "{address} as {host}");
        }
    }
}
