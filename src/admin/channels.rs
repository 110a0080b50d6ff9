//! `/channels?prefix=&limit=`: the busiest channels, asked of every shard and added up.

use crate::{
    channel::ChannelName,
    shard::{Busy, ShardCommand, ShardHandle},
};
use futures_util::future::join_all;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::{cmp::Reverse, collections::HashMap, time::Duration};
use tokio::{
    sync::{Mutex, oneshot},
    time,
};

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1_000;

/// Asked of every shard, whatever the limit: a channel can be busy as a whole although it leads on
/// no single shard. Exact as long as no shard has more channels with the prefix than this.
const PER_SHARD: usize = 4 * MAX_LIMIT;

/// How long the shards may take to answer. They look in slices, whenever their sessions leave time.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    prefix: String,
    limit: usize,
}

impl Query {
    /// Reads a request's query; the error says what is wrong with it.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self { prefix: String::new(), limit: DEFAULT_LIMIT };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "prefix" => parsed.prefix = decoded(value)?,
                "limit" => parsed.limit = limit(value)?,
                _ => return Err("only prefix and limit can be asked for".to_owned()),
            }
        }
        Ok(parsed)
    }
}

fn decoded(value: &str) -> Result<String, String> {
    let decoded = percent_decode_str(value).decode_utf8();
    decoded.map(String::from).map_err(|_| "prefix must be UTF-8, percent-encoded".to_owned())
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| format!("limit must be a number from 1 to {MAX_LIMIT}"))
}

/// The answer of `/channels`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Channels {
    /// The busiest first; equally busy ones by name.
    channels: Vec<Row>,
    /// How many shards were asked, and how many answered in time.
    shards: usize,
    shards_answered: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    channel: String,
    sessions: usize,
}

/// The right to ask the shards, which one request has at a time: each costs every shard a walk over
/// its sessions.
#[derive(Debug, Default)]
pub struct Turn(Mutex<()>);

/// Asks every shard when it is this request's turn; `None` when others took too long. Takes six
/// seconds at most; a shard that is too busy to answer is left out.
pub(super) async fn in_turn(turn: &Turn, shards: &[ShardHandle], query: Query) -> Option<Channels> {
    let _turn = time::timeout(PATIENCE, turn.0.lock()).await.ok()?;
    Some(busiest(shards, query).await)
}

async fn busiest(shards: &[ShardHandle], query: Query) -> Channels {
    let answers = join_all(shards.iter().map(|shard| ask(shard, &query.prefix))).await;
    let shards_answered = answers.iter().flatten().count();
    let mut sums: HashMap<ChannelName, usize> = HashMap::new();
    for busy in answers.into_iter().flatten().flatten() {
        *sums.entry(busy.channel).or_default() += busy.sessions;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    sums.truncate(query.limit);
    let row =
        |(channel, sessions): (ChannelName, usize)| Row { channel: channel.to_string(), sessions };
    Channels {
        channels: sums.into_iter().map(row).collect(),
        shards: shards.len(),
        shards_answered,
    }
}

async fn ask(shard: &ShardHandle, prefix: &str) -> Option<Vec<Busy>> {
    let (reply, answer) = oneshot::channel();
    shard.tell(ShardCommand::Busiest { prefix: prefix.to_owned(), limit: PER_SHARD, reply });
    time::timeout(PATIENCE, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that has these channels.
    fn shard(sessions: &'static [(&'static str, usize)]) -> ShardHandle {
        let (handle, mut commands) = ShardHandle::for_tests();
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                let ShardCommand::Busiest { prefix, limit, reply } = command else {
                    panic!("only the busiest are asked for")
                };
                let named = sessions.iter().filter(|(channel, _)| channel.starts_with(&prefix));
                let busy = named.map(|&(channel, sessions)| Busy {
                    channel: ChannelName::new(channel),
                    sessions,
                });
                reply.send(busy.take(limit).collect()).unwrap();
            }
        });
        handle
    }

    fn names(channels: &Channels) -> Vec<(&str, usize)> {
        channels.channels.iter().map(|row| (row.channel.as_str(), row.sessions)).collect()
    }

    #[tokio::test]
    async fn sessions_of_a_channel_are_added_up_over_shards_and_the_busiest_come_first() {
        let shards = [shard(&[("a", 3), ("b", 2), ("x", 1)]), shard(&[("b", 2), ("c", 4)])];
        let query = Query { prefix: String::new(), limit: 3 };
        let answer = busiest(&shards, query).await;
        assert_eq!(names(&answer), [("b", 4), ("c", 4), ("a", 3)]);
        assert_eq!((answer.shards, answer.shards_answered), (2, 2));
    }

    #[tokio::test]
    async fn only_channels_with_the_prefix_are_asked_for() {
        let shards = [shard(&[("room:1", 1), ("user:1", 9)])];
        let answer = busiest(&shards, Query { prefix: "room:".to_owned(), limit: 20 }).await;
        assert_eq!(names(&answer), [("room:1", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_or_dead_shard_is_left_out_and_the_others_still_answer() {
        let (stuck, _never_read) = ShardHandle::for_tests();
        let (dead, gone) = ShardHandle::for_tests();
        drop(gone);
        let shards = [stuck, shard(&[("a", 1)]), dead];
        let answer = busiest(&shards, Query { prefix: String::new(), limit: 20 }).await;
        assert_eq!(names(&answer), [("a", 1)]);
        assert_eq!((answer.shards, answer.shards_answered), (3, 1));
    }

    #[test]
    fn a_query_has_a_prefix_and_a_limit_and_nothing_else() {
        let query = |prefix: &str, limit| Ok(Query { prefix: prefix.to_owned(), limit });
        assert_eq!(Query::parse(""), query("", 20));
        assert_eq!(Query::parse("limit=5&prefix=user%3A4"), query("user:4", 5));
        assert_eq!(Query::parse("prefix="), query("", 20));
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit", "prefix=%FF", "a=b"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }
}
