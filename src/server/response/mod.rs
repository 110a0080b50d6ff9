//! What a client is answered: the 101, refusals, and how a refused connection ends.

mod answer;
mod handshake_fault;
mod lingering_close;
mod problem;

pub(super) use answer::{refused, switching, switching_and_closing};
pub(super) use handshake_fault::HandshakeFault;
pub(super) use lingering_close::{linger, write_last};
