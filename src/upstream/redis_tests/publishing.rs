//! What others publish, and what they are told came of it.

use super::*;
use crate::bus::{
    Destination, NotPublished, Publication, PublishAnswer, PublishHandle, Published, StreamWrite,
};

const PLAIN: StreamWrite = StreamWrite { keep_entries: None, expire_after: None, create: true };

fn to_channel(channel: &str, payload: &'static str) -> Publication {
    Publication { to: Destination::Channel(name(channel)), payload: payload.into() }
}

fn to_stream(stream: &str, write: StreamWrite) -> Publication {
    Publication { to: Destination::Stream(name(stream), write), payload: "x".into() }
}

async fn publish(handle: &PublishHandle, items: Vec<Publication>) -> Vec<PublishAnswer> {
    timeout(PATIENCE, handle.publish(items)).await.expect("in time")
}

async fn publish_one(handle: &PublishHandle, item: Publication) -> PublishAnswer {
    publish(handle, vec![item]).await.remove(0)
}

/// Publishes until the answer is this one, as a client would that tries again.
async fn publish_until(handle: &PublishHandle, rule: impl Fn(PublishAnswer) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = publish_one(handle, to_stream("s", PLAIN)).await;
        if rule(answer) {
            return;
        }
        assert!(Instant::now() < deadline, "still {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_batch_is_published_in_its_order_and_each_item_has_its_answer() {
    let server = Server::start(&[]);
    let prefix = "tenant:".to_owned();
    let mut rig = Rig::start(config::Redis { channel_prefix: prefix, ..settings(&server) });
    rig.until_up().await;
    rig.joined("a").await;
    let handle = rig.shard.publish.clone();
    let items = (0..500).map(|n| {
        let payload = n.to_string().into();
        Publication { to: Destination::Channel(name("a")), payload }
    });
    let answers = publish(&handle, items.collect()).await;
    assert_eq!(answers, vec![Ok(Published::Receivers(1)); 500]);
    for n in 0..500 {
        assert_eq!(rig.event().await, format!("a={n}"));
    }
    let stream = to_stream("s", PLAIN);
    let answers = publish(&handle, vec![to_channel("nobody", "x"), stream.clone(), stream]).await;
    let [Ok(Published::Receivers(0)), Ok(Published::Id(first)), Ok(Published::Id(second))] =
        answers[..]
    else {
        panic!("{answers:?}")
    };
    assert!(first < second);
    let entries = server.call(&["XRANGE", "tenant:s", "-", "+"]);
    assert_eq!(entries[..3], [first.to_string(), "data".to_owned(), "x".to_owned()]);
    assert_eq!(publish(&handle, vec![]).await, []);
}

#[tokio::test]
async fn a_stream_is_trimmed_expires_and_is_made_only_as_it_is_said() {
    let server = Server::start(&["--stream-node-max-entries", "10"]);
    let rig = Rig::up(&server).await;
    let handle = &rig.shard.publish;
    let made = StreamWrite { create: false, ..PLAIN };
    assert_eq!(publish_one(handle, to_stream("s", made)).await, Err(NotPublished::NotFound));
    assert_eq!(server.call(&["EXISTS", "s"]), ["0"]);
    let keep = StreamWrite { keep_entries: std::num::NonZeroU64::new(20), ..PLAIN };
    let answers = publish(handle, vec![to_stream("s", keep); 200]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let length: usize = server.call(&["XLEN", "s"])[0].parse().unwrap();
    assert!((20..=30).contains(&length), "{length}");
    assert_eq!(server.call(&["PTTL", "s"]), ["-1"]);
    assert!(publish_one(handle, to_stream("s", made)).await.is_ok());
    let expires = StreamWrite { expire_after: Some(Duration::from_millis(90_000)), ..PLAIN };
    assert!(publish_one(handle, to_stream("s", expires)).await.is_ok());
    let expires = || server.call(&["PTTL", "s"])[0].parse::<i64>().unwrap();
    eventually("it expires", || (80_000..=90_000).contains(&expires())).await;
}

#[tokio::test]
async fn a_stream_has_the_prefix_and_its_entries_the_field_that_are_configured() {
    let server = Server::start(&[]);
    let mut rig = Rig::start(config::Redis {
        channel_prefix: "tenant:".to_owned(),
        stream_field: "body".to_owned(),
        ..settings(&server)
    });
    rig.until_up().await;
    let expires = StreamWrite { expire_after: Some(Duration::from_secs(90)), ..PLAIN };
    let answer = publish_one(&rig.shard.publish, to_stream("s", expires)).await;
    assert!(matches!(answer, Ok(Published::Id(_))), "{answer:?}");
    let entries = server.call(&["XRANGE", "tenant:s", "-", "+"]);
    assert!(entries.contains(&"body".to_owned()), "{entries:?}");
    let left = || server.call(&["PTTL", "tenant:s"])[0].parse::<i64>().unwrap();
    eventually("it expires", || (80_000..=90_000).contains(&left())).await;
    assert_eq!(server.call(&["EXISTS", "s"]), ["0"]);
}

#[tokio::test]
async fn what_redis_refuses_is_refused_alone_and_a_key_of_another_type_is_left_as_it_is() {
    let server = Server::start(&[]);
    let rig = Rig::up(&server).await;
    let handle = &rig.shard.publish;
    server.call(&["SET", "taken", "x"]);
    let expires = StreamWrite { expire_after: Some(Duration::from_secs(1)), ..PLAIN };
    let items = vec![to_stream("s", PLAIN), to_stream("taken", expires), to_channel("a", "x")];
    let answers = publish(handle, items).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(answers[1], Err(NotPublished::Refused), "WRONGTYPE");
    // Everything that was asked for is answered by now, in order.
    assert!(publish_one(handle, to_channel("a", "x")).await.is_ok());
    assert_eq!(server.call(&["PTTL", "taken"]), ["-1"], "it does not expire");
    server.call(&["ACL", "SETUSER", "default", "-xadd", "resetchannels", "&sockway:*", "&a"]);
    let items = vec![to_stream("s", PLAIN), to_channel("b", "x"), to_channel("a", "x")];
    let answers = publish(handle, items).await;
    let refused = Err(NotPublished::Refused);
    assert_eq!(answers, [refused, refused, Ok(Published::Receivers(0))], "NOPERM");
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_unknown_and_what_was_not_written_unavailable() {
    let mut server = Server::start(&[]);
    let mut rig = Rig::up(&server).await;
    let handle = rig.shard.publish.clone();
    assert!(publish_one(&handle, to_stream("s", PLAIN)).await.is_ok());
    server.signal(Signal::STOP);
    let answer = publish(&handle, vec![to_stream("s", PLAIN); 3]);
    let killed = async {
        // It is in the socket's buffer, or soon will be: nobody can take it back.
        sleep(Duration::from_millis(50)).await;
        server.kill();
    };
    let (answers, ()) = tokio::join!(answer, killed);
    assert_eq!(answers, [Err(NotPublished::Unknown); 3]);
    let unavailable = Err(NotPublished::Unavailable);
    publish_until(&handle, |answer| answer == unavailable).await;
    assert_eq!(publish(&handle, vec![to_channel("a", "x"); 2]).await, [unavailable; 2]);
    server.restart();
    publish_until(&handle, |answer| answer.is_ok()).await;
    rig.until_up().await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_given_up_in_time_and_nothing_is_published_twice() {
    let server = Server::start(&[]);
    let rig = Rig::up(&server).await;
    let handle = &rig.shard.publish;
    assert!(publish_one(handle, to_stream("s", PLAIN)).await.is_ok());
    server.signal(Signal::STOP);
    let began = Instant::now();
    assert_eq!(publish_one(handle, to_stream("s", PLAIN)).await, Err(NotPublished::Unknown));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Not even a connection is made: this one was certainly not written.
    assert_eq!(publish_one(handle, to_stream("s", PLAIN)).await, Err(NotPublished::Unavailable));
    server.signal(Signal::CONT);
    publish_until(handle, |answer| answer.is_ok()).await;
    let length: usize = server.call(&["XLEN", "s"])[0].parse().unwrap();
    assert!(
        (2..=3).contains(&length),
        "{length}: the first, the last, and perhaps the unknown one"
    );
}

#[tokio::test]
async fn a_connection_that_redis_closed_while_it_was_idle_is_no_failure() {
    let server = Server::start(&[]);
    let rig = Rig::up(&server).await;
    let handle = &rig.shard.publish;
    for round in 0..5 {
        assert!(publish_one(handle, to_stream("s", PLAIN)).await.is_ok(), "round {round}");
        sleep(Duration::from_millis(150)).await;
        server.call(&["CLIENT", "KILL", "TYPE", "normal"]);
        // The canary's connection and the stream's are none of these tests' business.
        eventually("it is closed", || !is_publishing(&server)).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.call(&["XLEN", "s"]), ["5"]);
}

/// Whether there is a connection whose last command was of a publisher.
fn is_publishing(server: &Server) -> bool {
    let clients = server.call(&["CLIENT", "LIST"]);
    clients[0].lines().any(|line| line.contains("cmd=xadd") || line.contains("cmd=role"))
}

#[tokio::test]
async fn a_replica_takes_nothing_and_a_demoted_primary_is_left_for_the_new_one() {
    let (held_old, held_new) = (HeldPort::new().unwrap(), HeldPort::new().unwrap());
    let port = |held: &HeldPort| held.address().port().to_string();
    let old = Server::start(&["--port", &port(&held_old)]);
    let new = Server::start(&["--port", &port(&held_new)]);
    let address = RedisAddress::Tcp {
        host: "127.0.0.1".to_owned(),
        port: held_old.address().port(),
        tls: false,
    };
    let mut rig = Rig::start(config::Redis { address, ..settings(&old) });
    rig.until_up().await;
    let handle = rig.shard.publish.clone();
    assert!(publish_one(&handle, to_stream("s", PLAIN)).await.is_ok());
    old.call(&["REPLICAOF", "127.0.0.1", &port(&held_new)]);
    let answer = publish_one(&handle, to_stream("s", PLAIN)).await;
    assert!(
        matches!(answer, Err(NotPublished::Unavailable | NotPublished::Unknown)),
        "READONLY, unless its role was asked just before: {answer:?}"
    );
    publish_until(&handle, |answer| answer.is_ok()).await;
    assert_eq!(new.call(&["XLEN", "s"]), ["1"]);
}
