//! A model: whatever happens to three instances and to Redis, once things are at rest the clients of each
//! see who is really there, and no client is ever told what is no news.
//!
//! The rules were found with such a model; this one runs the product. `SOCKWAY_PRESENCE_SEEDS=100` runs more.

use super::*;
use fastrand::Rng;

const STEPS: usize = 60;
const ROUNDS: usize = 2;

/// Until the last ghost is gone, everyone has repaired, and rosters are read anew.
fn rest() -> Duration {
    RULES.ttl * 5 / 2 + Duration::from_secs(2)
}

struct World {
    random: Rng,
    server: Server,
    gateways: Vec<Option<Gateway>>,
    /// Stopped until then.
    stopped: Vec<Option<Instant>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = Server::start(&[]);
        let gateways = (0..3).map(|_| Some(Gateway::on(&server))).collect();
        Self { random: Rng::with_seed(seed), server, gateways, stopped: vec![None; 3] }
    }

    async fn step(&mut self) {
        let (at, dice) = (self.random.usize(0..3), self.random.u32(0..1_000));
        self.wake(false);
        match (&mut self.gateways[at], dice) {
            (None, 0..300) => self.gateways[at] = Some(Gateway::on(&self.server)),
            (None, _) => {}
            (Some(gateway), 0..450) => gateway.enter(&format!("u{}", self.random.u32(0..7))),
            (Some(gateway), 450..850) if !gateway.clients.is_empty() => {
                let client = self.random.usize(0..gateway.clients.len());
                gateway.exit(client);
            }
            (Some(_), 850..880) => {
                self.gateways[at] = None;
                self.stopped[at] = None;
            }
            (Some(_), 880..900) => drop(self.server.call(&["FLUSHALL"])),
            (Some(_), 900..940) => {
                self.server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            (Some(_), 940..950) => drop(self.server.call(&["CLIENT", "KILL", "TYPE", "normal"])),
            (Some(_), 950..955) => drop(self.server.call(&["SCRIPT", "FLUSH"])),
            (Some(_), 955..958) => {
                self.server.kill();
                self.server.restart();
            }
            (Some(gateway), 958..970) => {
                gateway.is_stopped.store(true, Ordering::Relaxed);
                let pause = Duration::from_millis([100, 700, 2_000][self.random.usize(0..3)]);
                self.stopped[at] = Some(Instant::now() + pause);
            }
            (Some(_), _) => {}
        }
        sleep(Duration::from_millis([0, 1, 5, 40][self.random.usize(0..4)])).await;
        self.gateways.iter_mut().flatten().for_each(Gateway::listen);
    }

    /// Those whose pause is over go on, or all.
    fn wake(&mut self, all: bool) {
        for (gateway, stopped) in self.gateways.iter().zip(&mut self.stopped) {
            if let (Some(gateway), Some(until)) = (gateway, *stopped)
                && (all || until <= Instant::now())
            {
                gateway.is_stopped.store(false, Ordering::Relaxed);
                *stopped = None;
            }
        }
    }

    fn truth(&self) -> BTreeMap<Arc<str>, usize> {
        let mut truth = BTreeMap::new();
        for gateway in self.gateways.iter().flatten() {
            let users: BTreeSet<_> =
                gateway.clients.iter().map(|it| Arc::clone(&it.user)).collect();
            users.into_iter().for_each(|user| *truth.entry(user).or_default() += 1);
        }
        truth
    }

    async fn check(&mut self, seed: u64) {
        self.wake(true);
        let deadline = Instant::now() + rest() + PATIENCE;
        let truth = self.truth();
        let expected = View::Users(truth.keys().cloned().collect());
        // At rest, not only by chance on the way.
        let mut right_since = None;
        while right_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_millis(700))
        {
            let is_right = self.gateways.iter_mut().flatten().all(|it| it.all_see(&expected));
            let counts: BTreeMap<_, _> =
                truth.iter().map(|(user, count)| (user.to_string(), count.to_string())).collect();
            let is_right = is_right && (truth.is_empty() || hash(&self.server) == counts);
            right_since = is_right.then(|| right_since.unwrap_or_else(Instant::now));
            let seen: Vec<_> = self.gateways.iter().flatten().map(|it| &it.clients).collect();
            assert!(
                Instant::now() < deadline,
                "seed {seed}: truth {truth:?}, in Redis {:?}, seen {seen:#?}",
                hash(&self.server)
            );
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            world.step().await;
        }
        world.check(seed).await;
    }
}

#[tokio::test]
async fn at_rest_the_clients_of_every_instance_see_who_is_really_there() {
    let seeds = std::env::var("SOCKWAY_PRESENCE_SEEDS").ok().and_then(|it| it.parse().ok());
    let first = std::env::var("SOCKWAY_PRESENCE_FIRST").ok().and_then(|it| it.parse().ok());
    let (first, seeds) = (first.unwrap_or(1_u64), seeds.unwrap_or(4));
    let runs = (first..first + seeds).map(|seed| tokio::spawn(run(seed)));
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
}
