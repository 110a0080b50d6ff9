//! Each line of docs/security.md that gives the rights of one capability: it is enough, and whatever word of it
//! is taken away, somebody is told.

use crate::{
    acl::{call, lines_of_the_page},
    rig::{Client, Endpoint, Gateway, Redis, Request, Settings, client::TEXT, token, wait::until},
};
use serde_json::{Value, json};
use toml::Table;

/// A capability, and how it is used.
struct Capability {
    /// The line's words behind `ACL SETUSER sockway`.
    line: &'static str,
    configure: fn(Settings) -> Settings,
    /// Uses all of it; what was told where it was refused.
    uses: fn(&Gateway, &Redis) -> Result<(), String>,
}

const CAPABILITIES: [Capability; 7] = [
    Capability {
        line: "%R~chat:* %R~sockway:probe:stream:* +xinfo|stream +xrange +xrevrange +multi +exec +client|tracking \
               +info (~sockway:probe:stream:* +xadd +pexpire)",
        configure: |settings| settings.endpoint(me().set("subscribe_streams", vec!["chat:{any}"])),
        uses: adds_a_stream,
    },
    Capability {
        line: "&chat:*",
        configure: |settings| settings.endpoint(me().set("subscribe", vec!["chat:{any}"])),
        uses: adds_a_channel,
    },
    Capability {
        line: "+psubscribe +punsubscribe &chat:room:*",
        configure: |settings| settings.endpoint(me().set("patterns", vec!["chat:room:*"])),
        uses: |gateway, redis| hears(gateway, redis, "chat:room:7"),
    },
    Capability {
        line: "+psubscribe +punsubscribe allchannels",
        configure: |settings| settings.endpoint(me().set("patterns", vec!["tenant:{user}:*"])),
        uses: |gateway, redis| hears(gateway, redis, "tenant:42:x"),
    },
    Capability {
        line: "(+publish &chat:*)",
        configure: |settings| settings.endpoint(publishing("channel = \"chat:7\"")),
        uses: publishes,
    },
    Capability {
        line: "(+xadd +pexpire %W~inbox:*)",
        configure: |settings| {
            let to = "stream = \"inbox:7\"\nkeep_entries = 10\nexpire_after = \"90s\"";
            settings.endpoint(publishing(to))
        },
        uses: publishes,
    },
    Capability {
        line: "(+publish &user:*:notifications) (+xadd +pexpire %W~history:*)",
        configure: with_callers,
        uses: posts,
    },
];

/// `/ws/me`, as the first line of the page permits it.
fn me() -> Endpoint {
    Endpoint::new("me", "/ws/me", &["user:{user}:notifications"]).set("format", "json")
}

fn publishing(to: &str) -> Endpoint {
    me().set("publish", table(to))
}

fn table(lines: &str) -> Table {
    lines.parse().expect("TOML")
}

fn with_callers(settings: Settings) -> Settings {
    let sha256 = token::sha256("a backend's");
    let channels = "channels = [\"user:*:notifications\", \"history:*\"]";
    let stream = "channels = [\"history:*\"]\nkeep_entries = 10\nexpire_after = \"90s\"";
    settings
        .endpoint(me())
        .append("http_publish.token", table(&format!("sha256 = {sha256:?}\n{channels}")))
        .append("http_publish.stream", table(stream))
}

/// A session that has had its `ready`.
fn open(gateway: &Gateway) -> Result<Client, String> {
    let request = Request::upgrade("/ws/me").bearer(&token::of("42"));
    let mut client = Client::try_open(gateway.address, &request).map_err(|it| it.text())?;
    assert_eq!(client.json()["type"], "ready");
    Ok(client)
}

/// Asks, and takes the answer, which is of this type or a refusal.
fn asks(client: &mut Client, frame: &Value, expected: &str) -> Result<Value, String> {
    client.send(TEXT, frame.to_string().as_bytes());
    let answer = client.json();
    if answer["type"] == expected { Ok(answer) } else { Err(answer.to_string()) }
}

fn adds_a_stream(gateway: &Gateway, redis: &Redis) -> Result<(), String> {
    redis.add("chat:7", "before");
    let mut client = open(gateway)?;
    let subscribe = json!({"type": "subscribe", "channel": "chat:7", "last": 1});
    asks(&mut client, &subscribe, "subscribed")?;
    assert_eq!(client.json()["data"], "before");
    redis.add("chat:7", "now");
    assert_eq!(client.json()["data"], "now");
    Ok(())
}

fn adds_a_channel(gateway: &Gateway, redis: &Redis) -> Result<(), String> {
    let mut client = open(gateway)?;
    asks(&mut client, &json!({"type": "subscribe", "channel": "chat:7"}), "subscribed")?;
    redis.publish("chat:7", "1");
    assert_eq!(client.json()["data"], 1);
    Ok(())
}

