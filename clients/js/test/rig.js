/**
 * What the tests stand on: a Redis and a gateway of the test's own, gone at its end.
 *
 * No port is chosen before it is bound: Redis listens on a unix socket, the gateway on port 0, and
 * the address that outlives a gateway is a listener of this process.
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

/** Waits until something is true. */
export async function until(what, isTrue, limit = LIMIT) {
  const start = Date.now();
  while (!(await isTrue())) {
    if (Date.now() - start > limit) throw new Error(`not within ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A program of the test's own, killed when the test ends. `seen` is given each line of its output. */
export class Child {
  #process;
  #closed;
  #lines = [];
  #end = null;

  constructor(test, command, args, seen = () => {}) {
    const env = { ...process.env, SECRET };
    this.#process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      createInterface(output).on("line", (line) => {
        this.#lines = [...this.#lines.slice(-29), line];
        seen(line);
      });
    }
    this.#process.on("error", (error) => this.#lines.push(String(error)));
    // `close` comes when all of the output is read, which `exit` does not wait for.
    this.#closed = new Promise((resolve) => {
      this.#process.on("close", (code, signal) => resolve((this.#end = signal ?? `status ${code}`)));
    });
    test.after(() => this.stop("SIGKILL"));
  }

  /** Waits until something is true that this program brings about; fails at once when it ends first. */
  async until(what, isTrue) {
    await until(what, async () => {
      const end = this.#end;
      if (await isTrue()) return true;
      if (end !== null) throw new Error(`ended (${end}) before ${what}; it said last:\n${this.#lines.join("\n")}`);
      return false;
    });
  }

  signal(signal) {
    this.#process.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async stop(signal) {
    this.#process.kill(signal);
    await this.#closed;
  }
}

/**
 * An address that stays the same while gateways come and go. Connections are carried to the current
 * gateway; while there is none, they are closed at once.
 */
class Front {
  gateway = null;
  #sockets = new Set();
  #carried = new Set();
  #swallowed = new Set();
  #server = createServer({ allowHalfOpen: true }, (client) => this.#carry(client));

  static async open(test) {
    const front = new Front();
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    test.after(() => {
      front.#server.close();
      for (const socket of front.#sockets) socket.destroy();
    });
    return front;
  }

  get address() {
    return `127.0.0.1:${this.#server.address().port}`;
  }

  #carry(client) {
    this.#keep(client);
    if (!this.gateway) return void client.destroy();
    const [host, port] = this.gateway.split(":");
    const gateway = createConnection({ host, port: Number(port), allowHalfOpen: true });
    this.#keep(gateway);
    for (const [from, to] of [[client, gateway], [gateway, client]]) {
      const pair = { from, to };
      from.pipe(to);
      // However it closed: what is still unwritten goes first.
      from.on("close", () => this.#swallowed.has(pair) || to.end());
      this.#carried.add(pair);
    }
  }

  /** From now on nothing passes on the connections that are open, and neither side is told: no end, no reset. */
  swallow() {
    for (const pair of this.#carried) {
      pair.from.unpipe(pair.to);
      pair.from.resume(); // read, and thrown away
      this.#swallowed.add(pair);
    }
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {}); // `close` follows
  }
}

