/**
 * What the tests stand on: a Redis and a gateway of the test's own, on free ports, gone at its end.
 *
 * `SOCKWAY_BINARY` names the program; `make test` builds it.
 */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.SOCKWAY_BINARY ?? fileURLToPath(new URL("../../../target/debug/sockway", import.meta.url));
const SECRET = "a made-up secret that is long enough for HS256";
const LIMIT = 10_000;

/** Starts a program that is killed when the test ends; `lines` of its stderr go to `seen`. */
function start(test, command, args, seen = () => {}) {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, SECRET } });
  createInterface(child.stderr).on("line", seen);
  child.ended = once(child, "exit");
  test.after(async () => {
    child.kill("SIGKILL");
    await child.ended;
  });
  return child;
}

/** Waits until something is true. */
export async function until(what, isTrue, limit = LIMIT) {
  const start = Date.now();
  while (!(await isTrue())) {
    if (Date.now() - start > limit) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** One command to a Redis: what it answered. */
async function ask(port, ...words) {
  const socket = createConnection(port, "127.0.0.1");
  socket.write(`*${words.length}\r\n`);
  for (const word of words) {
    socket.write(`$${Buffer.byteLength(word)}\r\n`);
    socket.write(word);
    socket.write("\r\n");
  }
  try {
    const [answer] = await once(socket, "data");
    return String(answer);
  } finally {
    socket.destroy();
  }
}

/** A Redis and a gateway with endpoints of every kind that the tests need. */
export class World {
  static async start(test, settings = "") {
    const world = new World();
    world.test = test;
    world.directory = mkdtempSync(join(tmpdir(), "sockway-js-"));
    test.after(() => rmSync(world.directory, { recursive: true, force: true }));
    world.settings = settings;
    world.redisPort = await freePort();
    world.port = await freePort();
    await world.startRedis();
    await world.startGateway();
    return world;
  }

  async startRedis() {
    const options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", this.directory];
    this.redis = start(this.test, "redis-server", ["--port", String(this.redisPort), ...options]);
    await until("redis answers", () => ask(this.redisPort, "PING").then(() => true, () => false));
  }

  async startGateway() {
    const file = join(this.directory, "sockway.toml");
    writeFileSync(file, this.#configuration());
    let admin;
    this.gateway = start(this.test, BINARY, ["serve", "--config", file], (line) => {
      const record = JSON.parse(line);
      const fields = record.fields ?? record;
      if (fields.message === "listening") admin = fields.admin;
    });
    await until("the gateway listens", () => admin);
    await until("the gateway is ready", async () => (await fetch(`http://${admin}/readyz`)).ok);
  }

  /** Ends the gateway as a crash does, or by a signal. */
  async stopGateway(signal = "SIGKILL") {
    this.gateway.kill(signal);
    await this.gateway.ended;
  }

  async stopRedis() {
    this.redis.kill("SIGKILL");
    await this.redis.ended;
  }

  url(path) {
    return `ws://127.0.0.1:${this.port}${path}`;
  }

  /** How many subscribers got it. */
  async publish(channel, payload) {
    return Number((await ask(this.redisPort, "PUBLISH", channel, payload)).slice(1));
  }

  #configuration() {
    return `
[server]
listen = "127.0.0.1:${this.port}"
[admin]
listen = "127.0.0.1:0"
[redis]
url = "redis://127.0.0.1:${this.redisPort}/0"
probe_interval = "1s"
probe_timeout = "900ms"
reconnect_min = "20ms"
reconnect_max = "200ms"
[auth.jwt]
algorithms = ["HS256"]
secret = "\${SECRET}"
leeway = "0s"
[[endpoint]]
name = "raw"
path = "/ws/raw"
channels = ["user:{user}"]
[[endpoint]]
name = "json"
path = "/ws/json"
channels = ["user:{user}"]
format = "json"
[[endpoint]]
name = "open"
path = "/ws/open"
channels = ["open"]
auth = "none"
[[endpoint]]
name = "strict"
path = "/ws/strict"
channels = ["open"]
auth = "none"
inbound = "close"
[[endpoint]]
name = "narrow"
path = "/ws/narrow"
channels = ["narrow"]
auth = "none"
queue_messages = 1
[log]
format = "json"
[shutdown]
spread = "100ms"
timeout = "5s"
${this.settings}`;
  }
}

/** A token of this user, made as a backend makes it. */
export function token(user, seconds = 600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** Writes down a client's events, in their order, and waits for the next of a kind. */
export class Diary {
  constructor(test, client) {
    this.events = [];
    this.read = 0;
    for (const type of ["open", "message", "gap", "waiting", "stopped"]) {
      client.addEventListener(type, (event) => this.events.push(event));
    }
    test.after(() => client.close());
  }

  /** The next event, which must be of this type. */
  async next(type) {
    await until(type, () => this.events.length > this.read);
    const event = this.events[this.read++];
    if (event.type !== type) throw new Error(`${event.type} ${event.code} ${event.reason} instead of ${type}`);
    return event;
  }

  /** The first event of this type that has not been read yet; those before it are passed over. */
  async find(type) {
    await until(type, () => this.events.slice(this.read).some((event) => event.type === type));
    while (this.events[this.read].type !== type) this.read += 1;
    return this.events[this.read++];
  }
}
