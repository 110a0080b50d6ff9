//! Bursts, shards that stand still, and how soon an outage is over.

use super::*;

/// Publishes numbered messages on `a`, as fast as Redis takes them.
fn burst(server: &Server, count: usize) -> std::thread::JoinHandle<()> {
    let socket = server.socket();
    std::thread::spawn(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        for from in (0..count).step_by(1_000) {
            let until = count.min(from + 1_000);
            let commands: Vec<_> =
                (from..until).flat_map(|n| command(&["PUBLISH", "a", &n.to_string()])).collect();
            stream.write_all(&commands).unwrap();
            (from..until).for_each(|_| read_reply(&mut replies, &mut Vec::new()));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_against_a_shard_that_stands_still_for_a_moment_is_not_lost() {
    // More than the ring holds, and so few that taking them needs little of the half second in which
    // reading may stop.
    const COUNT: usize = 20_000;
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    let publisher = burst(&server, COUNT);
    let pauses = rig.metrics.upstream.read_pauses.clone();
    eventually("reading stops", || pauses.get() >= 1).await;
    sleep(Duration::from_millis(150)).await;
    let (mut next, mut events) = (0, Vec::new());
    while next < COUNT {
        events.clear();
        timeout(PATIENCE, rig.shard.ring.recv_many(&mut events, 256)).await.unwrap().unwrap();
        for event in &events {
            let Event::Message(message) = event else { panic!("{event:?}") };
            assert_eq!(message.payload(), next.to_string().as_bytes());
            next += 1;
        }
    }
    publisher.join().unwrap();
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_stands_still_for_long_is_told_once_and_redis_keeps_the_link() {
    const COUNT: usize = 150_000;
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    burst(&server, COUNT).join().unwrap();
    let messages = rig.metrics.upstream.messages.clone();
    eventually("all is read although nobody takes it", || messages.get() == COUNT as u64).await;
    let first = rig.shard.ring.recv().await.unwrap_err();
    assert!(matches!(first, crate::bus::RingError::Lagged(_)), "{first}");
    let mut seen = 0;
    while rig.event().await != format!("a={}", COUNT - 1) {
        seen += 1;
    }
    assert_eq!(seen, 16_384 - 1);
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}

/// How long after Redis's first answer the channel is confirmed again.
async fn back_after(outage: Duration) -> Duration {
    let mut server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    server.kill();
    assert_eq!(rig.subscription_event(1).await, [lost(&["a"])]);
    sleep(outage).await;
    // Returns when it answers.
    let server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let server = server.await.unwrap();
    let answers = Instant::now();
    assert_eq!(rig.subscription_event(1).await, [SubscriptionEvent::Confirmed(name("a"))]);
    drop(server);
    answers.elapsed()
}

async fn median_after(outage: Duration, times: usize) -> Duration {
    let outages = (0..times).map(|_| back_after(outage));
    let mut waits = futures_util::future::join_all(outages).await;
    waits.sort();
    println!("back after an outage of {outage:?}: {waits:?}");
    // Allows for a machine that is busy with other tests. With waits that double it would take longer.
    assert!(waits[times - 1] < Duration::from_secs(2), "{waits:?}");
    waits[times / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_subscribed_again_soon_after_redis_answers() {
    for outage in [1, 3, 10] {
        let median = median_after(Duration::from_secs(outage), 5).await;
        assert!(median < Duration::from_millis(500), "{median:?} after {outage} s");
    }
}

#[tokio::test]
async fn a_burst_arrives_whole_and_in_order() {
    let server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    rig.joined("a").await;
    let messages: Vec<_> = (0..10_000).map(|n: u32| n.to_string()).collect();
    let burst: Vec<_> = messages.iter().flat_map(|n| command(&["PUBLISH", "a", n])).collect();
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream.write_all(&burst).unwrap();
    for n in &messages {
        assert_eq!(rig.event().await, format!("a={n}"));
    }
    assert_eq!(rig.metrics.upstream.messages.get(), 10_000);
}

#[tokio::test]
async fn a_flood_longer_than_the_probes_timeout_is_not_taken_for_death() {
    // Else Redis would end a subscriber that is so far behind, which is another matter.
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let often = config::Redis { probe_interval: Duration::from_millis(200), ..settings(&server) };
    // By time and not by number: a slow machine publishes less, and what it reads late is no more.
    let lasts = 3 * often.probe_timeout;
    let mut rig = Rig::start(often);
    rig.until_up().await;
    rig.joined("a").await;
    let socket = server.socket();
    let flood = std::thread::spawn(move || {
        let burst = command(&["PUBLISH", "a", "0123456789abcdef"]).repeat(1_000);
        let mut stream = UnixStream::connect(socket).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        let (began, mut published) = (Instant::now(), 0);
        while began.elapsed() < lasts {
            stream.write_all(&burst).unwrap();
            (0..1_000).for_each(|_| read_reply(&mut replies, &mut Vec::new()));
            published += 1_000;
        }
        published
    });
    for channel in numbered(10) {
        rig.join(std::slice::from_ref(&channel)).await;
        let event = rig.subscription_event(1).await;
        let link = rig.status.borrow().link.clone();
        assert_eq!(event, [SubscriptionEvent::Confirmed(name(&channel))], "{link:?}");
    }
    eventually("the flood is over", || flood.is_finished()).await;
    let (published, messages) = (flood.join().unwrap(), rig.metrics.upstream.messages.clone());
    eventually("all of it has arrived", || messages.get() == published).await;
    rig.until_up().await;
    assert_eq!(rig.metrics.upstream.reconnects.get(), 0);
}
