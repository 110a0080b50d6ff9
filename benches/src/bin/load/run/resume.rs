//! Sessions that come back with their positions.

use std::time::Instant;

use sockway_benches::channels;
use sockway_benches::process;
use sockway_benches::report::{Connected, StreamsRead};
use sockway_benches::stamp::{EVERYBODY, Stamp};

use super::{Outcome, Run, STALLED, path};
use crate::options::{ReadStreams, Resume, Target};
use crate::windows::{Meter, Tally};

/// Streams that are read together.
const IN_FLIGHT: u32 = 16;

impl Run<'_> {
    /// Fills the streams, opens the sockets, and measures until the last socket has the last entry.
    pub(crate) fn resume(&mut self, step: &Resume) -> Outcome<Connected> {
        self.channels_of_a_socket = 1;
        self.fill(step)?;
        let paths: Vec<String> =
            (0..step.sockets).map(|index| path(&step.path, 1, 1, index)).collect();
        self.settle()?;
        let memory_before = process::memory(&self.options.pid)?;
        let redis: Vec<u32> = self.options.redis_pid.into_iter().collect();
        let meter = Meter::start(&self.options.pid, &redis)?;
        let start = Instant::now();
        self.open_all(&paths, step.at_once)?;
        let mut progress = (Instant::now(), 0);
        while self.tally.in_flight > 0 {
            self.turn(Some(STALLED))?;
            self.watch(&mut progress)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        // Anything that arrives now is a duplicate, and the tally rejects it.
        self.settle()?;
        let (cpu, shares) = meter.stop(seconds)?;
        Ok(Connected {
            sockets: self.sockets.len(),
            opened: step.sockets,
            seconds,
            server_cpu_micros_per_connection: cpu as f64 / 1e3 / step.sockets as f64,
            memory_before,
            memory_after: process::memory(&self.options.pid)?,
            shares,
        })
    }

    /// Reads each socket's own stream once, and does nothing else.
    pub(crate) fn read_streams(&mut self, step: &ReadStreams) -> Outcome<StreamsRead> {
        let redis: Vec<u32> = self.options.redis_pid.into_iter().collect();
        self.settle()?;
        let (meter, start) = (Meter::start(&self.options.pid, &redis)?, Instant::now());
        for number in 0..step.streams {
            let publisher = self.publisher.as_mut().ok_or("there is no Redis")?;
            publisher.read_stream(&channels::own(number), step.entries + 1);
            if (number + 1) % IN_FLIGHT == 0 || number + 1 == step.streams {
                self.all_answered()?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let (_, shares) = meter.stop(seconds)?;
        Ok(StreamsRead { redis: shares.redis * seconds })
    }

    fn all_answered(&mut self) -> Outcome<()> {
        while self.publisher.as_ref().is_some_and(|publisher| publisher.unanswered > 0) {
            self.turn(Some(STALLED))?;
        }
        Ok(())
    }

    /// Appends the entry 1-0, which nobody asks for, and those behind it.
    fn fill(&mut self, step: &Resume) -> Outcome<()> {
        let content = step.content;
        self.tally = Tally::new(content.size, self.tally.next_sequence());
        let (streams, readers) = match content.to {
            Target::All => (1, step.sockets as u32),
            Target::Own => (step.sockets as u32, 1),
        };
        let publisher = self.publisher.as_mut().ok_or("there is no Redis")?;
        let mut payload = Vec::with_capacity(content.size);
        for entry in 1..=step.entries + 1 {
            for number in 0..streams {
                let (name, channel) = match content.to {
                    Target::All => (channels::ALL.to_owned(), EVERYBODY),
                    Target::Own => (channels::own(number), number),
                };
                payload.clear();
                let sequence = self.tally.next_sequence();
                Stamp { sequence, channel, nanos: 0 }.write(content.size, &mut payload);
                publisher.append(&name, &format!("{entry}-0"), &payload);
                if entry > 1 {
                    self.tally.publish(readers);
                }
            }
        }
        self.all_answered()
    }
}
