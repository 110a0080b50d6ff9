/** What is asked of a session, against a gateway by script: what is sent when, what is kept, what comes of answers and losses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./rig.js";
import { message, ready, scripted } from "./script.js";

const ROOM = { channels: ["room"] };

/** A client with a session. */
async function opened(t, options = {}) {
  const world = scripted(t, options);
  const socket = await world.next();
  socket.say(ready({}, ROOM));
  await world.diary.next("open");
  return { ...world, socket };
}

/** The code and the channel that each was refused with; `ok` for what was not. */
async function outcomes(promises) {
  const settled = await Promise.allSettled(promises);
  return settled.map(({ reason, value }) => (reason ? [reason.code, reason.channel] : ["ok", value]));
}

/** What is sent, without references. */
const sent = (socket) => socket.frames.map(({ ref, ...frame }) => frame);

test("what is published goes at once, and each is settled by the answer to its own reference", async (t) => {
  const { client, socket } = await opened(t);
  const published = [client.publish("a", 1), client.publish("a", 2), client.publish(3)];
  assert.deepEqual(sent(socket), [
    { type: "publish", channel: "a", data: 1 },
    { type: "publish", channel: "a", data: 2 },
    { type: "publish", data: 3 },
  ]);
  const [first, second, third] = socket.frames;
  assert.equal(new Set(socket.frames.map(({ ref }) => ref)).size, 3);
  socket.answer("published", { id: "5-0" }, third);
  socket.answer("refused", { code: "rate_limited", retry_after_ms: 70 }, second);
  socket.answer("published", { receivers: 2 }, first);
  socket.answer("published", {}, first); // once more: nobody waits for it
  assert.deepEqual(await outcomes(published), [["ok", { receivers: 2 }], ["rate_limited", "a"], ["ok", { id: "5-0" }]]);
  assert.equal((await published[1].catch((error) => error)).retryAfter, 70);
});

test("what was sent when the connection is lost is unknown and never sent again, what waited is sent", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  const lost = outcomes([client.publish("a", 1)]);
  socket.end(1006);
  const published = outcomes([client.publish("a", 2)]);
  const second = await next();
  second.say(ready({}, ROOM));
  await diary.find("open");
  assert.deepEqual(sent(second), [{ type: "publish", channel: "a", data: 2 }]);
  second.answer("published");
  assert.deepEqual([await lost, await published], [[["outcome_unknown", "a"]], [["ok", {}]]]);
});

test("what waited is sent one by one, in order, and waits where the gateway says so", async (t) => {
  const { client, diary, next } = scripted(t);
  const published = [1, 2, 3].map((data) => client.publish(data));
  const socket = await next();
  assert.deepEqual(sent(socket), []);
  socket.say(ready({}, ROOM));
  await diary.find("open");
  published.push(client.publish(4)); // behind them
  const data = () => socket.frames.map((frame) => frame.data);
  assert.deepEqual(data(), [1]);
  socket.answer("published");
  assert.deepEqual(data(), [1, 2]);
  const refusedAt = Date.now();
  socket.answer("refused", { code: "rate_limited", retry_after_ms: 60 });
  await until("it is sent again", () => data().length === 3);
  assert.deepEqual(data(), [1, 2, 2]);
  assert.ok(Date.now() - refusedAt >= 55, "not before its time");
  socket.answer("refused", { code: "data_invalid" });
  socket.answer("published");
  socket.answer("published");
  assert.deepEqual((await outcomes(published)).map(([code]) => code), ["ok", "data_invalid", "ok", "ok"]);
  assert.deepEqual(data(), [1, 2, 2, 3, 4]);
  published.push(client.publish(5), client.publish(6));
  assert.deepEqual(data().slice(5), [5, 6], "nothing waits any more");
  socket.end(1000);
  assert.deepEqual((await outcomes(published.slice(4))).map(([code]) => code), ["outcome_unknown", "outcome_unknown"]);
});

test("a message that waits for the user's rate survives the connection", async (t) => {
  const { client, diary, next } = scripted(t);
  const published = client.publish(1);
  const first = await next();
  first.say(ready({}, ROOM));
  await diary.find("open");
  first.answer("refused", { code: "rate_limited", retry_after_ms: 60_000 });
  first.end(1006);
  const second = await next();
  second.say(ready({}, ROOM));
  await diary.find("open");
  second.answer("published");
  assert.deepEqual(await published, {});
});

