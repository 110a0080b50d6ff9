//! Publishing by HTTP: kept connections, each with one request at a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use sockway_benches::poll::Poll;
use sockway_benches::report::Window;
use sockway_benches::{channels, token, upgrade};

use super::{Outcome, Run, STALLED};
use crate::options::{By, Content, Post, Target};

/// One connection.
struct Caller {
    stream: TcpStream,
    /// Its request, always the same.
    request: Vec<u8>,
    arrived: Vec<u8>,
    /// The number of the request that is not answered yet.
    number: usize,
}

impl Run<'_> {
    pub(crate) fn post(&mut self, step: &Post) -> Outcome<Window> {
        let poll = Poll::new()?;
        let mut callers = Vec::new();
        for number in 0..step.in_flight {
            let caller = Caller::connect(self.options.server, request(step, number))?;
            poll.add(&caller.stream, number as u64)?;
            callers.push(caller);
        }
        let content = Content { size: step.size, to: Target::Own, stream: false, by: By::Sockets };
        self.window(content, |run| run.post_all(step, poll, &mut callers))
    }

    fn post_all(&mut self, step: &Post, mut poll: Poll, callers: &mut [Caller]) -> Outcome<()> {
        for caller in &mut *callers {
            self.post_next(step, caller)?;
        }
        while self.tally.in_flight > 0 {
            let ready: Vec<u64> = poll.wait(Some(STALLED))?.collect();
            if ready.is_empty() {
                return Err(format!("{} requests get no answer", self.tally.in_flight).into());
            }
            for index in ready {
                let caller = &mut callers[index as usize];
                if caller.read(&mut self.buffer, step.batch)? {
                    self.tally.taken(caller.number, self.now())?;
                    self.post_next(step, caller)?;
                }
            }
        }
        Ok(())
    }

    fn post_next(&mut self, step: &Post, caller: &mut Caller) -> Outcome<()> {
        if self.tally.published() < step.requests {
            caller.number = self.tally.published() as usize;
            self.tally.ask(step.batch as u32, self.now());
            caller.send()?;
        }
        Ok(())
    }
}

impl Caller {
    fn connect(server: SocketAddr, request: Vec<u8>) -> Outcome<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, request, arrived: Vec::new(), number: 0 })
    }

    /// The server reads what it is sent, so a socket that is full is waited for.
    fn send(&mut self) -> Outcome<()> {
        match self.stream.write(&self.request)? {
            whole if whole == self.request.len() => Ok(()),
            sent => {
                self.stream.set_nonblocking(false)?;
                self.stream.write_all(&self.request[sent..])?;
                Ok(self.stream.set_nonblocking(true)?)
            }
        }
    }

    /// Whether its request is answered now; a refusal is an error.
    fn read(&mut self, buffer: &mut [u8], batch: usize) -> Outcome<bool> {
        match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection that publishes".into()),
            Ok(length) => self.arrived.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let Some(end) = upgrade::head_end(&self.arrived) else { return Ok(false) };
        let head = std::str::from_utf8(&self.arrived[..end])?;
        let body: usize = upgrade::header(head, "Content-Length").ok_or("no length")?.parse()?;
        if self.arrived.len() < end + body {
            return Ok(false);
        }
        let taken: &[u8] = if batch == 1 { br#","receivers":0}"# } else { br#"],"failed":0}"# };
        if !head.starts_with("HTTP/1.1 200 ") || !self.arrived.ends_with(taken) {
            let answer = String::from_utf8_lossy(&self.arrived);
            return Err(format!("publishing was answered {answer}").into());
        }
        self.arrived.clear();
        Ok(true)
    }
}

/// The request of one connection: to channels of its own, which nobody has.
fn request(step: &Post, caller: usize) -> Vec<u8> {
    let data = "~".repeat(step.size);
    let channel = |number| channels::own((caller * step.batch + number) as u32);
    let (path, body) = if step.batch == 1 {
        (format!("/publish/{}", channel(0)), data)
    } else {
        let item = |number| format!(r#"{{"channel":"{}","data":"{data}"}}"#, channel(number));
        let items: Vec<String> = (0..step.batch).map(item).collect();
        ("/publish".to_owned(), format!(r#"{{"batch":[{}]}}"#, items.join(",")))
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        token::PUBLISH,
        body.len()
    )
    .into_bytes()
}
