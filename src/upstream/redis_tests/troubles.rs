//! Servers that complain, hang up, are demoted or change their password.

use super::*;

/// A server that listens on TCP too, and its port, which stays its own while the server is away.
fn on_tcp() -> (Server, HeldPort) {
    let held = HeldPort::new().unwrap();
    (Server::start(&["--port", &held.address().port().to_string()]), held)
}

fn tcp_settings(server: &Server, held: &HeldPort) -> config::Redis {
    let port = held.address().port();
    let address = RedisAddress::Tcp { host: "localhost".to_owned(), port, tls: false };
    config::Redis { address, ..settings(server) }
}

impl Rig {
    /// Asserts that it was up for this long.
    async fn stays_up(&mut self, time: Duration) {
        let down = self.status.wait_for(|status| status.link != LinkStatus::Up);
        if let Ok(status) = timeout(time, down).await {
            panic!("{:?}", status.unwrap().link);
        }
        assert_eq!(self.metrics.upstream.reconnects.get(), 0);
    }
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_ready_all_the_same() {
    let server = Server::start(&["--enable-protected-configs", "yes"]);
    let mut rig = Rig::up(&server).await;
    // Without its directory it cannot save.
    let gone = server.directory().join("gone");
    std::fs::create_dir(&gone).unwrap();
    server.call(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
    server.call(&["CONFIG", "SET", "save", "1 1"]);
    std::fs::remove_dir(gone).unwrap();
    server.call(&["BGSAVE"]);
    eventually("it complains", || server.call(&["PING"])[0].starts_with("MISCONF")).await;
    rig.stays_up(Duration::from_secs(3)).await;
    let mut fresh = Rig::up(&server).await;
    fresh.joined("a").await;
    server.publish("a", "still here");
    assert_eq!(fresh.event().await, "a=still here");
}

#[tokio::test]
async fn while_redis_loads_its_data_it_is_subscribed_already() {
    let slow = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Server::start(&slow);
    let script = "for i = 1, 7500 do redis.call('set', i, string.rep('x', 100)) end";
    server.call(&["EVAL", script, "0"]);
    server.call(&["SAVE"]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.kill();
    rig.until_down("").await;
    server.restart();
    let lost_and_back = rig.subscription_event(2).await;
    assert_eq!(lost_and_back[1], SubscriptionEvent::Confirmed(name("a")));
    assert!(server.call(&["PING"])[0].starts_with("LOADING"), "it loads for fifteen seconds");
    rig.until_up().await;
    assert!(server.call(&["PING"])[0].starts_with("LOADING"), "and is proven meanwhile");
}

#[tokio::test]
async fn while_a_script_keeps_redis_busy_joins_wait_and_the_link_stays() {
    let server = Server::start(&["--busy-reply-threshold", "50"]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    let script = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 3 do end";
    let client = UnixStream::connect(server.socket()).unwrap();
    let running = std::thread::spawn(move || call(&client, &["EVAL", script, "0"]));
    eventually("it is busy", || server.call(&["PING"])[0].starts_with("BUSY")).await;
    rig.request(vec![Request::Unsubscribe(name("a")), Request::Subscribe(name("b"))]).await;
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("b"))]);
    running.join().unwrap();
    // Nothing was published meanwhile, so a canary may have failed.
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
    server.publish("b", "still here");
    assert_eq!(rig.event().await, "b=still here");
}

#[tokio::test]
async fn a_link_without_channels_that_redis_closes_for_idleness_costs_no_readiness() {
    let server = Server::start(&["--timeout", "1"]);
    let mut rig = Rig::start(config::Redis {
        // Longer than Redis waits, and nothing of our own on the link.
        probe_interval: Duration::from_secs(5),
        probe_channel: None,
        control_channel: None,
        ..settings(&server)
    });
    rig.until_up().await;
    let outage = rig.metrics.upstream.outage_seconds.get();
    let id = || {
        let clients = server.call(&["CLIENT", "LIST"]).remove(0);
        let ours = clients.lines().find(|line| line.contains("name=sockway"));
        ours.and_then(|line| line.split(' ').next()).map(str::to_owned)
    };
    for _ in 0..2 {
        let before = id();
        eventually("it is dialled again", || id().is_some() && id() != before).await;
    }
    rig.stays_up(Duration::from_millis(500)).await;
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}

#[tokio::test]
async fn a_publisher_that_redis_closes_for_idleness_is_dialled_again_without_a_word() {
    let server = Server::start(&["--timeout", "1"]);
    let probe_interval = Duration::from_secs(3);
    let mut rig = Rig::start(config::Redis { probe_interval, ..settings(&server) });
    rig.until_up().await;
    let outage = rig.metrics.upstream.outage_seconds.get();
    eventually("only the subscriber is left", || server.connections() == 1).await;
    rig.stays_up(Duration::from_secs(5)).await;
    assert_eq!(rig.metrics.upstream.outage_seconds.get(), outage);
}

#[tokio::test]
async fn a_publisher_that_redis_kills_now_and_then_costs_no_readiness() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    for _ in 0..20 {
        server.call(&["CLIENT", "KILL", "TYPE", "normal"]);
        rig.stays_up(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn a_password_that_changes_is_used_at_the_next_dial_by_both_connections() {
    let server = Server::start(&["--requirepass", "old"]);
    let password = |text: &str| Some(Secret::new(text.to_owned()));
    let mut rig = Rig::start(config::Redis { password: password("old"), ..settings(&server) });
    rig.until_up().await;
    let admin = UnixStream::connect(server.socket()).unwrap();
    call(&admin, &["AUTH", "old"]);
    call(&admin, &["CONFIG", "SET", "requirepass", "a \"new\"\tone"]);
    rig.credentials.replace(Login { username: None, password: password("a \"new\"\tone") });
    rig.stays_up(Duration::from_secs(2)).await;
    call(&admin, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    call(&admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    rig.until_down("").await;
    rig.until_up().await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_left_for_the_one_it_names() {
    let ((old, old_port), (new, new_port)) = (on_tcp(), on_tcp());
    let mut rig = Rig::start(tcp_settings(&old, &old_port));
    rig.until_up().await;
    rig.joined("a").await;
    old.call(&["REPLICAOF", "127.0.0.1", &new_port.address().port().to_string()]);
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    // Of the new one itself, of which the old one is a replica.
    assert_eq!(new.subscribers(&["a".to_owned()]), 1);
    new.publish("a", "from the new one");
    assert_eq!(rig.event().await, "lost 1");
    assert_eq!(rig.event().await, "gap a redis_moved");
    assert_eq!(rig.event().await, "a=from the new one");
    rig.until_up().await;
    let publishers = || new.call(&["CLIENT", "LIST"])[0].matches("cmd=publish").count();
    eventually("the canaries are published there too", || publishers() == 1).await;
}

#[tokio::test]
async fn without_the_right_to_role_it_is_ready() {
    let (server, port) = on_tcp();
    server.call(&["ACL", "SETUSER", "default", "-role"]);
    let mut rig = Rig::start(tcp_settings(&server, &port));
    rig.until_up().await;
    rig.stays_up(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn both_connections_use_the_configured_certificates() {
    let (files, port) = (tempfile::tempdir().unwrap(), HeldPort::new().unwrap());
    let port = port.address().port();
    let server = Server::with_certificates(files.path(), port);
    let url = format!(
        "url = \"rediss://localhost:{port}\"\n[redis.tls]\nca_file = \"ca.pem\"\n\
         cert_file = \"client.pem\"\nkey_file = \"client.key\""
    );
    let mut rig = Rig::start(configured(files.path(), &url));
    rig.until_up().await;
    rig.joined("a").await;
    server.publish("a", "sealed");
    assert_eq!(rig.event().await, "a=sealed");
}
