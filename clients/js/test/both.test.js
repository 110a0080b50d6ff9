/** Both directions in Node against the real gateway: publish, subscribe, unsubscribe, and who is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { Sockway } from "../sockway.js";
import { BOTH, Diary, World, token, until } from "./rig.js";

const FAST = { WebSocket, minBackoff: 20, maxBackoff: 100, spread: 100, format: "json" };

function connect(t, url, options = {}) {
  const client = new Sockway(url, { ...FAST, token: token("ann"), ...options });
  return { client, diary: new Diary(t, client) };
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

/** The data of the next messages, of whatever a user has sent. */
async function take(diary, count) {
  const data = [];
  while (data.length < count) data.push((await diary.find("message")).data.data);
  return data;
}

/** The code that something is refused with. */
async function refusal(promise) {
  const error = await promise.then((value) => assert.fail(JSON.stringify(value)), (error) => error);
  assert.ok(error instanceof Error && error.message.includes(error.code), String(error));
  return error.code;
}

/** The numbers that the inbox has, in its order; in parts, since the rig reads short answers alone. */
async function inbox(world) {
  const numbers = [];
  for (let from = "-"; ; ) {
    const part = await world.command("XRANGE", "inbox", from, "+", "COUNT", "10");
    const ids = part.match(/\d{13}-\d+/g);
    if (!ids) return numbers;
    numbers.push(...[...part.matchAll(/"data":(\d+)}/g)].map(([, number]) => Number(number)));
    from = `(${ids.at(-1)}`;
  }
}

test("what is published reaches others with its author, and its sender learns who got it", async (t) => {
  const world = await World.start(t, BOTH);
  const ann = connect(t, world.url("/ws/talk/7"));
  const bob = connect(t, world.url("/ws/talk/7"), { token: token("bob") });
  await Promise.all([ann.diary.next("open"), bob.diary.next("open")]);
  assert.deepEqual(await ann.client.publish("talk:7", { text: "é \u2028 \\ud800" }), { receivers: 1 });
  for (const { diary } of [ann, bob]) {
    const { channel, data } = await diary.find("message");
    assert.deepEqual([channel, data.user, data.room, data.data], ["talk:7", "ann", "7", { text: "é \u2028 \\ud800" }]);
  }
});

test("what is published to a stream is told with its id", async (t) => {
  const world = await World.start(t, BOTH);
  const { client } = connect(t, world.url("/ws/inbox"));
  const { id } = await client.publish([1]); // before it is open
  assert.match(id, /^\d+-\d+$/);
  assert.ok((await world.command("XRANGE", "inbox", id, id)).includes('"data":[1]'));
});

test("each refusal has its code and its channel, and the client stays", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.url("/ws/talk/7"));
  await diary.next("open");
  const foreign = await client.publish("talk:8", 1).catch((error) => error);
  assert.deepEqual([foreign.code, foreign.channel], ["channel_not_allowed", "talk:8"]);
  assert.equal(await refusal(client.publish(1)), "frame_invalid", "it must name one");
  const flood = await Promise.allSettled(numbers(0, 9).map((number) => client.publish("talk:7", number)));
  const refused = flood.filter(({ reason }) => reason).map(({ reason }) => reason);
  assert.ok(refused.length >= 3, `${refused.length} of 9 beyond a burst of 5`);
  for (const { code, retryAfter } of refused) assert.ok(code === "rate_limited" && retryAfter > 0);
  assert.equal(await refusal(client.subscribe("other:7")), "channel_not_allowed");
  assert.equal(await refusal(client.unsubscribe("talk:7")), "channel_fixed");
  assert.equal(await refusal(client.subscribe("talk:8", { last: 5 })), "since_invalid", "a channel keeps nothing");
  const { client: json } = connect(t, world.url("/ws/json"));
  assert.equal(await refusal(json.publish(1)), "not_permitted");
  assert.equal(client.state, "open");
});

test("what the gateway would end the session for is not sent", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.url("/ws/talk/7"));
  await diary.next("open");
  const cycle = {};
  cycle.cycle = cycle;
  const nested = (levels) => JSON.parse("[".repeat(levels) + "]".repeat(levels));
  for (const data of [undefined, cycle, 1n, "\ud800", { "a\\\udfff": 1 }, nested(128)]) {
    assert.equal(await refusal(client.publish("talk:7", data)), "data_invalid");
  }
  assert.equal(await refusal(client.publish("talk:7", "é".repeat(8_192))), "message_too_big");
  await assert.rejects(client.subscribe("log:1", { since: "soon" }), TypeError);
  for (const data of [nested(127), "[{\\ud800😀", "é".repeat(8_100)]) await client.publish("talk:7", data);
});

