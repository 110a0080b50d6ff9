"""Opens a WebSocket with a library that is not ours and says what happens, one line each.

usage: receive.py URL [SUBPROTOCOL ...]

By the library's asyncio side: its other one has two threads on one TLS connection, and over TLS 1.3
one handshake in a hundred of those gets stuck in the client when the machine is busy.
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def say(*words):
    print(*words, flush=True)


async def main(url, subprotocols):
    try:
        socket = await connect(url, subprotocols=subprotocols or None, open_timeout=20)
    except InvalidStatus as error:
        say("refused", error.response.status_code)
        return
    async with socket:
        say("open", socket.subprotocol)
        try:
            async for message in socket:
                kind = "text" if isinstance(message, str) else "binary"
                say(kind, len(message), message if len(message) < 200 else "")
        except ConnectionClosed:
            pass
        say("closed", socket.close_code, socket.close_reason)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
