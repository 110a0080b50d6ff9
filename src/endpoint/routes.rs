//! From a request's path to its endpoint.
pub struct Routes;
pub struct Matched;
