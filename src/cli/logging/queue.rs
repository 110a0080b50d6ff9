//! The bounded queue between who logs and where the records go.
//!
//! Stderr may be a pipe that nobody reads for a while: a stuck log driver, a terminal after Ctrl-S.
//! Nobody who logs waits for it: a thread of its own writes. A record that finds the queue full is
//! dropped and counted, and once records flow again a line says how many.

use prometheus::IntCounter;
use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// What may wait, in bytes: some thousands of records.
const CAPACITY: usize = 1024 * 1024;

/// What a record costs in the queue beside its text, in bytes.
const OVERHEAD: usize = 64;

/// Records that wait together are written together, up to so many bytes.
const WRITE: usize = 64 * 1024;

/// How often to look whether everything is written.
const LOOK: Duration = Duration::from_millis(1);

/// The end of who logs. Clones share one queue.
#[derive(Clone)]
pub(super) struct LogQueue {
    records: mpsc::Sender<Vec<u8>>,
    state: Arc<QueueState>,
}

/// What both ends count.
#[derive(Default)]
struct QueueState {
    /// Bytes that are not written yet.
    waiting: AtomicUsize,
    dropped: AtomicU64,
    counter: OnceLock<IntCounter>,
}

impl LogQueue {
    /// Starts the thread that writes to `sink`. `notice` makes the line that says how many records
    /// were dropped.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (records, inbox) = mpsc::channel();
        let state = Arc::new(QueueState::default());
        let writer = Writer { inbox, sink, notice, state: Arc::clone(&state), told: 0 };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { records, state })
    }

    /// Counts dropped records there too, those before now included.
    pub(super) fn count_dropped_in(&self, counter: &IntCounter) {
        let before = self.state.dropped.load(Relaxed);
        // Only the first call counts; a second would be a defect that hurts nobody.
        if self.state.counter.set(counter.clone()).is_ok() {
            counter.inc_by(before);
        }
    }

    /// Waits until everything is written, and no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.state.waiting.load(Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }

    fn push(&self, record: Vec<u8>) {
        let size = record.len() + OVERHEAD;
        let waiting = self.state.waiting.fetch_add(size, Relaxed) + size;
        if waiting > CAPACITY || self.records.send(record).is_err() {
            self.state.waiting.fetch_sub(size, Relaxed);
            self.state.dropped(1);
        }
    }
}

/// One call, one record.
impl Write for LogQueue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.push(record.to_vec());
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl QueueState {
    fn dropped(&self, records: u64) {
        self.dropped.fetch_add(records, Relaxed);
        if let Some(counter) = self.counter.get() {
            counter.inc_by(records);
        }
    }
}

/// The thread's end.
struct Writer<S, N> {
    inbox: mpsc::Receiver<Vec<u8>>,
    sink: S,
    notice: N,
    state: Arc<QueueState>,
    /// Dropped records that a line has told of.
    told: u64,
}

impl<S: Write, N: Fn(u64) -> String> Writer<S, N> {
    fn run(mut self) {
        let mut text = Vec::new();
        while let Ok(first) = self.inbox.recv() {
            let mut size = 0;
            let mut records = 0;
            for record in std::iter::once(first).chain(self.inbox.try_iter()) {
                text.extend_from_slice(&record);
                size += record.len() + OVERHEAD;
                records += 1;
                if text.len() >= WRITE {
                    break;
                }
            }
            if self.sink.write_all(&text).is_err() {
                self.state.dropped(records);
            }
            text.clear();
            self.tell_dropped();
            self.state.waiting.fetch_sub(size, Relaxed);
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.state.dropped.load(Relaxed);
        let line = (dropped > self.told).then(|| (self.notice)(dropped - self.told));
        if line.is_some_and(|line| self.sink.write_all(line.as_bytes()).is_ok()) {
            self.told = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Takes what is written while its lock is free.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(sink: &Sink) -> (LogQueue, IntCounter) {
        let queue = LogQueue::start(sink.clone(), |n| format!("{n} dropped\n")).unwrap();
        let counter = IntCounter::new("dropped", "dropped").unwrap();
        queue.count_dropped_in(&counter);
        (queue, counter)
    }

    #[test]
    fn who_logs_never_waits_and_what_was_dropped_is_counted_and_told_when_it_flows_again() {
        let sink = Sink::default();
        let (mut queue, counter) = start(&sink);
        let stuck = sink.0.lock().unwrap();
        let most = CAPACITY / OVERHEAD;
        for number in 0..most {
            queue.write_all(format!("record {number}\n").as_bytes()).unwrap();
        }
        let dropped = counter.get();
        assert!((1..most as u64).contains(&dropped), "{dropped} dropped");
        queue.flush(Duration::from_millis(1)); // Does not hold up the end of the process either.

        drop(stuck);
        queue.write_all(b"the last\n").unwrap();
        queue.flush(DEADLINE);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let told = |line: &str| line.strip_suffix(" dropped")?.parse::<u64>().ok();
        assert_eq!(text.lines().filter_map(told).sum::<u64>(), counter.get());
        let written = text.lines().filter(|line| line.starts_with("record ")).count() as u64;
        assert_eq!(written + dropped, most as u64, "each is written or counted");
    }

    #[test]
    fn records_come_out_in_their_order() {
        let sink = Sink::default();
        let (mut queue, counter) = start(&sink);
        (0..1_000).for_each(|n| queue.write_all(format!("{n}\n").as_bytes()).unwrap());
        queue.flush(DEADLINE);
        let expected: String = (0..1_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), expected);
        assert_eq!(counter.get(), 0);
    }
}
