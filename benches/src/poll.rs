//! A thin wrapper around epoll.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

const EVENTS_AT_ONCE: usize = 1024;

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    /// # Errors
    /// When the kernel gives no epoll descriptor.
    pub fn new() -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_AT_ONCE) })
    }

    /// Reports `token` whenever `source` can be read.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn add(&self, source: impl AsFd, token: u64) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, source, EventData::new_u64(token), EventFlags::IN)
    }

    /// Turns notifications that `source` is writable on or off.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn also_writable(
        &self,
        source: impl AsFd,
        token: u64,
        writable: bool,
    ) -> rustix::io::Result<()> {
        let flags = if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, source, EventData::new_u64(token), flags)
    }

    /// Waits at most `timeout` (`None`: for ever) and returns the tokens of what is ready.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> rustix::io::Result<impl Iterator<Item = u64>> {
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.iter().map(|event| event.data.u64())),
            Err(error) => Err(error),
        }
    }
}
