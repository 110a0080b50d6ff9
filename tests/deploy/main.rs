//! What `deploy/` offers is accepted by the programs that it is for, and agrees with the gateway.
//!
//! `make test` prepares those programs; without it, what needs a missing one is left out with a word,
//! except where `CI=true` promises all of them.

mod kubernetes;
mod prometheus;
mod proxies;
mod systemd;
mod tools;
