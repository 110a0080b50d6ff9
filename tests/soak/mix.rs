//! Ten minutes of everything at once: 5,000 sockets, 2,000 messages a second, and a fault every few
//! seconds, chosen by a seed. Afterwards every promise is held against what the clients saw, and the
//! memory against what it was when all was warm.

use crate::{
    assert_all_kept, in_room,
    rig::{
        Gateway, Redis, Request, Settings,
        crowd::{Crowd, Manner, Member, Plan},
        oracle::{Chatter, Ledger, Source, seeded, wait_numsub},
        proxy::{Proxy, Weather},
        settings::{Endpoint, rooms},
    },
    say,
};
use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// They stay, and each has a room of its own.
const RESIDENTS: usize = 4_500;
/// They come, go, get stuck, and break things; fifty rooms, ten each.
const GUESTS: usize = 500;
const MESSAGES_PER_SECOND: usize = 2_000;

/// Nobody may be slow by accident here: a hole is then a defect, and not a busy machine.
fn patient(endpoint: Endpoint) -> Endpoint {
    endpoint.set("queue_messages", 4_096).set("queue_bytes", "4MiB").set("ping_timeout", "60s")
}

struct Soak {
    redis: Redis,
    proxy: Proxy,
    gateway: Gateway,
    crowd: Crowd,
    residents: Vec<Member>,
    guests: Vec<Member>,
    rng: fastrand::Rng,
}

fn channels() -> Vec<String> {
    let guests = (0..GUESTS / 10).map(|room| format!("guest:{room}"));
    (0..RESIDENTS).map(|room| format!("room:{room}")).chain(guests).collect()
}

impl Soak {
    fn new() -> Self {
        let rng = seeded();
        let redis = Redis::start();
        let proxy = Proxy::to(&redis.address());
        let guests = Endpoint::new("guests", "/ws/guests/{room}", &["guest:{path.room}"]).open();
        let settings = Settings::with_url(&proxy.url())
            .set("redis.probe_timeout", "1900ms")
            .set("redis.probe_interval", "2s")
            .endpoint(patient(rooms()))
            .endpoint(guests.set("queue_messages", 32).set("write_timeout", "5s"));
        let gateway = Gateway::start(&settings);
        let crowd = Crowd::gather();
        let plans: Vec<Plan> =
            (0..RESIDENTS).map(|room| in_room(&gateway, &room.to_string())).collect();
        let some = plans.chunks(500);
        let residents = some.flat_map(|some| crowd.all_in(some.to_vec())).collect();
        let mut soak = Self { redis, proxy, gateway, crowd, residents, guests: Vec::new(), rng };
        soak.refill();
        soak
    }

    fn chatter(&self) -> Chatter {
        const ROUNDS: usize = 20;
        let pause = Duration::from_secs(1) * ROUNDS as u32 / MESSAGES_PER_SECOND as u32;
        let mut source = Source::new(&self.redis);
        source.ballast = 100;
        source.keep_on_by_turns(channels(), ROUNDS, pause)
    }

    /// Lets as many guests come as are missing; who is refused comes another time.
    fn refill(&mut self) {
        self.guests.retain(|guest| {
            guest.look(|ledger| {
                ledger.assert_kept();
                !ledger.ended
            })
        });
        let plans = (self.guests.len()..GUESTS).map(|_| {
            let room = self.rng.usize(..GUESTS / 10);
            let ledger = Ledger::of(&[(&format!("guest:{room}"), None)]);
            let request = Request::upgrade(&format!("/ws/guests/{room}"));
            Plan::new(self.gateway.address, request, ledger)
        });
        let come = self.crowd.come(plans.collect());
        self.guests.extend(come.into_iter().flatten());
    }

