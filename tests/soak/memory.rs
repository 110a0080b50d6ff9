//! Whether a process's memory grows while it works, and how sure that is.
//!
//! A sampler reads the anonymous memory twice a second; file-backed memory is shared with other
//! processes and does not count. Queues that fill during a fault and empty again do not count
//! either, so the measure is the *floor*: the lower quartile of each of [`BLOCKS`] equal spans of
//! time, to which a line is fitted. Half a percent an hour of 30 MiB is some twenty kilobytes in
//! the ten minutes less the warm-up, less than a burst of reconnections takes for a while: too
//! little to detect with certainty. So the slope has a confidence interval, the promise is broken
//! when even its lower end is above the bound, and the growth that could have gone undetected is
//! printed: it shrinks with longer runs.

use crate::say;
use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The number of time spans; each gives one point.
const BLOCKS: usize = 16;

/// Student's t for 14 degrees of freedom: at this many standard errors, one run in a hundred
/// reports a slope where there is none.
const ONE_IN_A_HUNDRED: f64 = 2.62;

const PERIOD: Duration = Duration::from_millis(500);

/// Hours since the sampler's start, and bytes of memory then.
type Sample = (f64, f64);

/// Samples a process's memory until asked for the samples.
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub(crate) fn of(process: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (start, mut samples) = (Instant::now(), Vec::new());
            while !stopped.load(SeqCst) {
                samples.push((start.elapsed().as_secs_f64() / 3_600.0, anonymous_bytes(process)));
                thread::sleep(PERIOD);
            }
            samples
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Vec<Sample> {
        self.stop.store(true, SeqCst);
        self.thread.join().expect("the process lives")
    }
}

fn anonymous_bytes(process: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("it lives");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let line = line.expect("Linux says it");
    let kibibytes = line.split_whitespace().next().expect("a value");
    kibibytes.parse::<f64>().expect("a number") * 1024.0
}

/// The line fitted to the floors, in percent of the first floor per hour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slope {
    pub(crate) percent: f64,
    /// Half of the confidence interval: the true slope is above it, or below it, in one case in a
    /// hundred.
    pub(crate) uncertainty: f64,
    /// How much higher the line's end is than its start, in bytes.
    rise_bytes: f64,
}

impl Slope {
    /// The first `warm_up` of the samples, a fraction of 1, are skipped.
    pub(crate) fn of(samples: &[Sample], warm_up: f64) -> Self {
        let warm = (samples.len() as f64 * warm_up) as usize;
        let floors = floors(&samples[warm..]);
        let kibibytes = |of: &Sample| format!("{:.0}", of.1 / 1024.0);
        let shown: Vec<String> = floors.iter().map(kibibytes).collect();
        say(&format!("floors of the memory in KiB: {}", shown.join(" ")));
        Self::through(&floors)
    }

    /// Least squares.
    fn through(points: &[Sample]) -> Self {
        let count = points.len() as f64;
        let mean = |of: fn(&Sample) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let both: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let slope = both / spread;
        let off = |(x, y): &Sample| y - mean_y - slope * (x - mean_x);
        let error: f64 = points.iter().map(|point| off(point).powi(2)).sum::<f64>() / (count - 2.0);
        let base = points[0].1 / 100.0;
        Self {
            percent: slope / base,
            uncertainty: ONE_IN_A_HUNDRED * (error / spread).sqrt() / base,
            rise_bytes: slope * (points[points.len() - 1].0 - points[0].0),
        }
    }

    /// # Panics
    /// When it is certain that memory grows faster than this.
    #[track_caller]
    pub(crate) fn assert_at_most(self, percent: f64) {
        say(&format!("memory: {self}"));
        assert!(self.percent - self.uncertainty <= percent, "above {percent} % an hour: {self}");
    }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { percent, uncertainty, rise_bytes } = self;
        let most = percent + uncertainty;
        let rise = rise_bytes / 1024.0;
        write!(
            f,
            "{percent:.2} % an hour, give or take {uncertainty:.2} ({rise:.0} KiB so far); "
        )?;
        write!(f, "more than {most:.2} % an hour would have been seen")
    }
}

/// A quarter of a block's samples are below its floor. The minimum would not do: a sample taken
/// while pages are being returned or split is too low.
fn floors(samples: &[Sample]) -> Vec<Sample> {
    let floor = |block: &[Sample]| {
        let mut bytes: Vec<f64> = block.iter().map(|sample| sample.1).collect();
        bytes.sort_by(f64::total_cmp);
        (block[block.len() / 2].0, bytes[bytes.len() / 4])
    };
    samples.chunks(samples.len().div_ceil(BLOCKS).max(1)).map(floor).collect()
}

/// Ten minutes of samples around 60 MiB, with spikes, and a leak of this many bytes an hour.
#[cfg(test)]
fn made_up(leak: f64) -> Vec<Sample> {
    let mut rng = fastrand::Rng::with_seed(7);
    let sample = |second: usize| {
        let hours = second as f64 / 7_200.0;
        let spike = if rng.u8(..) < 60 { rng.f64() * 8e6 } else { 0.0 };
        (hours, 60e6 + rng.f64() * 100e3 + spike + leak * hours)
    };
    (0..1_200).map(sample).collect()
}

#[test]
fn spikes_are_no_slope_and_a_leak_is_one() {
    let calm = Slope::of(&made_up(0.0), 0.25);
    calm.assert_at_most(0.5);
    assert!(calm.percent.abs() <= calm.uncertainty, "{calm}");
    // A hundred bytes leaked for each of ten sessions a second.
    let leak = Slope::of(&made_up(100.0 * 10.0 * 3_600.0), 0.25);
    assert!(leak.percent - leak.uncertainty > 0.5, "{leak}");
}
