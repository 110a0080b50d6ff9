//! The scenarios. Each starts what it needs, measures every server in turn, repeatedly, and returns one
//! or more rows of the table.

use std::thread::sleep;
use std::time::Duration;

use sockway_benches::report::{Connected, Window};

use crate::Outcome;
use crate::load::Bench;
use crate::presence;
use crate::processes;
use crate::publishing;
use crate::servers::{Kind, Place, Settings};
use crate::streams;
use crate::table::{Row, Target};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Place) -> Outcome<Vec<Row>>,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "broadcast",
        what: "one message at a time, to 1,000 and to 10,000 sockets",
        run: broadcast,
    },
    Scenario { name: "burst", what: "32 messages in flight to 1,000 sockets", run: burst },
    Scenario {
        name: "unicast",
        what: "64 messages in flight to 10,000 users' own channels",
        run: unicast,
    },
    Scenario { name: "flood", what: "256 messages in flight to one socket", run: flood },
    Scenario {
        name: "storm",
        what: "10,000 connections with a JWT and two channels each",
        run: storm,
    },
    Scenario {
        name: "memory",
        what: "10,000 idle connections, fresh and after a burst and pings, with TLS too",
        run: memory,
    },
    Scenario { name: "latency", what: "half the rate that saturates the limit", run: latency },
    Scenario { name: "recovery", what: "100,000 channels after a Redis restart", run: recovery },
    Scenario { name: "growth", what: "15,000 sockets against 1,000", run: growth },
    Scenario { name: "idle", what: "CPU of 10,000 idle connections, pings included", run: idle },
    Scenario { name: "cores", what: "two cores for the server against one", run: cores },
    Scenario { name: "shootout", what: "most sockets with p95 below 500 ms", run: shootout },
    Scenario { name: "slow", what: "one reader of 1 KB/s among fast ones", run: slow },
    Scenario {
        name: "stream",
        what: "a stream's entries to 1,000 sockets, beside pub/sub",
        run: streams::delivery,
    },
    Scenario {
        name: "resume",
        what: "10,000 sessions come back with their positions",
        run: streams::resume,
    },
    Scenario { name: "rearm", what: "50,000 streams after a Redis restart", run: streams::rearm },
    Scenario {
        name: "stream-memory",
        what: "10,000 idle connections with a stream each",
        run: streams::memory,
    },
    Scenario {
        name: "history",
        what: "others while 1,000 clients are given 100 entries each",
        run: streams::history,
    },
    Scenario {
        name: "say",
        what: "what a client says to 1,000 sockets, beside PUBLISH",
        run: publishing::say,
    },
    Scenario {
        name: "inbox",
        what: "20,000 client messages a second into a stream",
        run: publishing::inbox,
    },
    Scenario { name: "post", what: "64 HTTP publishes in flight", run: publishing::post },
    Scenario {
        name: "hostile",
        what: "others beside a client that floods its session",
        run: publishing::hostile,
    },
    Scenario {
        name: "presence",
        what: "Redis's CPU for 100,000 users who are there, in 50,000 rooms",
        run: presence::refreshes,
    },
    Scenario {
        name: "presence-memory",
        what: "sessions in rooms, with and without presence",
        run: presence::memory,
    },
];