/// … and leaves, so that Redis is asked to take the pattern back.
fn hears(gateway: &Gateway, redis: &Redis, channel: &str) -> Result<(), String> {
    let mut client = open(gateway)?;
    redis.publish(channel, "1");
    assert_eq!(client.json()["data"], 1);
    client.bye();
    Ok(())
}

fn publishes(gateway: &Gateway, _: &Redis) -> Result<(), String> {
    let mut client = open(gateway)?;
    let publish = json!({"type": "publish", "data": 1, "ref": "a"});
    asks(&mut client, &publish, "published").map(drop)
}

fn posts(gateway: &Gateway, _: &Redis) -> Result<(), String> {
    for channel in ["user:42:notifications", "history:7"] {
        let request = Request::line(&format!("POST /publish/{channel} HTTP/1.1"));
        let request = request.bearer("a backend's").header("Content-Length", "0");
        let answer = request.header("Connection", "close").send(gateway.address);
        if answer.status != 200 {
            return Err(answer.text());
        }
    }
    Ok(())
}

/// The line without this word; the first and the last of a selector keep its brackets.
fn without(line: &[&str], at: usize) -> Vec<String> {
    let word = |(number, word): (usize, &&str)| match (number == at, *word) {
        (false, word) => Some(word.to_owned()),
        (true, word) if word.starts_with('(') => Some("(".to_owned()),
        (true, word) if word.ends_with(')') => Some(")".to_owned()),
        (true, _) => None,
    };
    line.iter().enumerate().filter_map(word).collect()
}

impl Capability {
    /// A gateway whose account has the first line of the page and these rights, as ready as it becomes.
    fn start(&self, rights: &[String]) -> (Redis, Gateway, tempfile::NamedTempFile) {
        let redis = Redis::start();
        call(&redis, &lines_of_the_page("right")[0]);
        let start = ["ACL", "SETUSER", "sockway"].map(str::to_owned);
        call(&redis, &[&start[..], rights].concat());
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "right").expect("written");
        let settings = Settings::new(&redis)
            .set("redis.username", "sockway")
            .set("redis.password_file", file.path().to_str().expect("UTF-8"));
        let gateway = Gateway::start_unready(&(self.configure)(settings));
        let is_refused = || gateway.admin("/readyz").text().contains("tracking_refused");
        until("it is known whether it is ready", || gateway.is_ready() || is_refused());
        (redis, gateway, file)
    }

    fn is_enough(&self, line: &[&str]) {
        let rights: Vec<_> = line.iter().map(|&word| word.to_owned()).collect();
        let (redis, gateway, _file) = self.start(&rights);
        assert_eq!((self.uses)(&gateway, &redis), Ok(()), "{}", self.line);
        assert!(!is_logged(&gateway), "{}: {}", self.line, gateway.process.stderr.text());
    }

    /// Without this word somebody is told.
    fn needs(&self, line: &[&str], at: usize) {
        let (redis, gateway, _file) = self.start(&without(line, at));
        let what = format!("without {} of {}", line[at], self.line);
        match (self.uses)(&gateway, &redis) {
            Ok(()) => until(&what, || is_logged(&gateway)),
            Err(told) => {
                let codes = ["channel_refused", "tracking_refused", "redis_refused"];
                assert!(codes.iter().any(|code| told.contains(code)), "{what}: {told}");
            }
        }
    }
}

/// Whether the log says that Redis refuses something, or does not answer it.
fn is_logged(gateway: &Gateway) -> bool {
    let says =
        ["Redis refuses", "Redis takes no", "canary is refused", "Redis does not answer INFO"];
    gateway.process.stderr.all().iter().any(|line| says.iter().any(|it| line.contains(it)))
}

#[test]
fn each_line_of_the_page_is_enough_for_its_capability_and_no_word_of_it_is_missing_unsaid() {
    let lines: Vec<_> = lines_of_the_page("right").iter().map(|line| line[3..].join(" ")).collect();
    let tested: Vec<_> = CAPABILITIES.iter().map(|it| it.line.to_owned()).collect();
    assert_eq!(lines[1..], tested, "the lines of the page");
    for capability in &CAPABILITIES {
        let line: Vec<_> = capability.line.split_whitespace().collect();
        capability.is_enough(&line);
        let words: Vec<_> = (0..line.len()).collect();
        for some in words.chunks(4) {
            std::thread::scope(|scope| {
                for &at in some {
                    let line = &line;
                    scope.spawn(move || capability.needs(line, at));
                }
            });
        }
    }
}
