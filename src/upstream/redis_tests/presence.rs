//! Presence against a real Redis: two or three instances, and what clients of each would be shown.

use super::*;
use crate::bus::{Change, PresenceEvent, PresenceRequest, PresenceRules};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::sync::oneshot;

mod faults;
mod model;

const ROOM: &str = "chat:7";

/// A short time, so that ghosts are gone within a test: a third of it is still long beside this machine's
/// pauses.
const RULES: PresenceRules = PresenceRules {
    ttl: Duration::from_millis(1_200),
    leave_after: Duration::from_millis(400),
    roster: 1_000,
};

/// One gateway: its Redis side, and the sessions of its only shard.
struct Gateway {
    shard: ShardEnd,
    metrics: Arc<Metrics>,
    is_stopped: Arc<AtomicBool>,
    clients: Vec<Client>,
    rules: PresenceRules,
    /// What was told that a client must never be told.
    wrong: Vec<String>,
    _task: AbortOnDropHandle<()>,
}

/// A session as its client sees the room.
#[derive(Debug)]
struct Client {
    user: Arc<str>,
    /// `None` before `presence`.
    sees: Option<View>,
    joins: usize,
    leaves: usize,
    rosters: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum View {
    Users(BTreeSet<Arc<str>>),
    Count(usize),
}

impl Gateway {
    fn start(settings: config::Redis, rules: PresenceRules) -> Self {
        let (end, mut shards) = queues_for_tests(1);
        let metrics = Arc::new(Metrics::new(1, &[]));
        let (upstream, _) = Upstream::new(settings, end, Arc::clone(&metrics));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let mut running = Box::pin(upstream.run(Liveness::default().part("Redis side")));
        let gate = Arc::clone(&is_stopped);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            // Stopped as by SIGSTOP: nothing of it runs, and its sockets stay.
            std::future::poll_fn(|context| {
                if gate.load(Ordering::Relaxed) {
                    let waker = context.waker().clone();
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(5)).await;
                        waker.wake();
                    });
                    return std::task::Poll::Pending;
                }
                Pin::new(&mut running).poll(context)
            })
            .await;
        }));
        let shard = shards.remove(0);
        let (clients, wrong) = (Vec::new(), Vec::new());
        Self { shard, metrics, is_stopped, clients, rules, wrong, _task: task }
    }

    fn on(server: &Server) -> Self {
        Self::start(settings(server), RULES)
    }

    fn ask(&self, request: PresenceRequest) {
        self.shard.presence.requests.send(request).unwrap();
    }

    fn enter(&mut self, user: &str) {
        let user: Arc<str> = user.into();
        let (room, rules) = (name(ROOM), Arc::new(self.rules));
        self.ask(PresenceRequest::Enter { shard: 0, room, user: Arc::clone(&user), rules });
        self.clients.push(Client { user, sees: None, joins: 0, leaves: 0, rosters: 0 });
    }

    fn exit(&mut self, at: usize) {
        let Client { user, .. } = self.clients.remove(at);
        self.ask(PresenceRequest::Leave { room: name(ROOM), user });
    }

    fn exit_all(&mut self) {
        while !self.clients.is_empty() {
            self.exit(0);
        }
    }

    /// Waits until Redis knows who has left.
    async fn settled(&self) {
        let (settled, wait) = oneshot::channel();
        self.ask(PresenceRequest::Settle(settled));
        timeout(PATIENCE, wait).await.expect("in time").unwrap();
    }

    /// Takes what has come.
    fn listen(&mut self) {
        while let Some(event) = self.shard.presence.ring.try_recv() {
            match event.unwrap() {
                PresenceEvent::Roster { roster, users } => {
                    let view = match &roster.users {
                        Some(users) => View::Users(users.iter().cloned().collect()),
                        None => View::Count(roster.count),
                    };
                    for client in &mut self.clients {
                        let is_meant = users.as_ref().is_none_or(|users| {
                            client.sees.is_none() && users.binary_search(&client.user).is_ok()
                        });
                        if is_meant {
                            client.rosters += 1;
                            client.sees = Some(view.clone());
                        }
                    }
                }
                PresenceEvent::Change(change) => self.change(&change),
            }
        }
    }

    fn change(&mut self, Change { user, is_join, .. }: &Change) {
        for client in self.clients.iter_mut().filter(|it| it.user != *user) {
            match &mut client.sees {
                None => {}
                Some(View::Users(users)) => {
                    let is_news =
                        if *is_join { users.insert(Arc::clone(user)) } else { users.remove(user) };
                    client.joins += usize::from(*is_join);
                    client.leaves += usize::from(!is_join);
                    if !is_news {
                        self.wrong.push(format!("join {is_join} of {user} was no news"));
                    }
                }
                Some(View::Count(_)) => self.wrong.push("a change where there is no list".into()),
            }
        }
    }

    fn all_see(&mut self, expected: &View) -> bool {
        self.listen();
        assert_eq!(self.wrong, Vec::<String>::new());
        self.clients.iter().all(|client| client.sees.as_ref() == Some(expected))
    }
}

