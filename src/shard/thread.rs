//! The thread of a shard and its few tasks: rings, subscription events, revocations, requests, commands,
//! wheel.

use super::{
    Busy, Shard, ShardCommand, ShardHandle, busiest::busiest, events, floods::Floods,
    registry::Registry, wheel::TICK,
};
use crate::{
    bus::{
        PresenceShardEnd, RequestBatch, Revoke, ShardEnd, ShardId, StreamRequests, StreamShardEnd,
        SubscriptionEvents,
    },
    liveness::SignOfLife,
    metrics::ShardMetrics,
};
use std::{io, rc::Rc, sync::Arc, thread};
use tokio::{
    runtime::{Builder, Handle, LocalOptions, LocalRuntime},
    sync::{mpsc, oneshot},
    task::{JoinError, JoinHandle, JoinSet},
    time::MissedTickBehavior,
};

/// A running shard, as its owner holds it.
pub struct ShardThread {
    id: ShardId,
    handle: ShardHandle,
    runtime: Handle,
    ended: oneshot::Receiver<ShardOutcome>,
}

/// How a shard's thread ended that did not die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardOutcome {
    /// A drain has left nothing here.
    Drained,
    /// The Redis side has gone, without which there is nothing to do.
    Abandoned,
}

/// A shard's thread ended though nobody asked it to, by a fault of its own.
#[derive(Debug, thiserror::Error)]
#[error("shard {0} died")]
pub struct ShardDied(pub ShardId);

impl ShardThread {
    /// Starts the thread, which gives a sign of life with each turn of its wheel. `queue_memory`: bytes
    /// that the queues of its sessions may hold together. `floods`: those of all shards.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made.
    pub fn start(
        end: ShardEnd,
        metrics: Arc<ShardMetrics>,
        sign: SignOfLife,
        queue_memory: usize,
        floods: Arc<Floods>,
    ) -> io::Result<Self> {
        let id = end.id;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (say_ended, ended) = oneshot::channel();
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
            let registry = Rc::new(Registry::new(id, metrics, queue_memory, floods));
            if let Ok(end) = run(&runtime, &registry, end, sign, inbox) {
                // Nobody waits for it any more when the process is already going.
                let _ = say_ended.send(end);
            }
        })?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self { id, handle: ShardHandle { commands }, runtime, ended })
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

    /// Resolves when the thread has ended: no session and no spawned task is left after a
    /// [`ShardCommand::Drain`], or the Redis side has gone.
    ///
    /// # Errors
    /// [`ShardDied`] when it was neither: the process must then end too.
    pub async fn ended(&mut self) -> Result<ShardOutcome, ShardDied> {
        (&mut self.ended).await.map_err(|_| ShardDied(self.id))
    }
}

/// Runs until the shard is drained or one of its own tasks has ended: by a panic, which is an error,
/// or because the other end of its queue has gone.
fn run(
    runtime: &LocalRuntime,
    registry: &Rc<Registry>,
    end: ShardEnd,
    sign: SignOfLife,
    commands: mpsc::UnboundedReceiver<ShardCommand>,
) -> Result<ShardOutcome, JoinError> {
    runtime.block_on(async {
        let mut tasks = spawn_tasks(registry, end, sign);
        tasks.spawn_local(take_commands(Rc::clone(registry), commands));
        tokio::select! {
            () = async { registry.drained().await; registry.presence.settle().await } => {
                Ok(ShardOutcome::Drained)
            }
            Some(ended) = tasks.join_next() => {
                ended.map(|()| ShardOutcome::Abandoned).inspect_err(|error| {
                    tracing::error!(shard = registry.id, %error, "a task of the shard ended");
                })
            }
        }
    })
}

/// Spawns the tasks that serve a shard's queues and its wheel. None ends while the other ends live.
pub(super) fn spawn_tasks(registry: &Rc<Registry>, end: ShardEnd, sign: SignOfLife) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let first = registry.ring.set(end.ring.position());
    debug_assert!(first.is_ok(), "a shard has one ring");
    tasks.spawn_local(events::take(Rc::clone(registry), end.ring));
    tasks.spawn_local(take_subscription_events(Rc::clone(registry), end.subscription_events));
    tasks.spawn_local(take_revocations(Rc::clone(registry), end.revocations));
    tasks.spawn_local(send_requests(Rc::clone(registry), end.requests));
    tasks.spawn_local(turn_wheel(Rc::clone(registry), sign));
    let first = registry.context.publish.set(end.publish);
    debug_assert!(first.is_ok(), "a shard publishes through one upstream");
    let StreamShardEnd { ring, requests, pages } = end.streams;
    let first = registry.streams.pages.set(pages);
    debug_assert!(first.is_ok(), "a shard asks one upstream");
    tasks.spawn_local(events::take_of_streams(Rc::clone(registry), ring));
    tasks.spawn_local(send_stream_requests(Rc::clone(registry), requests));
    let PresenceShardEnd { ring, requests } = end.presence;
    registry.presence.connect(requests);
    tasks.spawn_local(events::take_presence(Rc::clone(registry), ring));
    tasks
}

async fn take_subscription_events(
    registry: Rc<Registry>,
    mut inbox: mpsc::UnboundedReceiver<SubscriptionEvents>,
) {
    while let Some(events) = inbox.recv().await {
        registry.take_subscription_events(events);
    }
}

async fn take_revocations(registry: Rc<Registry>, mut inbox: mpsc::UnboundedReceiver<Revoke>) {
    while let Some(revoke) = inbox.recv().await {
        registry.revoke(revoke).await;
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

async fn send_stream_requests(registry: Rc<Registry>, upstream: mpsc::Sender<StreamRequests>) {
    loop {
        registry.streams.requests_waiting.notified().await;
        if let Some((sequence, requests)) = registry.streams.take_requests() {
            let batch = StreamRequests { shard: registry.id, sequence, requests };
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
            ShardCommand::Close { session, reason } => shard.registry.close(session, reason),
            ShardCommand::Busiest { prefix, limit, reply } => {
                let registry = Rc::clone(&shard.registry);
                tokio::task::spawn_local(find_busiest(registry, prefix, limit, reply));
            }
        }
    }
}

/// Looks for the busiest channels, for as long as the answer is waited for.
async fn find_busiest(
    registry: Rc<Registry>,
    prefix: String,
    limit: usize,
    mut reply: oneshot::Sender<Vec<Busy>>,
) {
    let found = tokio::select! {
        () = reply.closed() => return,
        found = busiest(&registry, &prefix, limit) => found,
    };
    drop(reply.send(found));
}

async fn turn_wheel(registry: Rc<Registry>, sign: SignOfLife) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.turn_wheel().await;
        registry.forget_revocations();
        sign.give();
    }
}
