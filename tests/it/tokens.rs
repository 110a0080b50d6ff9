//! Authentication: where a token may be sent, and which tokens are accepted.

use crate::rig::{
    Client, Frame, Gateway, Redis, Request, Settings,
    settings::notifications,
    token::{self, SECRET, now, signed},
};
use serde_json::{Value, json};

const STATIC_TOKEN: &str = "a-static-token-that-is-long-enough";

fn start_with(change: impl FnOnce(Settings) -> Settings) -> (Redis, Gateway) {
    let redis = Redis::start();
    let settings = Settings::new(&redis).endpoint(notifications());
    let gateway = Gateway::start(&change(settings));
    (redis, gateway)
}

fn start() -> (Redis, Gateway) {
    start_with(|settings| settings.static_token(STATIC_TOKEN, "bot"))
}

/// The request is accepted, as `user`.
#[track_caller]
fn assert_is(redis: &Redis, gateway: &Gateway, request: &Request, user: &str) {
    let mut client = Client::open(gateway.address, request);
    assert_eq!(redis.publish(&format!("user:{user}"), "for you"), 1);
    assert_eq!(client.text(), "for you");
}

#[test]
fn a_token_may_stand_in_the_query_the_header_or_the_subprotocol() {
    let (redis, gateway) = start();
    for token in [token::of("bot"), STATIC_TOKEN.to_owned()] {
        let by_query = Request::upgrade(&format!("/ws/me?x=1&token={token}"));
        let by_header = Request::upgrade("/ws/me").bearer(&token);
        let lower = Request::upgrade("/ws/me").header("authorization", &format!("bearer {token}"));
        for request in [by_query, by_header, lower] {
            assert_is(&redis, &gateway, &request, "bot");
        }
        let by_subprotocol = Request::upgrade("/ws/me")
            .header("Sec-WebSocket-Protocol", &format!("bearer, {token}"));
        assert_is(&redis, &gateway, &by_subprotocol, "bot");
    }
}

#[test]
fn a_bearer_subprotocol_is_answered_by_bearer_alone() {
    let (_redis, gateway) = start();
    let request = Request::upgrade("/ws/me")
        .header("Sec-WebSocket-Protocol", &format!("bearer, {}", token::of("ann")));
    let client = Client::open(gateway.address, &request);
    assert_eq!(client.answer.header("sec-websocket-protocol"), Some("bearer"));

    let without = Client::open(gateway.address, &Request::upgrade("/ws/me").bearer(STATIC_TOKEN));
    assert_eq!(without.answer.header("sec-websocket-protocol"), None);
}

#[test]
fn a_cookie_is_a_source_only_where_it_is_configured() {
    let (redis, gateway) = start_with(|settings| {
        settings
            .set("auth.sources", vec!["cookie:session", "header"])
            .set("server.allowed_origins", vec!["https://shop.example"])
    });
    let cookie = format!("theme=dark; session={}; lang=de", token::of("ann"));
    let request = Request::upgrade("/ws/me").header("Cookie", &cookie);
    let request = request.header("Origin", "https://shop.example");
    assert_is(&redis, &gateway, &request, "ann");

    let by_query = Request::upgrade(&format!("/ws/me?token={}", token::of("ann")));
    gateway.send(&by_query).assert_refused(401, "token_missing");

    let (_redis, other) = start();
    let request = Request::upgrade("/ws/me").header("Cookie", &cookie);
    other.send(&request).assert_refused(401, "token_missing");
}

#[test]
fn two_different_tokens_in_one_request_are_400_and_the_same_one_twice_is_fine() {
    let (redis, gateway) = start();
    let (ann, bob) = (token::of("ann"), token::of("bob"));
    let subprotocol = |token: &str| format!("bearer, {token}");
    for request in [
        Request::upgrade(&format!("/ws/me?token={ann}")).bearer(&bob),
        Request::upgrade(&format!("/ws/me?token={ann}&token={bob}")),
        Request::upgrade("/ws/me").bearer(&ann).bearer(&bob),
        Request::upgrade("/ws/me")
            .bearer(&ann)
            .header("Sec-WebSocket-Protocol", &subprotocol(&bob)),
        Request::upgrade(&format!("/ws/me?token={ann}")).bearer("garbage"),
    ] {
        gateway.send(&request).assert_refused(400, "token_conflict");
    }
    let twice = Request::upgrade(&format!("/ws/me?token={ann}"))
        .bearer(&ann)
        .header("Sec-WebSocket-Protocol", &subprotocol(&ann));
    assert_is(&redis, &gateway, &twice, "ann");
}

#[test]
fn no_token_is_401_with_a_challenge() {
    let (_redis, gateway) = start();
    for request in [
        Request::upgrade("/ws/me"),
        Request::upgrade("/ws/me?other=x"),
        Request::upgrade("/ws/me").header("Authorization", "Basic YTpi"),
        Request::upgrade("/ws/me").header("Sec-WebSocket-Protocol", "chat"),
    ] {
        gateway.send(&request).assert_refused(401, "token_missing");
    }
    // An empty token was meant to be a token.
    let empty = Request::upgrade("/ws/me?token=");
    gateway.send(&empty).assert_refused(401, "token_invalid");
}

