/**
 * The client in Chromium, with the browser's own WebSocket. The page tells its events over HTTP, so
 * nothing drives the browser but the address it is started with.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { BOTH, STREAMS, World, token, until } from "./rig.js";

const places = ["chromium", "chromium-browser", "google-chrome"].flatMap((name) => process.env.PATH.split(delimiter).map((path) => join(path, name)));
const BROWSER = places.find((place) => existsSync(place));
const REQUIRED = process.env.CI === "true";
const OPTIONS = { skip: BROWSER || REQUIRED ? false : "there is no Chromium here" };

/** A page in a browser of the test's own. */
class Page {
  constructor(t) {
    this.said = [];
    this.everything = [];
    this.orders = [];
    const files = { "/": ["page.html", "text/html"], "/sockway.js": ["../sockway.js", "text/javascript"] };
    this.server = createServer((request, response) => {
      if (request.url === "/say") return void this.#hear(request, response);
      if (request.url === "/order") return void this.#await(response);
      const [file, type] = files[request.url] ?? [];
      if (!file) return void response.writeHead(404).end();
      response.setHeader("Content-Type", `${type}; charset=utf-8`);
      response.end(readFileSync(new URL(file, import.meta.url)));
    });
    t.after(() => {
      this.server.closeAllConnections?.();
      this.server.close();
    });
  }

  static async open(t, options) {
    const page = new Page(t);
    page.server.listen(0, "127.0.0.1");
    await once(page.server, "listening");
    const profile = mkdtempSync(join(tmpdir(), "sockway-chromium-"));
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage", "--no-first-run", `--user-data-dir=${profile}`];
    const address = `http://127.0.0.1:${page.server.address().port}/#${encodeURIComponent(JSON.stringify(options))}`;
    const browser = spawn(BROWSER, [...flags, "--remote-debugging-port=0", address], { stdio: "ignore", detached: true });
    const ended = once(browser, "exit");
    t.after(async () => {
      process.kill(-browser.pid, "SIGKILL"); // its own group: its helpers go with it
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    });
    return page;
  }

  async #hear(request, response) {
    const [body] = await once(request, "data");
    const said = JSON.parse(body);
    this.said.push(said);
    this.everything.push(said);
    response.end();
  }

  /** Answers when there is an order. */
  async #await(response) {
    await until("an order", () => this.orders.length > 0 || response.destroyed, 60_000).catch(() => {});
    response.end(this.orders.shift());
  }

  /** The data of every message so far, in the page's order. */
  messages() {
    const messages = this.everything.filter(({ type }) => type === "message");
    return messages.sort((a, b) => a.number - b.number).map(({ data }) => data);
  }

  /** The first event of this type that was not read yet. */
  async find(type) {
    let found;
    await until(`${type} in ${JSON.stringify(this.said)}`, () => (found = this.said.findIndex((event) => event.type === type)) >= 0, 30_000);
    return this.said.splice(0, found + 1).at(-1);
  }
}

test("a page gets its messages, sits out a restart, and is told of the gap", OPTIONS, async (t) => {
  const world = await World.start(t);
  const page = await Page.open(t, { url: world.lastingUrl("/ws/raw"), token: token("ann"), spread: 100, minBackoff: 50 });
  await page.find("open");
  assert.equal(await world.publish("user:ann", '{"type":"order_shipped"}'), 1);
  assert.equal((await page.find("message")).data, '{"type":"order_shipped"}');
  await world.stopGateway("SIGTERM");
  const waiting = await page.find("waiting");
  assert.deepEqual([waiting.code, waiting.reason], [1012, "restarting"]);
  await world.startGateway();
  await page.find("open");
  assert.equal((await page.find("gap")).reason, "restarting");
  await world.publish("sockway:control", '{"disconnect":{"user":"ann"}}');
  const stopped = await page.find("stopped");
  assert.deepEqual([stopped.code, stopped.reason], [3000, "revoked"]);
});

