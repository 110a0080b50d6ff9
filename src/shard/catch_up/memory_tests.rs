//! What replays may hold of the memory of queues, and what waits, or is refused, for that.

use super::{Resume, Since, tests::short};
use crate::{
    endpoint::{Endpoint, Topics},
    reason::{CloseReason, Refusal},
    shard::{
        PendingSession, SessionSpec, Shard,
        rig::{Client, Rig, identity, run, settle, spec},
        stream_rig::{StreamRig, chat, endpoint_with, id},
    },
};
use futures_util::future::join_all;
use std::{cell::RefCell, time::Duration};
use tokio::time::timeout;

const PART: usize = 1 << 20;

/// From the beginning.
fn all() -> Resume {
    Resume { since: Since::At(id(0)), last: None }
}

fn endpoint() -> Endpoint {
    endpoint_with("streams = [\"chat\"]\nreplay_messages = 5000\nreplay_bytes = \"32KiB\"")
}

/// With less than half of the memory for one replay.
fn small_endpoint() -> Endpoint {
    endpoint_with("streams = [\"chat\"]\nreplay_messages = 600\nreplay_bytes = \"32KiB\"")
}

/// A shard whose queues may hold [`PART`] together, and a stream of so many small entries.
fn rig(entries: u64) -> StreamRig {
    StreamRig::over(Rig::with_queue_memory(PART), 1..=entries)
}

/// Opens a session whose 101 is not out yet: it has all of its replay.
async fn opening(
    shard: Shard,
    spec: SessionSpec,
    resume: &Resume,
) -> Result<PendingSession, Refusal> {
    let topics = Topics { channels: Vec::new(), streams: vec![chat()], presence: None };
    let mut subscription = shard.subscribe(topics).await?;
    subscription.make_room(&spec.endpoint, resume).await;
    subscription.open(spec, resume).await
}

/// … while all questions are answered.
async fn open_as(
    rig: &mut StreamRig,
    spec: SessionSpec,
    resume: &Resume,
) -> Result<PendingSession, Refusal> {
    let shard = rig.rig.shard.clone();
    tokio::select! {
        biased;
        pending = opening(shard, spec, resume) => pending,
        () = rig.answer_all() => unreachable!("questions never end"),
    }
}

async fn open(
    rig: &mut StreamRig,
    endpoint: Endpoint,
    resume: &Resume,
) -> Result<PendingSession, Refusal> {
    open_as(rig, spec(endpoint, identity()), resume).await
}

fn queued(rig: &StreamRig) -> u64 {
    rig.rig.shard.metrics().queued_bytes.load()
}

#[test]
fn replays_of_small_entries_wait_for_the_memory_that_they_really_hold() {
    run(async {
        let mut rig = rig(500);
        let (shard, opened) = (rig.rig.shard.clone(), RefCell::new(Vec::new()));
        let each = async |_| {
            let spec = spec(small_endpoint(), identity());
            let pending = opening(shard.clone(), spec, &all()).await.unwrap();
            opened.borrow_mut().push(pending);
        };
        let moment = Duration::from_secs(1);
        let all_of_them = join_all((0..8).map(each));
        tokio::select! {
            biased;
            _ = all_of_them => {}
            _ = timeout(moment, rig.answer_all()) => {}
        }
        let (held, mut opened) = (queued(&rig), opened.into_inner());
        assert!(held <= PART as u64 / 2, "{} sessions hold {held} bytes", opened.len());
        assert!(opened.len() > 1, "there is room for more than one");
        let mut client = Client::start(opened.remove(0));
        for _ in 0..501 {
            client.next().await;
        }
        assert!(open(&mut rig, small_endpoint(), &all()).await.is_ok(), "one has been sent");
    });
}

#[test]
fn a_replay_that_never_fits_is_too_many_and_closes_nobody() {
    run(async {
        let mut rig = rig(3_000);
        let mut client = Client::start(open(&mut rig, endpoint(), &all()).await.unwrap());
        assert_eq!(short(client.next().await), "ready 3000 too_many:3000 null");
        rig.publish([3_001]);
        assert_eq!(short(client.next().await), "3001");
        assert_eq!(rig.rig.metrics().closed[CloseReason::SlowConsumer.index()].load(), 0);
    });
}

#[test]
fn the_newest_are_as_many_as_fit_into_the_memory() {
    run(async {
        let mut rig = rig(3_000);
        let newest = Resume { since: Since::Unsaid, last: Some(3_000) };
        let pending = open(&mut rig, endpoint(), &newest).await.unwrap();
        let held = queued(&rig);
        assert!((400_000..=PART as u64 / 2).contains(&held), "{held} bytes");
        let mut client = Client::start(pending);
        let ready = short(client.next().await);
        let replayed: u64 = ready.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(ready, format!("ready {} - {replayed}", 3_000 - replayed));
        assert_eq!(short(client.next().await), (3_001 - replayed).to_string());
    });
}

#[test]
fn a_session_is_not_judged_by_its_replay() {
    run(async {
        let mut rig = rig(100);
        let _pending = open(&mut rig, endpoint(), &all()).await.unwrap();
        let judged = |rig: &StreamRig| {
            let registry = std::rc::Rc::clone(&rig.rig.shard.registry);
            async move {
                let mut judged = 0;
                registry.visit_sessions(|session| judged += session.queued_bytes()).await;
                judged
            }
        };
        let ready = judged(&rig).await;
        assert!(ready < 1_000, "{ready}");
        rig.publish([101]);
        settle().await;
        assert!((ready + 1..ready + 1_000).contains(&judged(&rig).await), "what is live counts");
    });
}

#[test]
fn a_replay_counts_as_it_is_encoded_for_its_own_session() {
    run(async {
        let mut rig = rig(100);
        let websocket = open(&mut rig, endpoint(), &all()).await.unwrap();
        let held = queued(&rig);
        drop(websocket);
        assert_eq!(queued(&rig), 0);
        let endpoint = endpoint();
        let codec = endpoint.format.over_event_stream(crate::wire::sse::Body::Chunked);
        let spec = SessionSpec { codec, ..spec(endpoint, identity()) };
        let _events = open_as(&mut rig, spec, &all()).await.unwrap();
        assert!(queued(&rig) > held + 100 * 20, "{} and {held} bytes", queued(&rig));
    });
}
