//! What a client gets that comes back with a position, whatever happens meanwhile.

use super::{Resume, Since};
use crate::{
    endpoint::{Endpoint, OnGap, ReplayLimits},
    metrics::LocalCounter,
    reason::Refusal,
    shard::{
        rig::{Client, Frame, run, settle},
        stream_rig::{StreamRig, chat, endpoint, endpoint_with, id},
    },
};
use serde_json::Value;

fn since(at: u64) -> Resume {
    Resume { since: Since::At(id(at)), last: None }
}

fn newest(last: usize) -> Resume {
    Resume { since: Since::Unsaid, last: Some(last) }
}

/// A frame in short: `ready ID RESULT REPLAYED`, `gap REASON MISSED ID`, or an entry's number.
pub(super) fn short(frame: Frame) -> String {
    let Frame::Text(text) = frame else { return format!("{frame:?}") };
    let frame: Value = serde_json::from_str(&text).unwrap();
    let word = |value: &Value| match value {
        Value::String(text) => text.trim_end_matches("-0").to_owned(),
        other => other.to_string(),
    };
    match frame["type"].as_str().unwrap() {
        "ready" => {
            let stream = &frame["streams"]["chat"];
            let result = match &stream["recovered"] {
                Value::Bool(true) => "recovered".to_owned(),
                Value::Bool(false) => format!("{}:{}", word(&stream["reason"]), stream["missed"]),
                _ => "-".to_owned(),
            };
            format!("ready {} {result} {}", word(&stream["id"]), word(&stream["replayed"]))
        }
        "gap" => format!(
            "gap {} {} {}",
            word(&frame["reason"]),
            word(&frame["missed"]),
            word(&frame["id"])
        ),
        _ => {
            assert!(word(&frame["id"]).ends_with(&frame["data"].to_string()));
            word(&frame["id"])
        }
    }
}

/// The next frames, in short.
async fn next(client: &mut Client, frames: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..frames {
        all.push(short(client.next().await));
    }
    all
}

/// What a client gets that resumes from a stream of these entries, and of one more.
async fn resumed(rig: &mut StreamRig, resume: &Resume, frames: usize) -> Vec<String> {
    let mut client = rig.connect(endpoint(), resume).await.unwrap();
    let mut all = next(&mut client, frames).await;
    let live = rig.stream().last().milliseconds + 1;
    rig.publish([live]);
    all.extend(next(&mut client, 1).await);
    assert_eq!(all.pop().unwrap(), live.to_string(), "after {all:?}");
    all
}

#[test]
fn a_client_without_a_position_goes_on_from_where_the_shard_is() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        assert_eq!(resumed(&mut rig, &Resume::default(), 1).await, ["ready 5 - null"]);
        assert!(rig.asked.is_empty(), "nothing has to be read for it");
    });
}

#[test]
fn what_came_after_a_position_is_replayed_in_order_and_then_comes_what_is_new() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let expected = ["ready 2 recovered 3", "3", "4", "5"];
        assert_eq!(resumed(&mut rig, &since(2), 4).await, expected);
    });
}

#[test]
fn a_position_recovers_only_where_nothing_is_missing() {
    for (entries, at, expected) in [
        (1..=5, 5, "ready 5 recovered 0"),
        (1..=5, 0, "ready 0 recovered 5"),
        (1..=5, 9, "ready 5 reset:null null"),
    ] {
        run(async move {
            let mut rig = StreamRig::new(entries);
            let mut client = rig.connect(endpoint(), &since(at)).await.unwrap();
            assert_eq!(next(&mut client, 1).await, [expected]);
        });
    }
}

#[test]
fn what_was_trimmed_or_deleted_behind_a_position_is_told() {
    run(async {
        let mut rig = StreamRig::new(1..=9);
        rig.stream().trim_to(5);
        rig.stream().delete_entry(id(7));
        assert_eq!(resumed(&mut rig, &since(3), 1).await, ["ready 9 trimmed:null null"]);
        assert_eq!(resumed(&mut rig, &since(5), 5).await[0], "ready 5 recovered 4");
        assert_eq!(resumed(&mut rig, &since(7), 5).await[0], "ready 7 recovered 4");
    });
}

