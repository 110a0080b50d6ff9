//! Random entries, trims, deletions, cuts and returns, at two instances: nothing comes twice, nothing is
//! missing untold, and every number that is told is right.
//!
//! All of it is mixed in every seed, but for what no gateway can know: see [`Backend::disturb`].

mod backend;
mod diary;

use super::{Resume, Since, tests::short};
use crate::shard::{
    rig::{Client, Rig, run, settle},
    stream_rig::{Stream, StreamRig, endpoint},
};
use backend::Backend;
use diary::Diary;
use fastrand::Rng;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::time::timeout;

const INSTANCES: usize = 2;

#[derive(Default)]
struct Guest {
    diary: Diary,
    client: Option<Client>,
}

#[test]
fn whatever_happens_nothing_comes_twice_and_nothing_is_missing_untold() {
    let (mut recovered, mut replayed, mut exact) = (0, 0, 0);
    for seed in 0..40 {
        run(async {
            let guests = round(seed).await;
            recovered += guests.iter().map(|it| it.diary.recovered).sum::<usize>();
            replayed += guests.iter().map(|it| it.diary.replayed).sum::<usize>();
            exact += guests.iter().map(|it| it.diary.exact).sum::<usize>();
        });
    }
    let shown = format!("{recovered} recovered with {replayed} entries, {exact} numbers");
    println!("{shown}");
    assert!(recovered > 300 && replayed > 1_000 && exact > 15, "it shows nothing: {shown}");
}

async fn round(seed: u64) -> Vec<Guest> {
    let mut random = Rng::with_seed(seed);
    let backend = Rc::new(RefCell::new(Backend::new(random.fork())));
    let stream = Rc::new(RefCell::new(Stream::default()));
    let mut rigs = [(); INSTANCES].map(|_| StreamRig::of(Rig::new(), Rc::clone(&stream)));
    rigs.iter_mut().for_each(|rig| disturb_meanwhile(rig, &backend));
    let mut guests: Vec<Guest> = (0..4).map(|_| Guest::default()).collect();
    for _ in 0..200 {
        match random.u8(..10) {
            0..4 => backend.borrow_mut().disturb(&mut stream.borrow_mut()),
            4..6 => {
                let at = random.usize(..INSTANCES);
                backend.borrow_mut().note(format!("tail {at} reads"));
                rigs[at].read_tail();
            }
            _ => {
                let at = random.usize(..guests.len());
                let instance = random.usize(..INSTANCES);
                backend.borrow_mut().note(format!("guest {at} comes to {instance} or goes"));
                come_or_go(&mut guests[at], &mut rigs[instance], &backend).await;
            }
        }
        settle().await;
    }
    guests
}

/// Between two answers of an instance something may happen, and its tail may see that or not.
fn disturb_meanwhile(rig: &mut StreamRig, backend: &Rc<RefCell<Backend>>) {
    let backend = Rc::clone(backend);
    rig.meanwhile(move |_, rig| {
        let mut backend = backend.borrow_mut();
        if backend.random.u8(..3) == 0 {
            backend.disturb(&mut rig.stream());
        }
        if backend.random.bool() {
            backend.note("its tail reads");
            rig.read_tail();
        }
    });
}

async fn come_or_go(guest: &mut Guest, rig: &mut StreamRig, backend: &RefCell<Backend>) {
    match guest.client.take() {
        Some(client) => leave(client, &mut guest.diary, backend).await,
        None => {
            let since = guest.diary.position.map_or(Since::Unsaid, Since::At);
            let resume = Resume { since, last: None };
            guest.client = Some(rig.connect(endpoint(), &resume).await.unwrap());
        }
    }
}

/// Reads what has come, or only the first of it, and cuts the connection.
async fn leave(mut client: Client, diary: &mut Diary, backend: &RefCell<Backend>) {
    settle().await;
    let most = {
        let random = &mut backend.borrow_mut().random;
        if random.bool() { usize::MAX } else { random.usize(..20) }
    };
    for _ in 0..most {
        // All that comes is there already.
        let Ok(frame) = timeout(Duration::from_nanos(1), client.next()).await else { return };
        let frame = short(frame);
        let mut backend = backend.borrow_mut();
        backend.note(format!("guest is sent {frame}"));
        if let Err(wrong) = diary.take(&frame, &backend) {
            panic!("{wrong}, after\n{}", backend.history.join("\n"));
        }
    }
}
