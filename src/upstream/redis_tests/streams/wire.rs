//! A wire between the gateway and its server that a test can cut, or make deaf: then what Redis pushes
//! of changed keys is lost on it.

use super::*;
use std::{
    io::{Read, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};
use tempfile::TempDir;

/// What a test can do to the wire, and see of it.
#[derive(Default)]
struct State {
    is_deaf: AtomicBool,
    is_cut: AtomicBool,
    /// Pushes that were lost, and connections that were made.
    lost: AtomicUsize,
    made: AtomicUsize,
    open: Mutex<Vec<UnixStream>>,
}

pub(super) struct Wire {
    directory: TempDir,
    state: Arc<State>,
}

impl Wire {
    pub(super) fn to(server: &Server) -> Self {
        let wire = Self { directory: tempfile::tempdir().unwrap(), state: Arc::default() };
        let listener = UnixListener::bind(wire.socket()).unwrap();
        let (state, target) = (Arc::clone(&wire.state), server.socket());
        // It ends with the test program.
        thread::spawn(move || {
            for ours in listener.incoming().map_while(Result::ok) {
                if let Ok(theirs) = UnixStream::connect(&target) {
                    lay(&state, &ours, &theirs);
                }
            }
        });
        wire
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("wire.sock")
    }

    pub(super) fn set_deaf(&self, is_deaf: bool) {
        self.state.is_deaf.store(is_deaf, SeqCst);
    }

    /// Ends every connection, and those that are made until [`Wire::mend`].
    pub(super) fn cut(&self) {
        let mut open = self.state.open.lock().unwrap();
        self.state.is_cut.store(true, SeqCst);
        for stream in open.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    pub(super) fn mend(&self) {
        self.state.is_cut.store(false, SeqCst);
    }

    /// Pushes that were lost.
    pub(super) fn lost(&self) -> usize {
        self.state.lost.load(SeqCst)
    }

    /// Connections that were made.
    pub(super) fn made(&self) -> usize {
        self.state.made.load(SeqCst)
    }
}

/// Follows streams over this wire; nothing is polled, so that nothing else could find a change.
pub(super) fn settings_over(server: &Server, wire: &Wire) -> config::Redis {
    let address = config::RedisAddress::Unix(wire.socket());
    config::Redis { address, stream_poll: None, ..stream_settings(server) }
}

fn lay(state: &Arc<State>, ours: &UnixStream, theirs: &UnixStream) {
    // With the lock held: one that is made while the wire is cut must not stay.
    let mut open = state.open.lock().unwrap();
    if state.is_cut.load(SeqCst) {
        return;
    }
    state.made.fetch_add(1, SeqCst);
    open.extend([ours, theirs].map(|it| it.try_clone().unwrap()));
    drop(open);
    let (from, to) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
    thread::spawn(move || carry(from, to, std::mem::take));
    let (state, from, to) =
        (Arc::clone(state), theirs.try_clone().unwrap(), ours.try_clone().unwrap());
    thread::spawn(move || carry(from, to, |bytes| audible(bytes, &state)));
}

/// Carries what `pass` takes out of the bytes received.
fn carry(mut from: UnixStream, mut to: UnixStream, mut pass: impl FnMut(&mut Vec<u8>) -> Vec<u8>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        bytes.extend_from_slice(&piece[..length]);
        if to.write_all(&pass(&mut bytes)).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Takes the values that are here whole; without pushes of changed keys, where the wire is deaf.
fn audible(bytes: &mut Vec<u8>, state: &State) -> Vec<u8> {
    let (mut at, mut passed) = (0, Vec::new());
    while let Some(end) = end_of_value(bytes, at) {
        let value = &bytes[at..end];
        if state.is_deaf.load(SeqCst) && value.starts_with(b">2\r\n$10\r\ninvalidate\r\n") {
            state.lost.fetch_add(1, SeqCst);
        } else {
            passed.extend_from_slice(value);
        }
        at = end;
    }
    bytes.drain(..at);
    passed
}

/// Where the value that begins at `at` ends; `None`: it is not here whole.
fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    let newline = bytes.get(at..)?.iter().position(|&byte| byte == b'\n')?;
    let behind = at + newline + 1;
    let number = || -> i64 {
        let digits = std::str::from_utf8(&bytes[at + 1..behind - 2]).unwrap();
        digits.parse().unwrap()
    };
    let values = match bytes[at] {
        b'$' | b'=' | b'!' if number() >= 0 => {
            let end = behind + number() as usize + 2;
            return (end <= bytes.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => number().max(0),
        b'%' => 2 * number().max(0),
        _ => 0,
    };
    (0..values).try_fold(behind, |at, _| end_of_value(bytes, at))
}
