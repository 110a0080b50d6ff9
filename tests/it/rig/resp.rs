//! The part of the Redis protocol that a backend needs: send a command, read its answer.

use super::wait::LIMIT;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// What Redis answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Reply>),
}

impl Reply {
    /// The text of an answer that is one.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bytes(bytes) => String::from_utf8(bytes).expect("UTF-8"),
            other => panic!("{other:?} is no text"),
        }
    }
}

/// One connection to Redis.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(crate) fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn try_command(&mut self, arguments: &[&str]) -> io::Result<Reply> {
        let arguments: Vec<&[u8]> = arguments.iter().map(|text| text.as_bytes()).collect();
        self.send(&encode(&arguments))?;
        self.reply()
    }

    /// # Panics
    /// When Redis answers with an error, or not at all.
    #[track_caller]
    pub(crate) fn command(&mut self, arguments: &[&str]) -> Reply {
        match self.try_command(arguments).expect("redis answers") {
            Reply::Error(error) => panic!("{arguments:?}: {error}"),
            reply => reply,
        }
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, channel: &str, payload: &[u8]) -> i64 {
        self.send(&encode(&[b"PUBLISH", channel.as_bytes(), payload])).expect("redis takes it");
        self.count()
    }

    /// Publishes each payload on its channel, all in one write, and returns how many subscribers
    /// got each.
    pub(crate) fn try_publish_batch(&mut self, batch: &[(&str, String)]) -> io::Result<Vec<i64>> {
        let commands = batch.iter().map(|(channel, payload)| {
            encode(&[b"PUBLISH", channel.as_bytes(), payload.as_bytes()])
        });
        self.send(&commands.collect::<Vec<_>>().concat())?;
        let counts = batch.iter().map(|_| match self.reply()? {
            Reply::Integer(count) => Ok(count),
            other => Err(io::Error::other(format!("PUBLISH answered {other:?}"))),
        });
        counts.collect()
    }

    #[track_caller]
    pub(crate) fn publish_all<P: AsRef<[u8]>>(
        &mut self,
        channel: &str,
        payloads: impl IntoIterator<Item = P>,
    ) {
        let mut sent = 0;
        for payload in payloads {
            self.send(&encode(&[b"PUBLISH", channel.as_bytes(), payload.as_ref()]))
                .expect("redis takes it");
            sent += 1;
        }
        for at in 0..sent {
            assert!(self.count() > 0, "message {at} on {channel} reached nobody");
        }
    }

    #[track_caller]
    pub(crate) fn numsub(&mut self, channels: &[&str]) -> Vec<i64> {
        let command: Vec<&str> =
            ["PUBSUB", "NUMSUB"].into_iter().chain(channels.iter().copied()).collect();
        let Reply::List(pairs) = self.command(&command) else { panic!("NUMSUB answers a list") };
        pairs
            .iter()
            .filter_map(|reply| if let Reply::Integer(count) = reply { Some(*count) } else { None })
            .collect()
    }

    /// Sends `MONITOR`; from then on [`Connection::line`] gives every command Redis gets.
    pub(crate) fn monitor(mut self) -> Monitor {
        self.command(&["MONITOR"]);
        Monitor(self)
    }

    #[track_caller]
    fn count(&mut self) -> i64 {
        match self.reply().expect("redis answers") {
            Reply::Integer(count) => count,
            other => panic!("PUBLISH answered {other:?}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" if number()? < 0 => Reply::Nothing,
            "$" => Reply::Bytes(self.bytes(number()? as usize)?),
            "*" => Reply::List((0..number()?).map(|_| self.reply()).collect::<io::Result<_>>()?),
            _ => return Err(io::Error::other(format!("not RESP: {line}"))),
        })
    }

    fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Every command that Redis gets, as it gets it.
pub(crate) struct Monitor(Connection);

impl Monitor {
    /// The commands seen up to and including the first that contains `last`.
    #[track_caller]
    pub(crate) fn up_to(&mut self, last: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.0.line().expect("MONITOR goes on");
            let done = line.contains(last);
            seen.push(line);
            if done {
                return seen;
            }
        }
    }
}

fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
