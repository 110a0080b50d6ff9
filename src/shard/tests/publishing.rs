//! What a client publishes, with upstream in the test's hands.

use crate::{
    bus::{Destination, Publication, PublishBatch, Published},
    channel::ChannelName,
    endpoint::{Endpoint, PathParameters, PublishGrant, Values},
    shard::{
        PublishSpec, SessionSpec,
        rig::{Client, Frame, Rig, bulky, identity, open, orders, run, settle, spec},
    },
    testing,
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// A session of json that may publish, as fast as its bursts allow.
async fn connect(rig: &mut Rig) -> Client {
    let text = format!(
        "[[endpoint]]\nname = \"test\"\npath = \"/ws\"\nchannels = [\"orders\"]\nformat = \"json\"\n\
         [endpoint.publish]\nchannel = \"orders\"\nper_second = 1000\nburst = 3\n{}",
        testing::AUTH
    );
    let endpoint: Endpoint = (*testing::config(&text).endpoints[0]).clone();
    let (identity, path) = (identity(), PathParameters::default());
    let values = Values { identity: Some(&identity), path: &path, query: "" };
    let grant = PublishGrant::new(&endpoint, &values).unwrap().unwrap();
    let publish = Some(Box::new(PublishSpec { grant, rates: Arc::default() }));
    let _first = rig.connect(endpoint.clone()).await;
    let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
    let spec = SessionSpec { publish, ..spec(endpoint, identity) };
    let mut client = Client::start(open(subscription, spec).await);
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}

/// Leaves this much of the room for what is published, in bytes, until the batch is dropped.
async fn leave_room(rig: &mut Rig, bytes: usize) -> PublishBatch {
    const ALL: usize = 8 << 20;
    let to = || Destination::Channel(ChannelName::new("elsewhere"));
    let item = |payload: usize| vec![Publication { to: to(), payload: vec![0; payload].into() }];
    let publisher = rig.shard.publisher().clone();
    let empty = publisher.hand_over(item(0)).await;
    let cost = publisher.under_way();
    drop((empty, rig.upstream.publishes.try_recv().unwrap()));
    drop(publisher.hand_over(item(ALL - cost - bytes)).await);
    rig.upstream.publishes.try_recv().unwrap()
}

async fn publish(client: &mut Client, reference: u32) {
    let frame = format!(r#"{{"type":"publish","data":1,"ref":"{reference}"}}"#);
    client.send(0x81, frame.as_bytes()).await;
}

#[track_caller]
fn assert_told(frame: &Frame, kind: &str) {
    assert!(matches!(frame, Frame::Text(text) if text.contains(kind)), "{kind}: {frame:?}");
}

/// The next frame that is no ping.
async fn told(client: &mut Client) -> Frame {
    loop {
        match client.next().await {
            Frame::Ping => {}
            frame => return frame,
        }
    }
}

#[test]
fn while_a_burst_of_a_client_is_under_way_what_it_sends_waits_in_its_socket() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        for burst in 0..2 {
            for number in 0..3 {
                publish(&mut client, 3 * burst + number).await;
            }
            settle().await;
            // It is not too fast.
            sleep(Duration::from_secs(1)).await;
        }
        for burst in 0..2 {
            settle().await;
            let mut batches = Vec::new();
            while let Ok(batch) = rig.upstream.publishes.try_recv() {
                batches.push(batch);
            }
            assert_eq!(batches.len(), 3, "burst {burst}");
            for batch in batches {
                batch.reply.send(vec![Ok(Published::Receivers(1))]).unwrap();
            }
            for number in 0..3 {
                let reference = 3 * burst + number;
                let expected = format!(r#""published","ref":"{reference}""#);
                assert_told(&told(&mut client).await, &expected);
            }
        }
    });
}

/// What Redis is to publish next, in short: what the client sent.
fn handed_over(rig: &mut Rig) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(batch) = rig.upstream.publishes.try_recv() {
        for item in batch.items {
            let stamped: serde_json::Value = serde_json::from_slice(&item.payload).unwrap();
            all.push(stamped["data"].as_str().unwrap()[..1].to_owned());
        }
    }
    all
}

#[test]
fn a_message_that_there_is_room_for_does_not_overtake_an_earlier_one_that_waits_for_more() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        let others = leave_room(&mut rig, 1_000).await;
        let frame = |data: &str| {
            let json = format!(r#"{{"type":"publish","data":"{data}"}}"#).into_bytes();
            let length = u16::try_from(json.len()).unwrap().to_be_bytes();
            [&[0x81, 0xFE], &length[..], &[0; 4], &json].concat()
        };
        let (large, small) = (frame(&"a".repeat(2_000)), frame(&"b".repeat(200)));
        // It reads both in one go.
        client.send_bytes(&[large, small].concat()).await;
        settle().await;
        assert_eq!(handed_over(&mut rig), Vec::<String>::new());
        drop(others);
        settle().await;
        assert_eq!(handed_over(&mut rig), ["a", "b"]);
    });
}

/// The echo of the close waits behind a message, and the answer comes meanwhile.
#[test]
fn what_is_answered_after_the_client_has_closed_is_not_sent_behind_the_echo() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        publish(&mut client, 1).await;
        settle().await;
        let batch = rig.upstream.publishes.try_recv().unwrap();
        rig.publish("orders", &bulky());
        settle().await;
        client.send(0x88, &1000_u16.to_be_bytes()).await;
        settle().await;
        batch.reply.send(vec![Ok(Published::Receivers(1))]).unwrap();
        settle().await;
        assert_told(&told(&mut client).await, "message");
        assert_eq!(told(&mut client).await, Frame::Close(1000, String::new()));
        assert_eq!(told(&mut client).await, Frame::End);
    });
}

#[test]
fn what_was_refused_more_than_ten_seconds_ago_does_not_end_a_session() {
    run(async {
        let mut rig = Rig::new();
        let mut client = connect(&mut rig).await;
        for _ in 0..2 {
            client.ask_nonsense(60).await;
            for _ in 0..60 {
                assert_told(&told(&mut client).await, "frame_invalid");
            }
            sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(rig.metrics().open(), 1);
    });
}
