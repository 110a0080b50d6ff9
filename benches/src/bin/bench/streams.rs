//! The scenarios of streams: each figure beside that of plain pub/sub in the same run, where there is one.

use std::thread::sleep;
use std::time::Duration;

use sockway_benches::report::{Connected, StreamsRead, Window};

use crate::Outcome;
use crate::load::{Bench, Load};
use crate::processes;
use crate::scenarios::{closed, connect, in_turn, start};
use crate::servers::{Kind, Place};
use crate::table::{Row, Target};

fn row(what: String, unit: &'static str, most: f64, figures: Vec<f64>) -> Row {
    Row::of_sockway(what, unit, Target::AtMost(most), figures)
}

/// The same messages by PUBLISH and by XADD, in turns.
pub(crate) fn delivery(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(1_000);
    let mut benches = vec![start(place)?, start(place)?];
    connect(&mut benches[0], sockets, "/all")?;
    connect(&mut benches[1], sockets, "/stream/all")?;
    let messages = place.messages(1e6 / sockets as f64);
    let mut is_stream = [false, true].into_iter().cycle();
    let windows = in_turn(place, &mut benches, |bench| {
        let to = if is_stream.next() == Some(true) { "all --stream" } else { "all" };
        closed(bench, place, messages, 1, to)
    })?;
    let [(_, plain), (_, stream)] = &windows[..] else { return Ok(Vec::new()) };
    let ratios = |of: fn(&Window) -> f64| {
        stream.iter().zip(plain).map(|(stream, plain)| of(stream) / of(plain)).collect()
    };
    let what = |figure: &str| {
        format!("a stream's entry to {sockets} sockets, one at a time, against pub/sub: {figure}")
    };
    Ok(vec![
        row(
            what("server CPU a delivery"),
            "×",
            1.1,
            ratios(|it| it.server_cpu_micros_per_delivery),
        ),
        row(what("latency p50"), "×", 2.5, ratios(|it| it.latency.p50)),
    ])
}

/// All sessions come back at once, each with 20 entries missed.
pub(crate) fn resume(place: &Place) -> Outcome<Vec<Row>> {
    const ENTRIES: u64 = 20;
    let (sockets, size) = (place.sockets(10_000), place.options.size);
    let mut rows = Vec::new();
    let cases = [
        ("own", "/stream/own/{ids}", "streams of their own", 3.0),
        ("all", "/stream/all", "one stream", 1.5),
    ];
    for (to, path, streams, most) in cases {
        let line = format!(
            "resume --sockets {sockets} --path {path}?since=1-0 --entries {ENTRIES} --to {to} --size {size}"
        );
        let (mut seconds, mut redis, mut least) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..place.pairs() {
            let mut bench = start(place)?;
            let back: Connected = bench.step(&line)?;
            seconds.push(back.seconds);
            redis.push(back.shares.redis * back.seconds);
            if to == "own" {
                let read: StreamsRead =
                    bench.step(&format!("read-streams --streams {sockets} --entries {ENTRIES}"))?;
                least.push(read.redis);
            }
        }
        let what = format!("{sockets} sessions resume {ENTRIES} entries each, on {streams}");
        rows.push(row(format!("{what}: until the last is live"), "s", most, seconds));
        let mut cpu = row(format!("{what}: Redis's CPU"), "s", 0.3, redis);
        if !least.is_empty() {
            cpu.figures.insert(0, (Kind::Limit, least));
            cpu.note = "The limit: XINFO and XRANGE of each stream by one client, 16 streams at a time, and nothing else.".to_owned();
        }
        rows.push(cpu);
    }
    Ok(rows)
}

/// The time from Redis answering again until every stream is armed again.
pub(crate) fn rearm(place: &Place) -> Outcome<Vec<Row>> {
    const STREAMS: usize = 20;
    let sockets = place.sockets(2_500);
    let streams = (sockets * STREAMS) as u64;
    let mut bench = start(place)?;
    let _: Connected = bench.step(&format!(
        "connect --sockets {sockets} --channels {STREAMS} --path /stream/many?c={{ids}}"
    ))?;
    let subscribed =
        |bench: &Bench| bench.metric("sockway_streams", "subscribed").is_ok_and(|it| it >= streams);
    let mut seconds = Vec::new();
    for _ in 0..place.pairs() {
        let answered = bench.redis.restart()?;
        processes::wait_until("the streams are never lost", || !subscribed(&bench))?;
        processes::wait_until("the streams do not come back", || subscribed(&bench))?;
        seconds.push(answered.elapsed().as_secs_f64());
        sleep(Duration::from_millis(500));
    }
    let what = format!("{streams} streams followed again after a Redis restart");
    Ok(vec![row(what, "s", 2.0, seconds)])
}

/// What a stream costs a session beyond a channel.
pub(crate) fn memory(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(10_000);
    let grown = |path: &str| -> Outcome<f64> {
        let connected = connect(&mut start(place)?, sockets, path)?;
        let (before, after) = (connected.memory_before.pss, connected.memory_after.pss);
        Ok(after.saturating_sub(before) as f64 / sockets as f64)
    };
    let mut figures = Vec::new();
    for _ in 0..place.pairs() {
        figures.push(grown("/stream/own/{ids}")? - grown("/own/{ids}")?);
    }
    let what = "idle session with a stream of its own, above one with a channel: PSS".to_owned();
    Ok(vec![row(what, "bytes", 300.0, figures)])
}

/// What those notice who are connected already while 1,000 clients fetch 100 entries each.
pub(crate) fn history(place: &Place) -> Outcome<Vec<Row>> {
    const ENTRIES: u64 = 100;
    let (sockets, size) = (place.sockets(1_000), place.options.size);
    let open = format!("open --rate 500 --seconds 2 --size {size} --to all");
    let mut ratios = Vec::new();
    for _ in 0..place.pairs() {
        let mut bench = start(place)?;
        connect(&mut bench, 100, "/all")?;
        let quiet = bench.window(&open)?.latency.p99;
        let mut crowd: Load = bench.another_load(place)?;
        crowd.ask(&format!(
            "resume --sockets {sockets} --path /stream/own/{{ids}}?since=1-0 --entries {ENTRIES} --to own --size {size}"
        ))?;
        let busy = bench.window(&open)?.latency.p99;
        let _: Connected = crowd.answer()?;
        ratios.push(busy / quiet);
    }
    let what = format!(
        "p99 of 100 others while {sockets} clients are given {ENTRIES} entries each, against before"
    );
    Ok(vec![row(what, "×", 2.0, ratios)])
}
