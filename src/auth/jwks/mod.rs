//! The keys of an issuer (`auth.jwt.jwks_url`): fetched, read, kept fresh, looked up.

mod document;
mod fetch;
mod refresher;
mod set;
mod url;

#[cfg(test)]
mod fetch_tests;
#[cfg(test)]
mod tests;

pub use document::{JwksError, SkippedKey};
pub use fetch::FetchError;
pub use refresher::{FetchKeysError, JwksRefresher, fetch_keys_once};
pub(super) use set::Lookup;
pub use set::{KeySet, Replaced};
pub use url::{JwksUrl, JwksUrlError};
