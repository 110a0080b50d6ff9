//! The scenarios of what comes from the other side: messages from clients, HTTP publish, and who abuses it.

use sockway_benches::report::{Flooded, Window};

use crate::Outcome;
use crate::load::Load;
use crate::scenarios::{closed, connect, in_turn, start};
use crate::servers::Place;
use crate::table::{Row, Target};

/// The stream that clients write to.
pub(crate) const INBOX: &str = "inbox";

/// Messages of a request that has several.
const BATCH: u64 = 100;

/// The same message to the same sockets, by PUBLISH and by one of them, in turns.
pub(crate) fn say(place: &Place) -> Outcome<Vec<Row>> {
    let sockets = place.sockets(1_000);
    let mut benches = vec![start(place)?, start(place)?];
    for bench in &mut benches {
        connect(bench, sockets, "/say?token={token}")?;
    }
    let messages = place.messages(1e6 / sockets as f64);
    let mut by_client = [false, true].into_iter().cycle();
    let windows = in_turn(place, &mut benches, |bench| {
        let to = if by_client.next() == Some(true) { "all --by socket" } else { "all" };
        closed(bench, place, messages, 1, to)
    })?;
    let [(_, published), (_, said)] = &windows[..] else { return Ok(Vec::new()) };
    let cost = |window: &Window| window.server_cpu_micros_per_delivery;
    let ratios =
        said.iter().zip(published).map(|(said, published)| cost(said) / cost(published)).collect();
    let what = format!(
        "a client's message to {sockets} sockets, one at a time, against PUBLISH: server CPU a delivery"
    );
    let note = "Raw, without a stamp, so that the same bytes are delivered.".to_owned();
    Ok(vec![Row { note, ..Row::of_sockway(what, "×", Target::AtMost(1.1), ratios) }])
}

/// Every message must be answered, and be in the stream.
pub(crate) fn inbox(place: &Place) -> Outcome<Vec<Row>> {
    const RATE: u64 = 20_000;
    let sockets = place.sockets(1_000);
    let (size, seconds) = (place.options.size, if place.options.short { 3 } else { 15 });
    let mut bench = start(place)?;
    connect(&mut bench, sockets, "/inbox?token={token}")?;
    let line = format!("open --rate {RATE} --seconds {seconds} --size {size} --by sockets");
    let (mut millis, mut busy, mut sent) = (Vec::new(), 0.0, 0);
    for warm in std::iter::once(false).chain(std::iter::repeat_n(true, place.pairs())) {
        let window: Window = bench.step(&line)?;
        sent += window.messages;
        let kept = bench.redis.entries(INBOX)?;
        if kept != sent {
            return Err(format!("{sent} messages were answered, the stream has {kept}").into());
        }
        eprintln!(
            "    p50 {:>6.0} µs, p99 {:>6.0} µs, {:>5.1} µs CPU a message",
            window.latency.p50, window.latency.p99, window.server_cpu_micros_per_delivery
        );
        if warm {
            millis.push(window.latency.p99 / 1e3);
            busy = window.shares.server;
        }
    }
    let what =
        format!("{RATE} messages/s of {sockets} clients into a stream, until the answer: p99");
    let note = format!(
        "All were answered, and are in the stream. The server used {:.0} % of its core.",
        busy * 100.0
    );
    Ok(vec![Row { note, ..Row::of_sockway(what, "ms", Target::AtMost(20.0), millis) }])
}

/// Over kept connections, each with one request at a time.
pub(crate) fn post(place: &Place) -> Outcome<Vec<Row>> {
    const IN_FLIGHT: u64 = 64;
    let mut bench = start(place)?;
    let mut row = |batch: u64, what: String, unit, least| -> Outcome<Row> {
        let (size, requests) = (place.options.size, place.messages(5e5) / batch.div_ceil(3));
        let line = format!(
            "post --requests {requests} --in-flight {IN_FLIGHT} --batch {batch} --size {size}"
        );
        let (mut figures, mut held_back) = (Vec::new(), false);
        for warm in std::iter::once(false).chain(std::iter::repeat_n(true, place.pairs())) {
            let window: Window = bench.step(&line)?;
            let shares = &window.shares;
            eprintln!(
                "    {:>8.0} messages/s, {:>6.2} µs CPU a message; busy %: server {:.0}, load {:.0}, Redis {:.0}",
                window.deliveries_per_second,
                window.server_cpu_micros_per_delivery,
                shares.server * 100.0,
                shares.load * 100.0,
                shares.redis * 100.0
            );
            if warm {
                figures.push(window.deliveries_per_second);
                held_back |= shares.bottleneck_was_load;
            }
        }
        let note = if held_back {
            "The load generator and Redis, not the server, were the bottleneck.".to_owned()
        } else {
            String::new()
        };
        Ok(Row { note, ..Row::of_sockway(what, unit, Target::AtLeast(least), figures) })
    };
    let each = format!("HTTP publish, {IN_FLIGHT} connections with a request each: one message");
    let many =
        format!("HTTP publish, {IN_FLIGHT} connections with a request each: {BATCH} messages");
    Ok(vec![row(1, each, "requests/s", 40_000.0)?, row(BATCH, many, "channels/s", 200_000.0)?])
}

/// What others notice of a client with a good token that sends as fast as it is read.
pub(crate) fn hostile(place: &Place) -> Outcome<Vec<Row>> {
    let size = place.options.size;
    let mut rows = Vec::new();
    for frames in ["publish", "subscribe", "unsubscribe"] {
        let (mut ratios, mut flooded) = (Vec::new(), Flooded::default());
        for _ in 0..place.pairs() {
            let mut bench = start(place)?;
            connect(&mut bench, 100, "/all")?;
            let quiet =
                bench.window(&format!("open --rate 500 --seconds 2 --size {size}"))?.latency.p99;
            let mut client: Load = bench.another_load(place)?;
            client.ask(&format!(
                "flood --path /flooded?token={{token}} --with {frames} --seconds 3"
            ))?;
            let busy =
                bench.window(&format!("open --rate 500 --seconds 2 --size {size}"))?.latency.p99;
            flooded = client.answer()?;
            eprintln!(
                "    p99 {quiet:.0} µs, then {busy:.0} µs beside {} sessions that sent {} bytes",
                flooded.sessions, flooded.bytes
            );
            ratios.push(busy / quiet);
        }
        let what = format!(
            "p99 of 100 others while a client floods its sessions with {frames}, against before"
        );
        let note = format!(
            "It was closed {} times in 3 s, and came back as soon as it was let in.",
            flooded.sessions.saturating_sub(1)
        );
        rows.push(Row { note, ..Row::of_sockway(what, "×", Target::AtMost(2.0), ratios) });
    }
    Ok(rows)
}
