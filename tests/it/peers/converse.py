"""Opens a WebSocket with a library that is not ours; prints every message on a line of its own, and sends every line of
stdin, to its end.

usage: converse.py URL TOKEN
"""

import asyncio
import sys

from websockets.asyncio.client import connect


async def send_lines(socket):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await socket.send(line.rstrip("\n"))
    await socket.close()


async def main(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, open_timeout=20) as socket:
        print("open", flush=True)
        sending = asyncio.create_task(send_lines(socket))
        async for message in socket:
            print(message, flush=True)
        await sending


asyncio.run(main(*sys.argv[1:]))
