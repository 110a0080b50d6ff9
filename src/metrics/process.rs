//! The `process_*` series, read from `/proc` when Prometheus asks.
//!
//! Names, units and meaning are those of Prometheus's own client libraries, so that common
//! dashboards work. A number that cannot be read now (no `/proc`, no descriptor left to open it
//! with) is left out of that scrape rather than shown wrong.
//!
//! The collector of the `prometheus` crate shows CPU time in whole seconds, which is too coarse for
//! what an idle gateway uses; hence this one.

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, Metric, MetricFamily, MetricType},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use std::{collections::HashMap, fs};

/// Reads the process's own numbers.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
}

impl ProcessCollector {
    pub(super) fn new() -> prometheus::Result<Self> {
        let desc = |series: &Series| {
            Desc::new(series.name.to_owned(), series.help.to_owned(), Vec::new(), HashMap::new())
        };
        Ok(Self { descs: SERIES.iter().map(desc).collect::<Result<_, _>>()? })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let stat = stat.as_deref().and_then(Stat::parse);
        SERIES.iter().filter_map(|series| Some(series.family((series.read)(stat?)?))).collect()
    }
}

struct Series {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    read: fn(Stat) -> Option<f64>,
}

const SERIES: [Series; 7] = [
    Series {
        name: "process_cpu_seconds_total",
        help: "User and system CPU time spent, in seconds.",
        kind: MetricType::COUNTER,
        read: |stat| Some(stat.cpu_ticks as f64 / clock_ticks_per_second() as f64),
    },
    Series {
        name: "process_open_fds",
        help: "Open file descriptors.",
        kind: MetricType::GAUGE,
        read: |_| open_files().map(|n| n as f64),
    },
    Series {
        name: "process_max_fds",
        help: "The most file descriptors that may be open (soft limit).",
        kind: MetricType::GAUGE,
        read: |_| getrlimit(Resource::Nofile).current.map(|n| n as f64),
    },
    Series {
        name: "process_resident_memory_bytes",
        help: "Resident memory, in bytes.",
        kind: MetricType::GAUGE,
        read: |stat| Some(stat.resident_pages as f64 * page_size() as f64),
    },
    Series {
        name: "process_virtual_memory_bytes",
        help: "Virtual memory, in bytes.",
        kind: MetricType::GAUGE,
        read: |stat| Some(stat.virtual_bytes as f64),
    },
    Series {
        name: "process_start_time_seconds",
        help: "When the process started, in seconds since the Unix epoch.",
        kind: MetricType::GAUGE,
        read: |stat| {
            let since_boot = stat.start_ticks as f64 / clock_ticks_per_second() as f64;
            Some(boot_time()? as f64 + since_boot)
        },
    },
    Series {
        name: "process_threads",
        help: "Threads of the process.",
        kind: MetricType::GAUGE,
        read: |stat| Some(stat.threads as f64),
    },
];

impl Series {
    fn family(&self, value: f64) -> MetricFamily {
        let mut metric = Metric::default();
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(vec![metric]);
        family
    }
}

/// What we need of `/proc/self/stat`, in the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    /// Since boot.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may itself hold spaces and
        // parentheses: only what follows the last one can be counted.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered as in proc_pid_stat(5), where the first field after the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn open_files() -> Option<usize> {
    // One of the entries is the directory that is being read.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// Seconds since the Unix epoch.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_although_the_name_holds_spaces_and_parentheses() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 50 60 7 8 20 0 9 0 1234 4096 25 999\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(
            stat,
            Stat {
                cpu_ticks: 110,
                threads: 9,
                start_ticks: 1234,
                virtual_bytes: 4096,
                resident_pages: 25
            }
        );
    }

    #[test]
    fn a_stat_that_is_cut_or_not_numbers_gives_nothing() {
        for text in ["", "7 (sockway", "7 (sockway) S 1 2", "7 (x) S 1 7 7 0 -1 4 1 2 3 4 a b"] {
            assert_eq!(Stat::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_has_believable_numbers() {
        let families = ProcessCollector::new().unwrap().collect();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert_eq!(families.len(), SERIES.len());
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_open_fds") < value("process_max_fds"));
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        let age = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            - value("process_start_time_seconds");
        assert!((-2.0..3_600.0).contains(&age), "started {age} s ago");
    }
}