fn users(users: &[&str]) -> View {
    View::Users(users.iter().map(|&user| user.into()).collect())
}

/// Waits until all clients see this.
async fn see(instances: &mut [&mut Gateway], expected: &View) {
    let deadline = Instant::now() + PATIENCE;
    while !instances.iter_mut().all(|it| it.all_see(expected)) {
        let seen: Vec<_> = instances.iter().map(|it| &it.clients).collect();
        assert!(Instant::now() < deadline, "expected {expected:?}, seen {seen:#?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until these instances have swept so many members together. Whichever comes first sweeps, and
/// is answered when the others know already.
async fn swept(instances: &[&Gateway], expected: u64) {
    let swept = || instances.iter().map(|it| it.metrics.upstream.presence_swept.get()).sum::<u64>();
    eventually("swept", || swept() >= expected).await;
    assert_eq!(swept(), expected);
}

fn hash(server: &Server) -> BTreeMap<String, String> {
    let reply = server.call(&["HGETALL", &format!("sockway:presence:{{{ROOM}}}:users:{ROOM}")]);
    let pairs = reply.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    pairs.filter(|(user, _)| user != "!").collect()
}

/// Nothing else happens: no PING is due, and no refresh.
#[tokio::test]
async fn a_roster_that_waits_for_a_shard_is_sent_though_nothing_else_happens() {
    let server = Server::start(&[]);
    let a_day = Duration::from_secs(86_400);
    let quiet = config::Redis { probe_interval: a_day, ..settings(&server) };
    let mut one = Gateway::start(quiet, PresenceRules { ttl: a_day, ..RULES });
    one.enter("41");
    see(&mut [&mut one], &users(&["41"])).await;
    let position = one.shard.presence.ring.position();
    let before = position.sent();
    // A change, and a roster that nobody takes.
    one.enter("42");
    eventually("42 is told of", || position.sent() >= before + 2).await;
    one.enter("43");
    eventually("43 is told of", || position.sent() >= before + 4).await;
    see(&mut [&mut one], &users(&["41", "42", "43"])).await;
}

#[tokio::test]
async fn everyone_sees_who_is_there_and_a_user_counts_once_for_all_sessions_and_instances() {
    let server = Server::start(&[]);
    // Nobody is swept but who has left.
    let rules = PresenceRules { ttl: Duration::from_secs(60), ..RULES };
    let mut one = Gateway::start(settings(&server), rules);
    let mut two = Gateway::start(settings(&server), rules);
    one.enter("41");
    see(&mut [&mut one], &users(&["41"])).await;
    two.enter("42");
    see(&mut [&mut one, &mut two], &users(&["41", "42"])).await;
    two.enter("41");
    two.enter("41");
    two.enter("a b:ä");
    see(&mut [&mut one, &mut two], &users(&["41", "42", "a b:ä"])).await;
    assert_eq!(one.clients[0].joins, 2, "a user comes once");
    assert_eq!(hash(&server)["41"], "2", "instances, not sessions");
    assert!(hash(&server).contains_key("a%20b%3A%C3%A4"));
    assert_eq!(two.metrics.upstream.presence_members.get(), 3);
    // Two tabs, one of which leaves; then the last one of this instance, but not of all.
    two.exit(1);
    two.exit(1);
    two.exit(0);
    see(&mut [&mut one, &mut two], &users(&["41", "a b:ä"])).await;
    assert_eq!(one.clients[0].leaves, 1, "42 alone has left");
    swept(&[&one, &two], 2).await;
}

#[tokio::test]
async fn who_comes_back_in_time_has_never_left_whatever_instance_takes_him() {
    let server = Server::start(&[]);
    // Longer than it takes to come back.
    let stays = Duration::from_secs(5);
    let rules = PresenceRules { ttl: stays, leave_after: stays, ..RULES };
    let mut one = Gateway::start(settings(&server), rules);
    one.enter("watcher");
    see(&mut [&mut one], &users(&["watcher"])).await;
    for _ in 0..3 {
        let mut two = Gateway::start(settings(&server), rules);
        two.enter("42");
        see(&mut [&mut one, &mut two], &users(&["42", "watcher"])).await;
        two.exit_all();
        two.settled().await;
    }
    let joins = one.clients[0].joins;
    let mut three = Gateway::start(settings(&server), rules);
    three.enter("42");
    see(&mut [&mut three, &mut one], &users(&["42", "watcher"])).await;
    sleep(2 * stays).await;
    one.listen();
    assert_eq!((joins, one.clients[0].joins, one.clients[0].leaves), (1, 1, 0));
}

#[tokio::test]
async fn without_leave_after_a_user_leaves_at_once() {
    let server = Server::start(&[]);
    let rules =
        PresenceRules { leave_after: Duration::ZERO, ttl: Duration::from_secs(60), ..RULES };
    let mut one = Gateway::start(settings(&server), rules);
    one.enter("41");
    one.enter("42");
    see(&mut [&mut one], &users(&["41", "42"])).await;
    one.exit(1);
    see(&mut [&mut one], &users(&["41"])).await;
}

#[tokio::test]
async fn above_the_limit_there_is_a_number_once_a_second_and_below_nine_tenths_a_list_again() {
    let server = Server::start(&[]);
    let rules =
        PresenceRules { roster: 10, leave_after: Duration::ZERO, ttl: Duration::from_secs(60) };
    let mut one = Gateway::start(settings(&server), rules);
    let mut two = Gateway::start(settings(&server), rules);
    two.enter("watcher");
    for n in 1..10 {
        one.enter(&format!("u{n}"));
    }
    see(
        &mut [&mut two],
        &users(&["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "u9", "watcher"]),
    )
    .await;
    one.enter("u10");
    see(&mut [&mut one, &mut two], &View::Count(11)).await;
    let (before, began) = (two.clients[0].rosters, Instant::now());
    for n in 11..31 {
        one.enter(&format!("u{n}"));
        sleep(Duration::from_millis(20)).await;
    }
    see(&mut [&mut one, &mut two], &View::Count(31)).await;
    let told = two.clients[0].rosters - before;
    let most = 2 + began.elapsed().as_secs() as usize;
    assert!(told <= most, "told {told} times within {:?}", began.elapsed());
    while one.clients.len() > 9 {
        one.exit(9);
    }
    see(&mut [&mut one, &mut two], &View::Count(10)).await;
    one.exit(8);
    see(&mut [&mut one, &mut two], &View::Count(9)).await;
    one.exit(7);
    let eight = users(&["u1", "u2", "u3", "u4", "u5", "u6", "u7", "watcher"]);
    see(&mut [&mut one, &mut two], &eight).await;
    one.exit(6);
    see(&mut [&mut two], &users(&["u1", "u2", "u3", "u4", "u5", "u6", "watcher"])).await;
    assert!(two.clients[0].leaves > 0, "changes resume");
}

#[tokio::test]
async fn keys_have_the_prefix_and_the_tag_and_expire() {
    let server = Server::start(&[]);
    let prefix = "app:".to_owned();
    let mut one =
        Gateway::start(config::Redis { channel_prefix: prefix, ..settings(&server) }, RULES);
    one.enter("41");
    see(&mut [&mut one], &users(&["41"])).await;
    let mut keys = server.call(&["KEYS", "*"]);
    keys.sort();
    let own = |kind| format!("app:sockway:presence:{{app:{ROOM}}}:{kind}:{ROOM}");
    assert_eq!(keys, [own("members"), own("users")]);
    drop(one);
    eventually("expired", || server.call(&["KEYS", "*"]).is_empty()).await;
}

#[tokio::test]
async fn the_keys_of_a_room_in_which_nobody_moves_stay_and_one_that_is_deleted_comes_back() {
    let server = Server::start(&[]);
    let mut one = Gateway::on(&server);
    one.enter("41");
    see(&mut [&mut one], &users(&["41"])).await;
    let began = Instant::now();
    while began.elapsed() < 3 * RULES.ttl {
        assert!(hash(&server).contains_key("41"), "after {:?}", began.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    for key in ["users", "members"] {
        server.call(&["DEL", &format!("sockway:presence:{{{ROOM}}}:{key}:{ROOM}")]);
        assert!(key == "members" || hash(&server).is_empty());
        eventually("members", || {
            let member = format!("sockway:presence:{{{ROOM}}}:members:{ROOM}");
            server.call(&["ZCARD", &member]) == ["1"]
        })
        .await;
        eventually("users", || hash(&server).get("41").is_some_and(|count| count == "1")).await;
    }
}
