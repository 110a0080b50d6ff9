//! Sockway's configuration. What leads to which channels: `channels.rs` of the library.

use std::net::SocketAddr;

use sockway_benches::{channels, token};

use crate::publishing::INBOX;
use crate::servers::Settings;

/// Rooms of a session that is in several.
pub(crate) const ROOMS: usize = 7;

/// Everything that every build knows.
pub(crate) fn configuration(
    listen: SocketAddr,
    admin: SocketAddr,
    redis: SocketAddr,
    settings: &Settings,
) -> String {
    let (secret, all) = (token::SECRET, channels::ALL);
    let mut text = format!(
        "[server]\nlisten = \"{listen}\"\n[admin]\nlisten = \"{admin}\"\n[redis]\nurl = \"redis://{redis}/0\"\n\
         [auth.jwt]\nalgorithms = [\"HS256\"]\nsecret = \"{secret}\"\n[log]\nlevel = \"warn\"\n"
    );
    let endpoints = [
        ("all", "/all", format!("\"{all}\""), "none"),
        ("own", "/own/{id}", "\"bench:{path.id}\"".to_owned(), "none"),
        ("both", "/both/{id}", format!("\"bench:{{path.id}}\", \"{all}\""), "none"),
        ("many", "/many", "\"bench:{query.c}\"".to_owned(), "none"),
        ("user", "/user", format!("\"bench:{{user}}\", \"{all}\""), "required"),
    ];
    let ping = settings.ping_interval;
    for (name, path, channels, auth) in endpoints {
        text += &format!(
            "[[endpoint]]\nname = \"{name}\"\npath = \"{path}\"\nchannels = [{channels}]\nauth = \"{auth}\"\n\
             ping_interval = \"{ping}\"\n"
        );
    }
    text
}

/// Endpoints of streams, which an older build may not know.
pub(crate) fn streams() -> String {
    let streams = [
        ("stream-all", "/stream/all", channels::ALL),
        ("stream-own", "/stream/own/{id}", "bench:{path.id}"),
        ("stream-many", "/stream/many", "bench:{query.c}"),
    ];
    let endpoint = |(name, path, stream)| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\npath = \"{path}\"\nstreams = [\"{stream}\"]\nauth = \"none\"\n"
        )
    };
    streams.map(endpoint).concat()
}

/// Messages from clients, HTTP publish and presence, which an older build may not know. Limits of a user are
/// raised where one user stands for many.
pub(crate) fn both_directions() -> String {
    let all = channels::ALL;
    let endpoint = |name: &str, path: &str, channel: &str, rest: &str| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\npath = \"{path}\"\nchannels = [\"{channel}\"]\n\
             auth = \"required\"\n{rest}\n"
        )
    };
    let (room, json) = ("bench:room:{path.room}", "format = \"json\"\n");
    let many = "per_second = 100000\nburst = 1000\n";
    [
        endpoint(
            "say",
            "/say",
            all,
            &format!("[endpoint.publish]\nchannel = \"{all}\"\nstamp = false\n{many}"),
        ),
        endpoint(
            "inbox",
            "/inbox",
            "bench:{user}",
            &format!(
                "{json}[endpoint.publish]\nstream = \"{INBOX}\"\nkeep_entries = 0\n{many}"
            ),
        ),
        endpoint(
            "flooded",
            "/flooded",
            "bench:{user}",
            &format!(
                "{json}subscribe = [\"bench:flood:{{any}}\"]\n[endpoint.publish]\nchannel = \"bench:{{user}}\"\n"
            ),
        ),
        endpoint("room", "/room/{room}", room, json),
        endpoint(
            "present",
            "/present/{room}",
            room,
            &format!("{json}[endpoint.presence]\nchannel = \"{room}\"\n"),
        ),
        rooms("rooms", ""),
        rooms("present-rooms", "[endpoint.presence]\nchannel = \"bench:rooms:{any}\"\n"),
        format!(
            "[http_publish]\n[[http_publish.token]]\nsha256 = \"{}\"\nchannels = [\"bench:*\"]\n",
            token::publish_hash()
        ),
    ]
    .concat()
}

/// An endpoint whose sessions are in [`ROOMS`] rooms each.
fn rooms(name: &str, rest: &str) -> String {
    let channels: Vec<_> = (0..ROOMS).map(|n| format!("bench:rooms:{{path.room}}-{n}")).collect();
    format!(
        "[[endpoint]]\nname = \"{name}\"\npath = \"/{name}/{{room}}\"\nchannels = {channels:?}\n\
         auth = \"required\"\nformat = \"json\"\n{rest}\n"
    )
}
