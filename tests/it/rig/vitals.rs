//! A process's memory, descriptors and threads, as the kernel counts them: for I6, that a fault
//! leaves nothing behind.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long a gateway may take to release what a fault made it allocate.
const GIVEN_BACK: Duration = Duration::from_secs(30);

/// The interval between two samples.
const PAUSE: Duration = Duration::from_millis(5);

/// Memory that an allocator may keep or the kernel may count late; 5 % of a small process is less.
const SLACK_BYTES: u64 = 4 << 20;

/// A sample from `/proc`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vitals {
    pub(crate) descriptors: usize,
    pub(crate) threads: u64,
    /// What the process has allocated; not the pages of its program, which come and go by themselves.
    pub(crate) memory_bytes: u64,
    /// Processor time so far.
    pub(crate) cpu: Duration,
}

impl Vitals {
    #[track_caller]
    pub(crate) fn of(process: u32) -> Self {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{process}/{file}")).expect("the process is alive")
        };
        let status = read("status");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.split_whitespace().next().expect("a value").parse().expect("a number")
        };
        let stat = read("stat");
        // After the name, which may contain anything; in ticks of a hundredth of a second.
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|at| fields[at].parse::<u64>().expect("ticks")).iter().sum();
        Self {
            descriptors: fs::read_dir(format!("/proc/{process}/fd")).expect("ours").count(),
            threads: field("Threads:"),
            memory_bytes: field("RssAnon:") * 1024,
            cpu: Duration::from_millis(ticks * 10),
        }
    }

    /// Waits until the process is back to this sample, within 5 %, and does this meanwhile.
    #[track_caller]
    pub(crate) fn wait_back(self, process: u32, mut meanwhile: impl FnMut()) {
        let bound = self.memory_bytes + self.memory_bytes / 20 + SLACK_BYTES;
        let mut now = Self::of(process);
        let start = Instant::now();
        while now.descriptors > self.descriptors
            || now.threads > self.threads
            || now.memory_bytes > bound
        {
            assert!(start.elapsed() < GIVEN_BACK, "{now:?} has not come back to {self:?}");
            meanwhile();
            thread::sleep(PAUSE);
            now = Self::of(process);
        }
    }
}
