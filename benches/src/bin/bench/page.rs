//! `docs/benchmarks.md`.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::servers::{Kind, Place};
use crate::table::{Row, number, spread};

const INTRODUCTION: &str = "# Benchmarks

Written by `make bench ARGS=--write`; do not edit. Each figure is the median of several turns, smallest and largest in
brackets. Ratios are taken turn by turn, A B A B, within one run on one machine: they carry over to
another machine better than absolute figures.

![Sockway against the limit](benchmarks.svg)

**The limit** is the least that such a program can do: one thread on epoll, one `send` of an encoded frame per socket and message, no
authentication, no timers, no bounds ([its source](../benches/src/bin/limit.rs)). A server that writes each message by itself cannot be cheaper.
";

const METHOD: &str = "
## How it is measured

- Servers are pinned to one core, Redis and the load generator to the others. Everything runs on loopback.
- The load generator ([its source](../benches/src/bin/load)) counts every delivery, and the run fails when one is missing, damaged,
  duplicated, out of order or at the wrong socket.
- Each server has a warm-up turn that is not counted.
- CPU time is the scheduler's (`/proc/PID/task/*/schedstat`) for exactly the measured window; memory is PSS of
  `smaps_rollup`, without the kernel's socket buffers. Latency runs from a stamp in the payload, at a constant rate from when the message
  was due.
- When Redis and the load generator fill their core while the server is partly idle, the row says so: then they limit the figure.
- Sockway runs with its defaults.
- The peers do the same work with short configurations: [benches/peers](../benches/peers).

`make bench ARGS='--scenario broadcast --sockets 5000 --size 1024 --pairs 9'` changes the parameters; `--help` lists them.
";

pub(crate) fn write(docs: &Path, place: &Place, rows: &[Row]) -> Outcome<()> {
    let mut text = INTRODUCTION.to_owned();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    text += &format!(
        "\n## Figures\n\n{}; messages of {} bytes; made by `make bench ARGS='{}'`.\n",
        machine(place),
        place.options.size,
        arguments.join(" ")
    );
    text += "\n| | unit | target | limit | Sockway | Sockway ÷ limit | peers |\n|---|---|---|---|---|---|---|\n";
    rows.iter().for_each(|row| text += &line(row));
    let notes: Vec<String> = rows
        .iter()
        .filter(|row| !row.note.is_empty())
        .map(|row| format!("- {}: {}\n", row.what, row.note))
        .collect();
    if !notes.is_empty() {
        text += &format!("\n{}", notes.concat());
    }
    text += METHOD;
    Ok(fs::write(docs.join("benchmarks.md"), text)?)
}

fn line(row: &Row) -> String {
    let of = |kind| row.of(kind).map_or("–".to_owned(), |figure| spread(&figure));
    let ratio = row.ratio_to_limit(Kind::Sockway).map_or("–".to_owned(), |ratio| spread(&ratio));
    let peers = [Kind::Node, Kind::Nchan].into_iter();
    let peers =
        peers.filter_map(|kind| Some(format!("{} {}", kind.name(), number(row.of(kind)?.median))));
    let (target, verdict) = (row.target_in_words(), row.verdict());
    format!(
        "| {} | {} | {target}{}{verdict} | {} | {} | {ratio} | {} |\n",
        row.what,
        row.unit,
        if verdict.is_empty() { "" } else { ": " },
        of(Kind::Limit),
        of(Kind::Sockway),
        peers.collect::<Vec<_>>().join("; ")
    )
}

fn machine(place: &Place) -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.rsplit(": ").next().unwrap_or_default().trim().to_owned()
    };
    let release = first("/proc/sys/kernel/osrelease", "");
    // The rest names a kernel build, which means nothing elsewhere.
    let kernel = release.split('-').next().unwrap_or_default();
    format!(
        "{} cores of {}, Linux {kernel}",
        place.cores.len(),
        first("/proc/cpuinfo", "model name")
    )
}