/** One command to a Redis: what it answered. */
async function ask(path, ...words) {
  const socket = createConnection(path);
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
  /** @param admin the gateway's own address, which tests of this rig take away */
  static async start(test, settings = "", admin = "127.0.0.1:0") {
    const world = new World();
    world.test = test;
    world.directory = mkdtempSync(join(tmpdir(), "sockway-js-"));
    test.after(() => rmSync(world.directory, { recursive: true, force: true }));
    Object.assign(world, { settings, admin });
    world.redisSocket = join(world.directory, "redis.sock");
    world.front = await Front.open(test);
    await world.startRedis();
    await world.startGateway();
    return world;
  }

  async startRedis() {
    const options = ["--save", "", "--appendonly", "no", "--dir", this.directory];
    this.redis = new Child(this.test, "redis-server", ["--port", "0", "--unixsocket", this.redisSocket, ...options]);
    await this.redis.until("Redis answers", () => ask(this.redisSocket, "PING").then(() => true, () => false));
  }

  get #file() {
    return join(this.directory, "sockway.toml");
  }

  /** Lets the gateway take over the settings of now. */
  async reload() {
    writeFileSync(this.#file, this.#configuration());
    this.gateway.signal("SIGHUP");
  }

  async startGateway() {
    const file = this.#file;
    writeFileSync(file, this.#configuration());
    this.listening = null;
    this.gateway = new Child(this.test, BINARY, ["serve", "--config", file], (line) => {
      this.listening ??= listeningRecord(line);
    });
    await this.gateway.until("the gateway listens", () => this.listening);
    const isReady = async () => (await fetch(`http://${this.listening.admin}/readyz`)).ok;
    await this.gateway.until("the gateway is ready", () => isReady().catch(() => false));
    this.front.gateway = this.listening.address;
  }

  /** Ends the gateway as a crash does, or by a signal. */
  async stopGateway(signal = "SIGKILL") {
    this.front.gateway = null;
    await this.gateway.stop(signal);
  }

  async stopRedis() {
    await this.redis.stop("SIGKILL");
  }

  /** A path of the gateway that runs now. */
  url(path) {
    return `ws://${this.listening.address}${path}`;
  }

  /** The same through the front, for a client that outlives this gateway. */
  lastingUrl(path) {
    return `ws://${this.front.address}${path}`;
  }

  /** The value of a series of the gateway. */
  async metric(series) {
    const text = await (await fetch(`http://${this.listening.admin}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${series} `));
    if (!line) throw new Error(`no series ${series}`);
    return Number(line.slice(series.length));
  }

  /** How many subscribers got it. */
  async publish(channel, payload) {
    return Number((await ask(this.redisSocket, "PUBLISH", channel, payload)).slice(1));
  }

  /** Adds an entry with this payload to a stream: its id. */
  async add(stream, payload) {
    const [, id] = (await ask(this.redisSocket, "XADD", stream, "*", "data", payload)).split("\r\n");
    return id;
  }

  /** Any other command. */
  async command(...words) {
    return ask(this.redisSocket, ...words);
  }

  #configuration() {
    return `
[server]
listen = "127.0.0.1:0"
[admin]
listen = "${this.admin}"
[redis]
url = "redis+unix://${this.redisSocket}"
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
name = "binary"
path = "/ws/binary"
channels = ["open"]
auth = "none"
format = "binary"
# Short, so that a test need not wait for a multiple of 25 s.
heartbeat = "1s"
heartbeat_notice = "alive"
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
[[endpoint]]
name = "json-open"
path = "/ws/json-open"
channels = ["open"]
auth = "none"
format = "json"
# Short, so that a test need not wait for a multiple of 25 s.
[[endpoint]]
name = "beating"
path = "/ws/beating"
channels = ["open"]
auth = "none"
format = "json"
heartbeat = "1s"
[[endpoint]]
name = "beating-raw"
path = "/ws/beating-raw"
channels = ["open"]
auth = "none"
heartbeat = "1s"
heartbeat_notice = "alive"
[log]
format = "json"
[shutdown]
spread = "100ms"
timeout = "5s"
${this.settings}`;
  }
}

/** Endpoints with streams, by both transports. */
export const STREAMS = `
[[endpoint]]
name = "chat"
path = "/ws/chat/{room}"
streams = ["chat:{path.room}"]
auth = "none"
format = "json"
sse = true
[[endpoint]]
name = "chat-raw"
path = "/ws/chat-raw/{room}"
streams = ["chat:{path.room}"]
auth = "none"
sse = true
[[endpoint]]
name = "mixed"
path = "/ws/mixed/{room}"
channels = ["open"]
streams = ["chat:{path.room}", "news"]
auth = "none"
format = "json"
`;

/** Endpoints to write to, and to add channels and streams to within a session. */
export const BOTH = `
[[endpoint]]
name = "talk"
path = "/ws/talk/{room}"
channels = ["talk:{path.room}"]
subscribe = ["talk:{any}"]
subscribe_streams = ["log:{any}"]
format = "json"
[endpoint.publish]
channel = "talk:{any}"
# Few, so that a test sees what more of them come to.
per_second = 20
burst = 5
[endpoint.presence]
channel = "talk:{any}"
# Short, so that a test need not wait for those who have gone.
ttl = "3s"
leave_after = "500ms"
[[endpoint]]
name = "inbox"
path = "/ws/inbox"
channels = ["user:{user}"]
format = "json"
sse = true
[endpoint.publish]
stream = "inbox"
keep_entries = 0
# Many, so that what waited is there soon.
per_second = 1000
burst = 100
[[endpoint]]
name = "logs"
path = "/ws/logs"
subscribe_streams = ["log:{any}"]
format = "json"
`;

/** The fields `address` and `admin` of the record that names them; `null` for any other line. */
function listeningRecord(line) {
  if (!line.startsWith("{")) return null; // such as the reason why it does not start
  const record = JSON.parse(line);
  const fields = record.fields ?? record;
  return fields.message === "listening" ? fields : null;
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
    const types = ["open", "recovered", "message", "gap", "presence", "join", "leave", "unsubscribed", "waiting", "stopped"];
    for (const type of types) {
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

  /** The first event of this type that has not been read yet; those before it are skipped. */
  async find(type) {
    await until(type, () => this.events.slice(this.read).some((event) => event.type === type));
    while (this.events[this.read].type !== type) this.read += 1;
    return this.events[this.read++];
  }
}
