//! The main thread's runtime.

use super::Failure;
use crate::lifecycle;
use std::io;
use tokio::runtime::Builder;

/// Runs a command to its end on a runtime that lives on this thread.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(not_made)?;
    let result = runtime.block_on(command);
    // A name that is still being looked up must not hold the process.
    runtime.shutdown_background();
    result
}

/// … and has a signal end it, which is a failure: what was asked for is not done.
pub(super) fn block_on_or_signal<T>(
    command: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    block_on(async {
        let asked = lifecycle::end_asked().map_err(|error| Failure::running(&error))?;
        tokio::select! {
            result = command => result,
            signal = asked => Err(Failure::Running(format!("ended by {signal}"))),
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is a parameter of map_err")]
fn not_made(error: io::Error) -> Failure {
    Failure::Running(format!("cannot make a runtime: {error}"))
}
