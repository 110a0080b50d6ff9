//! The test rig: real child processes, real sockets, deadlines everywhere, nothing left behind.

pub(crate) mod certificate;
pub(crate) mod chromium;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod drip;
pub(crate) mod events;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod metrics;
pub(crate) mod oracle;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod settings;
pub(crate) mod token;
pub(crate) mod vitals;
pub(crate) mod wait;
pub(crate) mod wire;
pub(crate) mod wss;

pub(crate) use certificate::Certificate;
pub(crate) use client::{Client, Frame};
pub(crate) use gateway::Gateway;
pub(crate) use http::Request;
pub(crate) use issuer::{Issuer, Key};
pub(crate) use port::HeldPort;
pub(crate) use redis::Redis;
pub(crate) use settings::{Endpoint, Settings};
pub(crate) use wss::Wss;

use std::io::Write as _;

/// Reports what a test skips, directly on stderr: the test harness hides the output of a test that
/// passes.
pub(crate) fn left_out(what: &str) {
    // With stderr closed, there is no one to report to.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}