/// Tokens that must never be accepted, each with what is wrong with it.
fn forged() -> Vec<(&'static str, String)> {
    let claims = json!({"sub": "ann", "exp": now() + 600});
    let good = token::of("ann");
    let (body, signature) = good.rsplit_once('.').expect("three parts");
    let header = |header: Value| token::made(&header, &claims, SECRET.as_bytes());
    let with = |claims: Value| signed(&claims);
    vec![
        ("alg none", header(json!({"alg": "none"}))),
        ("alg none, unsigned", {
            let token = header(json!({"alg": "none"}));
            format!("{}.", token.rsplit_once('.').expect("three parts").0)
        }),
        ("alg not listed", header(json!({"alg": "HS512"}))),
        ("alg of another family", header(json!({"alg": "RS256"}))),
        ("alg missing", header(json!({"typ": "JWT"}))),
        ("another key", token::made(&json!({"alg": "HS256"}), &claims, b"another key")),
        ("no key", token::made(&json!({"alg": "HS256"}), &claims, b"")),
        ("no signature", format!("{body}.")),
        ("two parts", body.to_owned()),
        ("four parts", format!("{good}.x")),
        ("a cut signature", good[..good.len() - 2].to_owned()),
        ("a flipped signature", format!("{body}.{}", flip(signature))),
        ("not base64", "a.b!.c".to_owned()),
        ("garbage", "garbage".to_owned()),
        ("no exp", with(json!({"sub": "ann"}))),
        ("exp as text", with(json!({"sub": "ann", "exp": (now() + 600).to_string()}))),
        ("nbf ahead", with(json!({"sub": "ann", "exp": now() + 900, "nbf": now() + 600}))),
        ("no sub", with(json!({"exp": now() + 600}))),
        ("sub as a list", with(json!({"sub": ["ann"], "exp": now() + 600}))),
        ("sub as null", with(json!({"sub": null, "exp": now() + 600}))),
        ("claims that are no object", with(json!(["ann"]))),
    ]
}

fn flip(signature: &str) -> String {
    let first = if signature.starts_with('A') { "B" } else { "A" };
    format!("{first}{}", &signature[1..])
}

#[test]
fn tokens_that_do_not_verify_are_401_whatever_is_wrong_with_them() {
    let (_redis, gateway) = start();
    for (what, token) in forged() {
        let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&token));
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        answer.assert_refused(401, "token_invalid");
        assert!(!answer.text().contains(&token), "{what} is echoed");
    }
}

#[test]
fn the_log_says_why_a_token_was_refused_and_once_for_each_cause() {
    let (_redis, gateway) = start_with(|settings| {
        settings.set("auth.jwt.audience", vec!["shop"]).set("auth.jwt.issuer", vec!["https://id"])
    });
    let with = |more: Value| {
        let mut claims =
            json!({"sub": "ann", "exp": now() + 600, "aud": "shop", "iss": "https://id"});
        let members = claims.as_object_mut().expect("an object");
        members.extend(more.as_object().expect("an object").clone());
        signed(&claims)
    };
    let good = with(json!({}));
    gateway.open_with(&good, "/ws/me");
    let (body, signature) = good.rsplit_once('.').expect("three parts");
    let header = |header: Value| token::made(&header, &json!({}), SECRET.as_bytes());
    for (token, cause) in [
        ("garbage".to_owned(), "the token is no JWT"),
        (header(json!({"alg": "none"})), "none of auth.jwt.algorithms"),
        (header(json!({"alg": "HS256", "crit": ["b64"]})), "the token's header"),
        (format!("{body}.{}", flip(signature)), "the token's signature is wrong"),
        (signed(&json!(["ann"])), "the token's claims"),
        (with(json!({"exp": "soon"})), "\\\"exp\\\" is missing, or no time"),
        (with(json!({"nbf": "soon"})), "\\\"nbf\\\" is no time"),
        (with(json!({"nbf": now() + 500})), "\\\"nbf\\\" is still to come"),
        (with(json!({"iss": "https://elsewhere"})), "none of auth.jwt.issuer"),
        (with(json!({"aud": "desk"})), "none of auth.jwt.audience"),
        (with(json!({"sub": null})), "auth.jwt.user_claim"),
        (with(json!({"exp": now() - 600})), "the token has expired"),
        (String::new(), "no token where auth.sources look"),
    ] {
        let request = Request::upgrade("/ws/me");
        let request = if token.is_empty() { request } else { request.bearer(&token) };
        for _ in 0..3 {
            assert_eq!(gateway.send(&request).status, 401, "{cause}");
        }
        let log = &gateway.process.stderr;
        log.wait_for(cause, |line| line.contains(cause).then_some(()));
        let lines: Vec<_> = log.all().into_iter().filter(|line| line.contains(cause)).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(token.is_empty() || !lines[0].contains(&token), "{cause}: it is in the log");
    }
}

