//! What a newer token does to a session.

use crate::{
    auth::{Auth, Reject, StaticToken},
    endpoint::{ChannelTemplate, Endpoint, Format},
    identity::{Claims, Identity},
    reason::CloseReason,
    shard::{
        SessionSpec,
        rig::{Client, Frame, Rig, close, endpoint, identity, orders, run, spec, text},
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use std::sync::Arc;

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

async fn open(rig: &mut Rig) -> Client {
    let claims = Claims::from_iter([("tenant", "orders")]);
    let expires = Some(std::time::SystemTime::now() + std::time::Duration::from_secs(600));
    let spec = spec(by_tenant(), Identity { claims, expires, ..identity() });
    let spec = SessionSpec { auth: auth(&["orders", "other"]), ..spec };
    let subscription = rig.shard.subscribe(vec![orders()]).await.unwrap();
    let mut client = Client::start(subscription.open(spec, ()));
    assert!(matches!(client.next().await, Frame::Text(ready) if ready.contains("ready")));
    client
}

async fn refresh(client: &mut Client, token: &str) {
    let frame = format!(r#"{{"type":"refresh","token":"{token}"}}"#);
    client.send(0x81, frame.as_bytes()).await;
}

#[test]
fn a_newer_token_that_no_longer_gives_the_channels_ends_the_session() {
    run(async {
        let mut rig = Rig::new();
        let _other = rig.connect(endpoint()).await;
        let (mut moved, mut same) = (open(&mut rig).await, open(&mut rig).await);
        refresh(&mut moved, "other").await;
        refresh(&mut same, "orders").await;
        assert_eq!(moved.next().await, close(CloseReason::Reconfigured));
        rig.publish("orders", "1");
        let message = text(r#"{"type":"message","channel":"orders","data":1}"#);
        assert_eq!(same.next().await, message);
    });
}
