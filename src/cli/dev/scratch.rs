//! A directory for scratch files that goes away with its owner.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// A directory that only this user can enter. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new one, in the system's place for temporary files.
    pub(super) fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("sockway-dev-{:016x}", fastrand::u64(..)));
        // Fails when the name is taken, so it can never be somebody else's directory.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The watchdog may have been first; and what cannot be removed now never can be.
        let _ = fs::remove_dir_all(&self.0);
    }
}
