//! Fetching from an issuer that is slow, huge, broken or lies, over real sockets.

use super::{FetchError, JwksRefresher, JwksUrl, fetch::Client, refresher::RETRY_MAX};
use crate::{
    auth::{Algorithm, Auth, JwtSettings, JwtVerifier, KeySource, Reject},
    metrics::Metrics,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle;

/// The key of RFC 8037, A.2.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// An issuer that answers every request with the same bytes, and then closes.
struct Issuer {
    url: JwksUrl,
    asked: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Issuer {
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut stream| {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let _ = stream.write_all(&answer).await;
            })
        })
        .await
    }

    async fn start(serve: impl Fn(TcpStream) -> JoinHandle<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                assert!(request.starts_with("GET /keys?v=1 HTTP/1.1\r\n"), "{request}");
                assert!(request.to_lowercase().contains(&format!("host: 127.0.0.1:{port}\r\n")));
                serve(stream);
            }
        });
        let url = format!("http://127.0.0.1:{port}/keys?v=1").parse().unwrap();
        Self { url, asked, _task: AbortOnDropHandle::new(task) }
    }

    async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        Client::default().fetch(&self.url).await
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes()
}

fn sized(body: &str) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {}", body.len()), body)
}

#[tokio::test]
async fn a_document_is_fetched_however_its_length_is_told() {
    let chunked = format!("{:x}\r\n{KEYS}\r\n0\r\n\r\n", KEYS.len());
    for answer in [
        sized(KEYS),
        answer("200 OK", KEYS),
        answer("200 OK\r\nTransfer-Encoding: chunked", &chunked),
        answer("200 OK\r\nContent-Type: text/html", KEYS),
    ] {
        assert_eq!(Issuer::saying(answer).await.fetch().await.unwrap(), KEYS.as_bytes());
    }
}

#[tokio::test]
async fn an_answer_of_64_kib_is_read_and_one_byte_more_is_not() {
    let full = "x".repeat(64 * 1024);
    assert_eq!(Issuer::saying(sized(&full)).await.fetch().await.unwrap().len(), 64 * 1024);
    let over = format!("{full}x");
    let announced = "200 OK\r\nContent-Length: 99999999999";
    for answer in [sized(&over), answer("200 OK", &over), answer(announced, &over)] {
        let error = Issuer::saying(answer).await.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Issuer::saying(sized(KEYS)).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let head = format!("{status}\r\nContent-Length: 0\r\nLocation: {}", elsewhere.url);
        let error = Issuer::saying(answer(&head, "")).await.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Redirect(_)), "{error}");
    }
    assert_eq!(elsewhere.asked.load(Relaxed), 0);
}

#[tokio::test]
async fn every_other_answer_is_an_error_of_its_own() {
    let long = format!("200 OK\r\nX: {}", "x".repeat(100_000));
    let many = format!("200 OK{}", "\r\nX: x".repeat(1000));
    for (answer, expected) in [
        (answer("500 Oops\r\nContent-Length: 0", ""), "the answer is 500"),
        (answer("404 Not Found\r\nContent-Length: 0", ""), "the answer is 404"),
        (answer("204 No Content", ""), "the answer is 204"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "the answer is not HTTP"),
        (Vec::new(), "the answer is not HTTP"),
        (vec![0xff; 100_000], "the answer is not HTTP"),
        (answer(&long, KEYS), "the answer is not HTTP"),
        (answer(&many, KEYS), "the answer is not HTTP"),
        (answer("200 OK\r\nContent-Length: 5000", KEYS), "the answer is not HTTP, or not whole"),
        (answer("200 OK\r\nContent-Length: x", KEYS), "the answer is not HTTP"),
    ] {
        let error = Issuer::saying(answer).await.fetch().await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
    // Bound, and not listening: as long as it is kept, nobody else can listen there.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/keys", nobody.local_addr().unwrap()).parse().unwrap();
    let error = Client::default().fetch(&url).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)), "{error}");
}

#[tokio::test]
async fn an_issuer_that_hangs_or_drips_is_given_up_after_two_seconds() {
    let silent = Issuer::start(|stream| {
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
    })
    .await;
    let dripping = Issuer::start(|mut stream| {
        tokio::spawn(async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    })
    .await;
    let start = Instant::now();
    let (silent, dripping) = tokio::join!(silent.fetch(), dripping.fetch());
    assert!(matches!((silent, dripping), (Err(FetchError::Timeout), Err(FetchError::Timeout))));
    assert!((1.9..5.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_issuer_without_tls_where_tls_is_demanded_is_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(&sized(KEYS)).await;
    };
    let mut client = Client::default();
    let (fetched, ()) = tokio::join!(client.fetch(&url), serve);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::Tls(_) | FetchError::NoRoots), "{error}");
}

fn refresher(url: &JwksUrl) -> (Arc<Auth>, JwksRefresher, Metrics) {
    let settings = JwtSettings {
        algorithms: vec![Algorithm::EdDSA],
        audience: Vec::new(),
        issuer: Vec::new(),
        user_claim: "sub".to_owned(),
        leeway: Duration::ZERO,
        key: KeySource::Jwks(url.clone()),
    };
    let jwt = JwtVerifier::new(settings).unwrap();
    let auth = Arc::new(Auth::new(Vec::new(), Reject::Status, Some(jwt), Vec::new()));
    let metrics = Metrics::new(1, &[]);
    let refresher = JwksRefresher::new(Arc::clone(auth.key_set().unwrap()), metrics.jwks.clone());
    (auth, refresher, metrics)
}

#[tokio::test]
async fn what_was_fetched_is_counted_and_used_and_a_failure_takes_nothing_away() {
    let issuer = Issuer::saying(sized(KEYS)).await;
    let (auth, mut refresher, metrics) = refresher(&issuer.url);
    let keys = auth.key_set().unwrap();
    assert!(keys.missing().is_some());
    for (fetched, counts) in [
        (Err(FetchError::TooLarge), (0, 1)),
        (Ok(b"{}".to_vec()), (0, 2)),
        (issuer.fetch().await, (1, 2)),
        (issuer.fetch().await, (2, 2)),
        (Err(FetchError::Timeout), (2, 3)),
    ] {
        keys.begin();
        refresher.settle(fetched);
        assert_eq!((metrics.jwks.fetched.get(), metrics.jwks.failed.get()), counts);
        assert_eq!(keys.missing().is_none(), counts.0 > 0);
    }
}

#[tokio::test]
async fn failures_are_followed_by_growing_pauses_and_success_by_five_minutes() {
    let (_auth, mut refresher, _metrics) = refresher(&"http://127.0.0.1:9/".parse().unwrap());
    for (failures, longest) in [(0, 300), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)]
    {
        refresher.failures = failures;
        let longest = Duration::from_secs(longest);
        let pauses: Vec<_> = (0..100).map(|_| refresher.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause <= longest && *pause >= longest.mul_f64(0.8)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "no jitter");
    }
    assert_eq!(RETRY_MAX, Duration::from_secs(60));
}