/// Measures each of these in turn, as many times as there are pairs, after an uncounted warm-up turn. A peer that fails has no figure; when the limit or
/// Sockway fails, so does the scenario. Sockway's own count of deliveries must equal the load generator's.
pub(crate) fn in_turn<T>(
    place: &Place,
    benches: &mut [Bench],
    mut turn: impl FnMut(&mut Bench) -> Outcome<T>,
) -> Outcome<Vec<(Kind, Vec<T>)>> {
    let mut figures: Vec<(Kind, Vec<T>)> =
        benches.iter().map(|bench| (bench.kind, Vec::new())).collect();
    let mut failed = Vec::new();
    for warm in std::iter::once(false).chain(std::iter::repeat_n(true, place.pairs())) {
        for (bench, (kind, values)) in benches.iter_mut().zip(&mut figures) {
            if failed.contains(kind) {
                continue;
            }
            match turn(bench) {
                Ok(value) if warm => values.push(value),
                Ok(_) => {}
                Err(error) if kind.is_peer() => {
                    eprintln!("    left out: {error}");
                    failed.push(*kind);
                    values.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }
    for bench in benches {
        bench.compare_counts()?;
    }
    Ok(figures)
}

/// Measures each server once, one after the other; a peer that fails has no figure.
fn each<T>(
    place: &Place,
    mut measure: impl FnMut(Kind) -> Outcome<T>,
) -> Outcome<Vec<(Kind, Vec<T>)>> {
    let mut figures = Vec::new();
    for kind in place.everybody() {
        match measure(kind) {
            Ok(value) => figures.push((kind, vec![value])),
            Err(error) if kind.is_peer() => {
                eprintln!("    left out: {error}");
                figures.push((kind, Vec::new()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(figures)
}

/// One figure of each build of Sockway.
fn of_each_build<T>(
    place: &Place,
    mut measure: impl FnMut(Kind) -> Outcome<T>,
) -> Outcome<Vec<(Kind, Vec<T>)>> {
    place.builds().into_iter().map(|kind| Ok((kind, vec![measure(kind)?]))).collect()
}

impl Place<'_> {
    pub(crate) fn pairs(&self) -> usize {
        self.options.pairs.unwrap_or(if self.options.short { 3 } else { 7 })
    }

    pub(crate) fn sockets(&self, usual: usize) -> usize {
        self.options.sockets.unwrap_or(usual)
    }

    /// This many messages; in the short form a fifth of them.
    pub(crate) fn messages(&self, usual: f64) -> u64 {
        let share = if self.options.short { 0.2 } else { 1.0 };
        (usual * share * self.options.messages).ceil() as u64
    }
}

/// Starts each of these servers with its sockets.
fn connected(place: &Place, kinds: &[Kind], sockets: usize, path: &str) -> Outcome<Vec<Bench>> {
    let mut benches = Vec::new();
    for kind in kinds {
        let mut bench = Bench::start(place, *kind, &Settings::usual(place))?;
        match connect(&mut bench, sockets, path) {
            Ok(_) => benches.push(bench),
            Err(error) if kind.is_peer() => eprintln!("    left out: {error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(benches)
}

/// Sockway, as it usually is.
pub(crate) fn start(place: &Place) -> Outcome<Bench> {
    Bench::start(place, Kind::Sockway, &Settings::usual(place))
}

pub(crate) fn connect(bench: &mut Bench, sockets: usize, path: &str) -> Outcome<Connected> {
    bench.step(&format!("connect --sockets {sockets} --path {path}"))
}

pub(crate) fn closed(
    bench: &mut Bench,
    place: &Place,
    messages: u64,
    in_flight: u64,
    to: &str,
) -> Outcome<Window> {
    let size = place.options.size;
    let window = bench.window(&format!(
        "closed --messages {messages} --in-flight {in_flight} --size {size} --to {to}"
    ))?;
    let share = |share: f64| (share * 100.0).round();
    let shares = &window.shares;
    eprintln!(
        "    {:<18} {:>7.2} µs CPU, {:>9.0} deliveries/s; busy %: server {}, load {}, Redis {}{}",
        bench.kind.name(),
        window.server_cpu_micros_per_delivery,
        window.deliveries_per_second,
        share(shares.server),
        share(shares.load),
        share(shares.redis),
        if shares.bottleneck_was_load { "; the load generator was the bottleneck" } else { "" }
    );
    Ok(window)
}

type Windows = Vec<(Kind, Vec<Window>)>;

fn figures(windows: &Windows, of: impl Fn(&Window) -> f64) -> Vec<(Kind, Vec<f64>)> {
    windows.iter().map(|(kind, windows)| (*kind, windows.iter().map(&of).collect())).collect()
}

/// Names the servers whose windows were limited by the load generator.
fn held_back(windows: &Windows) -> String {
    let held = |(_, windows): &&(Kind, Vec<Window>)| {
        windows.iter().any(|window| window.shares.bottleneck_was_load)
    };
    let names: Vec<&str> = windows.iter().filter(held).map(|(kind, _)| kind.name()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("The load generator, not the server, was the bottleneck for: {}.", names.join(", "))
}

fn broadcast(place: &Place) -> Outcome<Vec<Row>> {
    [1_000, 10_000].into_iter().map(|usual| broadcast_to(place, place.sockets(usual))).collect()
}

fn broadcast_to(place: &Place, sockets: usize) -> Outcome<Row> {
    let mut benches = connected(place, &place.everybody(), sockets, "/all")?;
    let messages = place.messages(1e6 / sockets as f64);
    let windows = in_turn(place, &mut benches, |bench| closed(bench, place, messages, 1, "all"))?;
    Ok(Row {
        what: format!(
            "broadcast to {sockets} sockets, one message at a time: server CPU a delivery"
        ),
        unit: "µs",
        target: Target::RatioAtMost(1.05),
        figures: figures(&windows, |window| window.server_cpu_micros_per_delivery),
        note: String::new(),
    })
}

fn burst(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(1_000);
    let mut benches = connected(place, &place.everybody(), sockets, "/all")?;
    let messages = place.messages(3e6 / sockets as f64);
    let windows = in_turn(place, &mut benches, |bench| closed(bench, place, messages, 32, "all"))?;
    Ok(vec![Row {
        what: format!("broadcast to {sockets} sockets, 32 in flight: throughput"),
        unit: "deliveries/s",
        target: Target::RatioAtLeast(12.0),
        figures: figures(&windows, |window| window.deliveries_per_second),
        note: held_back(&windows),
    }])
}

fn unicast(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(10_000);
    let mut benches = connected(place, &place.everybody(), sockets, "/own/{ids}")?;
    let messages = place.messages(2e5);
    let windows = in_turn(place, &mut benches, |bench| closed(bench, place, messages, 64, "own"))?;
    Ok(vec![Row {
        what: format!("to {sockets} users' own channels, 64 in flight: server CPU a message"),
        unit: "µs",
        target: Target::RatioAtMost(1.25),
        figures: figures(&windows, |window| window.server_cpu_micros_per_delivery),
        note: held_back(&windows),
    }])
}

/// One socket reads everything: what a message costs on its way from Redis, not what a socket costs.
fn flood(place: &Place) -> Outcome<Vec<Row>> {
    let mut benches = connected(place, &place.limit_and_builds(), 1, "/all")?;
    let messages = place.messages(1e6);
    let windows = in_turn(place, &mut benches, |bench| closed(bench, place, messages, 256, "all"))?;
    Ok(vec![Row {
        what: "256 messages in flight to one socket: server CPU a message".to_owned(),
        unit: "µs",
        target: Target::None,
        figures: figures(&windows, |window| window.server_cpu_micros_per_delivery),
        note: held_back(&windows),
    }])
}

fn storm(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(10_000);
    // As configured here, no peer checks tokens; they would be measured doing less work.
    let kinds = place.limit_and_builds();
    let mut figures: Vec<_> = kinds.into_iter().map(|kind| (kind, Vec::new())).collect();
    for _ in 0..place.pairs() {
        for (kind, values) in &mut figures {
            let mut bench = Bench::start(place, *kind, &Settings::usual(place))?;
            let path = if kind.is_sockway() { "/user?token={token}" } else { "/both/{ids}" };
            values.push(connect(&mut bench, sockets, path)?.server_cpu_micros_per_connection);
        }
    }
    Ok(vec![Row {
        what: format!(
            "{sockets} connections, HS256 JWT and two channels each: server CPU a connection"
        ),
        unit: "µs",
        target: Target::RatioAtMost(2.5),
        figures,
        note: "The limit checks no token.".to_owned(),
    }])
}

fn memory(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(10_000);
    let plain = each(place, |kind| memory_of(place, kind, sockets, false))?;
    let tls = of_each_build(place, |kind| memory_of(place, kind, sockets, true))?;
    let row = |grown: &[(Kind, Vec<Grown>)], what: &str, most, of: fn(&Grown) -> f64, note| Row {
        what: format!("idle connection with its own channel and a common one, {what}: PSS"),
        unit: "bytes",
        target: Target::AtMost(most),
        figures: grown.iter().map(|(kind, both)| (*kind, both.iter().map(of).collect())).collect(),
        note,
    };
    let used = "after a burst of 100 messages and pings";
    let (plain_pings, tls_pings) = (pings(place, false), pings(place, true));
    let note = |pings: &Pings| {
        format!("Sockway: pinged every {} for {} s, then weighed.", pings.interval, pings.seconds)
    };
    Ok(vec![
        row(&plain, "fresh", 1536.0, |grown| grown.fresh, String::new()),
        row(&plain, used, 1700.0, |grown| grown.used, note(&plain_pings)),
        row(&tls, "TLS, fresh", 10_240.0, |grown| grown.fresh, String::new()),
        row(&tls, &format!("TLS, {used}"), 10_240.0, |grown| grown.used, note(&tls_pings)),
    ])
}

/// Bytes per connection.
struct Grown {
    fresh: f64,
    used: f64,
}

struct Pings {
    interval: &'static str,
    seconds: u32,
}

/// The pings of ten minutes, sent once; in a shorter time where the interval can be shortened.
fn pings(place: &Place, tls: bool) -> Pings {
    match (place.options.short, tls) {
        (true, _) => Pings { interval: "2s", seconds: 5 },
        (false, true) => Pings { interval: "2s", seconds: 60 },
        (false, false) => Pings { interval: "25s", seconds: 600 },
    }
}

fn memory_of(place: &Place, kind: Kind, sockets: usize, tls: bool) -> Outcome<Grown> {
    let Pings { interval, seconds } = pings(place, tls);
    let settings = Settings { ping_interval: interval, tls, ..Settings::usual(place) };
    let mut bench = Bench::start(place, kind, &settings)?;
    let connected = connect(&mut bench, sockets, "/both/{ids}")?;
    let grown =
        |after: u64| after.saturating_sub(connected.memory_before.pss) as f64 / sockets as f64;
    closed(&mut bench, place, 100, 100, "all")?;
    // The other servers do not ping, or ignore the interval: a minute is enough.
    let seconds = if kind.is_sockway() { seconds } else { seconds.min(60) };
    let idle = bench.window(&format!("idle --seconds {seconds}"))?;
    Ok(Grown { fresh: grown(connected.memory_after.pss), used: grown(idle.memory.pss) })
}

fn latency(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(1_000);
    let mut benches = connected(place, &place.everybody(), sockets, "/all")?;
    let messages = place.messages(1e6 / sockets as f64);
    let full = closed(&mut benches[0], place, messages, 32, "all")?;
    let rate = full.deliveries_per_second / 2.0 / sockets as f64;
    let (size, seconds) = (place.options.size, if place.options.short { 3 } else { 15 });
    let line = format!("open --rate {rate} --seconds {seconds} --size {size}");
    let windows = in_turn(place, &mut benches, |bench| bench.window(&line))?;
    let row = |name: &str, of: fn(&Window) -> f64| Row {
        what: format!(
            "latency at {rate:.0} messages/s to {sockets} sockets, half of what saturates the limit: {name}"
        ),
        unit: "µs",
        target: Target::RatioAtMost(1.2),
        figures: figures(&windows, of),
        note: String::new(),
    };
    Ok(vec![row("p50", |window| window.latency.p50), row("p99", |window| window.latency.p99)])
}

/// The time from Redis answering again until all channels are subscribed; sessions stay open.
fn recovery(place: &Place) -> Outcome<Vec<Row>> {
    const CHANNELS: usize = 20;
    let sockets = place.sockets(5_000);
    let channels = (sockets * CHANNELS) as u64;
    let line = format!("connect --sockets {sockets} --channels {CHANNELS} --path /many?c={{ids}}");
    let mut figures = Vec::new();
    for kind in place.builds() {
        let mut bench = Bench::start(place, kind, &Settings::usual(place))?;
        let _: Connected = bench.step(&line)?;
        let mut seconds = Vec::new();
        for _ in 0..place.pairs() {
            let answered = bench.redis.restart()?;
            // Its control and probe channels are subscribed to as well.
            processes::wait_until("the channels do not come back", || {
                bench.redis.channels().is_ok_and(|held| held >= channels)
            })?;
            seconds.push(answered.elapsed().as_secs_f64());
            sleep(Duration::from_millis(500));
        }
        figures.push((kind, seconds));
    }
    Ok(vec![Row {
        what: format!("{channels} channels of {sockets} sessions back after a Redis restart"),
        unit: "s",
        target: Target::AtMost(1.0),
        figures,
        note: "From Redis's first answer until it counts all channels as subscribed again."
            .to_owned(),
    }])
}

fn growth(place: &Place) -> Outcome<Vec<Row>> {
    let many = place.sockets(15_000);
    let few = (many / 15).max(1);
    let mut benches = connected(place, &place.limit_and_builds(), few, "/all")?;
    let cost = |benches: &mut [Bench], sockets: usize| {
        let messages = place.messages(1e6 / sockets as f64).max(3);
        in_turn(place, benches, |bench| {
            Ok(closed(bench, place, messages, 1, "all")?.server_cpu_micros_per_delivery)
        })
    };
    let mut figures = cost(&mut benches, few)?;
    for bench in &mut benches {
        connect(bench, many - few, "/all")?;
    }
    for ((_, few), (_, many)) in figures.iter_mut().zip(cost(&mut benches, many)?) {
        few.iter_mut().zip(many).for_each(|(few, many)| *few = many / *few);
    }
    Ok(vec![Row {
        what: format!("growth of the CPU a delivery, {many} sockets against {few}"),
        unit: "×",
        target: Target::RatioAtMost(1.1),
        figures,
        note: String::new(),
    }])
}

fn idle(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(10_000);
    let mut pings = 0;
    let figures = of_each_build(place, |kind| {
        let mut bench = Bench::start(place, kind, &Settings::usual(place))?;
        connect(&mut bench, sockets, "/both/{ids}")?;
        // One whole interval of pings.
        let window: Window = bench.step("idle --seconds 25")?;
        pings = window.pings;
        Ok(window.shares.server * 100.0)
    })?;
    Ok(vec![Row {
        what: format!("idle CPU of {sockets} connections, pings every 25 s"),
        unit: "% of a core",
        target: Target::AtMost(1.0),
        figures,
        note: format!("{pings} pings were answered in 25 s."),
    }])
}

/// If the load generator shares a core with the server, throughput would measure both: then the figure
/// is derived from CPU time, see the note.
fn cores(place: &Place) -> Outcome<Vec<Row>> {
    if place.cores.len() < 2 {
        return Ok(Vec::new());
    }
    let sockets = place.sockets(1_000);
    let enough = place.cores.len() >= 4;
    let mut benches = Vec::new();
    for count in [1, 2] {
        let settings = Settings { cores: place.cores[..count].to_vec(), ..Settings::usual(place) };
        let mut bench = Bench::start(place, Kind::Sockway, &settings)?;
        connect(&mut bench, sockets, "/all")?;
        benches.push(bench);
    }
    let messages = place.messages(3e6 / sockets as f64);
    let windows = in_turn(place, &mut benches, |bench| closed(bench, place, messages, 32, "all"))?;
    let [(_, one), (_, two)] = &windows[..] else { return Ok(Vec::new()) };
    let gain = |(one, two): (&Window, &Window)| {
        if enough {
            return two.deliveries_per_second / one.deliveries_per_second;
        }
        // The busiest thread bounds the throughput; a delivery takes so much of it.
        let busiest = |window: &Window| {
            let threads = window.shares.server_threads.iter().copied();
            threads.fold(0.0, f64::max) / window.deliveries_per_second
        };
        busiest(one) / busiest(two)
    };
    let note = if enough {
        "Server on cores of its own."
    } else {
        "Derived, as the load generator had no core of its own: CPU time a delivery of the busiest thread, with one core divided by with two."
    };
    Ok(vec![Row {
        what: format!("throughput with two cores against one, {sockets} sockets, 32 in flight"),
        unit: "×",
        target: Target::AtLeast(1.7),
        figures: vec![(Kind::Sockway, one.iter().zip(two).map(gain).collect())],
        note: note.to_owned(),
    }])
}

/// As in websocket-shootout: 10 messages in flight, sockets are added until p95 is above 500 ms. Here a
/// round trip ends when the last socket has the message, which is later than in the original.
fn shootout(place: &Place) -> Outcome<Vec<Row>> {
    const LIMIT_MICROS: f64 = 500_000.0;
    let most = place.sockets(15_000);
    let step = (if place.options.short { most / 5 } else { most / 15 }).max(1);
    let figures = each(place, |kind| {
        let mut bench = Bench::start(place, kind, &Settings::usual(place))?;
        let mut good = 0;
        while good + step <= most {
            connect(&mut bench, step, "/all")?;
            let window = closed(&mut bench, place, place.messages(100.0), 10, "all")?;
            if window.until_everybody.p95 >= LIMIT_MICROS {
                break;
            }
            good += step;
        }
        Ok(good as f64)
    })?;
    Ok(vec![Row {
        what: "most sockets with a p95 broadcast round trip below 500 ms, 10 in flight".to_owned(),
        unit: "sockets",
        target: Target::None,
        figures,
        note: format!(
            "In steps of {step}, at most {most}: a server that reaches that could hold more."
        ),
    }])
}

/// AnyCable's test: how much a reader of 1 KB/s delays the others. There are more messages than the kernel
/// buffers for the slow one, so that the server has to handle it.
fn slow(place: &Place) -> Outcome<Vec<Row>> {
    let (sockets, mut closed) = (place.sockets(100), 0);
    let seconds = if place.options.short { 8 } else { 30 };
    let figures = each(place, |kind| {
        let mut bench = Bench::start(place, kind, &Settings::usual(place))?;
        connect(&mut bench, sockets, "/all")?;
        let _: Connected =
            bench.step("connect --sockets 1 --path /all --slow-bytes-per-second 1000")?;
        let window = bench.window(&format!("open --rate 200 --seconds {seconds} --size 4096"))?;
        if kind.is_sockway() {
            closed = bench.metric("sockway_sessions_closed_total", "slow_consumer")?;
        }
        Ok(window.longest_silence_millis)
    })?;
    Ok(vec![Row {
        what: format!("longest pause of {sockets} fast readers beside one that reads 1 KB/s"),
        unit: "ms",
        target: Target::AtMost(100.0),
        figures,
        note: format!("A message of 4 KiB every 5 ms. Sockway closed {closed} as slow_consumer."),
    }])
}
