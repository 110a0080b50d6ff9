/** Positions: which are kept, when they are sent, and what is told of what was missed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { message, ready, scripted } from "./script.js";

const RECOVERED = { id: "5-0", recovered: true, replayed: 2 };

test("the id that came last is the position, from ready, message and gap, even where it is smaller", async (t) => {
  const { client, diary, next } = scripted(t);
  const socket = await next();
  assert.deepEqual(client.positions, {});
  socket.say(ready({ "chat:7": "5-0", news: "0-0" }));
  await diary.next("open");
  assert.deepEqual(client.positions, { "chat:7": "5-0", news: "0-0" });
  socket.say(message("chat:7", "6-0", "hi"));
  const { id, channel, data } = await diary.next("message");
  assert.deepEqual([id, channel, data], ["6-0", "chat:7", "hi"]);
  assert.equal(client.positions["chat:7"], "6-0");
  socket.say({ type: "gap", channel: "chat:7", reason: "stream_reset", missed: null, id: "2-0" });
  const gap = await diary.next("gap");
  assert.deepEqual([gap.id, gap.reason, gap.missed], ["2-0", "stream_reset", null]);
  socket.say(message("news", "3-1", 1));
  await diary.next("message");
  assert.deepEqual(client.positions, { "chat:7": "2-0", news: "3-1" });
});

test("a message of a channel has no position, and changes none", async (t) => {
  const { client, diary, next } = scripted(t);
  const socket = await next();
  socket.say(ready({ news: "3-0" }, { channels: ["open"] }));
  socket.say({ type: "message", channel: "open", data: 1 });
  await diary.next("open");
  assert.ok(!("id" in (await diary.next("message"))));
  assert.deepEqual(client.positions, { news: "3-0" });
});

test("listeners see the position of what they are told", async (t) => {
  const { client, next } = scripted(t);
  const seen = [];
  client.addEventListener("open", () => seen.push(client.positions.news));
  client.addEventListener("message", () => seen.push(client.positions.news));
  const socket = await next();
  socket.say(ready({ news: "3-0" }));
  socket.say(message("news", "4-0", 1));
  assert.deepEqual(seen, ["3-0", "4-0"]);
});

for (const code of [1006, 1011, 1012, 1013, 3008, 4008, 4010, 4012]) {
  test(`after ${code} it comes back with its position`, async (t) => {
    const { next } = scripted(t);
    const first = await next();
    assert.deepEqual(first.query, {});
    first.say(ready({ "chat:7": "5-0" }));
    first.say(message("chat:7", "6-0", "hi"));
    first.end(code);
    assert.deepEqual((await next()).query, { since: "chat:7@6-0" });
  });
}

test("after 3000 it comes back with its position, and a new token", async (t) => {
  const { next } = scripted(t, { token: () => `t${++asked}` });
  let asked = 0;
  const first = await next();
  first.say(ready({ "chat:7": "5-0" }));
  first.end(3000, "token_expired");
  const second = await next();
  assert.deepEqual(second.query, { since: "chat:7@5-0" });
  assert.deepEqual(second.args, [["bearer", "t2"]]);
});

for (const code of [1000, 1003, 1008, 3003, 4011]) {
  test(`after ${code} it stops, and its positions can still be stored`, async (t) => {
    const { client, diary, made, next } = scripted(t);
    const socket = await next();
    socket.say(ready({ news: "3-0" }));
    socket.end(code, "why");
    const stopped = await diary.find("stopped");
    assert.deepEqual([stopped.code, stopped.reason, made.length], [code, "why", 1]);
    assert.deepEqual(client.positions, { news: "3-0" });
  });
}

for (const [since, asked] of [[{ news: "1-0" }, "news@1-0"], ["1-0", "1-0"]]) {
  test(`4009 drops the positions, even those that were asked with (${asked}), and is a gap`, async (t) => {
    const { client, diary, next } = scripted(t, { since });
    const first = await next();
    assert.deepEqual(first.query, { since: asked });
    first.end(4009, "gap"); // in the place of its ready
    await diary.next("waiting");
    assert.deepEqual(client.positions, {});
    const second = await next();
    assert.deepEqual(second.query, {});
    second.say(ready({ news: "9-0" }));
    await diary.next("open");
    assert.equal((await diary.next("gap")).reason, "gap");
  });
}

for (const transport of ["websocket", "sse"]) {
  const say = (connection, frame) => (connection.say ? connection.say(frame) : connection.event("ready", frame));
  const fail = (connection) => (connection.say ? connection.end(1006) : connection.tell("error"));

  test(`an endpoint without streams refuses positions: the third attempt makes none, and it is a gap (${transport})`, async (t) => {
    const { client, diary, next } = scripted(t, { since: { news: "1-0" }, last: 5, transport });
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const refused = await next();
      assert.deepEqual(refused.query, { since: "news@1-0", last: "5" });
      fail(refused);
    }
    const probe = await next();
    assert.deepEqual(probe.query, {});
    say(probe, ready({}, { channels: ["open"] }));
    assert.deepEqual((await diary.find("open")).channels, ["open"]);
    assert.equal((await diary.next("gap")).reason, "no_streams");
    assert.deepEqual(client.positions, {});
    fail(probe);
    assert.deepEqual((await next()).query, {}, "nothing is asked of streams that are not there");
  });

  test(`a gateway that was away is asked for the positions once more (${transport})`, async (t) => {
    const { diary, next } = scripted(t, { since: { news: "1-0" }, transport });
    for (let attempt = 0; attempt < 2; attempt += 1) fail(await next());
    say(await next(), ready({ news: "9-0" }));
    const again = await next();
    assert.deepEqual(again.query, { since: "news@1-0" });
    say(again, ready({ news: { id: "1-0", recovered: true, replayed: 8 } }));
    await diary.find("open");
    assert.equal((await diary.next("recovered")).replayed, 8);
    assert.equal(diary.events.filter(({ type }) => type === "open").length, 1);
  });
}

test("positions that are refused though there are streams are dropped, and that is a gap", async (t) => {
  const { diary, next } = scripted(t, { since: { news: "1-0" } });
  for (let attempt = 0; attempt < 2; attempt += 1) (await next()).end(1006);
  (await next()).say(ready({ news: "9-0" }));
  (await next()).end(1006);
  const without = await next();
  assert.deepEqual(without.query, {});
  without.say(ready({ news: "9-0" }));
  await diary.find("open");
  assert.equal((await diary.next("gap")).reason, "positions_refused");
});

test("4012 backs off", async (t) => {
  const { diary, next } = scripted(t, { minBackoff: 1e9, maxBackoff: 1e9 });
  const socket = await next();
  socket.say(ready({ news: "1-0" }));
  socket.end(4012, "channel_refused");
  assert.ok((await diary.find("waiting")).delay > 0);
});

test("names of streams are encoded in a list, and the list in the query", async (t) => {
  const { next } = scripted(t, { since: { "a,b": "5-0", "100%@home": "6-1" } });
  const { url } = await next();
  assert.equal(url.search, "?since=a%252Cb%405-0%2C100%2525%2540home%406-1");
  assert.equal(url.searchParams.get("since"), "a%2Cb@5-0,100%25%40home@6-1");
});

test("a bare position goes as it is, until ready has named its stream", async (t) => {
  const { next } = scripted(t, { since: "1795769040539-0", last: 20 });
  const first = await next();
  assert.deepEqual(first.query, { since: "1795769040539-0", last: "20" });
  first.end(1006);
  const second = await next();
  assert.deepEqual(second.query, { since: "1795769040539-0", last: "20" });
  second.say(ready({ news: { ...RECOVERED, id: "1795769040539-0" } }));
  second.say(message("news", "1795769040541-0", 1));
  second.end(1006);
  assert.deepEqual((await next()).query, { since: "news@1795769040541-0", last: "20" });
});

test("what another page stored is where this one begins, and the query that it had stays", async (t) => {
  const before = scripted(t);
  const socket = await before.next();
  socket.say(ready({ news: "3-0" }));
  await before.diary.next("open");
  const stored = JSON.parse(JSON.stringify(before.client.positions));
  assert.deepEqual((await scripted(t, { since: stored }).next()).query, { since: "news@3-0" });
});

test("a stream without an id in ready has no position, and what is not the session's is forgotten", async (t) => {
  const { client, diary, next } = scripted(t, { since: { news: "3-0", gone: "1-0" } });
  (await next()).say(ready({ news: { recovered: false, reason: "trimmed", missed: null } }));
  await diary.next("open");
  assert.deepEqual(client.positions, {});
});

test("positions take no more of the URL than the gateway reads, and what finds no room is a gap", async (t) => {
  const since = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`tenant:${i}:a-rather-long-name`, "1795769040539-0"]));
  const { diary, next } = scripted(t, { since });
  const socket = await next();
  const sent = socket.query.since.split(",");
  assert.ok(sent.length > 50 && encodeURIComponent(socket.query.since).length <= 4_096, socket.query.since);
  const answered = new Set(sent.map((one) => one.split("@")[0]));
  const said = Object.entries(since).map(([name, id]) => [name, answered.has(name) ? { id, recovered: true, replayed: 0 } : id]);
  socket.say(ready(Object.fromEntries(said)));
  assert.equal((await diary.find("gap")).reason, "no_position");
});

test("what recovers is told behind open, and is no gap", async (t) => {
  const { diary, next } = scripted(t);
  const first = await next();
  first.say(ready({ "chat:7": "5-0", news: "1-0" }));
  first.end(1012, "restarting");
  const second = await next();
  second.say(ready({ "chat:7": RECOVERED, news: { id: "1-0", recovered: true, replayed: 0 } }));
  second.say(message("chat:7", "6-0", "hi"));
  await diary.find("waiting");
  assert.equal((await diary.next("open")).streams["chat:7"].replayed, 2);
  for (const [channel, replayed] of [["chat:7", 2], ["news", 0]]) {
    const told = await diary.next("recovered");
    assert.deepEqual([told.channel, told.replayed], [channel, replayed]);
  }
  await diary.next("message");
});

test("what does not recover is a gap with its reason and number", async (t) => {
  const { diary, next } = scripted(t, { since: { "chat:7": "0-0", news: "1-0" } });
  const socket = await next();
  socket.say(ready({ "chat:7": { id: "9-0", recovered: false, reason: "trimmed", missed: 12 }, news: { id: "1-0", recovered: true, replayed: 0 } }));
  await diary.next("open");
  const { channel, reason, missed, id } = await diary.next("gap");
  assert.deepEqual([channel, reason, missed, id], ["chat:7", "trimmed", 12, "9-0"]);
  assert.equal((await diary.next("recovered")).channel, "news");
});

test("channels beside a stream keep nothing: a loss is a gap of theirs, though the stream recovers", async (t) => {
  const { diary, next } = scripted(t);
  const first = await next();
  first.say(ready({ news: "1-0" }, { channels: ["open"] }));
  first.end(1012, "restarting");
  (await next()).say(ready({ news: { id: "1-0", recovered: true, replayed: 0 } }, { channels: ["open"] }));
  await diary.find("recovered");
  const gap = await diary.next("gap");
  assert.deepEqual([gap.reason, gap.channel], ["restarting", undefined]);
});

test("a client that a listener closes is told nothing more", async (t) => {
  const { client, diary, next } = scripted(t, { since: { news: "1-0" } });
  client.addEventListener("open", () => client.close());
  (await next()).say(ready({ news: RECOVERED }));
  await diary.next("open");
  await diary.next("stopped");
  assert.equal(diary.events.length, 2);
});

test("a position that is none is refused at once", (t) => {
  for (const since of ["", "5", "5-", "-1", "5-0-0", { news: "now" }, { news: "5-0 " }]) {
    assert.throws(() => scripted(t, { since }), /no position/, JSON.stringify(since));
  }
});
