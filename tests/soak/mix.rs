//! Ten minutes of everything at once: 5,000 sockets, 2,000 messages a second, and a fault every few
//! seconds, chosen by a seed. Afterwards every promise is checked against what the clients saw, and
//! the memory against its level after the warm-up.

use crate::{
    in_room,
    memory::{Sampler, Slope},
    rig::{
        Gateway, Redis, Request, Settings,
        crowd::{Crowd, Manner, Member, Plan, Refused},
        oracle::{Chatter, Ledger, Source, seeded},
        proxy::{Proxy, Weather},
        settings::{Endpoint, rooms},
        vitals::Vitals,
        wait::until,
    },
    say,
    truth::{
        Seen, assert_counted, assert_ends_well, assert_subscribed, assert_unsubscribed, of_endpoint,
    },
};
use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Residents stay connected, each in a room of its own: what they saw must equal the counters.
const RESIDENTS: usize = 4_500;
/// Guests connect, disconnect, get stuck, and misbehave: fifty rooms, ten each. What the kernel had
/// accepted for one that then broke off counts as delivered, although it was never read.
const GUESTS: usize = 500;
const MESSAGES_PER_SECOND: usize = 2_000;

/// The share of the time in which memory may still grow to its working size.
const WARM_UP: f64 = 0.25;

/// The most that memory may grow.
const PERCENT_AN_HOUR: f64 = 0.5;

/// No client may be slow by accident: then a hole is a defect, not a busy machine.
fn patient(endpoint: Endpoint) -> Endpoint {
    endpoint.set("ping_timeout", "60s")
}

fn own_rooms() -> Vec<String> {
    (0..RESIDENTS).map(|room| format!("room:{room}")).collect()
}

fn guest_rooms() -> Vec<String> {
    (0..GUESTS / 10).map(|room| format!("guest:{room}")).collect()
}

