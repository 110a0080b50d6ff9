/** Streams in Node against the real gateway: what was missed comes back, or is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { Sockway } from "../sockway.js";
import { Diary, STREAMS, World, until } from "./rig.js";

const FAST = { WebSocket, minBackoff: 20, maxBackoff: 100, spread: 100, format: "json" };

function connect(t, url, options = {}) {
  const client = new Sockway(url, { ...FAST, ...options });
  return { client, diary: new Diary(t, client) };
}

/** Adds these numbers to a room, in their order: their ids. */
async function add(world, from, to, stream = "chat:7") {
  const ids = [];
  for (let number = from; number < to; number += 1) ids.push(await world.add(stream, String(number)));
  return ids;
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

/** The data of the next messages, with nothing between them. */
async function take(diary, count) {
  const data = [];
  while (data.length < count) data.push((await diary.next("message")).data);
  return data;
}

for (const signal of ["SIGKILL", "SIGTERM"]) {
  test(`after ${signal} what was missed comes back, in order and once, and there is no gap`, async (t) => {
    const world = await World.start(t, STREAMS);
    const { client, diary } = connect(t, world.lastingUrl("/ws/chat/7"));
    await diary.next("open");
    await add(world, 0, 3);
    assert.deepEqual(await take(diary, 3), [0, 1, 2]);
    await world.stopGateway(signal);
    const missed = await add(world, 3, 50);
    await world.startGateway();
    await diary.find("open");
    const recovered = await diary.next("recovered");
    assert.deepEqual([recovered.channel, recovered.replayed], ["chat:7", 47]);
    assert.deepEqual(await take(diary, 47), numbers(3, 50));
    assert.equal(client.positions["chat:7"], missed.at(-1));
    await add(world, 50, 53);
    assert.deepEqual(await take(diary, 3), [50, 51, 52]);
  });
}

test("a client that is cut off again and again in the middle of a replay gets everything once", async (t) => {
  const world = await World.start(t, STREAMS);
  // So large that a replay takes many reads: what was read at once comes in spite of a cut.
  const padding = "x".repeat(1_900);
  for (const number of numbers(0, 500)) await world.add("chat:7", JSON.stringify({ number, padding }));
  const sockets = [];
  class Kept extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const { client, diary } = connect(t, world.url("/ws/chat/7"), { WebSocket: Kept, since: "0-0" });
  const got = [];
  client.addEventListener("message", ({ data }) => {
    got.push(data.number);
    if (got.length % 25 === 0 && got.length < 450) sockets.at(-1).terminate();
  });
  await until("everything", () => got.length >= 500, 30_000);
  assert.deepEqual(got, numbers(0, 500));
  assert.ok(sockets.length > 5, `${sockets.length} connections`);
  assert.ok(diary.events.every(({ type }) => type !== "gap"));
});

test("what was trimmed meanwhile is a gap with its reason, and the newest come where they are asked for", async (t) => {
  const world = await World.start(t, STREAMS);
  const { diary } = connect(t, world.lastingUrl("/ws/chat/7"), { last: 2 });
  await add(world, 0, 1);
  await diary.find("message");
  await world.stopGateway();
  await add(world, 1, 10);
  await world.command("XTRIM", "chat:7", "MAXLEN", "3");
  await world.startGateway();
  await diary.find("open");
  const gap = await diary.next("gap");
  assert.deepEqual([gap.channel, gap.reason, gap.missed], ["chat:7", "trimmed", null]);
  assert.deepEqual(await take(diary, 2), [8, 9]);
});

test("a page that is loaded anew goes on where the one before it was, in each of its streams", async (t) => {
  const world = await World.start(t, STREAMS);
  const before = connect(t, world.url("/ws/mixed/a%2C%40b"));
  await before.diary.next("open");
  await add(world, 0, 2, "chat:a,@b");
  await add(world, 10, 11, "news");
  for (let count = 0; count < 3; count += 1) await before.diary.next("message");
  const stored = JSON.stringify(before.client.positions);
  before.client.close();
  await add(world, 2, 4, "chat:a,@b");
  await add(world, 11, 12, "news");
  const after = connect(t, world.url("/ws/mixed/a%2C%40b"), { since: JSON.parse(stored) });
  await after.diary.next("open");
  const replayed = [await after.diary.next("recovered"), await after.diary.next("recovered")];
  assert.deepEqual(replayed.map((event) => [event.channel, event.replayed]), [["chat:a,@b", 2], ["news", 1]]);
  assert.deepEqual(await take(after.diary, 3), [2, 3, 11]);
});

test("a gateway that comes back without the streams is a gap, and the channels come", async (t) => {
  const world = await World.start(t, STREAMS);
  const { client, diary } = connect(t, world.lastingUrl("/ws/chat/7"));
  await diary.next("open");
  await add(world, 0, 1);
  await take(diary, 1);
  await world.stopGateway("SIGTERM");
  world.settings = STREAMS.replace("streams =", "channels =").replace("sse = true", "");
  await world.startGateway();
  assert.deepEqual((await diary.find("open")).channels, ["chat:7"]);
  assert.equal((await diary.next("gap")).reason, "restarting");
  assert.deepEqual(client.positions, {});
  await world.publish("chat:7", "1");
  assert.deepEqual(await take(diary, 1), [1]);
});

test("channels beside streams are told as a gap after a loss, streams recover", async (t) => {
  const world = await World.start(t, STREAMS);
  const { diary } = connect(t, world.lastingUrl("/ws/mixed/7"));
  await diary.next("open");
  await world.stopGateway("SIGTERM");
  await add(world, 0, 1);
  await world.startGateway();
  await diary.find("open");
  assert.deepEqual([(await diary.next("recovered")).replayed, (await diary.next("recovered")).replayed], [1, 0]);
  assert.deepEqual([(await diary.next("gap")).reason, await take(diary, 1)], ["restarting", [0]]);
});

test("a lost Redis link is nothing to a stream", async (t) => {
  const world = await World.start(t, STREAMS);
  const { diary } = connect(t, world.lastingUrl("/ws/chat/7"));
  await diary.next("open");
  await add(world, 0, 1);
  await take(diary, 1);
  await world.command("CLIENT", "KILL", "TYPE", "normal");
  await world.command("CLIENT", "KILL", "TYPE", "pubsub");
  await add(world, 1, 5);
  assert.deepEqual(await take(diary, 4), [1, 2, 3, 4]);
});

test("a raw client begins at the position that its backend gave it", async (t) => {
  const world = await World.start(t, STREAMS);
  const [first] = await add(world, 0, 3);
  const { diary } = connect(t, world.url("/ws/chat-raw/7"), { format: "raw", since: first });
  await diary.next("open");
  assert.deepEqual(await take(diary, 2), ["1", "2"]);
});

test("a position that nobody can know is a gap, and what is new comes", async (t) => {
  const world = await World.start(t, STREAMS);
  await add(world, 0, 3);
  const { diary } = connect(t, world.url("/ws/chat/7"), { since: "99999999999999-0" });
  await diary.next("open");
  assert.equal((await diary.next("gap")).reason, "reset");
  await add(world, 3, 4);
  assert.deepEqual(await take(diary, 1), [3]);
});