    /// One fault, and a while of calm.
    fn fault(&mut self) -> &'static str {
        let short = Duration::from_millis(self.rng.u64(100..3_000));
        let name = match self.rng.usize(..10) {
            0 => {
                self.redis.kill();
                thread::sleep(short);
                self.redis.begin();
                "Redis killed"
            }
            1 => {
                self.redis.hang();
                thread::sleep(2 * short);
                self.redis.go_on();
                "Redis hung"
            }
            2 => self.weather(Weather::BlackHole, 2 * short, "black hole"),
            3 => self.weather(Weather::Delay(short / 10), short, "delay"),
            4 => {
                self.proxy.cut_after(self.rng.i64(0..200_000));
                self.proxy.cut();
                "cut twice"
            }
            5 => {
                self.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                "pubsub killed"
            }
            6 => {
                self.proxy.half_close();
                "half close"
            }
            7 => self.some_guests(&[Manner::Stops, Manner::Slow(500)], "guests got stuck"),
            8 => self.some_guests(&[Manner::Leaves, Manner::Resets], "guests left"),
            _ => self.garbage(),
        };
        thread::sleep(Duration::from_secs(2));
        self.refill();
        name
    }

    fn weather(&self, weather: Weather, while_: Duration, name: &'static str) -> &'static str {
        self.proxy.set(weather);
        thread::sleep(while_);
        self.proxy.set(Weather::Pass);
        name
    }

    fn some_guests(&mut self, manners: &[Manner], name: &'static str) -> &'static str {
        for guest in &self.guests {
            if self.rng.u8(..) < 100 {
                guest.behave(manners[self.rng.usize(..manners.len())]);
            }
        }
        name
    }

    fn garbage(&mut self) -> &'static str {
        for _ in 0..100 {
            let bytes: Vec<u8> = (0..self.rng.usize(1..2_000)).map(|_| self.rng.u8(..)).collect();
            if let Ok(mut stream) = TcpStream::connect(self.gateway.address) {
                // It may be hung up on before it has said everything.
                let _ = stream.write_all(&bytes);
            }
        }
        "garbage"
    }

    /// Everything that the residents were promised.
    fn settle(&self, chatter: Chatter) {
        self.gateway.wait_ready();
        let own: Vec<String> = channels().into_iter().take(RESIDENTS).collect();
        wait_numsub(&self.redis, &own, 1);
        let mut source = chatter.stop();
        for some in own.chunks(500) {
            assert_eq!(source.round(some), vec![1; some.len()]);
        }
        for (member, channel) in self.residents.iter().zip(&own) {
            let last = source.next(channel) - 1;
            crate::rig::wait::until(&format!("{channel} has got {last}"), || {
                member.look(|ledger| ledger.last(channel) == Some(last))
            });
        }
        assert_all_kept(&self.residents);
        assert_all_kept(&self.guests);
        let count = |of: fn(&Ledger) -> u64| -> u64 {
            self.residents.iter().map(|member| member.look(of)).sum()
        };
        let (delivered, missing, gaps) =
            (count(|one| one.delivered), count(|one| one.missing), count(|one| one.gaps));
        say(&format!("residents: {delivered} delivered, {missing} missing, {gaps} gaps told"));
        let metrics = self.gateway.metrics();
        assert_eq!(metrics.get("sockway_deliveries_total{endpoint=\"rooms\"}"), delivered as f64);
        assert_eq!(metrics.get("sockway_sessions{endpoint=\"rooms\"}"), RESIDENTS as f64);
        let [opened, closed, open] = ["_opened_total", "_closed_total", ""]
            .map(|what| metrics.sum(&format!("sockway_sessions{what}")));
        assert_eq!(opened, closed + open, "opened = closed by reason + open");
    }
}

#[test]
fn ten_minutes_of_everything() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(600, |text| text.parse().expect("seconds"));
    let mut soak = Soak::new();
    let chatter = soak.chatter();
    let start = Instant::now();
    let (warm, end) = (Duration::from_secs(seconds) / 4, Duration::from_secs(seconds));
    let (mut before, mut faults) = (None, 0);
    while start.elapsed() < end {
        let name = soak.fault();
        faults += 1;
        let now = soak.gateway.vitals();
        say(&format!(
            "{:4} s: {name}; {} KiB, {} descriptors",
            start.elapsed().as_secs(),
            now.memory_bytes / 1024,
            now.descriptors
        ));
        if before.is_none() && start.elapsed() > warm {
            before = Some(now);
        }
    }
    soak.settle(chatter);
    say(&format!("{faults} faults"));
    let (before, after) = (before.expect("warm"), soak.gateway.vitals());
    let bound = before.memory_bytes + before.memory_bytes / 20;
    say(&format!("{} bytes when warm, {} now", before.memory_bytes, after.memory_bytes));
    assert!(after.memory_bytes <= bound);
}
