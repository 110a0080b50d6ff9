//! Random entries, trims, deletions, cuts and returns, at two instances: nothing comes twice, and nothing is
//! missing untold.

use super::{Resume, Since, tests::short};
use crate::{
    shard::{
        rig::{Client, Rig, run, settle},
        stream_rig::{Stream, StreamRig, endpoint},
    },
    stream_id::StreamId,
};
use fastrand::Rng;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::time::timeout;

/// What happens to the stream. Its entries are numbered in the order in which they are added, for ever.
struct Backend {
    random: Rng,
    added: u64,
    milliseconds: u64,
    /// Entries that nobody can miss: they were deleted, and whatever came before a stream was.
    nobodys: Vec<u64>,
    /// Whether streams are deleted and made anew; then no entry is trimmed or deleted alone. Both together, unseen,
    /// cannot be told apart from one stream: a limit that is documented.
    deletes_streams: bool,
}

impl Backend {
    fn disturb(&mut self, stream: &mut Stream) {
        match self.random.u8(..100) {
            0..6 if self.deletes_streams => {
                self.nobodys.extend(1..=self.added);
                stream.delete();
                let back = [0, self.milliseconds, self.milliseconds / 2];
                self.milliseconds = back[self.random.usize(..3)];
                (0..self.random.u8(0..30)).for_each(|_| self.add(stream));
            }
            6..9 if !self.deletes_streams && !stream.entries.is_empty() => {
                let at = self.random.usize(..stream.entries.len().min(5));
                let entry = stream.entries[stream.entries.len() - 1 - at];
                self.nobodys.push(entry.sequence);
                stream.delete_entry(entry);
            }
            9..14 if !self.deletes_streams => stream.trim_to([0, 2, 5, 20][self.random.usize(..4)]),
            _ => (0..self.random.u8(1..6)).for_each(|_| self.add(stream)),
        }
    }

    fn add(&mut self, stream: &mut Stream) {
        self.added += 1;
        self.milliseconds += self.random.u64(1..3);
        stream.add(StreamId { milliseconds: self.milliseconds, sequence: self.added });
    }

    /// Whether somebody can miss an entry between these two.
    fn added_between(&self, before: u64, after: u64) -> bool {
        (before + 1..after).any(|number| !self.nobodys.contains(&number))
    }
}

/// What one client has seen, and whether it was told that it may have missed something since.
#[derive(Default)]
struct Diary {
    position: Option<StreamId>,
    seen: u64,
    told: bool,
    recovered: usize,
    replayed: usize,
}

impl Diary {
    fn take(&mut self, frame: &str, backend: &Backend) {
        let words: Vec<_> = frame.split(' ').collect();
        match words[..] {
            ["ready", at, "recovered", replayed] => {
                self.recovered += 1;
                self.replayed += replayed.parse::<usize>().unwrap();
                self.position = position(at);
            }
            ["ready" | "gap", .., _] => {
                self.told = true;
                self.position = position(words[if words[0] == "gap" { 3 } else { 1 }]);
            }
            _ => self.take_entry(position(frame).unwrap(), backend),
        }
    }

    fn take_entry(&mut self, id: StreamId, backend: &Backend) {
        let (number, seen) = (id.sequence, self.seen);
        assert!(number > seen, "{number} comes after {seen}");
        let is_hole = backend.added_between(seen, number);
        assert!(
            self.told || seen == 0 || !is_hole,
            "between {seen} and {number} something is missing"
        );
        (self.seen, self.told, self.position) = (number, false, Some(id));
    }
}

fn position(word: &str) -> Option<StreamId> {
    StreamId::parse(word).or_else(|| StreamId::parse(&format!("{word}-0")))
}

#[derive(Default)]
struct Guest {
    diary: Diary,
    client: Option<Client>,
}

#[test]
fn whatever_happens_nothing_comes_twice_and_nothing_is_missing_untold() {
    let (mut recovered, mut replayed) = (0, 0);
    for seed in 0..40 {
        run(async {
            let guests = round(seed).await;
            recovered += guests.iter().map(|it| it.diary.recovered).sum::<usize>();
            replayed += guests.iter().map(|it| it.diary.replayed).sum::<usize>();
        });
    }
    println!("{recovered} recovered with {replayed} entries");
    assert!(recovered > 300 && replayed > 1_000, "{recovered} with {replayed}: it shows nothing");
}

async fn round(seed: u64) -> Vec<Guest> {
    let mut random = Rng::with_seed(seed);
    let backend = Rc::new(RefCell::new(Backend {
        random: random.fork(),
        added: 0,
        milliseconds: 0,
        nobodys: Vec::new(),
        deletes_streams: seed.is_multiple_of(2),
    }));
    let stream = Rc::new(RefCell::new(Stream::default()));
    let mut rigs = [0, 1].map(|_| StreamRig::of(Rig::new(), Rc::clone(&stream)));
    rigs.iter_mut().for_each(|rig| disturb_meanwhile(rig, &backend));
    let mut guests: Vec<Guest> = (0..4).map(|_| Guest::default()).collect();
    for _ in 0..200 {
        match random.u8(..10) {
            0..4 => backend.borrow_mut().disturb(&mut stream.borrow_mut()),
            4..6 => rigs[random.usize(..2)].read_tail(),
            _ => {
                let at = random.usize(..guests.len());
                come_or_go(&mut guests[at], &mut rigs[random.usize(..2)], &backend).await;
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
        diary.take(&short(frame), &backend.borrow());
    }
}
