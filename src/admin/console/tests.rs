//! The page's parts, its policy, and who may publish; the page itself is tried in a browser by
//! `tests/it/console.rs`.

use super::{
    playground::{Post, Publish, Written},
    *,
};
use crate::admin::Place;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, body::Bytes, header};
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

type Published = Arc<Mutex<Vec<Post>>>;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

fn playground() -> (Playground, Published) {
    let published = Published::default();
    let sink = Arc::clone(&published);
    let channel = "all".to_owned();
    let place =
        Place { name: "all", path: "/ws", channel, stream: false, token: false, publish: false };
    let stage = Stage {
        websocket: "ws://127.0.0.1:8080".to_owned(),
        user: "42",
        token: "made-up".to_owned(),
        endpoints: vec![place],
    };
    let publish: Publish = Box::new(move |post| {
        let result = match &post {
            Post { channel, .. } if channel == "broken" => Err(io::Error::other("gone")),
            Post { stream: true, .. } => Ok(Written::Id("5-0".to_owned())),
            _ => Ok(Written::Subscribers(3)),
        };
        sink.lock().unwrap().push(post);
        Box::pin(async { result })
    });
    (Playground { stage, publish }, published)
}

/// The headers of the page's own request, one of them changed; "" takes it away.
fn headers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (known, usual) in [
        ("host", "127.0.0.1:9090"),
        ("origin", "http://127.0.0.1:9090"),
        ("content-type", "application/json"),
    ] {
        let value = if known == name { value } else { usual };
        if !value.is_empty() {
            headers.insert(known, HeaderValue::from_static(value));
        }
    }
    headers
}

async fn post(playground: &Playground, headers: HeaderMap, body: &str) -> (u16, Value) {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *request.headers_mut() = headers;
    let answer = publish(playground, address(), request).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

const BODY: &str = r#"{"channel":"room:<b>","message":"hi\r\nthere"}"#;

#[tokio::test]
async fn the_page_publishes_and_learns_who_got_it() {
    let (playground, published) = playground();
    let answer = post(&playground, headers("", ""), BODY).await;
    assert_eq!(answer, (200, json!({"subscribers": 3})));
    let localhost = {
        let mut headers = headers("host", "localhost:9090");
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://localhost:9090"));
        headers
    };
    assert_eq!(post(&playground, localhost, BODY).await.0, 200);
    let (channel, message) = ("room:<b>".to_owned(), "hi\r\nthere".to_owned());
    let one = Post { channel, message, stream: false };
    assert_eq!(*published.lock().unwrap(), [one.clone(), one]);
}

#[tokio::test]
async fn the_page_adds_to_a_stream_and_learns_the_id() {
    let (playground, published) = playground();
    let body = r#"{"channel":"chat:1","message":"hi","stream":true}"#;
    let answer = post(&playground, headers("", ""), body).await;
    assert_eq!(answer, (200, json!({"id": "5-0"})));
    assert!(published.lock().unwrap()[0].stream);
}

#[tokio::test]
async fn nobody_but_the_page_publishes() {
    let (playground, published) = playground();
    for (name, value) in [
        ("host", "evil.example:9090"),
        ("host", "127.0.0.1:9091"),
        ("host", "localhost"),
        ("host", ""),
        ("origin", "http://evil.example"),
        ("origin", "https://127.0.0.1:9090"),
        ("origin", "http://localhost:9090"),
        ("origin", "null"),
        ("origin", ""),
        ("content-type", "text/plain"),
        ("content-type", ""),
    ] {
        let (status, body) = post(&playground, headers(name, value), BODY).await;
        assert_eq!((status, &body["code"]), (403, &json!("not_from_the_console")), "{name}");
    }
    // A name of the attacker's that points here: the browser takes it for the page's own origin.
    let mut rebound = headers("host", "evil.example:9090");
    rebound.insert(header::ORIGIN, HeaderValue::from_static("http://evil.example:9090"));
    assert_eq!(post(&playground, rebound, BODY).await.0, 403);
    assert!(published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_and_giant_bodies_are_refused_and_a_lost_redis_is_told() {
    let (playground, published) = playground();
    let giant = format!(r#"{{"channel":"a","message":"{}"}}"#, "x".repeat(64 * 1024));
    for body in [
        "",
        "{",
        "[]",
        r#"["a","m",false]"#,
        r#"{"channel":"a"}"#,
        r#"{"channel":"","message":""}"#,
        &giant,
    ] {
        let (status, answer) = post(&playground, headers("", ""), body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("bad_publish")), "{body:.40}");
    }
    assert!(published.lock().unwrap().is_empty());
    let lost = r#"{"channel":"broken","message":""}"#;
    assert_eq!(post(&playground, headers("", ""), lost).await.0, 503);
}

#[test]
fn the_token_is_told_at_this_ports_own_address_only() {
    let (playground, _) = playground();
    let status = |headers| stage(&playground, address(), &headers).status().as_u16();
    assert_eq!(status(headers("", "")), 200);
    assert_eq!(status(headers("host", "evil.example:9090")), 403);
    assert_eq!(status(headers("host", "")), 403);
}

/// Every path that a part refers to.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let starts =
        ["src=\"", "<link rel=\"icon\" href=\"", "<link rel=\"stylesheet\" href=\"", "from \""];
    let tails = starts.into_iter().flat_map(move |start| text.split(start).skip(1));
    tails.filter_map(|tail| tail.split('"').next())
}

#[test]
fn everything_that_the_page_loads_is_embedded_and_allowed_by_its_policy() {
    let mut seen = 0;
    for text in PARTS.iter().map(|(.., text)| *text).chain([PAGE]) {
        for reference in references(text) {
            seen += 1;
            let path = reference.replace("./", "/console/");
            assert!(has(&path), "{reference}");
        }
        for foreign in [
            "https://",
            " style=\"",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "onclick=",
            "eval(",
            "@import",
            "url(",
        ] {
            assert!(!text.contains(foreign), "{foreign}");
        }
    }
    assert!(seen >= 6, "the test looks at nothing");
}

#[test]
fn only_a_playground_shows_try_it_and_opens_the_policy_for_its_sockets() {
    let (playground, _) = playground();
    let policy = |one| policy(one).to_str().unwrap().to_owned();
    assert!(policy(None).starts_with("default-src 'none'; script-src 'self';"));
    assert!(policy(None).contains("connect-src 'self';"));
    assert!(policy(Some(&playground)).contains("connect-src 'self' ws://127.0.0.1:8080;"));
    assert!(!page(None).contains("data-try") && page(Some(&playground)).contains("data-try"));
}