test("what is published without a connection comes when it is back, in order, as fast as a user may publish", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.lastingUrl("/ws/talk/7"));
  const bob = connect(t, world.lastingUrl("/ws/talk/7"), { token: token("bob") });
  await Promise.all([diary.next("open"), bob.diary.next("open")]);
  await world.stopGateway();
  await Promise.all([diary.find("waiting"), bob.diary.find("waiting")]);
  // Three bursts and more.
  const published = numbers(0, 18).map((number) => client.publish("talk:7", number));
  await world.startGateway();
  await Promise.all(published);
  assert.deepEqual(await take(diary, 18), numbers(0, 18));
});

test("a message that was sent and not answered is told as unknown when the connection is lost, and not sent again", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.lastingUrl("/ws/inbox"));
  await diary.next("open");
  await client.publish(0);
  world.redis.signal("SIGSTOP"); // so that no answer comes
  const unknown = refusal(client.publish(1));
  await world.stopGateway();
  assert.equal(await unknown, "outcome_unknown");
  world.redis.signal("SIGCONT");
  await world.startGateway();
  await client.publish(2);
  const kept = await world.command("XRANGE", "inbox", "-", "+");
  assert.ok(kept.includes('"data":0}') && kept.includes('"data":2}'));
  assert.ok(kept.split('"data":1}').length <= 2, "at most once");
});

test("through kill and drain what is answered is kept once and in order, what is unknown once at most", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.lastingUrl("/ws/inbox"));
  await diary.next("open");
  const published = [];
  const publish = async (count) => {
    for (const end = published.length + count; published.length < end; ) {
      published.push(client.publish(published.length).then(() => "answered", ({ code }) => code));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL", "SIGTERM"]) {
    await publish(10);
    const stopped = world.stopGateway(signal);
    await publish(10);
    await stopped;
    await until("the client knows", () => client.state !== "open");
    const offline = published.length;
    await publish(10);
    await world.startGateway();
    await publish(10);
    const waited = await Promise.all(published.slice(offline));
    assert.deepEqual(waited, Array(20).fill("answered"), "only what was under way is unknown");
  }
  const outcomes = await Promise.all(published);
  const kept = await inbox(world);
  const sorted = [...new Set(kept)].sort((a, b) => a - b);
  assert.deepEqual(kept, sorted, "once, and in order");
  for (const [number, outcome] of outcomes.entries()) {
    assert.ok(outcome === "answered" ? kept.includes(number) : outcome === "outcome_unknown", `${number}: ${outcome}`);
  }
});

test("a channel is added to the session and given back, and nothing comes of it then", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.url("/ws/talk/7"));
  await diary.next("open");
  assert.deepEqual(await client.subscribe("talk:8"), { channel: "talk:8" });
  assert.deepEqual(await client.subscribe("talk:8"), { channel: "talk:8" }, "once more");
  assert.equal(await world.publish("talk:8", "1"), 1);
  const { channel, data } = await diary.find("message");
  assert.deepEqual([channel, data], ["talk:8", 1]);
  await client.unsubscribe("talk:8");
  assert.equal(client.presence["talk:8"], undefined);
  await until("nobody is subscribed", async () => (await world.publish("talk:8", "2")) === 0);
  await world.publish("talk:7", "3");
  assert.equal((await diary.find("message")).data, 3);
});

test("a room that is subscribed to can be written to without waiting, and one that is given back at once is not had", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.url("/ws/talk/7"));
  await diary.next("open");
  client.subscribe("talk:8");
  assert.deepEqual(await client.publish("talk:8", "hi"), { receivers: 1 });
  const cancelled = refusal(client.subscribe("talk:9"));
  await client.unsubscribe("talk:9");
  assert.equal(await cancelled, "unsubscribed");
  assert.equal(await refusal(client.publish("talk:9", 1)), "channel_not_allowed");
});

test("after a restart what was added is subscribed to again: a stream recovers, a channel is a gap", async (t) => {
  const world = await World.start(t, BOTH);
  await world.add("log:1", "0");
  const { client, diary } = connect(t, world.lastingUrl("/ws/talk/7"));
  const [log] = await Promise.all([client.subscribe("log:1", { last: 1 }), client.subscribe("talk:8")]);
  assert.equal(log.channel, "log:1");
  assert.deepEqual((await diary.find("message")).data, 0);
  await world.stopGateway();
  await diary.find("waiting");
  await world.add("log:1", "1");
  await world.startGateway();
  await diary.find("open");
  const told = [];
  await until("both are told", () => (told.push(...diary.events.splice(diary.read)), told.some(({ channel, data }) => channel === "log:1" && data === 1) && told.some(({ type, channel }) => type === "gap" && channel === "talk:8")));
  const events = (type) => told.filter((event) => event.type === type).map(({ channel, reason, replayed }) => [channel, reason ?? replayed]);
  assert.deepEqual(events("recovered"), [["log:1", 1]]);
  assert.deepEqual(events("gap"), [[undefined, "connection_lost"], ["talk:8", "connection_lost"]]);
  assert.equal(await world.publish("talk:8", "2"), 1);
  assert.equal((await diary.find("message")).data, 2);
});

