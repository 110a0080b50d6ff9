//! From a request's path to its endpoint.

use super::{Endpoint, PathParameters};
use std::sync::Arc;

/// Every endpoint, to be found by a request's path.
#[derive(Debug, Clone)]
pub struct Routes;

/// An endpoint and what the path said.
#[derive(Debug, Clone)]
pub struct Matched {
    pub endpoint: Arc<Endpoint>,
    pub parameters: PathParameters,
}

impl Routes {
    /// Takes the endpoints; no two of their paths overlap.
    #[must_use]
    pub fn new(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let _ = endpoints;
        unimplemented!()
    }

    /// Finds the endpoint for a request's path (as sent, still percent-encoded, without the query).
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Matched> {
        let _ = path;
        unimplemented!()
    }
}
