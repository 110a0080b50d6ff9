//! Redis is killed, hangs, is full or not there yet.

use super::*;

#[tokio::test]
async fn after_a_kill_and_a_restart_a_gap_stands_before_the_new_messages() {
    let mut server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.publish("a", "before");
    assert_eq!(rig.event().await, "a=before");
    server.kill();
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    rig.until_down("").await;
    server.restart();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    server.publish("a", "after");
    assert_eq!(rig.event().await, "lost 1");
    assert_eq!(rig.event().await, "gap a redis_reconnected");
    assert_eq!(rig.event().await, "a=after");
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 1);
    assert!(rig.metrics.upstream.outage_seconds.get() > 0.0);
}

#[tokio::test]
async fn a_hung_redis_is_noticed_and_delivers_again_soon_after_it_wakes() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.signal(Signal::STOP);
    let hung = Instant::now();
    rig.until_down("no answer within 1s").await;
    assert!(hung.elapsed() < Duration::from_secs(5), "{:?}", hung.elapsed());
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    sleep(Duration::from_secs(1)).await;
    server.signal(Signal::CONT);
    let woken = Instant::now();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    assert!(woken.elapsed() < Duration::from_secs(2), "{:?}", woken.elapsed());
    rig.until_up().await;
}

#[tokio::test]
async fn five_thousand_channels_come_back_each_time_and_nothing_leaks() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    let channels = numbered(5_000);
    rig.join(&channels).await;
    assert!(
        rig.subscription_event(5_000)
            .await
            .iter()
            .all(|it| matches!(it, SubscriptionEvent::Confirmed(_)))
    );
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for round in 1..=5 {
        server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let lost = rig.subscription_event(1).await;
        assert!(matches!(&lost[..], [SubscriptionEvent::Lost(all)] if all.len() == 5_000));
        assert_eq!(rig.subscription_event(5_000).await.len(), 5_000);
        rig.until_up().await;
        assert_eq!(server.subscribers(&channels), 5_000);
        assert_eq!(rig.metrics.upstream.reconnects.get(), round);
        while rig.shard.ring.try_recv().is_some() {}
    }
    eventually("old connections are closed", || server.connections() == 2).await;
    let now = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    eventually("their tasks have ended", || now() <= tasks).await;
}

#[tokio::test]
async fn a_full_redis_is_dialled_at_most_ten_times_in_ten_seconds() {
    let server = Server::start(&["--maxclients", "1"]);
    // Takes the only place, once the connection that waited for the start is gone.
    let only = loop {
        let stream = UnixStream::connect(server.socket()).unwrap();
        if call(&stream, &["PING"]) == ["PONG"] {
            break stream;
        }
    };
    let rejected = || -> usize {
        let stats = call(&only, &["INFO", "stats"]).remove(0);
        let count = stats.lines().find_map(|line| line.strip_prefix("rejected_connections:"));
        count.unwrap().parse().unwrap()
    };
    let before = rejected();
    let began = Instant::now();
    let mut rig = Rig::start(settings(&server));
    rig.until_down("").await;
    sleep(Duration::from_secs(10)).await;
    let dials = rejected() - before;
    // On a busy machine it was longer than ten seconds.
    let seconds = began.elapsed().as_secs_f64();
    assert!(dials >= 3 && dials as f64 <= seconds.max(10.0), "{dials} dials in {seconds} s");
    assert_eq!(call(&only, &["CONFIG", "SET", "maxclients", "100"]), ["OK"]);
    rig.until_up().await;
}

#[tokio::test]
async fn a_gateway_that_starts_before_redis_is_ready_when_redis_is() {
    let mut server = Server::start(&[]);
    server.kill();
    let mut rig = Rig::start(settings(&server));
    rig.until_down("No such file").await;
    rig.join(&["a".to_owned()]).await;
    let refused = SubscriptionEvent::Rejected(name("a"), RejectedBy::LinkDown);
    assert_eq!(rig.subscription_event(1).await, [refused]);
    server.restart();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    rig.until_up().await;
}
