/** Server-Sent Events: the same events as by WebSocket, and when they are used. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { message, ready, scripted } from "./script.js";

const SSE = { transport: "sse" };

test("a json endpoint says the same by Server-Sent Events as by WebSocket", async (t) => {
  const { client, diary, next } = scripted(t, { ...SSE, token: "abc", last: 2 });
  const source = await next();
  assert.deepEqual([source.url.protocol, source.query], ["https:", { token: "abc", last: "2" }]);
  assert.deepEqual(source.args, [{ withCredentials: false }]);
  source.event("ready", ready({ news: "3-0" }), "3-0");
  source.event("message", message("news", "4-0", { n: 1 }), "4-0");
  source.event("message", { type: "message", channel: "news", id: "5-0", data_base64: "/wA=" }, "5-0");
  source.event("gap", { type: "gap", channel: "news", reason: "stream_trimmed", missed: 3, id: "8-0" }, "8-0");
  assert.deepEqual((await diary.next("open")).streams, { news: { id: "3-0" } });
  const first = await diary.next("message");
  assert.deepEqual([first.channel, first.id, first.data], ["news", "4-0", { n: 1 }]);
  assert.deepEqual(new Uint8Array((await diary.next("message")).data), Uint8Array.of(0xff, 0x00));
  const gap = await diary.next("gap");
  assert.deepEqual([gap.channel, gap.reason, gap.missed], ["news", "stream_trimmed", 3]);
  source.end(1012, "restarting");
  const waiting = await diary.next("waiting");
  assert.deepEqual([waiting.code, waiting.reason, source.isClosed], [1012, "restarting", true]);
  assert.deepEqual((await next()).query, { token: "abc", since: "news@8-0", last: "2" });
  assert.equal(client.state, "connecting");
});

test("a raw endpoint's positions are the ids of its events", async (t) => {
  const { client, diary, next } = scripted(t, { ...SSE, format: "raw" });
  const source = await next();
  source.event("ready", { session: "9", streams: { news: {} }, heartbeat_ms: 25_000 });
  source.event("message", "one\ntwo", "4-0");
  source.event("base64", "/wA=", "5-0");
  source.event("gap", { type: "gap", channel: "open", reason: "redis_reconnected", missed: null });
  source.event("gap", { type: "gap", channel: "news", reason: "stream_trimmed", missed: 2, id: "7-0" });
  await diary.next("open");
  const text = await diary.next("message");
  assert.deepEqual([text.data, text.id], ["one\ntwo", "4-0"]);
  assert.deepEqual(new Uint8Array((await diary.next("message")).data), Uint8Array.of(0xff, 0x00));
  const ofChannel = await diary.next("gap");
  assert.deepEqual([ofChannel.channel, ofChannel.id], ["open", undefined]);
  assert.deepEqual([(await diary.next("gap")).missed, client.positions.news], [2, "7-0"]);
  assert.deepEqual(client.positions, { news: "7-0" });
  source.tell("error");
  assert.deepEqual((await next()).query, { since: "news@7-0" });
});

test("a raw endpoint without streams has no positions", async (t) => {
  const { client, diary, next } = scripted(t, { ...SSE, format: "raw" });
  const source = await next();
  source.event("ready", { session: "9", channels: ["open"] });
  source.event("message", "hi");
  source.event("gap", { type: "gap", channel: "open", reason: "redis_reconnected", missed: null });
  await diary.next("open");
  assert.ok(!("id" in (await diary.next("message"))));
  assert.equal((await diary.next("gap")).reason, "redis_reconnected");
  assert.deepEqual(client.positions, {});
});

test("a connection that fails is given up by the client, which decides itself when to come back", async (t) => {
  const { diary, next, made } = scripted(t, { ...SSE, minBackoff: 1e9, maxBackoff: 1e9 });
  const source = await next();
  source.event("ready", ready({ news: "3-0" }), "3-0");
  source.tell("error");
  const waiting = await diary.find("waiting");
  assert.deepEqual([waiting.code, source.isClosed, made.length], [1006, true, 1]);
  source.event("message", message("news", "4-0", 1), "4-0");
  assert.equal(diary.events.at(-1), waiting, "and nothing of it is heard any more");
});

test("a close that asks to stop stops it", async (t) => {
  const { diary, next } = scripted(t, SSE);
  (await next()).end(4011, "replaced");
  const stopped = await diary.next("stopped");
  assert.deepEqual([stopped.code, stopped.reason], [4011, "replaced"]);
});

test("heartbeats and presence keep it alive, and silence ends it", async (t) => {
  const ends = ["heartbeat", "presence", "join", "leave"].map(async (type) => {
    const { diary, next } = scripted(t, SSE);
    const source = await next();
    source.event("ready", ready({ news: "3-0" }, { heartbeat_ms: 300 }), "3-0");
    const began = Date.now();
    const beats = setInterval(() => source.event(type, { type }), 100);
    setTimeout(() => clearInterval(beats), 1_500);
    const waiting = await diary.find("waiting");
    assert.deepEqual([waiting.code, waiting.reason], [1006, "heartbeats_missed"], type);
    assert.ok(Date.now() - began > 2_300, `${type}: after ${Date.now() - began} ms`);
  });
  await Promise.all(ends);
});

test("a fresh token cannot be sent by it, and is that of the next session", async (t) => {
  const { client, diary, next } = scripted(t, { ...SSE, token: () => "first" });
  const first = await next();
  first.event("ready", ready({ news: "3-0" }), "3-0");
  await diary.next("open");
  assert.equal(client.refresh("second"), false);
  first.end(3000, "token_expired");
  assert.equal((await next()).query.token, "second");
});

test("auto tries the two in turn until one has opened, and stays with that", async (t) => {
  const { diary, next } = scripted(t, { transport: "auto", token: () => "abc" });
  (await next()).end(1006);
  const source = await next();
  assert.equal(source.url.protocol, "https:");
  source.tell("error");
  const socket = await next();
  assert.equal(socket.url.protocol, "wss:");
  socket.end(1006);
  const used = await next();
  used.event("ready", ready({ news: "3-0" }), "3-0");
  used.tell("error");
  const again = await next();
  assert.equal(again.url.protocol, "https:");
  again.tell("error");
  assert.equal((await next()).url.protocol, "https:");
  await diary.find("open");
});

test("auto never leaves a WebSocket that has opened once", async (t) => {
  const { next } = scripted(t, { transport: "auto" });
  const first = await next();
  first.say(ready({ news: "3-0" }));
  for (let connection = first, tries = 0; tries < 3; tries += 1) {
    connection.end(1006);
    connection = await next();
    assert.equal(connection.url.protocol, "wss:");
  }
});

test("without a choice there is WebSocket alone, and no EventSource is needed", async (t) => {
  const { next } = scripted(t, { EventSource: undefined });
  for (let tries = 0; tries < 3; tries += 1) {
    const socket = await next();
    assert.equal(socket.url.protocol, "wss:");
    socket.end(1006);
  }
  for (const transport of ["sse", "auto"]) {
    assert.throws(() => scripted(t, { transport, EventSource: undefined }), /pass options.EventSource/);
  }
  assert.throws(() => scripted(t, { transport: "carrier pigeon" }), TypeError);
});
