//! The binary as seen by people, scripts and supervisors: arguments, output, signals, exit status.

mod commands;
mod dev;
#[path = "../it/rig/port.rs"]
mod port;
mod process;
mod serve;
