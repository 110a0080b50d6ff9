//! `sockway doctor` where somebody publishes: clients, and callers of HTTP.

use crate::{
    doctor::{Said, doctor, settings},
    rig::{Certificate, Endpoint, Gateway, HeldPort, Redis, Settings, token},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    thread,
};
use toml::Table;

/// Clients publish to `chat:…` and to the streams `inbox:…`, which expire.
fn with_publishers(redis: &Redis) -> Settings {
    let rooms = Endpoint::new("chat", "/ws/chat/{room}", &["chat:{path.room}"])
        .set("format", "json")
        .set("publish", table("channel = \"chat:{any}\""));
    let to = "stream = \"inbox:{path.box}\"\nkeep_entries = 10\nexpire_after = \"90s\"";
    let inbox = Endpoint::new("inbox", "/ws/inbox/{box}", &["answers:{path.box}"])
        .set("publish", table(to));
    settings(redis).set("redis.channel_prefix", "app:").endpoint(rooms).endpoint(inbox)
}

/// Callers publish to `user:…:notifications` and to the streams `history:…`.
fn with_callers(settings: Settings) -> Settings {
    let channels = ["user:*:notifications", "history:*", "sockway:other", "sockway:probe"];
    let mut entry = Table::new();
    entry.insert("sha256".to_owned(), token::sha256("a backend's").into());
    entry.insert("channels".to_owned(), channels.to_vec().into());
    settings
        .append("http_publish.token", entry)
        .append("http_publish.stream", table("channels = [\"history:*\"]\nkeep_entries = 1000"))
}

fn table(lines: &str) -> Table {
    lines.parse().expect("TOML")
}

fn all(redis: &Redis) -> Settings {
    with_callers(with_publishers(redis))
}

/// Doctor with an account that has all rights but these.
fn without(redis: &Redis, rules: &[&str]) -> Said {
    let start = ["ACL", "SETUSER", "sockway", "reset", "on", ">pass", "+@all"];
    redis.command(&[&start[..], rules].concat());
    let settings = all(redis).set("redis.username", "sockway").set("redis.password", "pass");
    doctor(&settings, &[])
}