for (const [options, count] of [
  [{}, 100],
  [{ queueMessages: 3 }, 3],
  [{ queueBytes: 150 }, 3],
]) {
  test(`the queue is bounded, what is sent counts until it is answered (${JSON.stringify(options)})`, async (t) => {
    const { client, diary, next } = scripted(t, options);
    const full = (promises) => promises.then((all) => all.map(([code]) => code).filter((code) => code === "queue_full").length);
    const waiting = Array.from({ length: count }, () => client.publish("é".repeat(3)));
    assert.deepEqual(await full(outcomes([client.publish("é".repeat(3))])), 1);
    const socket = await next();
    socket.say(ready({}, ROOM));
    await diary.find("open");
    assert.deepEqual(await full(outcomes([client.publish("é".repeat(3))])), 1, "sent, but not answered");
    socket.answer("published");
    await waiting[0];
    waiting.push(client.publish("é".repeat(3)));
    client.close();
    assert.equal(await full(outcomes(waiting)), 0);
  });
}

test("a frame larger than the endpoint takes is not sent", async (t) => {
  const { client, socket } = await opened(t, { maxMessage: 100 });
  assert.deepEqual(await outcomes([client.publish("a", "é".repeat(30)), client.subscribe("a".repeat(100))]).then((all) => all.map(([code]) => code)), ["message_too_big", "message_too_big"]);
  assert.deepEqual(sent(socket), []);
  client.publish("a", "é".repeat(15)).catch(() => {});
  assert.equal(socket.frames.length, 1);
});

test("a message to a channel that is being subscribed to waits for it, and those behind it, too", async (t) => {
  const { client, socket } = await opened(t);
  const asked = client.subscribe("a");
  const published = [client.publish("a", 1), client.publish("b", 2)];
  assert.deepEqual(sent(socket), [{ type: "subscribe", channel: "a" }]);
  socket.answer("subscribed");
  assert.deepEqual(await asked, { channel: "a" });
  assert.deepEqual(sent(socket).slice(1), [{ type: "publish", channel: "a", data: 1 }]);
  socket.answer("published");
  socket.answer("published");
  assert.deepEqual(await outcomes(published), [["ok", {}], ["ok", {}]]);
});

test("what was added is asked for in each session, with the position that came last", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  const asked = [client.subscribe("log", { since: "5-0", last: 3 }), client.subscribe("log")];
  client.subscribe("a");
  assert.deepEqual(sent(socket), [{ type: "subscribe", channel: "log", since: "5-0", last: 3 }, { type: "subscribe", channel: "a" }]);
  const [log, a] = socket.frames;
  socket.answer("subscribed", { id: "5-0", recovered: true, replayed: 1 }, log);
  socket.answer("subscribed", {}, a);
  const answer = { channel: "log", id: "5-0", recovered: true, replayed: 1 };
  assert.deepEqual(await Promise.all(asked), [answer, answer]);
  assert.equal((await diary.next("recovered")).replayed, 1);
  socket.say(message("log", "6-0", "hi"));
  await diary.next("message");
  socket.end(3008);
  const second = await next();
  assert.deepEqual(second.query, {}, "the endpoint may have no streams of its own");
  second.say(ready({}, ROOM));
  await diary.find("open");
  assert.deepEqual(sent(second), [{ type: "subscribe", channel: "log", since: "6-0", last: 3 }, { type: "subscribe", channel: "a" }]);
  assert.deepEqual(client.positions, { log: "6-0" });
  assert.equal((await diary.next("gap")).channel, undefined, "the channels of the endpoint");
  const [again, channel] = second.frames;
  second.answer("subscribed", { id: "8-0", recovered: false, reason: "trimmed", missed: null }, again);
  const { reason, missed, id } = await diary.next("gap");
  assert.deepEqual([reason, missed, id, client.positions], ["trimmed", null, "8-0", { log: "8-0" }]);
  second.answer("subscribed", {}, channel);
  const gap = await diary.next("gap");
  assert.deepEqual([gap.channel, gap.reason], ["a", "connection_lost"]);
});

