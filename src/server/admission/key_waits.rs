//! The handshakes that wait for a key of the issuer: at most a quarter of `max_pending_handshakes`, and
//! of one address a quarter of those.
//!
//! Anybody can make up a token whose key is not known, and each wait takes as long as the issuer does. So
//! these waits have a bound of their own, far below what all handshakes have.

use super::{
    AddressKey,
    count::{KeyPermit, Limit, LimitByKey, Permit},
};
use std::num::NonZeroUsize;

/// Of all pending handshakes, and of all waits those of one address.
const PART: usize = 4;

/// The places of handshakes that wait for a key.
pub(super) struct KeyWaits {
    all: Limit,
    by_address: LimitByKey<AddressKey>,
}

/// One wait's place, given back when dropped.
pub(in crate::server) struct KeyWait {
    _place: Permit,
    _of_address: Option<KeyPermit<AddressKey>>,
}

impl KeyWaits {
    pub(super) fn new(max_pending_handshakes: NonZeroUsize) -> Self {
        let (all, of_address) = limits(max_pending_handshakes);
        Self { all: Limit::new(all.get()), by_address: LimitByKey::new(of_address) }
    }

    /// The same places under another limit.
    pub(super) fn with_limit(&self, max_pending_handshakes: NonZeroUsize) -> Self {
        let (all, of_address) = limits(max_pending_handshakes);
        let by_address = LimitByKey::with_limit(Some(&self.by_address), of_address);
        Self { all: self.all.with_limit(all.get()), by_address }
    }

    /// Takes a place; `None` when there is none for this address.
    pub(super) fn take(&self, address: Option<AddressKey>) -> Option<KeyWait> {
        let of_address = match address {
            Some(address) => Some(self.by_address.take(address)?),
            None => None,
        };
        Some(KeyWait { _place: self.all.take()?, _of_address: of_address })
    }
}

/// For all together, and for one address.
fn limits(max_pending_handshakes: NonZeroUsize) -> (NonZeroUsize, NonZeroUsize) {
    let part = |whole: NonZeroUsize| NonZeroUsize::new(whole.get() / PART);
    let all = part(max_pending_handshakes).unwrap_or(NonZeroUsize::MIN);
    (all, part(all).unwrap_or(NonZeroUsize::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_take_a_quarter_of_the_places_and_one_address_a_quarter_of_that() {
        let waits = KeyWaits::new(NonZeroUsize::new(64).unwrap());
        let from = |last: u8| Some(AddressKey::new([192, 0, 2, last].into()));
        let first: Vec<_> = (0..100).map_while(|_| waits.take(from(1))).collect();
        assert_eq!(first.len(), 4);
        let rest: Vec<_> = (2..250).map_while(|last| waits.take(from(last))).collect();
        assert_eq!(rest.len(), 12);
        assert!(waits.take(None).is_none());
        assert_eq!(waits.by_address.len(), 13, "a wait that was refused is counted");
        drop((first, rest));
        assert!(waits.by_address.is_empty(), "addresses without waits take memory");
        assert!(waits.take(None).is_some());
    }
}
