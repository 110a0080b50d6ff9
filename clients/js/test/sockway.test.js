/** The client in Node against the real gateway: each ending, and what the client makes of it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import WebSocket from "ws";
import { AFTER_CLOSE, Sockway } from "../sockway.js";
import { Diary, World, token, until } from "./rig.js";

const FAST = { WebSocket, minBackoff: 20, maxBackoff: 100, spread: 200 };

function connect(t, url, options = {}) {
  const client = new Sockway(url, { ...FAST, ...options });
  return { client, diary: new Diary(t, client) };
}

test("every documented close code has the action that the document asks for", () => {
  const protocol = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
  const table = protocol.split("\n## Close codes\n")[1].split("\n## ")[0];
  const rows = [
    ...table.matchAll(/^\| (\d+) \| `\w+` \| (.+) \|$/gm),
    ...table.matchAll(/^(\d+) is never sent by this version.*: (.+)\.$/gm),
  ];
  const meanings = { stop: "stop", nothing: "stop", "get a": "token", "reconnect at a random moment": "soon", "reconnect, and back off": "backoff", reconnect: "now" };
  for (const [, code, asked] of rows) {
    const meaning = Object.keys(meanings).find((start) => asked.startsWith(start));
    // 4010 concerns many clients at once: `soon` is how a considerate one reconnects.
    const expected = code === "4010" ? "soon" : meanings[meaning];
    assert.equal(AFTER_CLOSE[Number(code)], expected, `${code}: ${asked}`);
  }
  // The text below the table documents 1013, which only others send.
  assert.match(protocol, /^1013 .* reconnect, and back off\.$/m);
  assert.equal(AFTER_CLOSE[1013], "backoff");
  assert.deepEqual(new Set([...rows.map(([, code]) => code), "1013"]), new Set(Object.keys(AFTER_CLOSE)));
});

test("what is published after open arrives, as text, as bytes, and as JSON", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.url("/ws/raw"), { token: token("ann") });
  const { diary: json } = connect(t, world.url("/ws/json"), { token: () => token("ann"), format: "json" });
  await diary.next("open");
  assert.deepEqual((await json.next("open")).channels, ["user:ann"]);
  await world.publish("user:ann", '{"n":1}');
  await world.publish("user:ann", Buffer.from([0xff, 0x00]));
  assert.equal((await diary.next("message")).data, '{"n":1}');
  assert.deepEqual(new Uint8Array((await diary.next("message")).data), Uint8Array.of(0xff, 0x00));
  const message = await json.next("message");
  assert.deepEqual([message.channel, message.data], ["user:ann", { n: 1 }]);
  assert.deepEqual(new Uint8Array((await json.next("message")).data), Uint8Array.of(0xff, 0x00));
});

test("a token can go into the query, and is no part of any event", async (t) => {
  const world = await World.start(t);
  const secret = token("ann");
  const { diary } = connect(t, world.lastingUrl("/ws/raw?room=1"), { token: secret, tokenIn: "query" });
  await diary.next("open");
  await world.stopGateway();
  await diary.next("waiting");
  for (const event of diary.events) assert.ok(!JSON.stringify({ ...event }).includes(secret));
});

test("a killed gateway is waited for, and the gap is told behind the new open", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.lastingUrl("/ws/open"));
  await diary.next("open");
  await world.stopGateway();
  const waiting = await diary.next("waiting");
  assert.equal(waiting.code, 1006);
  await until("it has tried and failed", () => diary.events.length > 3);
  await world.startGateway();
  await diary.find("open");
  assert.equal((await diary.next("gap")).reason, "connection_lost");
  assert.equal(await world.publish("open", "again"), 1);
  assert.equal((await diary.next("message")).data, "again");
});

test("a restart is followed by a random moment within the spread", async (t) => {
  const world = await World.start(t);
  const diaries = Array.from({ length: 20 }, () => connect(t, world.lastingUrl("/ws/open"), { spread: 60_000 }).diary);
  for (const diary of diaries) await diary.next("open");
  await world.stopGateway("SIGTERM");
  const delays = [];
  for (const diary of diaries) {
    const { code, reason, delay } = await diary.next("waiting");
    assert.deepEqual([code, reason], [1012, "restarting"]);
    delays.push(delay);
  }
  // Twenty even draws from a minute: that all fall within a third of it has a chance of one in 10⁸.
  assert.ok(Math.max(...delays) - Math.min(...delays) > 20_000, String(delays));
  assert.ok(Math.max(...delays) <= 60_000);
});

test("an expired token is replaced, and the session goes on with the gap told", async (t) => {
  const world = await World.start(t);
  const asked = [];
  const source = (refused) => token("ann", asked.push(refused) === 1 ? 2 : 600);
  const { diary } = connect(t, world.url("/ws/raw"), { token: source });
  await diary.next("open");
  const waiting = await diary.next("waiting");
  assert.deepEqual([waiting.code, waiting.reason, waiting.delay], [3000, "token_expired", 0]);
  await diary.next("open");
  assert.equal((await diary.next("gap")).reason, "token_expired");
  assert.deepEqual(asked, [null, { code: 3000, reason: "token_expired" }]);
});

test("a revoked user is stopped when there is only the same token to try again", async (t) => {
  const world = await World.start(t);
  const same = token("ann");
  const { diary, client } = connect(t, world.url("/ws/raw"), { token: () => same });
  const { diary: fixed } = connect(t, world.url("/ws/raw"), { token: same });
  await diary.next("open");
  await fixed.next("open");
  await world.publish("sockway:control", '{"disconnect":{"user":"ann"}}');
  await diary.next("waiting");
  for (const one of [diary, fixed]) {
    const { code, reason } = await one.next("stopped");
    assert.deepEqual([code, reason], [3000, "revoked"]);
  }
  assert.equal(client.state, "stopped");
});

test("a signed-out user is not reconnected", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.url("/ws/raw"), { token: (refused) => (refused ? null : token("ann")) });
  await diary.next("open");
  await world.publish("sockway:control", '{"disconnect":{"user":"ann"}}');
  await diary.next("waiting");
  assert.equal((await diary.next("stopped")).reason, "revoked");
});

test("a token that is refused before the upgrade is asked for anew", async (t) => {
  const world = await World.start(t);
  let asked = 0;
  const { diary } = connect(t, world.url("/ws/raw"), { token: () => (asked++ < 2 ? "not-a-token" : token("ann")) });
  for (let refusals = 0; refusals < 2; refusals += 1) assert.equal((await diary.next("waiting")).code, 1006);
  await diary.next("open");
  assert.equal(asked, 3);
});

test("a backend that cannot give a token is asked again", async (t) => {
  const world = await World.start(t);
  let asked = 0;
  const source = async () => {
    if (asked++ === 0) throw new Error("the backend is down");
    return token("ann");
  };
  const { diary } = connect(t, world.url("/ws/raw"), { token: source });
  assert.equal((await diary.next("waiting")).reason, "no_token");
  await diary.next("open");
});

test("a token that never comes does not hold the client for ever", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.url("/ws/raw"), { token: () => new Promise(() => {}), openTimeout: 50 });
  assert.equal((await diary.next("waiting")).reason, "open_timeout");
  assert.equal((await diary.next("waiting")).reason, "open_timeout");
});

test("a token is refused by name when the gateway accepts first", async (t) => {
  const world = await World.start(t, '[auth]\nreject = "close"\n');
  const { diary } = connect(t, world.url("/ws/json"), { token: "not-a-token", format: "json" });
  const { code, reason } = await diary.next("stopped");
  assert.deepEqual([code, reason], [3000, "token_invalid"]);
});

test("a slow consumer comes back at once and is told of the gap", async (t) => {
  const world = await World.start(t);
  const sockets = [];
  class Kept extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const { diary } = connect(t, world.url("/ws/narrow"), { WebSocket: Kept });
  await diary.next("open");
  sockets[0].pause();
  // What the kernel does not take must go into a queue of one message.
  const large = "x".repeat(7_000_000);
  await until("the gateway has given it up", async () => {
    await world.publish("narrow", large);
    return (await world.metric('sockway_missed_messages_total{endpoint="narrow",reason="slow_consumer"}')) > 0;
  });
  sockets[0].resume();
  const waiting = await diary.find("waiting");
  assert.deepEqual([waiting.code, waiting.reason, waiting.delay], [4008, "slow_consumer", 0]);
  await diary.find("open");
  assert.equal((await diary.next("gap")).reason, "slow_consumer");
});

test("a lost Redis is a gap on the connection that stays, raw and json", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.url("/ws/open"));
  const { diary: json } = connect(t, world.url("/ws/json"), { token: token("ann"), format: "json" });
  await diary.next("open");
  await json.next("open");
  await world.stopRedis();
  await world.startRedis();
  assert.equal((await diary.next("gap")).reason, "notice");
  const gap = await json.next("gap");
  assert.deepEqual([gap.reason, gap.channel, gap.missed], ["redis_reconnected", "user:ann", null]);
});

test("a refreshed token keeps the session beyond its first expiry", async (t) => {
  const world = await World.start(t);
  const { client, diary } = connect(t, world.url("/ws/json"), { token: token("ann", 3), format: "json" });
  assert.equal(client.refresh(token("ann", 3)), false, "not open yet");
  await diary.next("open");
  assert.equal(client.refresh(token("ann", 600)), true);
  await new Promise((resolve) => setTimeout(resolve, 4_500)); // nothing to wait for but its absence
  assert.deepEqual(diary.events.map((event) => event.type), ["open"]);
});

test("a client that the gateway says is wrong stops", async (t) => {
  const world = await World.start(t);
  const { client, diary } = connect(t, world.url("/ws/strict"), { format: "raw" });
  await diary.next("open");
  client.refresh("a message where none is expected");
  const { code, reason } = await diary.next("stopped");
  assert.deepEqual([code, reason], [1003, "unexpected_message"]);
});

test("each message of a binary endpoint is an ArrayBuffer, and never taken for a notice", async (t) => {
  const world = await World.start(t);
  const options = { format: "binary", heartbeatNotice: "alive", heartbeat: 1_000 };
  const { diary } = connect(t, world.url("/ws/binary"), options);
  await diary.next("open");
  for (const payload of ['{"type":"gap"}', "alive", "é"]) {
    assert.equal(await world.publish("open", payload), 1);
    const { data } = await diary.next("message");
    assert.ok(data instanceof ArrayBuffer);
    assert.equal(new TextDecoder().decode(data), payload);
  }
  assert.deepEqual(diary.events.filter(({ type }) => type === "gap"), []);
});

test("a raw endpoint that is taken for a json one stops the client", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.url("/ws/open"), { format: "json" });
  await until("it is subscribed", async () => (await world.publish("open", "no JSON")) === 1);
  assert.equal((await diary.next("stopped")).reason, "not_a_json_endpoint");
});

test("close ends it, even before it is open, and frees the process", async (t) => {
  const world = await World.start(t);
  const { client, diary } = connect(t, world.url("/ws/open"));
  client.close();
  const { code, reason } = await diary.next("stopped");
  assert.deepEqual([code, reason], [1000, "bye"]);
  await until("nobody is subscribed", async () => (await world.publish("open", "hello")) === 0);
  assert.equal(diary.events.length, 1);
});

test("a token that comes after close connects nothing", async (t) => {
  const world = await World.start(t);
  let give;
  const { client, diary } = connect(t, world.url("/ws/raw"), { token: () => new Promise((resolve) => (give = resolve)) });
  await until("the token is asked for", () => give);
  client.close();
  give(token("ann"));
  await assert.rejects(until("a subscriber", async () => (await world.publish("user:ann", "hello")) > 0, 500));
  assert.deepEqual(diary.events.map((event) => event.type), ["stopped"]);
});

test("wrong arguments are told at once", () => {
  assert.throws(() => new Sockway("not a URL", FAST), TypeError);
  assert.throws(() => new Sockway("ws://localhost/", { WebSocket: null }), /pass options.WebSocket/);
});

test("a token that no subprotocol can carry stops the client and is not shown", async (t) => {
  const { diary } = connect(t, "ws://127.0.0.1:9/", { token: "two words" });
  const stopped = await diary.next("stopped");
  assert.equal(stopped.reason, "unusable_url_or_token");
});