/// How often Redis was given a command that it let through.
fn calls(redis: &Redis, command: &str) -> u32 {
    let stats = redis.command(&["INFO", "commandstats"]).text();
    let start = format!("cmdstat_{command}:calls=");
    let calls = stats.lines().find_map(|line| line.strip_prefix(&start)?.split(',').next());
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

#[test]
fn where_somebody_publishes_the_rights_are_tried_and_nothing_is_published_or_kept() {
    let redis = Redis::start();
    for probe in ["sockway:probe", ""] {
        let published = calls(&redis, "publish");
        let said = doctor(&all(&redis).set("redis.probe_channel", probe), &[]);
        assert_eq!((said.status, said.failures()), (0, 0), "{said:#?}");
        for (subject, words) in [
            ("publish", "app:chat:{any} (chat)"),
            ("write stream", "app:inbox:{path.box} (inbox)"),
            ("publish", "app:user:*:notifications (http_publish)"),
            ("write stream", "app:history:* (http_publish)"),
        ] {
            said.assert("ok", subject, &[words]);
        }
        assert!(!said.text.contains("sockway:other"), "nobody may publish there: {said:#?}");
        let canaries = u32::from(!probe.is_empty());
        assert_eq!(calls(&redis, "publish") - published, canaries, "the probe's canary alone");
        assert_eq!(redis.command(&["DBSIZE"]), crate::rig::resp::Reply::Integer(0));
    }
    let said = doctor(&settings(&redis), &[]);
    for subject in ["publish", "write stream", "presence", "http publish"] {
        assert_eq!(said.about(subject), Vec::<String>::new());
    }
}

#[test]
fn each_right_to_publish_that_is_missing_is_named_for_each_place() {
    let redis = Redis::start();
    let said =
        without(&redis, &["allkeys", "allchannels", "-publish", "(+publish &app:sockway:*)"]);
    assert_eq!((said.status, said.failures()), (1, 2), "{said:#?}");
    said.assert("fail", "publish", &["app:chat:{any} (chat)", "NOPERM", "(+publish &app:chat:*)"]);
    said.assert("fail", "publish", &["(http_publish)", "(+publish &app:user:*:notifications)"]);

    let said = without(&redis, &["allkeys", "allchannels", "-xadd"]);
    assert_eq!((said.status, said.failures()), (1, 2), "{said:#?}");
    let rights = "(+xadd +pexpire %W~app:inbox:*)";
    said.assert("fail", "write stream", &["app:inbox:{path.box} (inbox)", "NOPERM", rights]);
    said.assert("fail", "write stream", &["(http_publish)", "(+xadd %W~app:history:*)"]);

    // Where nothing expires PEXPIRE is not needed.
    let said = without(&redis, &["allkeys", "allchannels", "-pexpire"]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("fail", "write stream", &["(inbox)", "NOPERM", rights]);

    let said = without(&redis, &["~app:inbox:*", "allchannels"]);
    assert_eq!((said.status, said.failures()), (1, 1), "{said:#?}");
    said.assert("ok", "write stream", &["(inbox)"]);
    said.assert("fail", "write stream", &["(http_publish)", "NOPERM"]);
}

#[test]
fn without_a_channel_that_may_be_subscribed_to_publishing_is_not_tried() {
    let redis = Redis::start();
    let said = without(&redis, &["allkeys", "resetchannels"]);
    said.assert("warn", "publish", &["not tried", "-> give the account the channels above"]);
    assert_eq!(calls(&redis, "publish"), 0);
}

#[test]
fn a_running_gateway_is_asked_whether_it_publishes_by_http_and_not_for_everybody() {
    let redis = Redis::start();
    let [public, own] = [(); 2].map(|()| HeldPort::new().expect("a free port"));
    let on_public =
        || with_callers(settings(&redis)).set("server.listen", public.address().to_string());
    let on_own = || on_public().set("http_publish.listen", own.address().to_string());
    for settings in [on_public(), on_own()] {
        doctor(&settings, &[]).assert("ok", "http publish", &["nothing runs there yet"]);
        let _gateway = Gateway::start(&settings);
        let said = doctor(&settings, &[]);
        assert_eq!(said.failures(), 0, "{said:#?}");
        said.assert("ok", "http publish", &["/publish: 401 without a token"]);
    }
    // A gateway that has no such table.
    let _gateway =
        Gateway::start(&settings(&redis).set("server.listen", public.address().to_string()));
    let said = doctor(&on_public(), &[]);
    assert_eq!(said.failures(), 0, "{said:#?}");
    said.assert("warn", "http publish", &["404 not_found", "-> what runs there has another"]);
}

#[test]
fn a_gateway_behind_tls_is_asked_too_and_known_by_its_certificate() {
    let (redis, files) = (Redis::start(), tempfile::tempdir().expect("a directory"));
    let port = HeldPort::new().expect("a free port");
    let by_tls = |name: &str| {
        let made = Certificate::make_for(files.path(), name, 90);
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        with_callers(settings(&redis))
            .set("server.listen", port.address().to_string())
            .set("server.tls.cert_file", text(&made.certificate))
            .set("server.tls.key_file", text(&made.key))
    };
    let (settings, renewed) = (by_tls("first"), by_tls("renewed"));
    doctor(&settings, &[]).assert("ok", "http publish", &["nothing runs there yet"]);
    let _gateway = Gateway::start(&settings);
    let said = doctor(&settings, &[]);
    assert_eq!(said.failures(), 0, "{said:#?}");
    said.assert("ok", "http publish", &["/publish: 401 without a token"]);
    // Its files were changed, and it was not told.
    let said = doctor(&renewed, &[]);
    assert_eq!(said.failures(), 0, "{said:#?}");
    said.assert("warn", "http publish", &["another certificate", "-> what runs there has another"]);
}

#[test]
fn another_program_on_the_port_of_http_publish_is_a_warning() {
    let redis = Redis::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let settings = with_callers(settings(&redis)).set("http_publish.listen", address);
    let said = doctor(&settings, &[]);
    assert_eq!(said.failures(), 0, "{said:#?}");
    said.assert("warn", "http publish", &["in use by another program"]);
    said.assert("warn", "http publish", &["/publish: 401", "-> what runs there has another"]);
}
