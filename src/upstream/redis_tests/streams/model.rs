//! A model: whatever happens to a stream, each of two gateways gets every entry at most once and in
//! order, is told of every hole, and every number that it is told is right.
//!
//! Each entry's payload is its number. An entry that was deleted before it was read, or lost with its
//! server, is nobody's.

use super::*;
use fastrand::Rng;
use std::collections::HashSet;

const STREAM: &str = "s";

/// Every kind of seed has the troubles of its own, as one kind would spoil what another proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The stream is deleted, or everything is.
    Delete,
    /// The server is killed and comes back empty.
    LoseAll,
    /// Entries are deleted by themselves.
    DeleteEntries,
    /// The server is killed and comes back without its newest entries.
    LoseNewest,
    /// All but a few entries are trimmed.
    Trim,
}

const KINDS: [Kind; 5] =
    [Kind::Delete, Kind::LoseAll, Kind::DeleteEntries, Kind::LoseNewest, Kind::Trim];

/// The stream and its truth.
struct Truth {
    kind: Kind,
    random: Rng,
    server: Server,
    /// Entries ever added.
    added: u64,
    milliseconds: u64,
    incarnation: u64,
    nobodys: HashSet<u64>,
}

/// What a gateway has told.
struct Gateway {
    rig: Rig,
    /// The number of the last entry, and of the entries before it that it was told are missing.
    seen: u64,
    is_told: bool,
    missed: Option<u64>,
    marks: u64,
    entries: usize,
    exact: usize,
}

impl Truth {
    fn new(kind: Kind, seed: u64) -> Self {
        let (random, server) = (Rng::with_seed(seed), Server::start(&[]));
        let nobodys = HashSet::new();
        Self { kind, random, server, added: 0, milliseconds: 1_000, incarnation: 1, nobodys }
    }

    fn add(&mut self, most: usize) {
        self.milliseconds += self.random.u64(0..3);
        loop {
            let sequence = self.incarnation * 1_000_000 + self.added + 1;
            let id = format!("{}-{sequence}", self.milliseconds);
            let (most, number) = (most.to_string(), (self.added + 1).to_string());
            let mut words = vec!["XADD", STREAM];
            if most != "0" {
                words.extend(["MAXLEN", "=", &*most]);
            }
            words.extend([&*id, "data", &*number]);
            match &*self.server.call(&words)[0] {
                answer if answer == id => {
                    self.added += 1;
                    return;
                }
                answer if answer.starts_with("LOADING") => {}
                // Its ids were higher before.
                _ => self.milliseconds += 5,
            }
        }
    }

    /// Many in one step, so that some are trimmed unread.
    fn burst(&mut self, entries: u64, most: usize) {
        let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[2], \
                      ARGV[3] .. '-' .. (ARGV[4] + i), 'data', ARGV[5] + i) end";
        self.milliseconds += 10_000;
        let sequence = self.incarnation * 1_000_000 + self.added;
        let words = [entries, most as u64, self.milliseconds, sequence, self.added];
        let words = words.map(|word| word.to_string());
        let mut command = vec!["EVAL", script, "1", STREAM];
        command.extend(words.iter().map(String::as_str));
        let answer = self.server.call(&command);
        assert!(answer.is_empty(), "{answer:?}");
        self.added += entries;
    }

    /// One trouble; the gateways may have read everything before.
    fn trouble(&mut self) {
        match self.kind {
            Kind::Delete => {
                self.nobodys.extend(1..=self.added);
                self.incarnation += 1;
                let all = self.random.bool();
                let words: &[&str] = if all { &["FLUSHALL"] } else { &["DEL", STREAM] };
                self.server.call(words);
                let back = [self.milliseconds, self.milliseconds / 2, 1_000];
                self.milliseconds = back[self.random.usize(0..3)];
            }
            Kind::LoseAll => {
                self.incarnation += 1;
                self.server.kill();
                self.server.restart();
                self.nobodys.extend(1..=self.added);
                self.milliseconds /= self.random.u64(1..3);
                (0..self.random.usize(0..4)).for_each(|_| self.add(0));
            }
            Kind::DeleteEntries => {
                let ids = self.server.call(&["XREVRANGE", STREAM, "+", "-", "COUNT", "5"]);
                if let Some(entry) = ids.chunks(3).nth(self.random.usize(0..5)) {
                    self.nobodys.insert(entry[2].parse().unwrap());
                    self.server.call(&["XDEL", STREAM, &entry[0]]);
                }
            }
            Kind::LoseNewest => {
                self.server.call(&["SAVE"]);
                let saved = self.added;
                for _ in 0..self.random.usize(0..12) {
                    self.add(0);
                }
                self.server.kill();
                self.server.restart();
                self.nobodys.extend(saved + 1..=self.added);
                (0..self.random.usize(0..4)).for_each(|_| self.add(0));
            }
            Kind::Trim => {
                let most = ["0", "0", "2"][self.random.usize(0..3)];
                self.server.call(&["XTRIM", STREAM, "MAXLEN", "=", most]);
            }
        }
    }
}

