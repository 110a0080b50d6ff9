//! Sockway from outside: the real binary, real Redis children, and third-party clients.
//!
//! Written from the promises, not from the code; `docs/architecture.md` lists them as I1 to I8.
//! Every test starts its own processes, waits for facts with deadlines, and leaves nothing behind.

mod acl;
mod acl_streams;
mod admin;
mod admission;
mod canary;
mod commands;
mod conformance;
mod console;
mod crowds;
mod delivery;
mod dev;
mod doctor;
mod doctor_streams;
mod doctor_tracking;
mod doctor_trust;
mod drippers;
mod examples;
mod expiry;
mod frames;
mod half_open;
mod handshake;
mod heartbeat;
mod jwks;
mod keepalive;
mod keys;
mod links;
mod origins;
mod outage;
mod peers;
mod refusals;
mod reload;
mod reload_issuer;
mod reload_limits;
mod reload_refused;
mod reverse_proxy;
mod rig;
mod rigs;
mod slow;
mod sse;
mod sse_browser;
mod sse_refusals;
mod sse_streams;
mod startup;
mod stop;
mod storms;
mod streams;
mod stuck_log;
mod subscribed;
mod templates;
mod tls;
mod tls_agreed;
mod tokens;
mod wss;
