//! What a client is answered: the 101, refusals, and how a refused connection ends.

mod answer;
mod cors;
mod event_stream;
mod handshake_fault;
mod lingering_close;
mod problem;

pub(super) use answer::{refused, switching, switching_and_closing};
pub(super) use cors::Cors;
pub(super) use event_stream::{event_stream, preflight};
pub(super) use handshake_fault::HandshakeFault;
pub(super) use lingering_close::{linger, write_last};
pub(super) use problem::problem;

/// Adds a header to a head.
fn push(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}