test("after 4009 a stream that was added is asked for without its position, and is a gap", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  client.subscribe("log");
  socket.answer("subscribed", { id: "5-0" });
  socket.end(4009, "gap");
  const second = await next();
  second.say(ready({}, ROOM));
  await diary.find("gap");
  assert.deepEqual(sent(second), [{ type: "subscribe", channel: "log" }]);
  second.answer("subscribed", { id: "7-0" });
  const { channel, reason } = await diary.next("gap");
  assert.deepEqual([channel, reason, client.positions], ["log", "gap", { log: "7-0" }]);
});

test("a subscribe that is not answered when the connection is lost is asked of the next session", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  const asked = client.subscribe("a");
  socket.end(1006);
  const second = await next();
  second.say(ready({}, ROOM));
  await diary.find("gap");
  second.answer("subscribed");
  assert.deepEqual(await asked, { channel: "a" });
  assert.equal(diary.events.length, diary.read, "it had nothing to miss");
});

test("what is given back is not asked for again, whether the answer came or not", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  for (const channel of ["a", "b", "c"]) {
    client.subscribe(channel);
    socket.answer("subscribed", channel === "a" ? { id: "5-0" } : {});
  }
  const given = client.unsubscribe("a");
  socket.say(message("a", "6-0", 1)); // under way before
  socket.answer("unsubscribed");
  await given;
  assert.deepEqual(client.positions, {});
  const unanswered = client.unsubscribe("b");
  socket.say(message("b", "7-0", 1)); // under way before
  socket.end(1006);
  await unanswered;
  await client.unsubscribe("c");
  const second = await next();
  assert.deepEqual(second.query, {}, "an endpoint without streams of its own would refuse a position");
  second.say(ready({}, ROOM));
  await diary.find("gap");
  assert.deepEqual(sent(second), []);
});

test("an answer to a subscribe that was given back meanwhile is none to the next one", async (t) => {
  const { client, socket } = await opened(t);
  const first = outcomes([client.subscribe("a")]);
  const given = client.unsubscribe("a");
  const second = client.subscribe("a");
  const published = client.publish("a", 1);
  const [early, back, late] = socket.frames;
  socket.answer("subscribed", {}, early);
  socket.answer("unsubscribed", {}, back);
  assert.deepEqual([await first, await given], [[["unsubscribed", "a"]], undefined]);
  assert.equal(socket.frames.length, 3, "the message waits");
  socket.answer("subscribed", {}, late);
  assert.deepEqual(await second, { channel: "a" });
  socket.answer("published");
  assert.deepEqual(await published, {});
});

test("what the session has by itself is neither asked for nor given back, and its position stays in the URL", async (t) => {
  const { client, diary, made, next } = scripted(t);
  const asked = client.subscribe("log");
  const socket = await next();
  socket.say(ready({ log: "5-0" }, ROOM));
  assert.deepEqual([await asked, await client.subscribe("log")], [{ channel: "log" }, { channel: "log" }]);
  assert.deepEqual(await client.subscribe("room"), { channel: "room" });
  assert.deepEqual(await outcomes([client.unsubscribe("log")]), [["channel_fixed", "log"]]);
  socket.end(3008);
  assert.deepEqual((await next()).query, { since: "log@5-0" });
  made[1].say(ready({ log: { id: "5-0", recovered: true, replayed: 0 } }, ROOM));
  await diary.find("recovered");
  assert.deepEqual([sent(socket), sent(made[1])], [[], []]);
});

test("a first subscribe that is refused is over; a later one is tried again where time may cure it", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  const refused = client.subscribe("no");
  socket.answer("refused", { code: "redis_unavailable" });
  assert.deepEqual(await outcomes([refused]), [["redis_unavailable", "no"]]);
  for (const channel of ["a", "b", "log"]) {
    client.subscribe(channel);
    socket.answer("subscribed", channel === "log" ? { id: "5-0" } : {});
  }
  socket.end(1006);
  const second = await next();
  second.say(ready({}, ROOM));
  await diary.find("gap");
  const [a, b, log] = second.frames;
  second.answer("refused", { code: "redis_unavailable" }, a);
  second.answer("refused", { code: "channel_not_allowed" }, b);
  second.answer("refused", { code: "since_invalid" }, log);
  const { channel, reason } = await diary.next("unsubscribed");
  assert.deepEqual([channel, reason], ["b", "channel_not_allowed"]);
  const early = outcomes([client.publish("a", 1)]); // it does not wait for what may take long
  second.answer("refused", { code: "channel_not_allowed" });
  assert.deepEqual((await early)[0], ["channel_not_allowed", "a"]);
  await until("both are asked for again", () => second.frames.length === 6);
  const subscribes = sent(second).filter(({ type }) => type === "subscribe");
  assert.deepEqual(subscribes.slice(3), [{ type: "subscribe", channel: "log" }, { type: "subscribe", channel: "a" }]);
  const published = client.publish("a", 2);
  assert.equal(second.frames.length, 6, "the message waits");
  second.answer("subscribed");
  assert.equal((await diary.next("gap")).channel, "a");
  second.answer("published");
  assert.deepEqual(await published, {});
});

