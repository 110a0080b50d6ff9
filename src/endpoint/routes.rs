//! Finds the endpoint of a request's path.

use super::{
    Endpoint, PathParameters,
    path::{RoutePath, request_segments},
};
use std::{cmp::Reverse, sync::Arc};

/// Every endpoint, to be found by a request's path. Where several match, the one with more literal
/// segments wins.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Those with more literal segments first, so the first match is the best one. A list, not a tree:
    /// it is walked once a handshake, and configurations have a handful of endpoints.
    endpoints: Vec<Arc<Endpoint>>,
}

/// An endpoint and what the path said.
#[derive(Debug, Clone)]
pub struct Matched {
    pub endpoint: Arc<Endpoint>,
    pub parameters: PathParameters,
}

impl Routes {
    /// Takes the endpoints. `config` sees to it that no two paths overlap; if they did, the first would win.
    #[must_use]
    pub fn new(mut endpoints: Vec<Arc<Endpoint>>) -> Self {
        endpoints.sort_by_key(|endpoint| Reverse(RoutePath::literals(&endpoint.path)));
        Self { endpoints }
    }

    /// Finds the endpoint for a request's path (as sent, still percent-encoded, without the query).
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Matched> {
        let request = request_segments(path)?;
        self.endpoints.iter().find_map(|endpoint| {
            let parameters = endpoint.path.matches(&request)?;
            Some(Matched { endpoint: Arc::clone(endpoint), parameters })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint_at;

    fn routes(paths: &[&str]) -> Routes {
        Routes::new(paths.iter().map(|path| Arc::new(endpoint_at(path, &["c"]))).collect())
    }

    fn found(routes: &Routes, path: &str) -> Option<String> {
        routes.find(path).map(|matched| matched.endpoint.path.as_str().to_owned())
    }

    fn value(routes: &Routes, path: &str, name: &str) -> Option<String> {
        let Matched { endpoint, parameters } = routes.find(path).unwrap();
        endpoint.path.value(&parameters, name).map(str::to_owned)
    }

    #[test]
    fn more_literal_segments_win_whatever_the_order_of_the_configuration() {
        let mut paths = ["/ws/{a}", "/ws/lobby", "/{a}/{b}", "/{a}/lobby/x", "/ws/{a}/{b}", "/"];
        for _ in 0..2 {
            let routes = routes(&paths);
            for (path, expected) in [
                ("/ws/lobby", Some("/ws/lobby")),
                ("/ws/other", Some("/ws/{a}")),
                ("/x/lobby", Some("/{a}/{b}")),
                ("/ws/lobby/x", Some("/{a}/lobby/x")),
                ("/ws/lobby/y", Some("/ws/{a}/{b}")),
                ("/", Some("/")),
                ("/ws", None),
                ("/ws/lobby/x/y", None),
            ] {
                assert_eq!(found(&routes, path).as_deref(), expected, "{path}");
            }
            paths.reverse();
        }
    }

    #[test]
    fn an_encoded_literal_cannot_slip_into_a_parameter() {
        let routes = routes(&["/ws/lobby", "/ws/{room}"]);
        assert_eq!(found(&routes, "/ws/%6Cobby").as_deref(), Some("/ws/lobby"));
        assert_eq!(found(&routes, "/%77s/x").as_deref(), Some("/ws/{room}"));
    }

    #[test]
    fn a_value_is_decoded_after_splitting_and_a_broken_one_is_no_value() {
        let routes = routes(&["/ws/{room}"]);
        assert_eq!(value(&routes, "/ws/a%2Fb", "room").as_deref(), Some("a/b"));
        assert_eq!(value(&routes, "/ws/a+b", "room").as_deref(), Some("a+b"));
        assert_eq!(value(&routes, "/ws/%zz", "room"), None);
        assert_eq!(value(&routes, "/ws/%ff", "room"), None);
        assert_eq!(value(&routes, "/ws/a", "other"), None);
    }

    #[test]
    fn what_is_no_path_of_ours_is_not_found() {
        let routes = routes(&["/ws/{room}", "/"]);
        for path in
            ["", "*", "ws/a", "/ws/", "/ws//", "//ws/a", "/ws/a/", "/WS/a", "/%ff/a", "/ws\0/a"]
        {
            assert_eq!(found(&routes, path), None, "{path:?}");
        }
    }
}
