//! What a reload does to the sessions of a shard.

use crate::{
    config::Config,
    endpoint::Endpoint,
    reason::CloseReason,
    shard::{
        SessionSpec,
        reload::AT_ONCE,
        rig::{
            Client, Frame, Rig, close, config, endpoint, identity, open, orders, run, settle, spec,
            text,
        },
        wheel::TICK,
    },
};
use std::sync::Arc;
use tokio::{task::spawn_local, time::Instant};

#[test]
fn a_session_whose_handshake_began_before_a_reload_is_checked_against_it() {
    run(async {
        let mut rig = Rig::new();
        let same = config(2, "/same");
        rig.shard.registry.reload(config(1, "/elsewhere"));
        let mut late = rig.connect(endpoint()).await;
        assert_eq!(late.next().await, close(CloseReason::Reconfigured));

        rig.shard.registry.reload(Arc::clone(&same));
        let mut current = rig.connect(endpoint_of(&same)).await;
        rig.publish("orders", "1");
        assert_eq!(current.next().await, Frame::Text("1".to_owned()));
    });
}

async fn hundred(rig: &mut Rig, config: &Config) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(rig.connect(endpoint_of(config)).await);
    }
    clients
}

#[test]
fn many_sessions_that_a_reload_concerns_are_closed_a_few_at_a_time() {
    run(async {
        let mut rig = Rig::new();
        let clients = hundred(&mut rig, &config(0, "/old")).await;
        let began = Instant::now();
        rig.shard.registry.reload(config(1, "/new"));
        let mut ends = Vec::new();
        for mut client in clients {
            ends.push(spawn_local(async move {
                assert_eq!(client.next().await, close(CloseReason::Reconfigured));
                began.elapsed().as_millis() / TICK.as_millis()
            }));
        }
        let mut each_tick = [0; 41];
        for end in ends {
            each_tick[usize::try_from(end.await.unwrap()).unwrap()] += 1;
        }
        assert!(each_tick.iter().all(|&closed| closed <= AT_ONCE), "{each_tick:?}");
    });
}

#[test]
fn sessions_not_closed_yet_stay_when_the_next_reload_takes_it_back() {
    run(async {
        let mut rig = Rig::new();
        let clients = hundred(&mut rig, &config(0, "/old")).await;
        rig.shard.registry.reload(config(1, "/new"));
        settle().await;
        rig.shard.registry.reload(config(2, "/old"));
        rig.publish("orders", "still here");
        let mut kept = 0;
        for mut client in clients {
            match client.next().await {
                Frame::Text(_) => kept += 1,
                frame => assert_eq!(frame, close(CloseReason::Reconfigured)),
            }
        }
        assert_eq!(kept, 100 - AT_ONCE);
    });
}

fn endpoint_of(config: &Config) -> Endpoint {
    Endpoint::clone(&config.endpoints[0])
}

#[test]
fn a_session_of_a_later_configuration_than_its_shard_knows_is_not_checked_against_former_ones() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        rig.shard.registry.reload(config(1, "/first"));
        let latest = config(3, "/third");
        let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
        let spec = SessionSpec { generation: 3, ..spec(endpoint_of(&latest), identity()) };
        let mut client = Client::start(open(subscription, spec).await);
        settle().await;
        rig.shard.registry.reload(config(2, "/second"));
        settle().await;
        rig.shard.registry.reload(latest);
        settle().await;
        rig.publish("orders", "still here");
        assert_eq!(client.next().await, text("still here"));
    });
}