test("what is taken away is told, and a place that is being asked for is not", async (t) => {
  const { client, diary, socket } = await opened(t);
  client.subscribe("a");
  socket.answer("subscribed");
  socket.say({ type: "presence", channel: "a", count: 1, users: ["ann"] });
  await diary.next("presence");
  socket.say({ type: "unsubscribed", channel: "a", reason: "channel_refused" });
  assert.equal((await diary.next("unsubscribed")).reason, "channel_refused");
  assert.deepEqual(client.presence, {});
  const asked = client.subscribe("a");
  socket.answer("subscribed");
  assert.deepEqual(await asked, { channel: "a" });
});

test("rosters follow presence, join and leave before their listeners run, and a session begins with none", async (t) => {
  const { client, diary, socket, next } = await opened(t);
  const seen = [];
  for (const type of ["presence", "join", "leave"]) client.addEventListener(type, () => seen.push(client.presence.room));
  socket.say({ type: "presence", channel: "room", count: 2, users: ["ann", "bob"] });
  socket.say({ type: "join", channel: "room", user: "cy" });
  socket.say({ type: "leave", channel: "room", user: "ann" });
  socket.say({ type: "presence", channel: "room", count: 2_000 });
  const users = ["bob", "cy"];
  assert.deepEqual(seen, [
    { count: 2, users: ["ann", "bob"] },
    { count: 3, users: ["ann", ...users] },
    { count: 2, users },
    { count: 2_000 },
  ]);
  socket.end(1006);
  assert.equal(client.presence.room.count, 2_000);
  (await next()).say(ready({}, ROOM));
  await diary.find("open");
  assert.deepEqual(client.presence, {});
});

test("Server-Sent Events tell presence, and refuse what was asked before the transport was known", async (t) => {
  const { client, diary, made, next } = scripted(t, { transport: "auto" });
  const asked = [client.publish(1), client.subscribe("a")];
  (await next()).end(1006);
  const events = await next();
  events.event("ready", ready({}, ROOM));
  assert.deepEqual(await outcomes(asked), [["not_supported", undefined], ["not_supported", "a"]]);
  await diary.find("open");
  events.event("presence", { type: "presence", channel: "room", count: 1, users: ["ann"] });
  events.event("join", { type: "join", channel: "room", user: "bob" });
  assert.deepEqual((await diary.find("join")).user, "bob");
  assert.deepEqual(client.presence.room.users, ["ann", "bob"]);
  assert.deepEqual(await outcomes([client.publish(2), client.unsubscribe("a")]), [["not_supported", undefined], ["not_supported", "a"]]);
  assert.equal(made.length, 2);
});

test("a session with nothing of its own has nothing to miss but what was added", async (t) => {
  const { diary, client, next } = scripted(t);
  client.subscribe("log");
  const first = await next();
  first.say(ready({}));
  await diary.next("open");
  first.answer("subscribed", { id: "5-0" });
  first.end(1012);
  const second = await next();
  second.say(ready({}));
  await diary.find("open");
  second.answer("subscribed", { id: "5-0", recovered: true, replayed: 0 });
  await diary.next("recovered");
  second.end(1012);
  const third = await next();
  third.say(ready({ news: "1-0" }));
  await diary.find("open");
  assert.equal((await diary.next("gap")).reason, "connection_lost", "it had no position of that one");
  third.end(1006);
  (await next()).say(ready({}));
  await diary.find("open");
  assert.equal((await diary.next("gap")).reason, "connection_lost", "the session before had something of its own");
});
