/** A network that swallows without closing: what only the client can notice, and when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import WebSocket from "ws";
import { Sockway } from "../sockway.js";
import { Diary, World, until } from "./rig.js";

/** What the endpoints of the rig say: a second in place of 25, so that a test need not wait for a minute. */
const HEARTBEAT = 1_000;
const PATIENCE = 2.5 * HEARTBEAT;

const KINDS = [
  ["/ws/beating", { format: "json" }],
  ["/ws/beating-raw", { format: "raw", heartbeatNotice: "alive", heartbeat: HEARTBEAT }],
];

function connect(t, url, options) {
  const sockets = [];
  class Kept extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  // A dead connection would keep the closing handshake, and this process, waiting for half a minute.
  t.after(() => sockets.forEach((socket) => socket.terminate()));
  const client = new Sockway(url, { WebSocket: Kept, minBackoff: 20, maxBackoff: 100, ...options });
  return { sockets, diary: new Diary(t, client) };
}

for (const [path, options] of KINDS) {
  test(`${path}: a connection that swallows is given up within its deadline, and the gap is told`, async (t) => {
    const world = await World.start(t);
    const { diary } = connect(t, world.lastingUrl(path), options);
    await diary.next("open");
    const swallowed = Date.now();
    world.front.swallow();
    await world.publish("open", "lost");
    const waiting = await diary.next("waiting");
    const took = Date.now() - swallowed;
    assert.deepEqual([waiting.code, waiting.reason], [1006, "heartbeats_missed"]);
    assert.ok(took > PATIENCE - HEARTBEAT && took < PATIENCE + 3 * HEARTBEAT, `took ${took} ms`);
    await diary.next("open");
    assert.equal((await diary.next("gap")).reason, "heartbeats_missed");
    await world.publish("open", "again");
    assert.deepEqual((await diary.next("message")).data, "again");
  });

  test(`${path}: a quiet connection that is alive stays, and heartbeats are no messages`, async (t) => {
    const world = await World.start(t);
    const { diary, sockets } = connect(t, world.url(path), options);
    await diary.next("open");
    let heartbeats = 0;
    sockets[0].on("message", () => (heartbeats += 1));
    await until("more heartbeats than its patience lasts", () => heartbeats >= 4);
    assert.deepEqual(diary.events.map((event) => event.type), ["open"]);
  });
}

test("a raw endpoint without a heartbeat is believed", async (t) => {
  const world = await World.start(t);
  const { diary } = connect(t, world.lastingUrl("/ws/open"), { heartbeat: HEARTBEAT });
  await diary.next("open");
  world.front.swallow();
  await assert.rejects(until("anything", () => diary.events.length > 1, PATIENCE + 2 * HEARTBEAT));
});

test("a page that stood still, and then comes into view, reads what came meanwhile before it judges", async (t) => {
  const world = await World.start(t);
  const document = new EventTarget();
  document.visibilityState = "visible";
  globalThis.document = document;
  t.after(() => delete globalThis.document);
  const { diary } = connect(t, world.url("/ws/beating"), { format: "json" });
  await diary.next("open");
  const stood = Date.now();
  while (Date.now() - stood < PATIENCE + HEARTBEAT); // as a debugger or a long script does
  document.dispatchEvent(new Event("visibilitychange"));
  await world.publish("open", "still here");
  assert.equal((await diary.next("message")).data, "still here");
});

test("a page that comes into view notices at once what died while its timers slept", async (t) => {
  const world = await World.start(t);
  const document = new EventTarget();
  document.visibilityState = "visible";
  globalThis.document = document;
  const { now } = Date;
  t.after(() => {
    delete globalThis.document;
    Date.now = now;
  });
  // An endpoint with the default heartbeat: by its timers alone this would take a minute.
  const { diary } = connect(t, world.lastingUrl("/ws/json-open"), { format: "json" });
  await diary.next("open");
  world.front.swallow();
  Date.now = () => now() + 63_000; // a suspended machine: the clock went on, the timers did not
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal((await diary.next("waiting")).reason, "heartbeats_missed");
});
