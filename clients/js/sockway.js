// @ts-check
/**
 * A client for Sockway that stays connected: one file, no dependencies, for browsers and Node.
 *
 * It promises: after every loss it comes back as the close code asks, never in step with other
 * clients; a network that swallows without closing is a loss, too; what streams of Redis kept meanwhile
 * is asked for by position; whatever may have been missed is told by a `gap` event, behind the `open` from which on
 * nothing is missed again. It never keeps a token anywhere but in memory, and puts none into an event.
 *
 * `new WebSocket(url)` works with Sockway just as well; this adds what to do when it closes.
 *
 * @module
 */

/**
 * What the close codes ask for (docs/protocol.md). Any other code, 1006 included: back off.
 *
 * - `now`: reconnect at once; a second time in a row, back off
 * - `soon`: reconnect at a random moment within `spread`, since many were closed together
 * - `backoff`: reconnect after a random time below a limit that doubles
 * - `token`: get a new token, then reconnect
 * - `stop`: reconnecting cannot help
 *
 * @type {Readonly<Record<number, "now" | "soon" | "backoff" | "token" | "stop">>}
 */
export const AFTER_CLOSE = Object.freeze({
  1000: "stop",
  1002: "stop",
  1003: "stop",
  1007: "stop",
  1008: "stop",
  1009: "stop",
  1011: "backoff",
  1012: "soon",
  1013: "backoff",
  3000: "token",
  3003: "stop",
  3008: "now",
  4008: "now",
  4009: "now",
  4010: "soon",
  4011: "stop",
  4012: "backoff",
});

/**
 * @typedef {object} Refused why a token is asked for, when another one did not do
 * @property {number} code the close code: 3000, or 1006 when the connection was never opened
 * @property {string} reason such as `token_expired` or `revoked`
 */

/**
 * @typedef {(refused: Refused | null) => string | null | undefined | Promise<string | null | undefined>} TokenSource
 * Gives a token; no token (signed out) stops the client; an error is tried again later. `refused` is
 * null the first time.
 */

/**
 * @typedef {object} Options
 * @property {string | TokenSource} [token] a token, or how to get one; none for endpoints without authentication
 * @property {"subprotocol" | "query"} [tokenIn] where it is sent; `query` puts it into the URL as `token`, and so do Server-Sent Events always
 * @property {"websocket" | "sse" | "auto"} [transport] `sse`: Server-Sent Events; `auto`: the two in turn, WebSocket first, until one has opened, then that one
 * @property {string | Record<string, string>} [since] where to begin: the `positions` of a client before this one, or the
 *   bare position of an endpoint with one stream
 * @property {number} [last] the newest so many of each stream, where no position is known or it does not recover
 * @property {boolean} [withCredentials] Server-Sent Events from another origin: send cookies
 * @property {"raw" | "binary" | "json"} [format] the endpoint's `format`
 * @property {string} [gapNotice] the endpoint's `gap_notice`
 * @property {string} [heartbeatNotice] a raw or binary endpoint's `heartbeat_notice`; "" when it has none
 * @property {number} [heartbeat] milliseconds: a raw or binary endpoint's `heartbeat`; a json one tells it by itself
 * @property {number} [spread] milliseconds: the gateway's `shutdown.spread`, or what suits your clients
 * @property {number} [minBackoff] milliseconds: the first limit
 * @property {number} [maxBackoff] milliseconds: the last limit
 * @property {number} [openTimeout] milliseconds for getting a token and opening the connection
 * @property {any} [WebSocket] a constructor, where there is no global one
 * @property {any} [EventSource] a constructor, where there is no global one
 */

const DEFAULTS = {
  tokenIn: "subprotocol",
  transport: /** @type {"websocket" | "sse" | "auto"} */ ("websocket"),
  withCredentials: false,
  format: "raw",
  gapNotice: '{"type":"gap"}',
  heartbeatNotice: "",
  heartbeat: 25_000,
  spread: 5_000,
  minBackoff: 1_000,
  maxBackoff: 30_000,
  openTimeout: 15_000,
};

/** Open for this long: whatever failed before is over. Milliseconds. */
const SETTLED = 5_000;

/** Nothing came for so many heartbeats: the connection is dead, though nobody has closed it. */
const PATIENCE = 2.5;

