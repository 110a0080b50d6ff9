//! Every file of `deploy/` is accepted by the program it is for, and agrees with the gateway.
//!
//! `make test` installs those programs. Without it, a test whose program is missing is skipped with
//! a message; with `CI=true` it fails.

mod kubernetes;
mod prometheus;
mod proxies;
mod systemd;
mod tools;
