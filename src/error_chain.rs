//! An error and its causes as one line in words, for a log record, a health answer or a person at a
//! terminal.

use rustls::CertificateError;
use std::{error::Error, fmt::Debug, io};

/// The outermost first. What a cause repeats is left out: some errors of libraries show their cause in
/// their own text, and name it as well.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut source) = (words(error), error.source());
    while let Some(cause) = source {
        let said = words(cause);
        if let Some(before) = text.strip_suffix(&cause.to_string()) {
            text = format!("{before}{said}");
        } else if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// One error's own text, in words where the library would show names out of its code.
#[must_use]
pub fn words(error: &(dyn Error + 'static)) -> String {
    let io = error.downcast_ref::<io::Error>();
    let inner = io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref());
    if let Some(words) = error.downcast_ref().or(inner).and_then(tls_words) {
        return words;
    }
    let text = error.to_string();
    // Of the system's errors, not of what wraps them.
    let number = io.and_then(io::Error::raw_os_error).map(|it| format!(" (os error {it})"));
    number.and_then(|number| text.strip_suffix(&number)).unwrap_or(&text).to_owned()
}

/// `None` where the library's text is in words already.
fn tls_words(error: &rustls::Error) -> Option<String> {
    Some(match error {
        rustls::Error::InvalidMessage(_) => "what came back is not TLS".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForNameContext { .. }
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYetContext { .. },
        ) => return None,
        rustls::Error::InvalidCertificate(why) => {
            format!("invalid peer certificate: {}", spelt(why))
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the other side ended TLS: {}", spelt(alert))
        }
        rustls::Error::PeerIncompatible(why) => format!("no TLS in common: {}", spelt(why)),
        rustls::Error::PeerMisbehaved(why) => format!("the other side breaks TLS: {}", spelt(why)),
        _ => return None,
    })
}

fn spelt(name: &impl Debug) -> String {
    spell(&format!("{name:?}"))
}

/// Names out of a library's code in words: `InvalidCertificate(UnknownIssuer)` as `invalid
/// certificate: unknown issuer`. Other text stays as it is.
#[must_use]
pub fn spell(names: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '(' || c == ')';
    if !names.chars().all(is_name) {
        return names.to_owned();
    }
    let mut words = String::new();
    for letter in names.trim_end_matches(')').chars() {
        match letter {
            '(' => words.push_str(": "),
            _ if letter.is_ascii_uppercase() && words.ends_with(|c: char| c != ' ') => {
                words.push(' ');
                words.push(letter.to_ascii_lowercase());
            }
            _ => words.push(letter.to_ascii_lowercase()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, InvalidMessage};

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
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = Failed(Shown(io::Error::other(tls)));
        assert_eq!(
            error_chain(&error),
            "cannot connect: TLS failed: invalid peer certificate: unknown issuer"
        );
    }

    #[test]
    fn names_out_of_code_are_spelt_and_other_text_is_left_alone() {
        for (text, expected) in [
            ("UnknownIssuer", "unknown issuer"),
            ("InvalidCertificate(UnknownIssuer)", "invalid certificate: unknown issuer"),
            ("the connection is closed", "the connection is closed"),
            ("Other(OtherError(\"x\"))", "Other(OtherError(\"x\"))"),
        ] {
            assert_eq!(spell(text), expected);
        }
    }

    #[test]
    fn an_error_of_the_system_or_of_tls_is_told_in_words() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        assert_eq!(error_chain(&refused), "Connection refused");
        let alert = AlertDescription::HandshakeFailure;
        for (error, expected) in [
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "what came back is not TLS",
            ),
            (
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "invalid peer certificate: unknown issuer",
            ),
            (
                rustls::Error::InvalidCertificate(CertificateError::BadSignature),
                "invalid peer certificate: bad signature",
            ),
            (rustls::Error::AlertReceived(alert), "the other side ended TLS: handshake failure"),
        ] {
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            assert_eq!(
                (words(&error), words(&wrapped)),
                (expected.to_owned(), expected.to_owned())
            );
        }
    }
}
