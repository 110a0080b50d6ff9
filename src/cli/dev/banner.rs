//! What `sockway dev` prints: where everything is, and what to type.

use std::{env, net::SocketAddr};

/// The facts that are only known once everything is bound.
pub(super) struct Banner {
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) redis_port: u16,
    pub(super) user: &'static str,
    pub(super) token: String,
}

impl Banner {
    pub(super) fn text(&self) -> String {
        let Self { address, admin, redis_port, user, token } = self;
        // As it was called, so that the line works where the program is not on the PATH.
        let program = env::args().next().unwrap_or_else(|| "sockway".to_owned());
        format!(
            r#"Sockway {version} with a private Redis. Nothing of it stays when it ends (Ctrl-C).

  console     http://{admin}/
  user        {user}
  token       {token}
  WebSocket   ws://{address}/ws/notifications?token={token}

1. Open a socket, in a second terminal …

  {program} listen ws://{address}/ws/notifications --token {token}

… or in a browser's console:

  new WebSocket("ws://{address}/ws/notifications?token={token}").onmessage = e => console.log(e.data)

2. Publish, as any backend would:

  redis-cli -p {redis_port} publish user:{user}:notifications '{{"hello":"world"}}'

3. Send the user away, from every instance:

  redis-cli -p {redis_port} publish sockway:control '{{"disconnect":{{"user":"{user}"}}}}'

Rooms need no token: ws://{address}/ws/rooms/lobby

  redis-cli -p {redis_port} publish room:lobby '{{"hello":"room"}}'

A chat is a stream, which keeps what was said: write while nobody listens, then go on from an id that was printed.

  redis-cli -p {redis_port} xadd chat:lobby '*' data '{{"hello":"chat"}}'
  {program} listen ws://{address}/ws/chat/lobby --token {token} --since 0-0
"#,
            version = crate::VERSION,
        )
    }
}