#[test]
fn who_is_cut_behind_a_gap_goes_on_with_its_id_and_is_told_no_loss_twice() {
    run(async {
        let mut rig = StreamRig::new(1..=3);
        let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
        rig.stream().add_all(4..=9);
        rig.stream().trim_to(2);
        let behind_gap = Resume { since: Since::At(id(8).place_before()), last: None };
        let expected = ["ready 7-9007199254740991 recovered 2", "8", "9"];
        assert_eq!(resumed(&mut rig, &behind_gap, 3).await, expected);
        rig.stream().trim_to(2);
        assert_eq!(resumed(&mut rig, &behind_gap, 1).await, ["ready 10 trimmed:null null"]);
    });
}

#[test]
fn from_the_beginning_the_number_missed_is_known() {
    run(async {
        let mut rig = StreamRig::new(1..=9);
        rig.stream().trim_to(4);
        assert_eq!(resumed(&mut rig, &since(0), 1).await, ["ready 9 trimmed:9 null"]);
        let resume = Resume { last: Some(2), ..since(0) };
        let expected = ["ready 8 trimmed:8 2", "9", "10"];
        assert_eq!(resumed(&mut rig, &resume, 3).await, expected);
    });
}

#[test]
fn more_than_may_be_replayed_is_too_many_and_no_more_is_read_than_to_know_that() {
    run(async {
        let mut rig = StreamRig::new(1..=2_000);
        let replay = ReplayLimits { messages: 100, bytes: 1 << 20, last: 0 };
        let limited = Endpoint { replay, ..endpoint() };
        let mut client = rig.connect(limited.clone(), &since(1)).await.unwrap();
        assert_eq!(next(&mut client, 1).await, ["ready 2000 too_many:null null"]);
        let read: usize = rig.asked.iter().map(count).sum();
        assert_eq!(read, 101);
        let mut client = rig.connect(limited, &since(1_900)).await.unwrap();
        assert_eq!(next(&mut client, 1).await, ["ready 1900 recovered 100"]);
        let replay = ReplayLimits { messages: 100, bytes: 30, last: 0 };
        let limited = Endpoint { replay, ..endpoint() };
        for (at, expected) in
            [(1_992, "ready 2000 too_many:null null"), (1_993, "ready 1993 recovered 7")]
        {
            let mut client = rig.connect(limited.clone(), &since(at)).await.unwrap();
            assert_eq!(next(&mut client, 1).await, [expected]);
        }
        let none = Endpoint { replay: ReplayLimits { messages: 0, ..replay }, ..endpoint() };
        let mut client = rig.connect(none, &since(2_000)).await.unwrap();
        assert_eq!(next(&mut client, 1).await, ["ready 2000 too_many:null null"]);
    });
}

fn count(ask: &crate::bus::PageAsk) -> usize {
    match *ask {
        crate::bus::PageAsk::After { count, .. } | crate::bus::PageAsk::Newest { count, .. } => {
            count
        }
    }
}

#[test]
fn the_newest_are_given_where_no_position_is_or_the_given_one_does_not_recover() {
    run(async {
        let mut rig = StreamRig::new(1..=9);
        assert_eq!(resumed(&mut rig, &newest(2), 3).await, ["ready 7 - 2", "8", "9"]);
        let expected = ["ready 0 - 10"];
        assert_eq!(resumed(&mut rig, &newest(20), 11).await[..1], expected);
        rig.stream().trim_to(2);
        let expected = ["ready null - 2", "10", "11"];
        assert_eq!(resumed(&mut rig, &newest(20), 3).await, expected);
        assert_eq!(resumed(&mut rig, &newest(0), 1).await, ["ready 12 - null"]);
        let resume = Resume { last: Some(1), ..since(3) };
        assert_eq!(resumed(&mut rig, &resume, 2).await, ["ready 12 trimmed:null 1", "13"]);
        let always = endpoint_with("streams = [\"chat\"]\nreplay_last = 1");
        let mut client = rig.connect(always, &Resume::default()).await.unwrap();
        assert_eq!(next(&mut client, 2).await, ["ready 13 - 1", "14"]);
    });
}

