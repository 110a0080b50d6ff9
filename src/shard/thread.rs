//! The thread of a shard and its few tasks: ring, subscription events, requests, commands, wheel.

use super::{Shard, ShardCommand, ShardHandle, registry::Registry, wheel::TICK};
use crate::{
    bus::{Event, RequestBatch, ShardEnd, ShardId, SubscriptionEvents},
    metrics::ShardMetrics,
    reason::GapReason,
};
use std::{io, rc::Rc, sync::Arc, thread};
use tokio::{
    runtime::{Builder, Handle, LocalOptions, LocalRuntime},
    sync::{
        broadcast::{self, error::RecvError, error::TryRecvError},
        mpsc, oneshot,
    },
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

/// Events taken from the ring before what they dirty is flushed.
const EVENTS_AT_ONCE: usize = 256;

/// A running shard, as its owner holds it.
pub struct ShardThread {
    id: ShardId,
    handle: ShardHandle,
    runtime: Handle,
    drained: oneshot::Receiver<()>,
}

/// A shard's thread ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("shard {0} died")]
pub struct ShardDied(pub ShardId);

impl ShardThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(end: ShardEnd, metrics: Arc<ShardMetrics>) -> io::Result<Self> {
        let id = end.id;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (done, drained) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
            let runtime = match Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(runtime.handle().clone())));
            if run(&runtime, end, metrics, inbox) {
                // Nobody waits for the drain any more when the process is already ending.
                let _ = done.send(());
            }
        })?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self { id, handle: ShardHandle { commands }, runtime, drained })
    }

    /// What other threads hold of this shard.
    #[must_use]
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Runs a task on this shard's thread that is not the shard's own: no drain waits for it, and
    /// it is cancelled when the thread ends.
    pub fn host(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.runtime.spawn(task)
    }

    /// Resolves when no session and no spawned task is left after a [`ShardCommand::Drain`].
    ///
    /// # Errors
    /// [`ShardDied`] when the thread ended by itself: the process must then end too.
    pub async fn ended(&mut self) -> Result<(), ShardDied> {
        (&mut self.drained).await.map_err(|_| ShardDied(self.id))
    }
}

/// Runs until the shard is drained (`true`) or one of its own tasks has ended, which none may.
fn run(
    runtime: &LocalRuntime,
    end: ShardEnd,
    metrics: Arc<ShardMetrics>,
    commands: mpsc::UnboundedReceiver<ShardCommand>,
) -> bool {
    let registry = Rc::new(Registry::new(end.id, metrics));
    runtime.block_on(async {
        let mut tasks = spawn_tasks(&registry, end);
        tasks.spawn_local(take_commands(Rc::clone(&registry), commands));
        tokio::select! {
            () = registry.drained() => true,
            ended = tasks.join_next() => {
                // Else the other ends are gone: a stop at once, or the Redis side, which says why.
                if let Some(Err(error)) = ended {
                    tracing::error!(shard = registry.id, %error, "a task of the shard ended");
                }
                false
            }
        }
    })
}

/// Spawns the tasks that serve a shard's queues and its wheel. None ends while the other ends live.
pub(super) fn spawn_tasks(registry: &Rc<Registry>, end: ShardEnd) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn_local(take_events(Rc::clone(registry), end.ring));
    tasks.spawn_local(take_subscription_events(Rc::clone(registry), end.subscription_events));
    tasks.spawn_local(send_requests(Rc::clone(registry), end.requests));
    tasks.spawn_local(turn_wheel(Rc::clone(registry)));
    tasks
}

async fn take_events(registry: Rc<Registry>, mut ring: broadcast::Receiver<Event>) {
    let mut dirty = Vec::new();
    loop {
        match ring.recv().await {
            Ok(event) => registry.fan_out(&event, &mut dirty),
            Err(RecvError::Lagged(lost)) => lagged(&registry, lost, &mut dirty),
            Err(RecvError::Closed) => return,
        }
        for _ in 1..EVENTS_AT_ONCE {
            match ring.try_recv() {
                Ok(event) => registry.fan_out(&event, &mut dirty),
                Err(TryRecvError::Lagged(lost)) => lagged(&registry, lost, &mut dirty),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        registry.flush(&mut dirty).await;
    }
}

fn lagged(registry: &Registry, lost: u64, dirty: &mut Vec<u32>) {
    tracing::warn!(
        shard = registry.id,
        lost,
        "the shard fell behind its ring: a gap for its sessions"
    );
    registry.gap_all(GapReason::ShardLagged, dirty);
}

async fn take_subscription_events(
    registry: Rc<Registry>,
    mut inbox: mpsc::UnboundedReceiver<SubscriptionEvents>,
) {
    while let Some(events) = inbox.recv().await {
        registry.hub.borrow_mut().apply(events);
    }
}

async fn send_requests(registry: Rc<Registry>, upstream: mpsc::Sender<RequestBatch>) {
    loop {
        registry.requests_waiting.notified().await;
        let taken = registry.hub.borrow_mut().take_requests();
        if let Some((sequence, requests)) = taken {
            let batch = RequestBatch { shard: registry.id, sequence, requests };
            if upstream.send(batch).await.is_err() {
                return;
            }
        }
    }
}

async fn take_commands(
    registry: Rc<Registry>,
    mut commands: mpsc::UnboundedReceiver<ShardCommand>,
) {
    let shard = Shard { registry };
    while let Some(command) = commands.recv().await {
        match command {
            ShardCommand::Run(job) => job(&shard),
            ShardCommand::Drain { spread } => shard.registry.drain(spread),
            ShardCommand::Reload(config) => shard.registry.reload(config),
            ShardCommand::Busiest { prefix, limit, reply } => {
                // The asker may have stopped waiting, and then does not miss the answer.
                drop(reply.send(shard.registry.hub.borrow().busiest(&prefix, limit)));
            }
        }
    }
}

async fn turn_wheel(registry: Rc<Registry>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.turn_wheel();
    }
}
