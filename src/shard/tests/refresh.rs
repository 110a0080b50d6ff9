//! What a newer token does to a session.

use crate::{
    auth::{Auth, Reject, StaticToken},
    endpoint::{ChannelTemplate, Endpoint, Format},
    identity::{Claims, Identity, TokenFingerprint},
    reason::{CloseReason, RefreshResult},
    shard::{
        SessionSpec,
        refresh::PAUSE,
        rig::{
            Client, Frame, Rig, close, endpoint, identity, open, orders, run, settle, spec, text,
        },
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use std::sync::Arc;
use tokio::time::Instant;

/// An endpoint whose only channel is `orders` for a token of the tenant `orders`.
fn by_tenant() -> Endpoint {
    let channels = vec![ChannelTemplate::parse("{claim.tenant}").unwrap()];
    Endpoint { channels, format: Format::Json, ..endpoint() }
}

/// Tokens of user 42, each named like its tenant.
fn auth(tenants: &[&str]) -> Arc<Auth> {
    let token = |tenant: &&str| StaticToken {
        sha256: digest(&SHA256, tenant.as_bytes()).as_ref().try_into().unwrap(),
        user: "42".to_owned(),
        claims: Claims::from_iter([("tenant", *tenant)]),
    };
    Arc::new(Auth::new(vec![], Reject::Status, None, tenants.iter().map(token).collect()))
}

async fn open_as(rig: &mut Rig) -> Client {
    let claims = Claims::from_iter([("tenant", "orders")]);
    let expires = Some(std::time::SystemTime::now() + std::time::Duration::from_secs(600));
    let fingerprint = Some(TokenFingerprint::of("opened with"));
    let spec = spec(by_tenant(), Identity { claims, expires, fingerprint, ..identity() });
    let spec = SessionSpec { auth: auth(&["orders", "other"]), ..spec };
    let subscription = rig.shard.subscribe(vec![orders()].into()).await.unwrap();
    let mut client = Client::start(open(subscription, spec).await);
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}

fn frame(token: &str) -> String {
    format!(r#"{{"type":"refresh","token":"{token}"}}"#)
}

async fn refresh(client: &mut Client, token: &str) {
    client.send(0x81, frame(token).as_bytes()).await;
}

/// Sends a refresh for each of these tokens in one piece.
async fn refresh_at_once(client: &mut Client, tokens: impl IntoIterator<Item = &str>) {
    let mut bytes = Vec::new();
    for frame in tokens.into_iter().map(frame) {
        bytes.extend([0x81, 0x80 | u8::try_from(frame.len()).unwrap(), 0, 0, 0, 0]);
        bytes.extend(frame.as_bytes());
    }
    client.send_bytes(&bytes).await;
}

fn counted(rig: &Rig, result: RefreshResult) -> u64 {
    rig.shard.metrics().refreshes[result.index()].load()
}

#[test]
fn a_newer_token_that_no_longer_gives_the_channels_ends_the_session() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let (mut moved, mut same) = (open_as(&mut rig).await, open_as(&mut rig).await);
        refresh(&mut moved, "other").await;
        refresh(&mut same, "orders").await;
        assert_eq!(moved.next().await, close(CloseReason::Reconfigured));
        rig.publish("orders", "1");
        let message = text(r#"{"type":"message","channel":"orders","data":1}"#);
        assert_eq!(same.next().await, message);
    });
}

#[test]
fn of_many_tokens_in_one_read_only_the_last_is_verified() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let mut client = open_as(&mut rig).await;
        let wrong = ["none", "other", "none"].repeat(30);
        refresh_at_once(&mut client, wrong.into_iter().chain(["orders"])).await;
        settle().await;
        assert_eq!(counted(&rig, RefreshResult::Accepted), 1);
        assert_eq!(counted(&rig, RefreshResult::Superseded), 90);
        assert_eq!(counted(&rig, RefreshResult::Rejected), 0);
    });
}

#[test]
fn between_two_verifications_is_a_pause_and_the_latest_token_is_not_lost_in_it() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let mut client = open_as(&mut rig).await;
        let began = Instant::now();
        refresh(&mut client, "orders").await;
        settle().await;
        assert_eq!(counted(&rig, RefreshResult::Accepted), 1, "the first waits for nothing");
        refresh(&mut client, "none").await;
        settle().await;
        refresh(&mut client, "other").await;
        assert_eq!(client.next().await, close(CloseReason::Reconfigured), "the latest of two");
        assert!(began.elapsed() >= PAUSE, "{:?}", began.elapsed());
        assert_eq!(counted(&rig, RefreshResult::Superseded), 1);
    });
}

#[test]
fn the_token_that_a_session_lives_by_is_not_verified_again_and_takes_no_ones_place() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let mut client = open_as(&mut rig).await;
        // It would not verify any more.
        refresh(&mut client, "opened with").await;
        refresh_at_once(&mut client, ["orders", "opened with"]).await;
        settle().await;
        assert_eq!(counted(&rig, RefreshResult::Unchanged), 2);
        assert_eq!(counted(&rig, RefreshResult::Accepted), 1);
        refresh(&mut client, "orders").await;
        settle().await;
        assert_eq!(counted(&rig, RefreshResult::Unchanged), 3, "at once, in the pause");
    });
}
