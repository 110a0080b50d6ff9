//! A fuzz target: a request that publishes, from its path and its body to what goes to Redis.

use super::{
    authority::Publishing,
    body::{self, Item},
    fault::Fault,
};
use crate::{
    bus::Destination,
    config::Config,
    endpoint::{PublishAddress, channel_name},
};
use bytes::Bytes;
use serde_json::Value;

/// The most items of a request here.
const MOST: usize = 64;

/// Reads a path, which is the first line, and the body behind it.
///
/// # Panics
/// When a name comes of it that is none, that the token does not have or that is Sockway's own; or when the
/// body says something else to another reader.
pub(crate) fn publish_request(config: &Config, data: &[u8]) {
    let at = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (path, body) = data.split_at(at);
    let authority = Publishing::new(config).authority().expect("the configuration has the table");
    let token = &authority.config.tokens[0];
    let mut names = Vec::new();
    if let Ok(path) = std::str::from_utf8(path)
        && let Some(PublishAddress::Path(Some(name))) = authority.config.paths.find(path)
    {
        names.push(name);
    }
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    match body::items(&body, MOST) {
        Ok(items) => {
            assert_says(&items, &body);
            names.extend(items.iter().filter_map(|item| channel_name(&item.channel)));
        }
        Err(fault) => assert!(matches!(fault, Fault::BodyInvalid | Fault::BodyTooLarge)),
    }
    for name in names {
        assert!((1..=1_024).contains(&name.len()) && !name.chars().any(char::is_control));
        match authority.destination(token, name.clone()) {
            Ok(Destination::Channel(to)) => assert!(to == name && to.starts_with("chat:")),
            Ok(Destination::Stream(to, _)) => assert!(to == name && to.starts_with("log:")),
            Err(fault) => assert_eq!(fault, Fault::ChannelNotAllowed),
        }
        assert!(!name.starts_with("sockway:") || authority.destination(token, name).is_err());
    }
}

/// Each channel as often as the body names it, and each message as it is written there.
fn assert_says(items: &[Item], body: &[u8]) {
    assert!((1..=MOST).contains(&items.len()));
    // A number that this reader cannot hold is none of our business.
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return };
    let one = [document.clone()];
    let messages = document.get("batch").and_then(Value::as_array).map_or(&one[..], |it| it);
    let mut items = items.iter();
    for message in messages {
        let listed = message.get("channels").and_then(Value::as_array);
        let channels: Vec<_> = match listed {
            Some(channels) => channels.iter().collect(),
            None => vec![&message["channel"]],
        };
        for channel in channels {
            let item = items.next().expect("an item for each channel");
            assert_eq!(*channel, *item.channel);
            if let Some(data) = message.get("data") {
                let payload: Value = serde_json::from_slice(&item.payload).expect("JSON");
                assert_eq!(payload, *data);
            }
        }
    }
    assert_eq!(items.next(), None);
}