struct Soak {
    redis: Redis,
    proxy: Proxy,
    gateway: Gateway,
    settings: Settings,
    crowd: Crowd,
    residents: Vec<Member>,
    guests: Vec<Member>,
    /// Guests that have disconnected.
    gone: Seen,
    /// Handshakes that were refused because Redis was away.
    refused: u64,
    /// Taken while only the residents were connected.
    vitals: Vitals,
    rng: fastrand::Rng,
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
            // Small, so that some of the guests are too slow.
            .endpoint(guests.set("queue_messages", 32).set("write_timeout", "5s"));
        let gateway = Gateway::start(&settings);
        let crowd = Crowd::gather();
        let plans: Vec<Plan> =
            (0..RESIDENTS).map(|room| in_room(&gateway, &room.to_string())).collect();
        let residents = plans.chunks(500).flat_map(|some| crowd.all_in(some.to_vec())).collect();
        let (guests, gone, refused, vitals) = (Vec::new(), Seen::default(), 0, gateway.vitals());
        let mut soak = Self {
            redis,
            proxy,
            gateway,
            settings,
            crowd,
            residents,
            guests,
            gone,
            refused,
            vitals,
            rng,
        };
        soak.refill();
        soak
    }

    fn chatter(&self) -> Chatter {
        const ROUNDS: usize = 20;
        let pause = Duration::from_secs(1) * ROUNDS as u32 / MESSAGES_PER_SECOND as u32;
        let mut source = Source::new(&self.redis);
        source.ballast = 100;
        source.keep_on_by_turns([own_rooms(), guest_rooms()].concat(), ROUNDS, pause)
    }

    /// Connects the missing guests; one that is refused tries again next time.
    fn refill(&mut self) {
        let (gone, here) = std::mem::take(&mut self.guests)
            .into_iter()
            .partition::<Vec<_>, _>(|guest| guest.look(|ledger| ledger.ended));
        self.gone += Seen::by(&gone);
        self.guests = here;
        let plans = (self.guests.len()..GUESTS).map(|_| {
            let room = self.rng.usize(..GUESTS / 10);
            let ledger = Ledger::of(&[(&format!("guest:{room}"), None)]);
            let request = Request::upgrade(&format!("/ws/guests/{room}"));
            Plan::new(self.gateway.address, request, ledger)
        });
        for result in self.crowd.come(plans.collect()) {
            match result {
                Ok(guest) => self.guests.push(guest),
                Err(Refused::Status { status: 503, retry_after: true }) => self.refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    /// One fault, and then a calm period.
    fn fault(&mut self) -> &'static str {
        let short = Duration::from_millis(self.rng.u64(100..3_000));
        let name = match self.rng.usize(..11) {
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
            9 => self.reload(),
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
                // The gateway may disconnect it before it has sent everything.
                let _ = stream.write_all(&bytes);
            }
        }
        "garbage"
    }

    /// A file that is refused, and one that changes nothing; neither drops a session.
    fn reload(&self) -> &'static str {
        assert!(!self.gateway.reload_text("[[endpoint]]\nname = 7"), "refused");
        assert!(self.gateway.reload(&self.settings), "applied");
        "reloads"
    }

    /// Checks every promise.
    fn settle(mut self, chatter: Chatter) {
        self.gateway.wait_ready();
        let (own, guest) = (own_rooms(), guest_rooms());
        self.say_goodbye_to_guests(&guest);
        let mut source = chatter.stop();
        let published: u64 = own.iter().chain(&guest).map(|channel| source.next(channel)).sum();
        say(&format!("{published} messages"));
        assert_subscribed(&self.gateway, &self.redis, &own);
        let received = || self.gateway.metrics().get("sockway_redis_messages_total");
        let before = received();
        for some in own.chunks(500) {
            assert_eq!(source.round(some), vec![1; some.len()]);
        }
        for (member, channel) in self.residents.iter().zip(&own) {
            let last = source.next(channel) - 1;
            until(&format!("{channel} has got {last}"), || {
                member.look(|ledger| ledger.last(channel) == Some(last))
            });
        }
        assert_eq!(received() - before, RESIDENTS as f64, "each message was received once");
        self.assert_true();
        self.assert_given_back();
        assert_ends_well(self.gateway);
    }

    /// Descriptors and threads are back to those of the residents; memory is checked by its slope.
    fn assert_given_back(&self) {
        let before = self.vitals;
        until("descriptors and threads are given back", || {
            let now = self.gateway.vitals();
            now.descriptors <= before.descriptors && now.threads <= before.threads
        });
        let now = self.gateway.vitals();
        say(&format!(
            "{} KiB before it began, {} now",
            before.memory_bytes >> 10,
            now.memory_bytes >> 10
        ));
    }

    /// They read what is still queued for them, close, and leave nothing behind.
    fn say_goodbye_to_guests(&mut self, rooms: &[String]) {
        self.guests.iter().for_each(|guest| guest.behave(Manner::Leaves));
        until("the guests have left", || {
            self.guests.iter().all(|guest| guest.look(|ledger| ledger.ended))
        });
        self.gone += Seen::by(&self.guests);
        self.gateway.wait_metric("sockway_sessions{endpoint=\"guests\"}", 0.0);
        assert_unsubscribed(&self.redis, rooms);
    }

    fn assert_true(&self) {
        let (residents, guests) = (Seen::by(&self.residents), self.gone);
        say(&format!("residents: {residents:?}"));
        say(&format!("guests: {guests:?}"));
        assert_eq!(residents.ended, 0, "no session was dropped");
        assert_counted(&self.gateway, "rooms", &residents, 0);
        let metrics = self.gateway.metrics();
        let of_guests = |name| of_endpoint(&metrics, name, "guests");
        assert_eq!(of_guests("sockway_sessions_opened_total"), guests.came);
        assert_eq!(of_guests("sockway_sessions_closed_total"), guests.came);
        let (delivered, missed) =
            (of_guests("sockway_deliveries_total"), of_guests("sockway_missed_messages_total"));
        say(&format!("guests: {delivered} delivered, {missed} missed, says the gateway"));
        assert!(delivered >= guests.delivered);
        let gaps = metrics.sum("sockway_gaps_total");
        assert!(gaps >= (residents.gaps + guests.gaps) as f64);
        let refused = ["redis_unavailable", "subscription_timeout"].map(|reason| {
            metrics.get(&format!("sockway_handshakes_refused_total{{reason=\"{reason}\"}}"))
        });
        assert_eq!(refused.iter().sum::<f64>(), self.refused as f64);
    }
}

#[test]
fn ten_minutes_of_everything() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(600, |text| text.parse().expect("seconds"));
    let mut soak = Soak::new();
    let chatter = soak.chatter();
    let sampler = Sampler::of(soak.gateway.process.id());
    let (start, end) = (Instant::now(), Duration::from_secs(seconds));
    let mut faults = 0;
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
    }
    say(&format!("{faults} faults"));
    let slope = Slope::of(&sampler.stop(), WARM_UP);
    soak.settle(chatter);
    slope.assert_at_most(PERCENT_AN_HOUR);
}