impl Gateway {
    async fn start(truth: &Truth) -> Self {
        let mut rig = Rig::streams(&truth.server);
        rig.ask(vec![StreamRequest::Subscribe(name(STREAM))]).await;
        let first = rig.stream_event().await;
        assert!(first.starts_with("subscribed"), "{first}");
        let (seen, is_told, missed) = (truth.added, false, Some(0));
        Self { rig, seen, is_told, missed, marks: 0, entries: 0, exact: 0 }
    }

    /// Reads everything that is in the stream now.
    async fn catch_up(&mut self, truth: &Truth) {
        loop {
            self.marks += 1;
            self.rig.mark(STREAM, self.marks).await;
            loop {
                let event =
                    timeout(PATIENCE, self.rig.shard.streams.ring.recv()).await.expect("in time");
                match event.unwrap() {
                    StreamEvent::Marker(number) if number == self.marks => return,
                    StreamEvent::NoMarker(number, _) if number == self.marks => break,
                    event => self.take(&event, truth),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // there is no link just now
        }
    }

    /// Takes what is there.
    fn pump(&mut self, truth: &Truth) {
        while let Some(event) = self.rig.shard.streams.ring.try_recv() {
            self.take(&event.unwrap(), truth);
        }
    }

    fn take(&mut self, event: &StreamEvent, truth: &Truth) {
        match event {
            StreamEvent::Entry(message) => {
                let number = std::str::from_utf8(message.payload()).unwrap().parse().unwrap();
                self.entry(number, truth);
            }
            StreamEvent::Gap { missed, .. } => {
                self.is_told = true;
                self.missed = self.missed.zip(*missed).map(|(sum, missed)| sum + missed);
            }
            StreamEvent::Place { .. } | StreamEvent::Turn { .. } => {}
            other => panic!("{}", told(other)),
        }
    }

    fn entry(&mut self, number: u64, truth: &Truth) {
        let (kind, seen) = (truth.kind, self.seen);
        assert!(number > seen, "{kind:?}: {number} came after {seen}");
        let lost: Vec<_> =
            (seen + 1..number).filter(|lost| !truth.nobodys.contains(lost)).collect();
        assert!(lost.is_empty() || self.is_told, "{kind:?}: {lost:?} were lost untold");
        if let Some(missed) = self.missed.filter(|_| self.is_told) {
            self.exact += 1;
            let (real, all) = (lost.len() as u64, number - seen - 1);
            assert!(
                missed == real || missed == all || (kind == Kind::Delete && missed <= all),
                "{kind:?}: told {missed}, missed {real} of {all}"
            );
        }
        (self.seen, self.is_told, self.missed) = (number, false, Some(0));
        self.entries += 1;
    }
}

/// Runs one seed; how many entries were got, and how many numbers were told.
async fn run(kind: Kind, seed: u64) -> (usize, usize) {
    let mut truth = Truth::new(kind, seed);
    let mut gateways = [Gateway::start(&truth).await, Gateway::start(&truth).await];
    for _ in 0..400 {
        match truth.random.u8(0..100) {
            0..60 => {
                let most = [0, 0, 0, 3, 30, 100][truth.random.usize(0..6)];
                truth.add(if kind == Kind::Trim { 60 } else { most });
            }
            60..70 => {
                let (entries, most) =
                    (truth.random.u64(1..60), [1, 3, 20][truth.random.usize(0..3)]);
                truth.burst(entries, most);
            }
            70..72 => {
                if truth.random.bool() {
                    for gateway in &mut gateways {
                        gateway.catch_up(&truth).await;
                    }
                }
                truth.trouble();
                if truth.random.bool() {
                    for gateway in &mut gateways {
                        gateway.catch_up(&truth).await;
                    }
                }
            }
            72..80 => gateways[truth.random.usize(0..2)].catch_up(&truth).await,
            _ => gateways[truth.random.usize(0..2)].pump(&truth),
        }
    }
    for _ in 0..3 {
        for gateway in &mut gateways {
            gateway.catch_up(&truth).await;
        }
        truth.add(0);
    }
    for gateway in &mut gateways {
        gateway.catch_up(&truth).await;
        assert_eq!(gateway.seen, truth.added, "{kind:?}, seed {seed}: the last one is missing");
    }
    let sum = |of: fn(&Gateway) -> usize| gateways.iter().map(of).sum();
    (sum(|gateway| gateway.entries), sum(|gateway| gateway.exact))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_comes_twice_no_hole_is_untold_and_every_number_is_right() {
    let (mut entries, mut exact) = (0, 0);
    for seed in 0..20 {
        let kind = KINDS[seed as usize % KINDS.len()];
        eprintln!("seed {seed}, {kind:?}");
        let (got, told) = run(kind, seed).await;
        (entries, exact) = (entries + got, exact + told);
    }
    assert!(entries > 1_000 && exact > 100, "{entries} entries, {exact} numbers");
    eprintln!("{entries} entries, {exact} numbers");
}
