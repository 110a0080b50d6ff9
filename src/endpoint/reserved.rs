//! Names that no topic of a client may have: Redis's own events, and what is Sockway's own.

use super::template::ChannelTemplate;

/// How the channels begin on which Redis publishes its own events: they tell of other clients' keys, so
/// nobody may subscribe to them.
pub const EVENTS: [&str; 2] = ["__keyspace@", "__keyevent@"];

/// How the names begin that are Sockway's own.
pub const OWN: &str = "sockway:";

/// The reserved names of one configuration. All names are without `redis.channel_prefix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReservedNames {
    prefix: String,
    /// Channels of Sockway's own, each with the key that names it.
    channels: Vec<(&'static str, String)>,
}

/// Why a name is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reserved<'a> {
    #[error("begins with {0:?}, where Redis publishes its own events")]
    Event(&'static str),
    #[error("begins with {OWN:?}, which Sockway keeps for itself")]
    Own,
    #[error("is the {0}, which Sockway keeps for itself")]
    Key(&'a str),
}

impl ReservedNames {
    /// What is reserved with this `redis.channel_prefix` and these channels, each with its key.
    #[must_use]
    pub fn new(prefix: &str, channels: Vec<(&'static str, String)>) -> Self {
        Self { prefix: prefix.to_owned(), channels }
    }

    /// Why no client may have this name; `None`: it may.
    #[must_use]
    pub fn reason(&self, name: &str) -> Option<Reserved<'_>> {
        let key = || self.channels.iter().find(|(_, channel)| channel == name);
        self.beginning(name).or_else(|| key().map(|(key, _)| Reserved::Key(key)))
    }

    /// Why no client may have any name of this template, whatever the values are.
    #[must_use]
    pub fn reason_of(&self, template: &ChannelTemplate) -> Option<Reserved<'_>> {
        match template.literal() {
            Some(name) => self.reason(name),
            None => self.beginning(template.beginning()),
        }
    }

    /// The channels of Sockway's own, each with the key that names it.
    pub fn channels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.channels.iter().map(|(key, channel)| (*key, channel.as_str()))
    }

    fn beginning(&self, name: &str) -> Option<Reserved<'static>> {
        let event = EVENTS.into_iter().find(|event| self.begins(name, event));
        let own = || name.starts_with(OWN).then_some(Reserved::Own);
        event.map(Reserved::Event).or_else(own)
    }

    /// Whether the name begins so, alone or behind the prefix: `__key` and `event@0__:x` make an event, too.
    fn begins(&self, name: &str, event: &str) -> bool {
        let behind_prefix = event.strip_prefix(&*self.prefix);
        name.starts_with(event) || behind_prefix.is_some_and(|rest| name.starts_with(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str) -> ReservedNames {
        ReservedNames::new(prefix, vec![("redis.control_channel", "ctl:all".to_owned())])
    }

    #[test]
    fn names_of_sockway_and_of_redis_s_events_are_reserved() {
        let names = names("app:");
        for (name, reason) in [
            ("sockway:", Some(Reserved::Own)),
            ("sockway:x", Some(Reserved::Own)),
            ("ctl:all", Some(Reserved::Key("redis.control_channel"))),
            ("__keyspace@0__:x", Some(Reserved::Event("__keyspace@"))),
            ("__keyevent@", Some(Reserved::Event("__keyevent@"))),
            ("sockway", None),
            ("ctl:all:x", None),
            ("app:ctl:all", None),
            ("x:sockway:y", None),
            ("__key", None),
        ] {
            assert_eq!(names.reason(name), reason, "{name}");
        }
    }

    #[test]
    fn what_becomes_an_event_behind_the_prefix_is_reserved() {
        let names = names("__key");
        assert_eq!(names.reason("event@0__:del"), Some(Reserved::Event("__keyevent@")));
        assert_eq!(names.reason("events"), None);
        // The names of Sockway's own are those before the prefix.
        assert_eq!(self::names("sock").reason("way:x"), None);
        assert_eq!(self::names("ctl:").reason("all"), None);
    }

    #[test]
    fn a_template_is_reserved_where_it_is_written_so_whatever_its_values_are() {
        let names = names("");
        for (template, reserved) in [
            ("sockway:{user}", true),
            ("sockway:all", true),
            ("ctl:all", true),
            ("ctl:{user}", false),
            ("{user}:all", false),
            ("sock{path.a}", false),
            ("{{sockway:}}", false),
        ] {
            let template = ChannelTemplate::parse(template).unwrap();
            assert_eq!(names.reason_of(&template).is_some(), reserved, "{}", template.as_str());
        }
        let event = ChannelTemplate::parse("event@0__:{user}").unwrap();
        assert_eq!(self::names("__key").reason_of(&event), Some(Reserved::Event("__keyevent@")));
    }
}
