//! Looks into a query for a name.

use super::percent;

/// The values that a query has for this name, still encoded, in order.
pub fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent::decode_query(key)? == name).then_some(value)
    })
}

/// `None` also for a duplicate name: this side could mean the first while a proxy before it
/// checked the last.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    let mut values = query_values(query, name);
    match (values.next(), values.next()) {
        (Some(value), None) => percent::decode_query(value),
        _ => None,
    }
}
