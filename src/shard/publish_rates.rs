//! How much each user of this instance may still publish, over all of its sessions on all shards.
//!
//! For each user one moment is kept: when its bucket is full again. Full buckets are removed, so only users who
//! published a moment ago take memory.

use crate::endpoint::{EndpointName, PublishGrant, PublishRules};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// With fewer buckets than this, full ones are not looked for.
const FEW: usize = 1_024;

/// What a session may publish, and the limits that it shares with the other sessions of its user.
#[derive(Debug)]
pub struct PublishSpec {
    pub grant: PublishGrant,
    pub rates: Arc<PublishRates>,
}

/// The buckets, one for each user at each endpoint.
#[derive(Debug, Default)]
pub struct PublishRates(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<(EndpointName, Arc<str>), Instant>,
    /// Full buckets are removed when there are this many.
    sweep_at: usize,
}

impl PublishRates {
    /// Takes one message of a user.
    ///
    /// # Errors
    /// The bucket is empty; the error is how long until it has one message again.
    pub(super) fn take(
        &self,
        endpoint: &EndpointName,
        user: &Arc<str>,
        rules: &PublishRules,
        now: Instant,
    ) -> Result<(), Duration> {
        let each = Duration::from_secs(1) / rules.per_second.get();
        let most = each * rules.burst.get();
        // Nothing that holds it can panic half-way.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let key = (Arc::clone(endpoint), Arc::clone(user));
        let full_at = buckets.full_at.entry(key).or_insert(now);
        let next = (*full_at).max(now) + each;
        match next.checked_duration_since(now + most) {
            Some(late) if !late.is_zero() => Err(late),
            _ => {
                *full_at = next;
                Ok(())
            }
        }
    }
}

impl Buckets {
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() >= self.sweep_at.max(FEW) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = 2 * self.full_at.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn rules() -> (EndpointName, Box<PublishRules>) {
        let text = format!(
            "[[endpoint]]\nname = \"test\"\npath = \"/ws\"\nchannels = [\"a\"]\n\
             [endpoint.publish]\nchannel = \"a\"\n{}",
            testing::AUTH
        );
        let endpoint = testing::config(&text).endpoints.remove(0);
        (endpoint.name.clone(), endpoint.publish.clone().unwrap())
    }

    #[test]
    fn a_user_has_a_burst_and_then_so_many_a_second_and_is_told_when() {
        let (rates, (endpoint, rules), start) = (PublishRates::default(), rules(), Instant::now());
        let take = |user: &str, after: u64| {
            rates.take(&endpoint, &user.into(), &rules, start + Duration::from_millis(after))
        };
        for _ in 0..10 {
            assert_eq!(take("ann", 0), Ok(()));
        }
        assert_eq!(take("ann", 0), Err(Duration::from_millis(200)));
        assert_eq!(take("ann", 150), Err(Duration::from_millis(50)));
        assert_eq!(take("bob", 150), Ok(()), "another user");
        assert_eq!((take("ann", 200), take("ann", 200).is_err()), (Ok(()), true));
        for _ in 0..10 {
            assert_eq!(take("ann", 60_000), Ok(()), "never more than the burst");
        }
        assert!(take("ann", 60_000).is_err());
    }

    #[test]
    fn a_user_has_a_bucket_for_each_endpoint_and_an_empty_one_is_not_forgotten_for_others() {
        let (rates, (endpoint, rules), now) = (PublishRates::default(), rules(), Instant::now());
        let take = |at: &EndpointName, user: &str| rates.take(at, &user.into(), &rules, now);
        let drained = (0..11).map(|_| take(&endpoint, "ann")).filter(Result::is_ok).count();
        assert_eq!(drained, 10);
        assert_eq!(take(&"other".into(), "ann"), Ok(()));
        for n in 0..3 * FEW {
            take(&endpoint, &n.to_string()).unwrap();
        }
        assert!(take(&endpoint, "ann").is_err());
    }

    #[test]
    fn users_who_have_published_nothing_for_a_while_are_forgotten() {
        let (rates, (endpoint, rules), start) = (PublishRates::default(), rules(), Instant::now());
        for n in 0..100_000_u64 {
            let now = start + Duration::from_millis(10 * n);
            rates.take(&endpoint, &n.to_string().into(), &rules, now).unwrap();
        }
        assert!(rates.0.lock().unwrap().full_at.len() <= 2 * FEW);
    }
}
