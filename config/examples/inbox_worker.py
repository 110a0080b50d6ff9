"""Takes the messages of clients out of the inbox of inbox.toml, does them, and answers each.

usage: inbox_worker.py NAME [--redis URL] [--idle SECONDS] [--work SECONDS]     (needs: pip install redis)

Start as many as you like, each with a name of its own: together they are a consumer group, and each message goes to
one of them. A message is acknowledged and deleted after it is done, never before. So a worker that dies loses
nothing: what it had taken and not done is taken over by another one after --idle seconds. It follows that a message may
be done twice (its worker died between doing and acknowledging it): what must not happen twice must remember the
message's id.
"""

import argparse
import json
import time

import redis

STREAM, GROUP, BATCH = "inbox", "workers", 10


def main():
    options = arguments()
    # protocol: answers look the same in all versions of redis-py.
    database = redis.Redis.from_url(options.redis, decode_responses=True, protocol=2)
    create_group(database)
    while True:
        for entry in abandoned(database, options) or new(database, options):
            do(database, entry, options)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    parser.add_argument(
        "--idle", type=float, default=60,
        help="take over what another worker has had for so long: longer than a batch ever takes",
    )
    parser.add_argument("--work", type=float, default=0, help="how long a message takes, to try things out")
    return parser.parse_args()


def create_group(database):
    try:
        database.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def abandoned(database, options):
    """What a worker has taken and, for too long, not acknowledged."""
    idle = int(options.idle * 1000)
    _, entries, *_ = database.xautoclaim(STREAM, GROUP, options.name, min_idle_time=idle, count=BATCH)
    return entries


def new(database, options):
    """What nobody has taken yet; waits a second for it."""
    streams = database.xreadgroup(GROUP, options.name, {STREAM: ">"}, count=BATCH, block=1000)
    return streams[0][1] if streams else []


def do(database, entry, options):
    number, fields = entry
    # The gateway's word: who sent it, and when. What was sent is in `data`.
    message = json.loads(fields["data"])
    time.sleep(options.work)  # your work
    reply = json.dumps({"done": number, "by": options.name, "data": message["data"]})
    database.publish(f"user:{message['user']}:replies", reply)
    # At once, or not at all.
    with database.pipeline(transaction=True) as pipeline:
        pipeline.xack(STREAM, GROUP, number)
        pipeline.xdel(STREAM, number)
        pipeline.execute()
    print("done", number, flush=True)


main()
