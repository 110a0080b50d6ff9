//! How the process reloads its configuration, and how it stops.
//!
//! Promises: whatever asks for the stop (a signal, `POST /drain`, the caller of `Gateway::run`)
//! starts the same sequence, once; it ends at `shutdown.timeout` whatever hangs; a second signal
//! ends it at once. Knows nothing of sockets: it is given what closes them and what says they are
//! closed.

mod notify;
mod reload;
mod signals;
mod stop;

pub use notify::ready;
pub use reload::{ReloadRefused, ReloadTask};
pub use signals::{OnHangup, Signals, end_asked};
pub use stop::{StopOutcome, Stopper, stop};
