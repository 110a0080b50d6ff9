//! An error and its causes as one line, for a log record or a person at a terminal.

use std::error::Error;

/// The outermost first. What a cause repeats is left out: some errors of libraries show their cause in
/// their own text, and name it as well.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect")]
    struct Failed(#[source] Shown);

    #[derive(Debug, thiserror::Error)]
    #[error("TLS failed: {0}")]
    struct Shown(#[source] io::Error);

    #[test]
    fn every_cause_is_told_on_one_line_and_none_twice() {
        let error = Failed(Shown(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(error_chain(&error), "cannot connect: TLS failed: unexpected end of file");
        assert_eq!(error_chain(&io::Error::other("alone")), "alone");
    }
}
