//! More than there is room for: in the server's tracking table, and in a shard's ring.

use super::*;
use crate::bus::{RingEvent, queues};
use std::time::Instant;

/// Readings that find nothing, in a second.
const FRUITLESS: u64 = 1_000;

#[tokio::test]
async fn a_tracking_table_that_is_far_too_small_loses_nothing_and_its_wakes_are_paced() {
    const STREAMS: usize = 200;
    const ROUNDS: usize = 5;
    let server = Server::start(&["--tracking-table-max-keys", "10"]);
    let mut rig = Rig::streams(&server);
    let names: Vec<_> = (0..STREAMS).map(|n| format!("s{n}")).collect();
    let start = Instant::now();
    rig.ask(names.iter().map(|it| StreamRequest::Subscribe(name(it))).collect()).await;
    rig.stream_events(STREAMS).await;
    let fruitless = |rig: &Rig| rig.metrics.upstream.stream_wakes.fruitless.get();
    for round in 1..=ROUNDS {
        for stream in &names {
            add(&server, stream, &format!("{round}-0"), "x");
        }
        let mut told = rig.stream_events(STREAMS).await;
        let mut expected: Vec<_> = names.iter().map(|it| format!("{it} {round}-0=x")).collect();
        told.sort_unstable();
        expected.sort_unstable();
        assert_eq!(told, expected);
    }
    eventually("the storm", || fruitless(&rig) > 2 * FRUITLESS).await;
    let windows = 1 + start.elapsed().as_secs();
    let paced = fruitless(&rig);
    assert!(paced <= windows * FRUITLESS, "{paced} in {windows} s");
    eprintln!("{paced} readings found nothing in {:?}", start.elapsed());
}

#[tokio::test]
async fn a_ring_of_large_entries_holds_its_bytes_and_one_entry_more_and_every_entry_comes_once() {
    const RING: usize = 1 << 20;
    const ENTRY: usize = 100_000;
    const STREAMS: usize = 20;
    const ENTRIES: usize = 16;
    let server = Server::start(&[]);
    let settings = stream_settings(&server);
    let mut rig = Rig::with(settings, queues(1, RING.try_into().unwrap()));
    let names: Vec<_> = (0..STREAMS).map(|n| format!("s{n}")).collect();
    rig.ask(names.iter().map(|it| StreamRequest::Subscribe(name(it))).collect()).await;
    rig.stream_events(STREAMS).await;
    let script = "for i = 1, ARGV[1] do for _, key in ipairs(KEYS) do \
                  redis.call('XADD', key, i .. '-0', 'data', string.rep('x', ARGV[2])) end end";
    let (count, size, keys) = (ENTRIES.to_string(), ENTRY.to_string(), STREAMS.to_string());
    let mut words = vec!["EVAL", script, &keys];
    words.extend(names.iter().map(String::as_str));
    words.extend([&*count, &*size]);
    server.call(&words);
    let mut places = std::collections::HashMap::new();
    let mut got = 0;
    while got < STREAMS * ENTRIES {
        let mut events = Vec::new();
        let ring = &mut rig.shard.streams.ring;
        timeout(PATIENCE, ring.recv_many(&mut events, usize::MAX)).await.expect("in time").unwrap();
        let bytes: usize = events.iter().map(RingEvent::bytes).sum();
        assert!(bytes <= RING + ENTRY + 1_000, "{bytes} bytes in {} events", events.len());
        for event in events {
            let StreamEvent::Entry(message) = event else { panic!("{}", told(&event)) };
            let place = places.entry(message.channel.clone()).or_insert(0);
            *place += 1;
            assert_eq!(message.id, Some(id(&format!("{place}-0"))));
            got += 1;
        }
    }
    let reads = rig.metrics.upstream.stream_reads.get();
    eprintln!("{reads} readings for {STREAMS} streams");
}

#[tokio::test]
async fn a_place_that_a_stream_has_left_free_is_another_ones() {
    let server = Server::start(&[]);
    let max_streams = 1.try_into().unwrap();
    let mut rig = Rig::start(config::Redis { max_streams, ..stream_settings(&server) });
    assert_eq!(rig.follow("a").await, "subscribed a 0-0");
    assert_eq!(rig.follow("b").await, "rejected b StreamLimit");
    rig.unfollow("b").await;
    rig.unfollow("a").await;
    let mut told = rig.follow("b").await;
    while told == "rejected b StreamLimit" {
        rig.unfollow("b").await;
        told = rig.follow("b").await;
    }
    assert_eq!(told, "subscribed b 0-0");
}
