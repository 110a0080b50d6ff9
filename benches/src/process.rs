//! Processes as the kernel accounts for them: time on a CPU (`schedstat`), memory (`smaps_rollup`).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// The nanoseconds that each thread of these processes was on a CPU, by its id.
///
/// The kernel updates them when a thread stops running, so they are exact for an idle thread.
///
/// # Errors
/// When one of them does not exist.
pub fn cpu_of_threads(pids: &[u32]) -> io::Result<HashMap<OsString, u64>> {
    let mut threads = HashMap::new();
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // A thread may end between the listing and the reading.
            let Ok(line) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let nanos = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            threads.insert(thread.file_name(), nanos);
        }
    }
    Ok(threads)
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Proportional set size: private pages, and a fair share of shared ones.
    pub pss: u64,
    pub private: u64,
}

/// The memory of processes. Sockets' buffers are the kernel's and not in it.
///
/// # Errors
/// When one of them does not exist.
pub fn memory(pids: &[u32]) -> io::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        for line in fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?.lines() {
            let mut words = line.split_whitespace();
            let (name, kibibytes) =
                (words.next(), words.next().and_then(|n| n.parse::<u64>().ok()));
            let bytes = kibibytes.unwrap_or(0) * 1024;
            match name {
                Some("Pss:") => sum.pss += bytes,
                Some("Private_Clean:" | "Private_Dirty:") => sum.private += bytes,
                _ => {}
            }
        }
    }
    Ok(sum)
}
