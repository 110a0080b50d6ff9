//! The binary as people, scripts and supervisors meet it: arguments, output, signals, exit status.

mod commands;
mod dev;
mod process;
mod serve;
