//! A string that must never be seen: tokens, passwords, signing keys.
//!
//! It prints as `***` in every format, is wiped when dropped, and leaves only by [`Secret::expose`],
//! so that each place that looks at one can be found by that word. What an operator wrote becomes one by
//! [`without_newline`], wherever it was written.

use std::fmt;
use zeroize::Zeroizing;

/// A secret string.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself. Never log, format or store what this returns.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A secret as it was written, less one newline (LF or CRLF) at its end. Editors, `echo` and mounted
/// secrets put one there, into files and variables alike, and nobody means it.
#[must_use]
pub fn without_newline(written: &str) -> &str {
    written.strip_suffix('\n').map_or(written, |line| line.strip_suffix('\r').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_newline_at_the_end_is_no_part_of_a_secret() {
        for (written, secret) in [
            ("", ""),
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\r", "a\r"),
            ("a\n\n", "a\n"),
            ("a\n\r\n", "a\n"),
            ("\na ", "\na "),
            ("\n", ""),
        ] {
            assert_eq!(without_newline(written), secret, "{written:?}");
        }
    }

    #[test]
    fn a_secret_is_masked_in_every_format() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
    }
}
