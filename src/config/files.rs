//! Files that the configuration names: secrets and keys. Messages name the file, never its content.

use crate::secret;
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};
use zeroize::Zeroizing;

/// A chain of certificates, with room for the text that some tools write between them.
const LARGEST_PEM: u64 = 1 << 20;

/// More than any secret or key needs; a wrong path (`/dev/zero`, a log) must not fill the memory.
const LARGEST_SECRET: u64 = 64 << 10;

/// The whole file.
///
/// # Errors
/// When it cannot be read, or is larger than `largest` bytes.
pub(super) fn read(path: &Path, largest: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?.take(largest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > largest {
        let message = format!("it is larger than {} KiB", largest >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// A secret from its file.
pub(super) fn secret(path: &Path) -> Result<Zeroizing<String>, String> {
    let content = not_empty(path)?;
    let text = std::str::from_utf8(&content)
        .map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
    Ok(Zeroizing::new(secret::without_newline(text).to_owned()))
}

/// A public key from its file, as it is.
pub(super) fn key(path: &Path) -> Result<Vec<u8>, String> {
    Ok(not_empty(path)?.to_vec())
}

/// Certificates or a private key from a file, as they are.
pub(super) fn pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    not_empty_up_to(path, LARGEST_PEM)
}

fn not_empty(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    not_empty_up_to(path, LARGEST_SECRET)
}

fn not_empty_up_to(path: &Path, largest: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let content =
        read(path, largest).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if content.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_of(content: &[u8]) -> Result<Zeroizing<String>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        secret(file.path())
    }

    #[test]
    fn a_secret_loses_its_last_newline_and_nothing_else() {
        for (content, expected) in [
            (&b"hunter2"[..], "hunter2"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2\r\n", "hunter2"),
            (b" hunter\n2 \n", " hunter\n2 "),
            (b"hunter2\n\n", "hunter2\n"),
        ] {
            assert_eq!(*secret_of(content).unwrap(), expected);
        }
    }

    #[test]
    fn a_file_that_holds_no_secret_is_refused_without_showing_it() {
        assert!(secret_of(b"").unwrap_err().ends_with("is empty"));
        assert!(secret_of(b"\r\n").unwrap_err().ends_with("is empty"));
        let not_text = secret_of(b"hunter2\xFF").unwrap_err();
        assert!(not_text.ends_with("is not UTF-8 text") && !not_text.contains("hunter2"));
        let large = secret_of(&vec![b'x'; 65_537]).unwrap_err();
        assert!(large.ends_with("it is larger than 64 KiB"), "{large}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        assert!(secret(&absent).unwrap_err().contains(absent.to_str().unwrap()));
        assert!(secret(directory.path()).unwrap_err().starts_with("cannot read "));
    }
}
