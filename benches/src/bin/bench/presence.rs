//! The scenarios of presence: each figure is what it costs above the same sessions without it.

use sockway_benches::report::{Connected, Window};

use crate::Outcome;
use crate::endpoints::ROOMS;
use crate::load::Bench;
use crate::processes;
use crate::scenarios::start;
use crate::servers::Place;
use crate::table::{Row, Target};

/// Sessions behind which others are weighed.
const FIRST: usize = 1_000;

/// Opens sessions in rooms of so many, and waits until the gateway has so many members.
fn enter(
    bench: &mut Bench,
    (path, sockets, room): (&str, usize, usize),
    members: usize,
) -> Outcome<Connected> {
    let connected = bench.step(&format!(
        "connect --sockets {sockets} --room {room} --path {path}/{{room}}?token={{token}}"
    ))?;
    let present = |bench: &Bench| bench.metric("sockway_presence_members", "").unwrap_or(0);
    processes::wait_until("not everybody is present", || present(bench) == members as u64)?;
    Ok(connected)
}

/// What Redis has to do while nobody comes or goes.
pub(crate) fn refreshes(place: &Place) -> Outcome<Vec<Row>> {
    const SECONDS: u32 = 30;
    const SETTLES: u32 = 12;
    // A process may have 20,000 open files on a usual machine. For Redis, a session in seven rooms is as
    // seven sessions in one.
    let sockets = place.sockets(100_000usize.div_ceil(ROOMS));
    let members = sockets * ROOMS;
    let share = |path: &str, members: usize| -> Outcome<f64> {
        let mut bench = start(place)?;
        enter(&mut bench, (path, sockets, 2), members)?;
        // Until Redis has taken everybody, and all rosters are read.
        bench.step::<Window>(&format!("idle --seconds {SETTLES}"))?;
        let window: Window = bench.step(&format!("idle --seconds {SECONDS}"))?;
        eprintln!(
            "    busy %: Redis {:.2}, server {:.2}",
            window.shares.redis * 100.0,
            window.shares.server * 100.0
        );
        Ok(window.shares.redis)
    };
    let turns = if place.options.short { 1 } else { 3 };
    let mut figures = Vec::new();
    for _ in 0..turns {
        figures.push((share("/present-rooms", members)? - share("/rooms", 0)?) * 100.0);
    }
    let what = format!("{members} users present in rooms of two: Redis's CPU");
    let note = format!(
        "{sockets} sessions, each in {ROOMS} rooms, for {SECONDS} s: three refreshes of each room, less what Redis uses without presence."
    );
    Ok(vec![Row { note, ..Row::of_sockway(what, "% of a core", Target::AtMost(5.0), figures) }])
}

/// What presence costs a session in the gateway.
pub(crate) fn memory(place: &Place) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    // In a room of 1,000 everybody is told of everybody else who comes.
    for (room, usual, most) in [(2, 10_000, 400.0), (1_000, 15_000, 120.0)] {
        let sockets = place.sockets(usual);
        let first = sockets.min(FIRST);
        let mut figures = Vec::new();
        for _ in 0..place.pairs() {
            let with = grown(place, (first, sockets, room), true)?;
            let without = grown(place, (first, sockets, room), false)?;
            eprintln!("    rooms of {room}: {with:.0} bytes a session, {without:.0} without");
            figures.push(with - without);
        }
        let what = format!("session in a room of {room}, presence above the same without: PSS");
        let note = format!(
            "Of {sockets} sessions that came behind {first} others: what is needed once, for one session or for many, is not counted."
        );
        rows.push(Row { note, ..Row::of_sockway(what, "bytes", Target::AtMost(most), figures) });
    }
    Ok(rows)
}

/// Bytes that each of the later sessions takes.
fn grown(
    place: &Place,
    (first, sockets, room): (usize, usize, usize),
    present: bool,
) -> Outcome<f64> {
    let (path, members) = if present { ("/present", 1) } else { ("/room", 0) };
    // So long the allocator keeps what it needed while everybody came.
    let idle = "idle --seconds 12";
    let mut bench = start(place)?;
    enter(&mut bench, (path, first, room), first * members)?;
    let before: Window = bench.step(idle)?;
    enter(&mut bench, (path, sockets, room), (first + sockets) * members)?;
    let after: Window = bench.step(idle)?;
    Ok(after.memory.pss.saturating_sub(before.memory.pss) as f64 / sockets as f64)
}