/** … but not sooner: the gateway keeps time by tenths of a second, and networks have delays. Milliseconds. */
const LEAST_PATIENCE = 1_000;

/** How long what may be waiting behind a page that stood still has to be read. Milliseconds. */
const DOUBT = 1_000;

/** Of so many attempts in a row that never open one is made without positions, which may be what is refused. */
const PROBE_EVERY = 3;

/** Most characters that positions take in a URL; the gateway reads 4 KiB of them. */
const LONGEST_SINCE = 4_000;

/**
 * A connection that comes back. Events carry their values as properties:
 *
 * - `open`: subscribed; on json endpoints and by Server-Sent Events `session`, `channels`, `streams`
 * - `recovered`: nothing of the stream `channel` is missing: `replayed` messages of it come now
 * - `message`: `data` (text or ArrayBuffer; on json endpoints the value), and there `channel`; of a stream its `id`
 * - `gap`: messages may be missing, fetch the state anew: `reason`, and where known `channel`, `missed`, `id`
 * - `waiting`: not connected, and will try again in `delay` milliseconds: `code`, `reason`
 * - `stopped`: the end: `code`, `reason`
 */
export class Sockway extends EventTarget {
  /** @type {"connecting" | "open" | "waiting" | "stopped"} */
  #state = "connecting";
  #url;
  #options;
  /** @type {{ close(code?: number): void, send?(text: string): void } | null} */
  #connection = null;
  /** What the next attempt uses. @type {"websocket" | "sse"} */
  #transport = "websocket";
  #hasOpened = false;
  /** The id that came last, by stream. @type {Map<string, string>} */
  #positions = new Map();
  /** A position whose stream is not known by name yet. */
  #barePosition = "";
  /** Attempts in a row that never opened, for no reason that was told. */
  #unopened = 0;
  /** This attempt asks for nothing of streams, to learn whether that is why the others never opened. */
  #isProbe = false;
  /** A probe has opened, and there are streams: the positions are asked for once more. */
  #isLastTry = false;
  /** False: the endpoint is known to have no streams. */
  #asksStreams = true;
  /** The stream of a session that has only one. @type {string | undefined} */
  #onlyStream;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Counts attempts, so that what belongs to an earlier one is known by its number. */
  #attempt = 0;
  #failures = 0;
  #openedAt = 0;
  /** @type {string | null | undefined} */
  #token;
  /** The one that the session has, or the attempt. @type {string | null | undefined} */
  #sentToken;
  /** @type {string | null | undefined} */
  #refusedToken;
  /** @type {Refused | null} */
  #refused = null;
  /** Why the last session ended, until the page has been told of the gap. @type {string | null} */
  #lost = null;
  /** Milliseconds without anything after which the connection is dead; 0: the gateway promises nothing. */
  #patience = 0;
  #heardAt = 0;
  #inDoubt = false;
  #wasOffline = false;
  #ownBackoff = true;

