//! The binary as people, scripts and supervisors meet it: arguments, output, signals, exit status.

mod commands;
mod dev;
#[path = "../it/rig/port.rs"]
mod port;
mod process;
mod serve;