#[test]
fn headers_that_name_keys_are_not_followed() {
    let (redis, gateway) = start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
    listener.set_nonblocking(true).expect("an option");
    for header in [
        json!({"alg": "HS256", "jku": url}),
        json!({"alg": "HS256", "x5u": url}),
        json!({"alg": "HS256", "kid": "../../../../etc/passwd"}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "YW5vdGhlciBrZXk"}}),
    ] {
        let claims = json!({"sub": "ann", "exp": now() + 60});
        let forged = token::made(&header, &claims, b"another key");
        let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&forged));
        answer.assert_refused(401, "token_invalid");
        let good = token::made(&header, &claims, SECRET.as_bytes());
        assert_is(&redis, &gateway, &Request::upgrade("/ws/me").bearer(&good), "ann");
    }
    assert!(listener.accept().is_err(), "nobody was asked for keys");
}

#[test]
fn an_expired_token_has_its_own_code_and_the_leeway_is_kept() {
    let (_redis, gateway) = start_with(|settings| settings.set("auth.jwt.leeway", "30s"));
    let expired = |ago: i64| signed(&json!({"sub": "ann", "exp": now() - ago}));
    let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&expired(60)));
    answer.assert_refused(401, "token_expired");
    gateway.open_with(&expired(10), "/ws/me");
}

#[test]
fn audience_and_issuer_are_checked_where_configured() {
    let (_redis, gateway) = start_with(|settings| {
        settings
            .set("auth.jwt.audience", vec!["shop", "desk"])
            .set("auth.jwt.issuer", vec!["https://id.example"])
    });
    let claims = |aud: Value, iss: Value| {
        signed(&json!({"sub": "ann", "exp": now() + 60, "aud": aud, "iss": iss}))
    };
    let issuer = json!("https://id.example");
    for aud in [json!("shop"), json!("desk"), json!(["other", "desk"])] {
        gateway.open_with(&claims(aud, issuer.clone()), "/ws/me");
    }
    for token in [
        claims(json!("other"), issuer.clone()),
        claims(json!([]), issuer),
        claims(json!("shop"), json!("https://evil.example")),
        claims(json!("shop"), json!(null)),
        signed(&json!({"sub": "ann", "exp": now() + 60})),
    ] {
        let answer = gateway.send(&Request::upgrade("/ws/me").bearer(&token));
        answer.assert_refused(401, "token_invalid");
    }
}

#[test]
fn another_claim_can_name_the_user() {
    let (redis, gateway) = start_with(|settings| settings.set("auth.jwt.user_claim", "uid"));
    let token = signed(&json!({"sub": "nobody", "uid": "ann", "exp": now() + 60}));
    assert_is(&redis, &gateway, &Request::upgrade("/ws/me").bearer(&token), "ann");
}

#[test]
fn with_reject_close_a_refusal_is_told_by_a_close_code_and_never_subscribes() {
    let (redis, gateway) = start_with(|settings| {
        settings
            .set("auth.reject", "close")
            .set("server.allowed_origins", vec!["https://shop.example"])
    });
    let mut monitor = redis.connect().monitor();
    let expired = signed(&json!({"sub": "ann", "exp": now() - 600}));
    let good = || Request::upgrade("/ws/me").bearer(&token::of("ann"));
    for (request, code, reason) in [
        (Request::upgrade("/ws/me"), 3000, "token_missing"),
        (Request::upgrade("/ws/me").bearer("garbage"), 3000, "token_invalid"),
        (Request::upgrade("/ws/me").bearer(&expired), 3000, "token_expired"),
        (Request::upgrade("/ws/me").bearer(&token::of("a:b")), 3003, "forbidden"),
        (good().header("Origin", "https://evil.example"), 3003, "forbidden"),
    ] {
        let mut client = Client::open(gateway.address, &request);
        client.assert_closed(code, reason);
    }
    let subprotocol =
        Request::upgrade("/ws/me").header("Sec-WebSocket-Protocol", "bearer, garbage");
    let mut client = Client::open(gateway.address, &subprotocol);
    assert_eq!(client.answer.header("sec-websocket-protocol"), Some("bearer"));
    assert_eq!(client.frame(), Frame::Close(3000, "token_invalid".to_owned()));

    gateway.send(&Request::upgrade("/nowhere")).assert_refused(404, "not_found");
    redis.command(&["ECHO", "nothing more"]);
    let seen = monitor.up_to("nothing more").join("\n").to_ascii_lowercase();
    assert!(!seen.contains("subscribe"), "{seen}");
    Client::open(gateway.address, &good().header("Origin", "https://shop.example"));
}

#[test]
fn an_open_endpoint_does_not_even_look_at_a_token() {
    let redis = Redis::start();
    let gateway = Gateway::start(&Settings::new(&redis).endpoint(crate::rig::settings::rooms()));
    Client::open(gateway.address, &Request::upgrade("/ws/rooms/1?token=a").bearer("b"));
}
