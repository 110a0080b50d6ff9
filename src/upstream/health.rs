//! Reports whether the link is up: status, metrics, one log line as an outage begins and ends.
//!
//! An outage is all the time in which the subscription is not proven alive, from the start of the
//! process on; the running one is counted once a second.

use super::status::{LinkStatus, Status};
use crate::metrics::Metrics;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

/// How often the running outage is added to its counter.
const OUTAGE_STEP: Duration = Duration::from_secs(1);

/// The status and everything that is derived from it.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) metrics: Arc<Metrics>,
    status: watch::Sender<Status>,
    /// When the outage began; `None` while up.
    outage: Option<Outage>,
    /// When a probe last proved the subscription alive, and for how long that is good.
    verified: Instant,
    proof_expires: Duration,
    linked_before: bool,
    /// When Redis answered again, until every wanted channel is subscribed again.
    resubscribing: Option<Instant>,
}

#[derive(Debug)]
struct Outage {
    began: Instant,
    /// Up to here it is in the counter.
    counted: Instant,
    announced: bool,
}

impl Health {
    /// `proof_expires`: for how long a probe proves the subscription alive.
    pub(super) fn new(
        metrics: Arc<Metrics>,
        proof_expires: Duration,
        now: Instant,
    ) -> (Self, watch::Receiver<Status>) {
        let link = LinkStatus::Down("not connected yet".to_owned());
        let status = Status {
            link,
            verified: None,
            wanted: 0,
            subscribed: 0,
            control_refused: None,
            tracking_refused: None,
        };
        let (status, seen) = watch::channel(status);
        let outage = Some(Outage { began: now, counted: now, announced: false });
        let health = Self {
            metrics,
            status,
            outage,
            verified: now,
            proof_expires,
            linked_before: false,
            resubscribing: None,
        };
        (health, seen)
    }

    /// Where others report what they know.
    pub(super) fn status(&self) -> watch::Sender<Status> {
        self.status.clone()
    }

    /// A link was made; whether it is any good is not known yet.
    pub(super) fn linked(&mut self, now: Instant) {
        if std::mem::replace(&mut self.linked_before, true) {
            self.metrics.upstream.reconnects.inc();
            self.resubscribing = Some(now);
        }
    }

    /// Redis has closed a link on which nothing was subscribed: the next one is as good as the first.
    pub(super) fn idle_link_closed(&mut self) {
        self.linked_before = false;
    }

    /// Every wanted channel is subscribed, as far as Redis allows it.
    pub(super) fn all_subscribed(&mut self, now: Instant) {
        if let Some(since) = self.resubscribing.take() {
            self.metrics.upstream.resubscribe_seconds.observe((now - since).as_secs_f64());
        }
    }

    /// A probe has proven the subscription alive.
    pub(super) fn proven(&mut self, now: Instant) {
        self.count_outage(now);
        self.verified = now;
        let outage = self.outage.take();
        if let Some(Outage { began, .. }) = outage {
            info!(outage_seconds = (now - began).as_secs_f64(), "Redis link is up");
        }
        let unix_time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.metrics.upstream.last_verified.set(unix_time.unwrap_or_default().as_secs_f64());
        self.metrics.upstream.up.set(1);
        self.status.send_modify(|status| {
            status.link = LinkStatus::Up;
            status.verified = Some(now.into_std());
        });
    }

    /// The subscription is not proven alive, for this reason.
    pub(super) fn down(&mut self, reason: &str, now: Instant) {
        let outage =
            self.outage.get_or_insert(Outage { began: now, counted: now, announced: false });
        if std::mem::replace(&mut outage.announced, true) {
            debug!(reason, "Redis link is still down");
        } else {
            warn!(reason, "Redis link is down");
        }
        self.metrics.upstream.up.set(0);
        self.status.send_if_modified(|status| {
            let changed = !matches!(&status.link, LinkStatus::Down(old) if old == reason);
            status.link = LinkStatus::Down(reason.to_owned());
            changed
        });
    }

    /// The last proof is too old. Why, nobody knows yet: the link stands.
    fn expire(&mut self, now: Instant) {
        let outage = Outage { began: now, counted: now, announced: false };
        self.outage = Some(outage);
        warn!(
            seconds = (now - self.verified).as_secs_f64(),
            "Redis link was not proven alive for too long"
        );
        self.metrics.upstream.up.set(0);
    }

    /// Redis has answered for the control channel: it refuses it for this reason, or not.
    pub(super) fn control(&self, refused: Option<&str>) {
        self.status.send_if_modified(|status| {
            let changed = status.control_refused.as_deref() != refused;
            status.control_refused = refused.map(str::to_owned);
            changed
        });
    }

    /// Keeps the counts of channels and the running outage current; notices when the last proof is too old.
    pub(super) fn refresh(&mut self, wanted: usize, subscribed: usize, now: Instant) {
        match self.outage {
            _ if self.deadline() > now => {}
            Some(_) => self.count_outage(now),
            None => self.expire(now),
        }
        self.status.send_if_modified(|status| {
            let changed = (status.wanted, status.subscribed) != (wanted, subscribed);
            (status.wanted, status.subscribed) = (wanted, subscribed);
            if changed {
                self.metrics.upstream.channels_wanted.set(wanted as i64);
                self.metrics.upstream.channels_subscribed.set(subscribed as i64);
            }
            changed
        });
    }

    fn count_outage(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            self.metrics.upstream.outage_seconds.inc_by((now - outage.counted).as_secs_f64());
            outage.counted = now;
        }
    }

    /// When [`Health::refresh`] must be called next.
    pub(super) fn deadline(&self) -> Instant {
        match &self.outage {
            Some(outage) => outage.counted + OUTAGE_STEP,
            None => self.verified + self.proof_expires,
        }
    }

    /// How long the running outage has lasted.
    pub(super) fn away(&self, now: Instant) -> Duration {
        self.outage.as_ref().map_or(Duration::ZERO, |outage| now - outage.began)
    }

    pub(super) fn is_up(&self) -> bool {
        self.outage.is_none()
    }
}