test("streams that are added alone go on through kill and drain, and on a page that is loaded anew", async (t) => {
  const world = await World.start(t, BOTH);
  const before = connect(t, world.lastingUrl("/ws/logs"));
  before.client.subscribe("log:1");
  await before.client.subscribe("log:2");
  await before.diary.next("open");
  for (const [number, signal] of ["SIGKILL", "SIGTERM"].entries()) {
    await world.stopGateway(signal);
    await before.diary.find("waiting");
    await world.add("log:1", String(number));
    await world.startGateway();
    assert.equal((await before.diary.find("message")).data, number);
  }
  assert.deepEqual(before.diary.events.filter(({ type }) => type === "gap"), [], "nothing but streams, and each recovered");
  const since = JSON.parse(JSON.stringify(before.client.positions));
  before.client.close();
  await world.add("log:1", "2");
  const after = connect(t, world.lastingUrl("/ws/logs"), { since });
  const { recovered, replayed } = await after.client.subscribe("log:1");
  assert.deepEqual([recovered, replayed], [true, 1]);
  assert.equal((await after.diary.find("message")).data, 2);
});

test("what a reload takes away is told, and not asked for again", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.lastingUrl("/ws/talk/7"));
  await diary.next("open");
  await client.subscribe("log:1");
  await client.subscribe("talk:8");
  world.settings = BOTH.replace('subscribe_streams = ["log:{any}"]\nformat = "json"\n[endpoint.publish]', 'format = "json"\n[endpoint.publish]');
  await world.reload();
  const { channel, reason } = await diary.find("unsubscribed");
  assert.deepEqual([channel, reason], ["log:1", "not_permitted"]);
  assert.equal(client.positions["log:1"], undefined);
  world.settings = world.settings.replace('subscribe = ["talk:{any}"]', "");
  await world.stopGateway("SIGTERM");
  await world.startGateway();
  const refused = await diary.find("unsubscribed");
  assert.deepEqual([refused.channel, refused.reason], ["talk:8", "channel_not_allowed"]);
});

test("a page sees who is in its rooms, who comes, and who goes", async (t) => {
  const world = await World.start(t, BOTH);
  const { client, diary } = connect(t, world.url("/ws/talk/7"));
  const { channel, count, users } = await diary.find("presence");
  assert.deepEqual([channel, count, users], ["talk:7", 1, ["ann"]]);
  assert.deepEqual(client.presence, { "talk:7": { count: 1, users: ["ann"] } });
  const bob = connect(t, world.url("/ws/talk/7"), { token: token("bob") });
  assert.equal((await diary.find("join")).user, "bob");
  assert.deepEqual(client.presence["talk:7"], { count: 2, users: ["ann", "bob"] });
  await client.subscribe("talk:8");
  assert.equal((await diary.find("presence")).channel, "talk:8");
  bob.client.close();
  assert.equal((await diary.find("leave")).user, "bob");
  assert.deepEqual(client.presence, { "talk:7": { count: 1, users: ["ann"] }, "talk:8": { count: 1, users: ["ann"] } });
});

test("raw endpoints and Server-Sent Events refuse in words", async (t) => {
  const world = await World.start(t, BOTH);
  const raw = connect(t, world.url("/ws/raw"), { format: "raw" });
  class EventSource extends EventTarget {
    close() {}
  }
  const events = connect(t, world.url("/ws/inbox"), { transport: "sse", EventSource });
  for (const { client } of [raw, events]) {
    for (const done of [client.publish(1), client.subscribe("talk:8"), client.unsubscribe("talk:8")]) {
      assert.equal(await refusal(done), "not_supported");
    }
  }
});

test("close ends what is under way, and what comes later", async (t) => {
  const world = await World.start(t, BOTH);
  const { client } = connect(t, world.url("/ws/talk/7"));
  const waiting = [client.publish("talk:7", 1), client.subscribe("talk:8")].map(refusal);
  client.close();
  assert.deepEqual(await Promise.all(waiting), ["stopped", "stopped"]);
  assert.equal(await refusal(client.publish("talk:7", 1)), "stopped");
});