#[test]
fn the_newest_are_read_backwards_in_pages_and_no_more_of_them_than_fit() {
    run(async {
        let mut rig = StreamRig::new(1..=2_000);
        let mut client = rig.connect(endpoint(), &newest(1_000)).await.unwrap();
        let all = next(&mut client, 1_001).await;
        assert_eq!(all[0], "ready 1000 - 1000");
        assert_eq!(all[1..], (1_001..=2_000).map(|at| at.to_string()).collect::<Vec<_>>());
        let read: Vec<_> = rig.asked.iter().map(count).collect();
        assert_eq!(read, [&[32][..], &[64; 15], &[9]].concat());
        rig.asked.clear();
        let replay = ReplayLimits { messages: 1_000, bytes: 30, last: 0 };
        let mut client =
            rig.connect(Endpoint { replay, ..endpoint() }, &newest(1_000)).await.unwrap();
        assert_eq!(next(&mut client, 1).await, ["ready 1993 - 7"]);
        assert_eq!(rig.asked.iter().map(count).collect::<Vec<_>>(), [32]);
    });
}

#[test]
fn a_page_that_was_cut_for_its_weight_is_not_the_beginning_of_the_stream() {
    for heaviest in [1, 4] {
        run(async move {
            let mut rig = StreamRig::new(1..=10);
            rig.heaviest = heaviest;
            let mut client = rig.connect(endpoint(), &newest(9)).await.unwrap();
            let all = next(&mut client, 10).await;
            assert_eq!((&*all[0], &*all[1], &*all[9]), ("ready 1 - 9", "2", "10"));
            let mut client = rig.connect(endpoint(), &newest(10)).await.unwrap();
            assert_eq!(next(&mut client, 2).await, ["ready 0 - 10", "1"]);
            rig.stream().trim_to(9);
            let mut client = rig.connect(endpoint(), &newest(10)).await.unwrap();
            assert_eq!(next(&mut client, 2).await, ["ready null - 9", "2"]);
        });
    }
}

#[test]
fn what_is_malformed_and_cannot_be_refused_does_not_recover() {
    run(async {
        let mut rig = StreamRig::new(1..=3);
        let resume = Resume { since: Since::Malformed, last: None };
        assert_eq!(resumed(&mut rig, &resume, 1).await, ["ready 3 reset:null null"]);
    });
}

#[test]
fn nothing_comes_twice_and_nothing_is_missing_though_entries_come_all_the_while() {
    for questions in 1..12 {
        run(async move {
            let mut rig = StreamRig::new(1..=40);
            let mut newest = 40;
            rig.meanwhile(move |question, rig| {
                if question < questions {
                    let read = question % 3 != 1;
                    rig.stream().add_all(newest + 1..=newest + 7);
                    newest += 7;
                    if read {
                        rig.read_tail();
                    }
                }
            });
            let mut client = rig.connect(endpoint(), &since(10)).await.unwrap();
            rig.read_tail();
            let last = rig.stream().last().milliseconds;
            let ready = short(client.next().await);
            assert!(ready.starts_with("ready 10 recovered"), "{ready}");
            let all = next(&mut client, usize::try_from(last - 10).unwrap()).await;
            assert_eq!(all, (11..=last).map(|at| at.to_string()).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_client_that_is_ahead_of_this_instance_recovers_once_its_tail_has_read_on() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
        rig.stream().add_all(6..=9);
        let expected = ["ready 8 recovered 1", "9"];
        assert_eq!(resumed(&mut rig, &since(8), 2).await, expected);
        rig.stream().add_all(11..=12);
        rig.stream().delete_entry(id(12));
        assert_eq!(resumed(&mut rig, &since(12), 1).await, ["ready 12 recovered 0"]);
    });
}

#[test]
fn the_tail_is_read_once_more_only_where_the_entry_at_its_place_is_gone() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
        assert_eq!(resumed(&mut rig, &since(5), 1).await, ["ready 5 recovered 0"]);
        assert_eq!(resumed(&mut rig, &since(5), 2).await, ["ready 5 recovered 1", "6"]);
        assert_eq!(rig.marks, [false; 0]);
        rig.stream().delete_entry(id(7));
        assert_eq!(resumed(&mut rig, &since(5), 2).await, ["ready 5 recovered 1", "6"]);
        assert_eq!(rig.marks, [false]);
    });
}

#[test]
fn a_stream_that_was_made_anew_unseen_is_told_though_it_ends_at_the_very_place() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
        rig.stream().delete();
        rig.stream().add_all(2..=5);
        rig.stream().delete_entry(id(5));
        assert_eq!(resumed(&mut rig, &since(5), 1).await, ["ready 5 reset:null null"]);
    });
}

