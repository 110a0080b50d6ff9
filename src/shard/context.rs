//! What a shard's sessions share: its counters, its clock, its configuration and one read buffer.
//!
//! Owned by each session and by the registry, and knows neither. Only ever on the shard's thread, in
//! short borrows that never cross an `.await`.

use super::{
    floods::Floods,
    memory::QueueMemory,
    wheel::{Tick, Wheel},
};
use crate::{bus::PublishHandle, config::Config, metrics::ShardMetrics};
use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

/// The most one read takes from a socket.
const READ_BYTES: usize = 16 * 1024;

pub(super) struct Context {
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) wheel: RefCell<Wheel>,
    pub(super) memory: Rc<QueueMemory>,
    pub(super) floods: Arc<Floods>,
    /// What a read goes into before it is parsed; one for all sessions.
    pub(super) scratch: RefCell<Box<[u8]>>,
    config: RefCell<Option<Arc<Config>>>,
    /// Empty before the shard's tasks run.
    pub(super) publish: OnceCell<PublishHandle>,
    /// How far a test has set the wall clock forward.
    #[cfg(test)]
    pub(super) clock_step: std::cell::Cell<std::time::Duration>,
}

impl Context {
    pub(super) fn new(
        metrics: Arc<ShardMetrics>,
        queue_memory: usize,
        floods: Arc<Floods>,
    ) -> Self {
        Self {
            floods,
            memory: Rc::new(QueueMemory::new(Arc::clone(&metrics), queue_memory)),
            metrics,
            wheel: RefCell::new(Wheel::new(tokio::time::Instant::now())),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            config: RefCell::default(),
            publish: OnceCell::new(),
            #[cfg(test)]
            clock_step: std::cell::Cell::default(),
        }
    }

    /// The tick at which the wheel last turned.
    pub(super) fn now(&self) -> Tick {
        self.wheel.borrow().now()
    }

    /// The time of day, by which tokens expire. It may be set, and it goes on while the machine is
    /// suspended; ticks do neither.
    pub(super) fn wall_clock(&self) -> SystemTime {
        #[cfg(test)]
        return SystemTime::now() + self.clock_step.get();
        #[cfg(not(test))]
        SystemTime::now()
    }

    /// The configuration that the latest reload brought; `None` before the first.
    pub(super) fn config(&self) -> Option<Arc<Config>> {
        self.config.borrow().clone()
    }

    pub(super) fn set_config(&self, config: Arc<Config>) {
        *self.config.borrow_mut() = Some(config);
    }
}