test("coming online, and coming into view, ends the waiting; a change of network renews the connection", OPTIONS, async (t) => {
  const world = await World.start(t);
  // Left alone, this client would wait for half an hour and more.
  const page = await Page.open(t, { url: world.lastingUrl("/ws/open"), minBackoff: 1e9, maxBackoff: 1e9 });
  await page.find("open");
  for (const order of ["online", "visibilitychange"]) {
    await world.stopGateway();
    assert.equal((await page.find("waiting")).code, 1006);
    await world.startGateway();
    page.orders.push(order);
    await page.find("open");
    assert.equal((await page.find("gap")).reason, "connection_lost");
  }
  page.orders.push("offline", "online");
  assert.equal((await page.find("waiting")).reason, "network_changed");
  await page.find("open");
  assert.equal((await page.find("gap")).reason, "network_changed");
  page.orders.push("close");
  assert.deepEqual((await page.find("stopped")).code, 1000);
});

test("two pages talk in a room, one adds another room, and through a restart neither loses what it wrote", OPTIONS, async (t) => {
  const world = await World.start(t, BOTH);
  const open = (user) => Page.open(t, { url: world.lastingUrl("/ws/talk/7"), token: token(user), format: "json", spread: 100, minBackoff: 50 });
  const ann = await open("ann");
  assert.deepEqual((await ann.find("presence")).users, ["ann"]);
  const bob = await open("bob");
  assert.equal((await ann.find("join")).user, "bob");
  assert.deepEqual((await bob.find("presence")).users, ["ann", "bob"]);
  const call = (page, ...words) => page.orders.push(JSON.stringify(words));
  call(bob, "publish", "talk:7", "hi");
  const { data } = await ann.find("message");
  assert.deepEqual([data.user, data.data], ["bob", "hi"]);
  call(ann, "publish", "talk:8", 1);
  assert.equal((await ann.find("failed")).code, "channel_not_allowed");
  call(ann, "subscribe", "talk:8");
  assert.deepEqual((await ann.find("done")).value, { channel: "talk:8" });
  await world.stopGateway();
  await ann.find("waiting");
  call(ann, "publish", "talk:8", 2);
  await world.startGateway();
  const message = await ann.find("message");
  assert.deepEqual([message.channel, message.data.data], ["talk:8", 2]);
  call(ann, "unsubscribe", "talk:8");
  await until("it is given back", async () => (await ann.find("done")).method === "unsubscribe");
});

for (const [how, path, options, payload] of [
  ["by WebSocket", "chat", { format: "json" }, (data) => data],
  ["by Server-Sent Events", "chat", { format: "json", transport: "sse" }, (data) => data],
  ["by Server-Sent Events, raw", "chat-raw", { transport: "sse" }, Number],
  ["by an EventSource alone", "chat-raw", { plain: true }, Number],
]) {
  test(`a page misses nothing and gets nothing twice through kill and drain, ${how}`, OPTIONS, async (t) => {
    const world = await World.start(t, STREAMS);
    const url = `${options.plain ? "http" : "ws"}://${world.front.address}/ws/${path}/7`;
    const page = await Page.open(t, { url, spread: 100, minBackoff: 50, maxBackoff: 200, ...options });
    await page.find("open");
    let added = 0;
    const add = async (count) => {
      for (const end = added + count; added < end; added += 1) await world.add("chat:7", String(added));
    };
    await add(20);
    await until("the first messages", () => page.messages().length > 0);
    for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"]) {
      const stopped = world.stopGateway(signal);
      await add(20);
      await stopped;
      await add(20);
      await world.startGateway();
      await add(10);
      const next = page.messages().length + 1;
      await until("it is back", () => page.messages().length >= next, 30_000);
    }
    await until("everything", () => page.messages().length >= added, 30_000);
    assert.deepEqual(page.messages().map(payload), Array.from({ length: added }, (_, number) => number));
    if (!options.plain) assert.deepEqual(page.everything.filter(({ type }) => type === "gap"), []);
  });
}
