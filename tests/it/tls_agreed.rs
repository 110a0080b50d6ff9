//! What client and gateway negotiate in the TLS handshake: protocol, version, resumption.

use crate::rig::{Certificate, Gateway, Redis, Request, Settings, Wss, http, settings::rooms};
use rustls::{
    ALL_VERSIONS, AlertDescription, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion,
    StreamOwned, SupportedProtocolVersion, version,
};
use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

struct Tls {
    redis: Redis,
    gateway: Gateway,
    certificate: Certificate,
    files: TempDir,
}

fn start() -> Tls {
    let redis = Redis::start();
    let files = tempfile::tempdir().expect("a directory");
    let certificate = Certificate::make(files.path(), "first");
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let settings = Settings::new(&redis)
        .endpoint(rooms())
        .set("server.tls.cert_file", path(&certificate.certificate))
        .set("server.tls.key_file", path(&certificate.key));
    let gateway = Gateway::start(&settings);
    Tls { redis, gateway, certificate, files }
}

/// What was negotiated by a connection that got its 101.
#[derive(Debug, PartialEq, Eq)]
struct Agreed {
    protocol: Option<String>,
    version: ProtocolVersion,
    resumed: bool,
}

/// Opens a WebSocket with rustls alone, and disconnects.
fn visit(gateway: &Gateway, config: &Arc<ClientConfig>) -> io::Result<Agreed> {
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, http::connect(gateway.address));
    stream.write_all(&Request::upgrade("/ws/rooms/1").encode())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let protocol = stream.conn.alpn_protocol();
    Ok(Agreed {
        protocol: protocol.map(|it| String::from_utf8_lossy(it).into_owned()),
        version: stream.conn.protocol_version().expect("agreed"),
        resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
    })
}

#[test]
fn http_1_1_is_agreed_on_with_whoever_offers_it_and_who_offers_nothing_is_served() {
    let tls = start();
    for (offered, agreed) in [
        (&[] as &[&str], None),
        (&["http/1.1"], Some("http/1.1")),
        (&["h2", "http/1.1"], Some("http/1.1")),
    ] {
        let mut config = tls.certificate.trusted(ALL_VERSIONS);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let visited = visit(&tls.gateway, &Arc::new(config)).expect("101");
        assert_eq!(visited.protocol.as_deref(), agreed, "{offered:?}");
    }
}

#[test]
fn a_client_that_speaks_only_h2_is_refused_by_the_alert_that_says_so() {
    let tls = start();
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let mut config = tls.certificate.trusted(versions);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let error = visit(&tls.gateway, &Arc::new(config)).expect_err("refused");
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let expected = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(alert, Some(&expected), "{error}");
    }
    let client = Command::new("openssl")
        .args(["s_client", "-alpn", "h2", "-connect", &tls.gateway.address.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&client.stderr).into_owned();
    assert!(!client.status.success() && said.contains("no application protocol"), "{said}");
}

fn twice(gateway: &Gateway, config: &Arc<ClientConfig>) -> [(ProtocolVersion, bool); 2] {
    [0, 1].map(|_| {
        let agreed = visit(gateway, config).expect("101");
        (agreed.version, agreed.resumed)
    })
}

#[test]
fn a_client_that_comes_back_resumes_and_after_a_renewal_shakes_hands_anew() {
    let tls = start();
    let second = Certificate::make(tls.files.path(), "second");
    let first = Certificate {
        certificate: tls.files.path().join("first-copy.pem"),
        key: tls.certificate.key.clone(),
    };
    fs::copy(&tls.certificate.certificate, &first.certificate).expect("copied");
    let trusting = |versions: &[&'static SupportedProtocolVersion]| {
        Arc::new(Certificate::all_trusted(&[&first, &second], versions))
    };
    let clients = [
        (ProtocolVersion::TLSv1_2, trusting(&[&version::TLS12])),
        (ProtocolVersion::TLSv1_3, trusting(&[&version::TLS13])),
    ];
    for (version, client) in &clients {
        let expected = [(*version, false), (*version, true)];
        assert_eq!(twice(&tls.gateway, client), expected, "a ticket of the first certificate");
    }
    let mut open =
        Wss::open(tls.gateway.address, "/ws/rooms/1", first.trusted(ALL_VERSIONS)).expect("101");

    fs::copy(&second.certificate, &tls.certificate.certificate).expect("renewed");
    fs::copy(&second.key, &tls.certificate.key).expect("renewed");
    assert!(tls.gateway.hang_up());
    for (version, client) in &clients {
        // The old ticket is ignored, and does no harm.
        let expected = [(*version, false), (*version, true)];
        assert_eq!(twice(&tls.gateway, client), expected, "then one of the second");
    }
    tls.redis.publish("room:1", "still here");
    assert_eq!(open.text(), "still here");
}

#[test]
fn openssl_resumes_as_well() {
    let tls = start();
    let session = tls.files.path().join("session");
    let visit = |version: &str, by: &str| {
        let mut client = Command::new("openssl")
            .args(["s_client", version, "-ign_eof", by])
            .arg(&session)
            .args(["-connect", &tls.gateway.address.to_string(), "-CAfile"])
            .arg(&tls.certificate.certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        // The answer is 404 and the end; by then the ticket of TLS 1.3 has arrived.
        let request = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.stdin.as_mut().expect("piped").write_all(request).expect("taken");
        let output = client.wait_with_output().expect("an end");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (first, second) = (visit(version, "-sess_out"), visit(version, "-sess_in"));
        assert!(first.contains(&format!("New, {name}")), "{first}");
        assert!(second.contains(&format!("Reused, {name}")), "{second}");
        assert!(second.contains("HTTP/1.1 404 "), "{second}");
    }
}
