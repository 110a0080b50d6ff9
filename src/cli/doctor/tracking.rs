//! Whether Redis's table of the keys whose changes it tells has room for the streams of an instance.

use super::report::Report;
use crate::{
    config::Config,
    upstream::{LinkError, RedisDiagnostics},
};

const SUBJECT: &str = "tracking table";

const LIMIT: &str = "tracking-table-max-keys";

/// Asks nothing where no endpoint has streams.
pub(super) async fn examine(redis: &RedisDiagnostics, config: &Config, report: &mut Report) {
    if !config.endpoints.iter().any(|endpoint| endpoint.may_follow_streams()) {
        return;
    }
    match figures(redis).await {
        Ok((keys, limit)) => {
            let said = match limit {
                0 => format!("{keys} keys, no limit"),
                limit => format!("{keys} of {limit} keys"),
            };
            match advice(keys, limit, config.redis.max_streams.get() as u64) {
                None => report.ok(SUBJECT, &said),
                Some(advice) => report.warn(SUBJECT, &said, advice),
            }
        }
        Err(error) => report.warn(
            SUBJECT,
            &format!("not known: {error}"),
            "see for yourself: `redis-cli info stats`, tracking_total_keys, should stay well below \
             `redis-cli config get tracking-table-max-keys`",
        ),
    }
}

/// The keys in the table, and how many there may be; 0: any number.
async fn figures(redis: &RedisDiagnostics) -> Result<(u64, u64), LinkError> {
    let number = |value: String| {
        value.parse().map_err(|_| LinkError::Answered(format!("{value} is no number")))
    };
    Ok((number(redis.tracked_keys().await?)?, number(redis.setting(LIMIT).await?)?))
}

/// What to do where the table is nearly full, or one instance alone could fill it.
fn advice(keys: u64, limit: u64, max_streams: u64) -> Option<&'static str> {
    if limit == 0 {
        None
    } else if keys >= limit - limit / 10 {
        Some(
            "nearly full, of all clients together: beyond it every change told costs another one, and \
             entries come up to a second late; raise it: `redis-cli config set tracking-table-max-keys`",
        )
    } else if max_streams > limit {
        Some(
            "redis.max_streams lets one instance follow more streams than that: lower it, or raise \
             tracking-table-max-keys in Redis",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_nearly_full_or_smaller_than_max_streams_is_advised_on() {
        assert_eq!(advice(5_000_000, 0, 200_000), None);
        assert_eq!(advice(899_999, 1_000_000, 200_000), None);
        assert!(
            advice(900_000, 1_000_000, 200_000).is_some_and(|it| it.starts_with("nearly full"))
        );
        assert_eq!(advice(0, 200_000, 200_000), None);
        assert!(advice(0, 199_999, 200_000).is_some_and(|it| it.contains("redis.max_streams")));
    }
}