#[test]
fn a_stream_that_is_made_anew_while_it_is_read_is_told_and_does_not_come_twice() {
    for question in 0..3 {
        run(async move {
            // Three pages.
            let mut rig = StreamRig::new(1..=120);
            let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
            rig.meanwhile(move |at, rig| {
                if at == question {
                    rig.stream().delete();
                    rig.stream().add_all(201..=250);
                }
            });
            let mut client = rig.connect(endpoint(), &since(10)).await.unwrap();
            let ready = short(client.next().await);
            let told = ["ready 250 reset:null null", "ready 250 trimmed:null null"];
            assert!(told.contains(&&*ready), "at question {question}: {ready}");
            rig.publish([251]);
            assert_eq!(next(&mut client, 1).await, ["251"]);
        });
    }
}

#[test]
fn raw_a_position_that_does_not_recover_is_told_first_and_one_that_does_silently() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let raw = Endpoint { format: crate::endpoint::Format::Raw, ..endpoint() };
        let mut client = rig.connect(raw.clone(), &since(4)).await.unwrap();
        assert_eq!(client.next().await, Frame::Text("5".to_owned()));
        let resume = Resume { last: Some(1), ..since(9) };
        let mut client = rig.connect(raw, &resume).await.unwrap();
        assert_eq!(client.next().await, Frame::Text(r#"{"type":"gap"}"#.to_owned()));
        assert_eq!(client.next().await, Frame::Text("5".to_owned()));
    });
}

#[test]
fn where_a_gap_closes_a_position_that_does_not_recover_does_in_place_of_the_replay() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let closing = Endpoint { on_gap: OnGap::Close, ..endpoint() };
        let resume = Resume { last: Some(3), ..since(9) };
        let mut client = rig.connect(closing, &resume).await.unwrap();
        let expected = ["ready 2 reset:null 3", "Close(4009, \"gap\")"];
        assert_eq!(next(&mut client, 2).await, expected);
    });
}

#[test]
fn a_replay_larger_than_the_queue_is_sent_as_its_client_reads_and_no_neighbour_waits() {
    run(async {
        let mut rig = StreamRig::new(1..=500);
        let small = endpoint_with("streams = [\"chat\"]\nqueue_messages = 10");
        let mut slow = rig.connect(small.clone(), &since(0)).await.unwrap();
        let mut quick = rig.connect(small, &Resume::default()).await.unwrap();
        assert_eq!(next(&mut quick, 1).await, ["ready 500 - null"]);
        rig.publish([501]);
        assert_eq!(next(&mut quick, 1).await, ["501"]);
        let all = next(&mut slow, 502).await;
        assert_eq!(all[0], "ready 0 recovered 500");
        assert_eq!(all[501], "501");
    });
}

#[test]
fn replays_are_counted() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        resumed(&mut rig, &since(2), 4).await;
        resumed(&mut rig, &since(99), 1).await;
        settle().await;
        let metrics = rig.rig.metrics();
        let replays: Vec<_> = metrics.replays.iter().map(LocalCounter::load).collect();
        assert_eq!(replays, [1, 0, 0, 1]);
        assert_eq!((metrics.replayed.load(), metrics.deliveries.load()), (3, 2));
        assert_eq!(chat().as_str(), "chat");
    });
}

#[test]
fn while_redis_cannot_be_read_a_position_is_refused() {
    run(async {
        let mut rig = StreamRig::new(1..=5);
        let _first = rig.connect(endpoint(), &Resume::default()).await.unwrap();
        let shard = rig.rig.shard.clone();
        let topics = crate::endpoint::Topics { streams: vec![chat()], ..Default::default() };
        let subscription = shard.subscribe(topics).await.unwrap();
        let spec = crate::shard::rig::spec(endpoint(), crate::shard::rig::identity());
        let resume = since(1);
        let opening = subscription.open(spec, &resume);
        let refuse = async {
            let request = rig.rig.upstream.streams.pages.recv().await.unwrap();
            request.answer.send(Err(crate::bus::PageError::LinkDown)).unwrap();
        };
        let (opened, ()) = tokio::join!(opening, refuse);
        assert_eq!(opened.err(), Some(Refusal::RedisUnavailable));
    });
}