  /**
   * @param {string | URL} url `wss://host/path`; relative ones and http(s) are understood as well
   * @param {Options} [options]
   * @throws {TypeError} when the URL is none, `since` has something that is no position, or there is no
   *   WebSocket or EventSource to use
   */
  constructor(url, options = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    const { WebSocket, EventSource } = globalThis;
    this.#options = { WebSocket, EventSource, ...DEFAULTS, ...options };
    this.#transport = this.#options.transport === "sse" ? "sse" : "websocket";
    for (const name of needed(this.#options.transport)) {
      if (typeof this.#options[name] === "function") continue;
      throw new TypeError(`there is no global ${name} here: pass options.${name}`);
    }
    this.#beginAt(options.since ?? {});
    for (const [target, type] of this.#surroundings()) target?.addEventListener?.(type, this.#onSurroundings);
    queueMicrotask(() => this.#connect()); // behind the listeners that the caller adds now
  }

  get state() {
    return this.#state;
  }

  /**
   * The id that came last of each stream: what `since` of a client after this one takes, so that a page
   * that is loaded again misses nothing. It changes only with `open`, `message` and `gap`, before their listeners run.
   *
   * @returns {Record<string, string>}
   */
  get positions() {
    return Object.fromEntries(this.#positions);
  }

  /** Ends it for good: `stopped` with 1000. */
  close() {
    this.#stop(1000, "bye");
  }

  /**
   * Sends a fresh token of the same user, on a json endpoint: the session lives on to its expiry. Server-Sent
   * Events cannot send: there it is the token of the next session.
   *
   * @param {string} token
   * @returns {boolean} whether there was a session to send it to
   */
  refresh(token) {
    this.#token = token;
    if (this.#state !== "open" || !this.#connection?.send) return false;
    this.#sentToken = token;
    this.#connection.send(JSON.stringify({ type: "refresh", token }));
    return true;
  }

  /** @param {string | Record<string, string>} since */
  #beginAt(since) {
    const isBare = typeof since === "string";
    for (const id of isBare ? [since] : Object.values(since)) {
      if (!isPosition(id)) throw new TypeError(`since: ${id} is no position`);
    }
    if (isBare) this.#barePosition = since;
    else this.#positions = new Map(Object.entries(since));
  }

  async #connect() {
    if (this.#state === "stopped") return;
    const attempt = ++this.#attempt;
    this.#state = "connecting";
    this.#isProbe = this.#mayProbe();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(1006, "open_timeout"), this.#options.openTimeout);
    let token;
    try {
      token = await this.#currentToken();
    } catch {
      if (attempt === this.#attempt) this.#lose(1006, "no_token");
      return;
    }
    if (attempt !== this.#attempt) return; // closed, or given up, while the token was made
    if (this.#options.token !== undefined && !token) {
      this.#stop(this.#refused?.code ?? 3000, this.#refused?.reason ?? "token_missing");
    } else {
      this.#sentToken = token;
      this.#dial(token);
    }
  }

  /** The token to connect with; empty when there is none to be had. */
  async #currentToken() {
    const source = this.#options.token;
    if (this.#token || source === undefined) return this.#token;
    const token = typeof source === "function" ? await source(this.#refused) : source;
    // One that was refused by name is refused again: asking on would never end.
    const again = this.#refused?.code === 3000 && token === this.#refusedToken;
    return (this.#token = again ? null : token);
  }

  /**
   * Whether positions may be why nothing opens. A browser is told of no refusal, it sees 1006; and an endpoint that
   * has no streams any more refuses every position.
   */
  #mayProbe() {
    // A raw WebSocket would not be told whether there are streams.
    const isTold = this.#options.format === "json" || this.#transport === "sse";
    const isDue = this.#unopened % PROBE_EVERY === PROBE_EVERY - 1 && !this.#isLastTry;
    return isTold && isDue && this.#askedOfStreams().length > 0;
  }

  /** @param {string | null | undefined} token */
  #dial(token) {
    try {
      if (this.#transport === "sse") this.#dialEventSource(token);
      else this.#dialWebSocket(token);
    } catch {
      // The error's text may have the token in it.
      this.#stop(1006, "unusable_url_or_token");
    }
  }

  /** @param {string | null | undefined} token */
  #dialWebSocket(token) {
    const { WebSocket, tokenIn } = this.#options;
    const url = this.#address("ws", tokenIn === "query" ? token : null);
    const socket = token && tokenIn === "subprotocol" ? new WebSocket(url, ["bearer", token]) : new WebSocket(url);
    this.#connection = socket;
    socket.binaryType = "arraybuffer";
    const current = () => socket === this.#connection;
    socket.addEventListener("open", () => current() && this.#options.format !== "json" && this.#openedRaw());
    socket.addEventListener("message", (/** @type {any} */ event) => {
      if (!current()) return;
      this.#heardAt = Date.now();
      this.#received(event.data);
    });
    socket.addEventListener("error", () => {}); // `close` follows, and says as much
    socket.addEventListener("close", (/** @type {any} */ event) => current() && this.#lose(event.code, event.reason));
  }

  /**
   * An EventSource would reconnect by itself, to the URL that it had, token and position included. This one is given up at its
   * first error instead, and what happens then is decided here as for a WebSocket.
   *
   * @param {string | null | undefined} token
   */
  #dialEventSource(token) {
    const { EventSource, format, withCredentials } = this.#options;
    const source = new EventSource(this.#address("http", token), { withCredentials });
    this.#connection = source;
    /** @param {string} type @param {(event: any) => void} heard */
    const on = (type, heard) =>
      source.addEventListener(type, (/** @type {any} */ event) => {
        if (source !== this.#connection) return;
        this.#heardAt = Date.now();
        heard(event);
      });
    on("ready", (event) => this.#ready(object(event.data)));
    for (const type of ["heartbeat", "presence", "join", "leave"]) on(type, () => {}); // heard, that is all
    on("error", () => this.#lose(1006, ""));
    on("close", (event) => {
      const { code = 1006, reason = "" } = object(event.data);
      this.#lose(code, reason);
    });
    if (format === "json") for (const type of ["message", "gap"]) on(type, (event) => this.#received(event.data));
    else this.#listenRaw(on);
  }

  /**
   * The frames of a raw endpoint have no ids, its events do: those of the one stream that a session with
   * Server-Sent Events has at most.
   *
   * @param {(type: string, heard: (event: any) => void) => void} on
   */
  #listenRaw(on) {
    /** @param {string | undefined} id */
    const position = (id) => {
      if (this.#onlyStream === undefined || !id) return {};
      this.#positions.set(this.#onlyStream, id);
      return { id };
    };
    on("message", ({ data, lastEventId }) => this.#tell("message", { data, ...position(lastEventId) }));
    on("base64", ({ data, lastEventId }) => this.#tell("message", { data: bytes(data), ...position(lastEventId) }));
    on("gap", ({ data }) => {
      const { type, ...gap } = object(data); // in every format; of a channel it has no id
      this.#tell("gap", { ...gap, ...position(gap.id) });
    });
  }

  /**
   * Where to connect to.
   *
   * @param {"ws" | "http"} scheme
   * @param {string | null | undefined} token for the query
   */
  #address(scheme, token) {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace(/^(ws|http)/, scheme);
    if (token) url.searchParams.set("token", token);
    if (!this.#isProbe) for (const [name, value] of this.#askedOfStreams()) url.searchParams.set(name, value);
    return url.href;
  }

  /** What is asked for of streams: parameters and their values. */
  #askedOfStreams() {
    if (!this.#asksStreams) return [];
    const asked = [["since", this.#barePosition || listed(this.#positions)], ["last", String(this.#options.last ?? "")]];
    return asked.filter(([, value]) => value !== "");
  }

  /** @param {number | undefined} heartbeat milliseconds; none or 0: the gateway sends none */
  #expect(heartbeat) {
    this.#patience = heartbeat ? Math.max(heartbeat * PATIENCE, LEAST_PATIENCE) : 0;
  }

  /** Looks now, and as often as it takes, whether the gateway is still heard. */
  #watch() {
    if (this.#state !== "open" || !this.#patience) return;
    clearTimeout(this.#timer);
    this.#inDoubt = false;
    this.#look();
  }

  #look() {
    const now = Date.now(); // not a clock that stands still while the machine sleeps
    this.#heardAt = Math.min(this.#heardAt, now); // it may have been set back
    const left = this.#heardAt + this.#patience - now;
    if (left > 0) this.#inDoubt = false;
    else if (this.#inDoubt) return this.#lose(1006, "heartbeats_missed");
    // A page that stood still finds its timers due before the messages that came meanwhile.
    else this.#inDoubt = true;
    this.#timer = setTimeout(() => this.#look(), this.#inDoubt ? Math.min(DOUBT, this.#patience / 5) : left);
  }

  #openedRaw() {
    const { heartbeat, heartbeatNotice } = this.#options;
    this.#expect(heartbeatNotice === "" ? 0 : heartbeat);
    this.#opened({});
  }

  /** @param {any} ready the frame, or the event's data */
  #ready({ type, heartbeat_ms: heartbeat, ...values }) {
    this.#expect(heartbeat);
    this.#opened(values);
  }

  /** @param {any} values */
  #opened(values) {
    const streams = Object.entries(values.streams ?? {});
    if (this.#isProbe && streams.length > 0) return this.#tryOnceMore();
    if (this.#isProbe) this.#lost ??= "no_streams";
    this.#asksStreams = streams.length > 0 || !this.#isProbe;
    this.#unopened = 0;
    this.#isLastTry = false;
    clearTimeout(this.#timer);
    this.#state = "open";
    this.#openedAt = this.#heardAt = Date.now();
    this.#hasOpened = true;
    this.#refused = null;
    this.#watch();
    const missing = this.#missing(values, streams);
    this.#lost = null;
    this.#barePosition = "";
    this.#onlyStream = streams[0]?.[0];
    this.#positions = new Map(streams.flatMap(([stream, { id }]) => (id ? [[stream, id]] : [])));
    const attempt = this.#attempt;
    this.#tell("open", values);
    for (const told of missing) if (attempt === this.#attempt) this.#tell(...told); // unless a listener has closed it
  }

  /** The gateway is there, and has what the positions are of: it may have been away before. */
  #tryOnceMore() {
    this.#isLastTry = true;
    this.#drop();
    this.#connect();
  }

  /** The connection never opened, and nobody has said why. */
  #countUnopened() {
    this.#unopened += 1;
    if (!this.#isLastTry) return;
    // A moment ago it opened without positions: they are what it refuses.
    this.#isLastTry = false;
    this.#lost ??= "positions_refused";
    this.#forgetPositions();
  }

  /**
   * What to tell, behind `open`, of what was published before it.
   *
   * @param {any} values of `ready`
   * @param {[string, any][]} streams
   * @returns {[string, object][]}
   */
  #missing({ channels = [], patterns = [] }, streams) {
    const answered = streams.filter(([, { recovered }]) => recovered !== undefined);
    /** @type {[string, object][]} */
    const told = answered.map(([channel, { recovered, replayed, reason, missed, id }]) =>
      recovered ? ["recovered", { channel, replayed }] : ["gap", { channel, reason, missed, id }],
    );
    const unanswered = streams.filter(([stream, { recovered }]) => recovered === undefined && this.#positions.has(stream));
    const reason = this.#lost ?? (unanswered.length > 0 ? "no_position" : null);
    // Channels keep nothing, and so may have missed something; a stream that no position was sent for, too.
    const isAnswered = streams.length > 0 && answered.length === streams.length && channels.length + patterns.length === 0;
    return reason === null || isAnswered ? told : [...told, ["gap", { reason }]];
  }

  /** @param {any} data */
  #received(data) {
    if (this.#options.format !== "json") {
      const { gapNotice, heartbeatNotice } = this.#options;
      if (data === gapNotice) this.#tell("gap", { reason: "notice" });
      else if (!heartbeatNotice || data !== heartbeatNotice) this.#tell("message", { data });
      return;
    }
    const { type, ...frame } = object(data);
    const { channel, id } = frame;
    if (type === "ready") return this.#ready(frame);
    if (type === undefined) return this.#stop(1003, "not_a_json_endpoint");
    // The last one counts, even where it is smaller: a stream may have been rolled back.
    if (id !== undefined) this.#positions.set(channel, id);
    if (type === "gap") this.#tell("gap", frame);
    else if (type === "message") this.#tell("message", { channel, data: payload(frame), ...(id !== undefined && { id }) });
  }

  /**
   * The connection ended, or never came to be.
   *
   * @param {number} code
   * @param {string} reason
   */
  #lose(code, reason) {
    const wasOpen = this.#state === "open";
    const next = AFTER_CLOSE[code] ?? "backoff";
    if (wasOpen || code === 4009) this.#lost = reason || "connection_lost";
    if (next === "stop") return this.#stop(code, reason);
    if (wasOpen && Date.now() - this.#openedAt >= SETTLED) this.#failures = 0;
    if (code === 4009) this.#forgetPositions();
    if (!wasOpen && code === 1006 && reason === "") this.#countUnopened();
    this.#drop();
    if (!this.#hasOpened && this.#options.transport === "auto") this.#tryTheOther();
    if (next === "token" || !wasOpen) this.#giveUpToken(code, reason);
    if (next === "token" && typeof this.#options.token !== "function") return this.#stop(code, reason);
    this.#wait(this.#delay(next), code, reason);
  }

  /** The page fetches its state anew: what was published before that is in it. */
  #forgetPositions() {
    this.#positions.clear();
    this.#barePosition = "";
  }

  /** Proxies and firewalls that stop the one may let the other pass. */
  #tryTheOther() {
    this.#transport = this.#transport === "sse" ? "websocket" : "sse";
  }

  /**
   * A browser is not told of a 401, it sees 1006: after a connection that was never opened, too, the
   * token may be at fault.
   *
   * @param {number} code
   * @param {string} reason
   */
  #giveUpToken(code, reason) {
    this.#refused = { code, reason };
    this.#refusedToken = this.#sentToken;
    if (this.#token === this.#sentToken) this.#token = undefined;
  }

  /**
   * Full jitter: any time below the limit, so that clients lost together come back apart.
   *
   * @param {"now" | "soon" | "backoff" | "token" | "stop"} next
   */
  #delay(next) {
    const { minBackoff, maxBackoff, spread } = this.#options;
    const failures = this.#failures++;
    this.#ownBackoff = !(next === "soon" && failures === 0);
    if (failures === 0 && (next === "now" || next === "token")) return 0;
    if (!this.#ownBackoff) return Math.random() * spread;
    return Math.random() * Math.min(maxBackoff, minBackoff * 2 ** failures);
  }

  /**
   * @param {number} delay
   * @param {number} code
   * @param {string} reason
   */
  #wait(delay, code, reason) {
    this.#state = "waiting";
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#tell("waiting", { code, reason, delay });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #stop(code, reason) {
    if (this.#state === "stopped") return;
    this.#state = "stopped";
    this.#drop();
    this.#token = undefined;
    for (const [target, type] of this.#surroundings()) target?.removeEventListener?.(type, this.#onSurroundings);
    this.#tell("stopped", { code, reason });
  }

  /** Forgets the connection, if any, and what was planned. */
  #drop() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    const connection = this.#connection;
    this.#connection = null;
    connection?.close(1000);
  }

  /** @returns {[any, string][]} */
  #surroundings() {
    return [[globalThis, "offline"], [globalThis, "online"], [globalThis.document, "visibilitychange"]];
  }

  #onSurroundings = (/** @type {Event} */ event) => {
    if (event.type === "offline") {
      this.#wasOffline = true;
    } else if (event.type === "online") {
      // Another network: the old connection is dead, and nobody would notice for a while.
      if (this.#wasOffline && this.#state === "open") this.#lose(1006, "network_changed");
      this.#wasOffline = false;
      this.#watch();
      this.#hurry();
    } else if (globalThis.document.visibilityState === "visible") {
      this.#watch();
      this.#hurry();
    }
  };

  /** Tries now what was backed off; a moment that the gateway asked for is kept. */
  #hurry() {
    if (this.#state !== "waiting" || !this.#ownBackoff) return;
    this.#failures = 0;
    this.#connect();
  }

  /**
   * @param {string} type
   * @param {object} values
   */
  #tell(type, values) {
    this.dispatchEvent(Object.assign(new Event(type), values));
  }
}

/**
 * A frame of a json endpoint; empty when it is none.
 *
 * @param {any} data
 * @returns {any}
 */
function object(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}

/**
 * The payload of a json message: bytes that are no text come as base64.
 *
 * @param {{ data?: any, data_base64?: string }} frame
 */
function payload({ data, data_base64: base64 }) {
  return base64 === undefined ? data : bytes(base64);
}

/** @param {string} base64 */
function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}

/**
 * Whether it is the id of an entry: two numbers of 64 bits.
 *
 * @param {unknown} id
 */
function isPosition(id) {
  const numbers = typeof id === "string" && /^(\d{1,20})-(\d{1,20})$/.exec(id);
  return numbers && numbers.slice(1).every((number) => BigInt(number) < 2n ** 64n);
}

/**
 * Positions as `since` takes them: `CHANNEL@ID,CHANNEL@ID`. Those that find no room are left out, and
 * so are told as a gap.
 *
 * Each has its stream's name, also where there is only one: after a token of another user, or another
 * configuration, it would else be taken for the position of another stream.
 *
 * @param {Map<string, string>} positions
 */
function listed(positions) {
  let list = "";
  for (const [stream, id] of positions) {
    const longer = `${list}${list && ","}${stream.replace(/[%,@]/g, (character) => encodeURIComponent(character))}@${id}`;
    if (encodeURIComponent(longer).length <= LONGEST_SINCE) list = longer;
  }
  return list;
}

/** @type {Record<string, ("WebSocket" | "EventSource")[]>} */
const NEEDED = { websocket: ["WebSocket"], sse: ["EventSource"], auto: ["WebSocket", "EventSource"] };

/**
 * The constructors that a transport needs.
 *
 * @param {string} transport
 */
function needed(transport) {
  if (!Object.hasOwn(NEEDED, transport)) throw new TypeError(`there is no transport ${transport}`);
  return NEEDED[transport];
}
