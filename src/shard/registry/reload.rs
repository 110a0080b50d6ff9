//! Reloads: the sessions that a new configuration concerns are closed, found a slice at a time.

use super::Registry;
use crate::{
    config::Config,
    reason::CloseReason,
    shard::{reload::PacedClose, session::Session},
};
use std::{rc::Rc, sync::Arc};

impl Registry {
    /// Goes on with a new configuration and closes the sessions that it concerns: whose token it takes
    /// away at once, the others a few with each tick. One that opens while they are visited is checked
    /// when it is inserted.
    pub(in crate::shard) fn reload(self: &Rc<Self>, config: Arc<Config>) {
        self.context.set_config(Arc::clone(&config));
        // Sessions of a later one are here: it has been sent already, and checks all of them.
        if config.generation >= self.newest_generation.get() {
            self.newest_generation.set(config.generation);
            tokio::task::spawn_local(Rc::clone(self).recheck_sessions(config));
        }
    }

    async fn recheck_sessions(self: Rc<Self>, config: Arc<Config>) {
        let mut paced = Vec::new();
        let is_latest = || self.newest_generation.get() == config.generation;
        let check = |session: &Session| match session.close_reason_under(&config) {
            _ if !is_latest() => {}
            Some(CloseReason::Reconfigured | CloseReason::Gap) => paced.push(session.key),
            Some(reason) => session.end(reason),
            None => {}
        };
        self.visit_sessions(check).await;
        if is_latest() {
            *self.paced_close.borrow_mut() = PacedClose::new(paced);
            self.close_paced();
            self.recheck_all_added().await;
        }
    }

    /// Ends a session that opens when it cannot go on under the configuration that counts now. One of
    /// that configuration, or of a later one that this shard has not been told yet, can.
    pub(super) fn recheck_generation(&self, session: &Session, generation: u64) {
        let newest = self.newest_generation.get().max(generation);
        self.newest_generation.set(newest);
        if let Some(config) = self.context.config().filter(|it| generation < it.generation) {
            session.recheck(&config);
        }
    }

    /// Closes the next of the sessions that the latest reload concerns. A key may have a new owner by
    /// now, or another reload may have come, so each is checked again.
    pub(super) fn close_paced(&self) {
        let keys = self.paced_close.borrow_mut().next();
        let newest = self.newest_generation.get();
        let is_newest = |config: &Arc<Config>| config.generation == newest && !keys.is_empty();
        let Some(config) = self.context.config().filter(is_newest) else { return };
        let sessions = self.sessions.borrow();
        keys.iter()
            .filter_map(|&key| sessions.get(key as usize))
            .for_each(|one| one.recheck(&config));
    }
}

#[cfg(test)]
mod tests {
    use crate::shard::{
        rig::{Rig, config, run},
        session::Stage,
    };

    #[test]
    fn other_tasks_have_their_turn_while_a_reload_visits_the_sessions() {
        run(async {
            let mut rig = Rig::new();
            let pending = rig.open_many(5_000).await;
            let registry = &rig.shard.registry;
            registry.reload(config(1, "/elsewhere"));
            let all_open =
                || registry.sessions.borrow().iter().all(|(_, one)| one.advance() == Stage::Open);
            let mut turns = 0;
            while all_open() {
                turns += 1;
                tokio::task::yield_now().await;
            }
            // They are visited in one turn where nothing yields.
            assert!(turns > 2, "{turns} turns for others");
            drop(pending);
        });
    }
}
