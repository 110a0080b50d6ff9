//! What tests of tokens share, and tokens that attackers make.

mod attacks;
pub(super) mod keys;
