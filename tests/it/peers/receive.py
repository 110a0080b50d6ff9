"""Opens a WebSocket with a library that is not ours and says what happens, one line each.

usage: receive.py URL [SUBPROTOCOL ...]
"""

import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def say(*words):
    print(*words, flush=True)


def main(url, subprotocols):
    try:
        socket = connect(url, subprotocols=subprotocols or None, open_timeout=20)
    except InvalidStatus as error:
        say("refused", error.response.status_code)
        return
    with socket:
        say("open", socket.subprotocol)
        try:
            for message in socket:
                kind = "text" if isinstance(message, str) else "binary"
                say(kind, len(message), message if len(message) < 200 else "")
        except ConnectionClosed:
            pass
        say("closed", socket.close_code, socket.close_reason)


main(sys.argv[1], sys.argv[2:])
